"""Loading ipykill into IPython, and unloading it."""

from __future__ import annotations

from typing import Any

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.error import TryNext

from . import capture, cell, output, panel, widgets
from .magics import BackgroundMagics
from .manager import jobs


def load(shell: Any) -> None:
    """Register the magics and route the output of jobs. To load again changes nothing.

    Raises
    ------
    RuntimeError
        The output of the cell is being captured; nothing has happened then.
    """
    if _magics(shell) is not None:
        return
    _refuse_capture(shell)
    output.install(shell, jobs)
    capture.install()
    widgets.install()
    cell.install(shell)
    panel.install(shell, jobs)
    magics = BackgroundMagics(shell, jobs)
    shell.register_magics(magics)
    hooked = shell.strdispatchers.get("complete_command")
    for command in magics.commands():
        # A hook cannot be taken back, so it stays, and finds the magics that are loaded.
        if hooked is None or _complete not in (hook for hook in hooked.s_matches(command)):
            shell.set_hook("complete_command", _complete, str_key=command)


def unload(shell: Any) -> None:
    """Take the magics away. Jobs that run go on, and are there when it is loaded again."""
    magics = _magics(shell)
    if magics is None:
        return
    _refuse_capture(shell)  # or %reload_ext could not load what it has unloaded
    output.uninstall(jobs)
    panel.uninstall(shell)
    for kind, names in magics.magics.items():
        for name in names:
            shell.magics_manager.magics[kind].pop(name, None)
    shell.magics_manager.registry.pop(type(magics).__name__, None)
    shell.configurables.remove(magics)


def _refuse_capture(shell: Any) -> None:
    """Raise if what stands for the streams now will be gone at the end of the cell."""
    if output.captured() or isinstance(shell.display_pub, CapturingDisplayPublisher):
        msg = (
            "ipykill cannot be loaded or unloaded while output is captured (%%capture, "
            "redirect_stdout); do it in a cell of its own"
        )
        error = RuntimeError(msg)
        # Not a UsageError: that is printed, to the captured stream.
        error._render_traceback_ = lambda: [f"RuntimeError: {msg}"]  # type: ignore[attr-defined]
        raise error


def _complete(shell: Any, event: Any) -> list[str]:
    magics = _magics(shell)
    if magics is None:
        raise TryNext
    return magics.complete(event.command, event.text_until_cursor, event.symbol)


def _magics(shell: Any) -> BackgroundMagics | None:
    found = shell.magics_manager.registry.get(BackgroundMagics.__name__)
    return found if isinstance(found, BackgroundMagics) else None
