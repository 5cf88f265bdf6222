"""Functions that ask a person, such as `input`, raise an error in a job.

Nobody could answer. The kernel would show the question below the cell that runs, which is another
one, or, when none runs, read a standard input on which nothing ever comes. In a terminal the
job and the prompt would take the keys from each other.

The functions stay wrapped until the process ends; outside jobs the wrappers change nothing.
"""

from __future__ import annotations

import builtins
import functools
import getpass
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..base.holding import holds
from ..base.imports import when_imported
from .current import current_job

__all__ = ["install"]

_shell = False  # whether an IPython reads the standard input


def install(shell: Any = None) -> None:
    """Make `input`, `getpass` and the debugger raise in jobs, from now on.

    Parameters
    ----------
    shell
        The IPython that reads what is typed. In plain Python, a job may read a standard input
        that is no terminal.
    """
    global _shell
    if shell is None and hasattr(builtins.input, "_ipykill_guard"):
        return  # each launch calls this; the first one has installed it
    _shell = _shell or shell is not None
    _guard(builtins, "input")
    _guard(getpass, "getpass")
    kernel = getattr(shell, "kernel", None)
    # While a cell runs, ipykernel (6.29 to 7.4) replaces `input` and `getpass` by its methods
    # `raw_input` and `getpass`; after the cell it puts back the originals, which it keeps as
    # `_sys_raw_input` and `_save_getpass` (`IPythonKernel._forward_input`). Code that imported
    # `input` or `getpass` in an earlier cell calls the kernel's method later on as well; both
    # methods call `_input_request`.
    names = ("raw_input", "getpass", "_sys_raw_input", "_save_getpass", "_input_request")
    for name in names:
        if callable(getattr(kernel, name, None)):
            _guard(kernel, name)
    when_imported("pdb", _guard_debugger, for_good=True)
    when_imported("debugpy.server.api", _guard_debugpy, for_good=True)


def _guard(owner: Any, name: str) -> None:
    ask = getattr(owner, name)
    if not hasattr(ask, "_ipykill_guard"):
        setattr(owner, name, _guarded(ask))


def _guarded(ask: Callable[..., Any]) -> Callable[..., Any]:
    is_getpass = "pass" in ask.__name__

    @functools.wraps(ask)
    @holds("it asks for input")
    def guarded(*args: Any, **kwargs: Any) -> Any:
        job = current_job()
        if job is not None and _is_question():
            # EOFError, as at the end of the standard input: much code is prepared for that.
            word = "getpass" if is_getpass or kwargs.get("password") else "input"
            msg = (
                f"{word}() in job {job.id} ({job.name}): nobody can answer a background job. "
                "Ask in the foreground, before it starts, and let it use the answer."
            )
            raise EOFError(msg)
        return ask(*args, **kwargs)

    guarded._ipykill_guard = True  # type: ignore[attr-defined]
    return guarded


def _is_question() -> bool:
    try:
        return _shell or os.isatty(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):  # closed, or there is none
        return False


def _guard_debugger(pdb: ModuleType) -> None:
    # ipykernel replaces `pdb.Pdb` by a subclass of its own.
    base = next(it for it in pdb.Pdb.__mro__ if it.__module__ == "pdb")
    for name in ("set_trace", "interaction"):
        method = getattr(base, name)
        if not hasattr(method, "_ipykill_guard"):
            setattr(base, name, _guarded_debugger(method))


def _guarded_debugger(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    @holds("it is in the debugger")
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        # A debugger that talks through a socket is allowed.
        if self.stdin is sys.stdin and _is_question():
            _refuse_debugger()
        return method(self, *args, **kwargs)

    guarded._ipykill_guard = True  # type: ignore[attr-defined]
    return guarded


def _guard_debugpy(api: ModuleType) -> None:
    """Make `breakpoint` raise in a job where debugpy would silently do nothing.

    In ipykernel, `breakpoint` calls debugpy, which pauses only for a front end whose debugger is
    on. It pauses in the frame that called it, so no wrapper of ours may stand in between. So
    this wraps the function by which debugpy asks whether a front end is there (debugpy 1.8,
    ``debugpy.server.api.breakpoint``).
    """
    connected = api.is_client_connected
    if hasattr(connected, "_ipykill_guard"):
        return

    @functools.wraps(connected)
    def guarded() -> bool:
        answer: bool = connected()
        if not answer and sys._getframe(1).f_code is api.breakpoint.__code__:
            _refuse_debugger()
        return answer

    guarded._ipykill_guard = True  # type: ignore[attr-defined]
    api.is_client_connected = guarded  # type: ignore[attr-defined]


def _refuse_debugger() -> None:
    job = current_job()
    if job is not None:
        msg = (
            f"pdb in job {job.id} ({job.name}): no prompt leads to a background job; debug its "
            f"code in a cell without %%bg, or when the job has failed, by "
            f"ipykill.jobs[{job.id}].result() and %debug"
        )
        raise RuntimeError(msg)
