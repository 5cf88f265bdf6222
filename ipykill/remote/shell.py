"""There: a shell of IPython, made when something asks for one.

The code of a cell asks for one with a magic, ``!command``, ``display`` or pyplot. It runs no
prompt and keeps no history; what is displayed goes to the output of the job.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from ..base.imports import when_imported
from ..core.current import current_job
from ..integrations import figures
from .echo import Echo

__all__ = ["display", "get_ipython", "install", "traceback_lines"]

_lock = threading.RLock()
_shell: Any = None
_namespace: dict[str, Any] = {}


def install(namespace: dict[str, Any]) -> None:
    """Let code find a shell that works on `namespace`; for a process of our own."""
    global _namespace
    _namespace = namespace
    namespace.update(get_ipython=get_ipython, display=display)
    figures.install()
    when_imported("matplotlib.pyplot", lambda module: get_ipython())


def get_ipython() -> Any:
    """Return the shell."""
    global _shell
    with _lock:
        if _shell is None:
            _shell = _make()
            _make_ready(_shell)
        return _shell


def display(*things: Any, **kwargs: Any) -> Any:
    """Display things, as IPython does."""
    from IPython.display import display as really

    get_ipython()
    return really(*things, **kwargs)


def traceback_lines(error: BaseException) -> list[str]:
    """Return a traceback as a shell formats it."""
    from ..output import format_error

    return format_error(get_ipython(), error)


def _echo() -> Echo | None:
    job = current_job()
    return job.host if job is not None and isinstance(job.host, Echo) else None


def _make() -> Any:
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets import Type
    from traitlets.config import Config

    class Publisher(DisplayPublisher):
        def publish(
            self,
            data: Any,
            metadata: Any = None,
            source: Any = None,
            *,
            transient: Any = None,
            update: bool = False,
            **kwargs: Any,
        ) -> None:
            if (echo := _echo()) is not None:
                content = {"data": data, "metadata": metadata or {}, "transient": transient or {}}
                echo.display("update_display_data" if update else "display_data", content)

        def clear_output(self, wait: bool = False) -> None:
            if (echo := _echo()) is not None:
                echo.display("clear_output", {"wait": wait})

    class Shell(InteractiveShell):
        display_pub_class = Type(Publisher)

        def enable_gui(self, gui: Any = None) -> None:
            """Run no event loop of a window system."""

    config = Config()
    config.HistoryManager.enabled = False
    # The shell puts a module of its own in the place of __main__ for a moment.
    main, hook = sys.modules["__main__"], sys.excepthook
    try:
        return Shell.instance(config=config, user_module=main, user_ns=vars(main))
    finally:
        sys.modules["__main__"] = main
        sys.excepthook = hook


def _make_ready(shell: Any) -> None:
    from ..cells import cell
    from ..output import capture, show_errors_of_jobs

    capture.install()
    cell.install(shell)
    show_errors_of_jobs(shell)
    if "matplotlib" in sys.modules:
        shell.enable_matplotlib("inline")
