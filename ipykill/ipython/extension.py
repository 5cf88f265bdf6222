"""Loading ipykill into IPython, and unloading it."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.extensions import ExtensionManager

from .. import foreground, output, panel
from ..base.wrapping import restore_all
from ..cells import cell, scripts
from ..core.manager import jobs
from ..kill import shortcomings
from ..output import capture, widgets
from . import clashes, leaving, locks
from .completion import offer_what_users_need
from .launcher import refuse_below
from .magics import BackgroundMagics


def load(shell: Any) -> None:
    """Register the magics and route the output of jobs. A second call changes nothing.

    Raises
    ------
    RuntimeError
        The output of the cell is being captured; then nothing has been changed.
    """
    if _magics(shell) is not None:
        return
    _refuse_capture(shell)
    output.install(shell, jobs)
    capture.install()
    widgets.install()
    cell.install(shell)
    leaving.install(shell, jobs)
    locks.install(shell)
    scripts.install()
    panel.install(shell, jobs)
    offer_what_users_need()
    foreground.install(shell, jobs)
    magics = BackgroundMagics(shell, jobs)
    shell.register_magics(magics)
    shell.input_transformers_post.append(refuse_below)
    clashes.install(shell, jobs)
    shell.Completer.custom_matchers.append(magics.completion.complete)
    for line in shortcomings():
        print(f"ipykill: {line}")


def unload(shell: Any) -> None:
    """Remove the magics, and end the jobs, unless ``%reload_ext`` will load it again at once."""
    magics = _magics(shell)
    if magics is None:
        return
    _refuse_capture(shell)  # else %reload_ext would unload and then not load
    reload = _is_reload()
    if not reload:
        magics.end_all("ipykill was unloaded")
    output.uninstall(jobs)
    panel.uninstall(shell, jobs)
    foreground.uninstall(jobs)
    for kind, names in magics.magics.items():
        for name in names:
            shell.magics_manager.magics[kind].pop(name, None)
    shell.magics_manager.registry.pop(type(magics).__name__, None)
    shell.configurables.remove(magics)
    shell.input_transformers_post.remove(refuse_below)
    clashes.uninstall(shell)
    shell.Completer.custom_matchers.remove(magics.completion.complete)
    if not (reload or jobs.running()):  # a job that still runs needs the wrappers
        restore_all()


def _is_reload() -> bool:
    """Whether ``%reload_ext`` calls; IPython does not tell an extension, so look at the stack."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code is not ExtensionManager.reload_extension.__code__:
        frame = frame.f_back
    return frame is not None


def _refuse_capture(shell: Any) -> None:
    """Raise if the standard streams or displays are captured, until the end of the cell."""
    if output.captured() or isinstance(shell.display_pub, CapturingDisplayPublisher):
        msg = (
            "ipykill cannot be loaded or unloaded while output is captured (%%capture, "
            "redirect_stdout); do it in a cell of its own"
        )
        error = RuntimeError(msg)
        # Not a UsageError, which IPython would print to the captured stream.
        error._render_traceback_ = lambda: [f"RuntimeError: {msg}"]  # type: ignore[attr-defined]
        raise error


def _magics(shell: Any) -> BackgroundMagics | None:
    found = shell.magics_manager.registry.get(BackgroundMagics.__name__)
    return found if isinstance(found, BackgroundMagics) else None
