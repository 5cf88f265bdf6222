"""There: a shell of IPython, made when code first needs one.

The code of a cell needs one for a magic, ``!command``, ``display`` or pyplot. The shell runs no
prompt and keeps no history. All jobs of the process, on a worker of a cluster, share it: displays
go to the output of the job that uses it, and its variables are that job's. A worker without
IPython has no shell.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
import threading
import traceback
from typing import Any

from ..base import stack
from ..base.imports import when_imported
from ..core.current import current_job
from ..integrations import figures
from .echo import Echo

__all__ = ["display", "get_ipython", "install", "plain_lines", "traceback_lines"]

_lock = threading.RLock()
_shell: Any = None
_has_ipython = importlib.util.find_spec("IPython") is not None


def install(namespace: dict[str, Any]) -> None:
    """Put ``display`` and ``get_ipython`` into the namespace of a job."""
    namespace["display"] = display
    if _has_ipython:
        namespace["get_ipython"] = get_ipython
        _install_figures()


@functools.cache
def _install_figures() -> None:
    figures.install()
    when_imported("matplotlib.pyplot", lambda module: get_ipython())


def get_ipython() -> Any:
    """Return the shell; make it at the first call."""
    global _shell
    with _lock:
        if _shell is None:
            _shell = _make()
            _make_ready(_shell)
        return _shell


def display(*things: Any, **kwargs: Any) -> Any:
    """Display objects as IPython does; without IPython, as text."""
    if not _has_ipython:
        for thing in things:
            if (echo := _echo()) is not None:
                data = {"text/plain": repr(thing)}
                echo.display("display_data", {"data": data, "metadata": {}, "transient": {}})
        return None
    from IPython.display import display as really

    get_ipython()
    return really(*things, **kwargs)


def traceback_lines(error: BaseException) -> list[str]:
    """Return a traceback as IPython formats it, or Python if there is no IPython."""
    if not _has_ipython:
        return plain_lines(error)
    from ..output import format_error

    return format_error(get_ipython(), error)


def plain_lines(error: BaseException) -> list[str]:
    """Return a traceback as Python formats it."""
    tb = stack.without_machinery(error.__traceback__)
    return "".join(traceback.format_exception(type(error), error, tb)).splitlines()


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

        @property
        def user_ns(self) -> dict[str, Any]:
            """The variables of the job whose code is calling."""
            echo = _echo()
            namespace: dict[str, Any] = self._own if echo is None else echo.shell.user_ns
            return namespace

        @user_ns.setter
        def user_ns(self, namespace: dict[str, Any]) -> None:
            self._own = namespace

        @property
        def user_global_ns(self) -> dict[str, Any]:
            return self.user_ns

        def enable_gui(self, gui: Any = None) -> None:
            """Do nothing: no event loop of a window system runs here."""

    config = Config()
    config.HistoryManager.enabled = False
    # The shell replaces the module __main__ while it is made.
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
