"""A job asks nobody: what waits for a person's answer raises in a job.

Nobody can answer there. The kernel passes a question on to the cell that runs, which is
somebody else's, or, when none runs, reads a standard input on which nothing ever comes; in a
terminal the job and the prompt would take the keys from each other.

It stays so until the process ends; without jobs it changes nothing.
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

_shell = False  # whether the standard input belongs to a shell


def install(shell: Any = None) -> None:
    """Let `input`, `getpass` and the debugger raise in jobs, from now on.

    Parameters
    ----------
    shell
        The IPython that reads what is typed. In plain Python, a job may read a standard input
        that is no terminal.
    """
    global _shell
    if shell is None and hasattr(builtins.input, "_ipykill_guard"):
        return  # as at each launch
    _shell = _shell or shell is not None
    _guard(builtins, "input")
    _guard(getpass, "getpass")
    kernel = getattr(shell, "kernel", None)
    # While a cell runs, ipykernel (6.29 to 7.4) puts `raw_input` and `getpass` in the place of
    # those, and after it what it has kept in the other two (`IPythonKernel._forward_input`).
    # Who took `input` or `getpass` from a module in an earlier cell has a method of the kernel,
    # and comes to the last one.
    names = ("raw_input", "getpass", "_sys_raw_input", "_save_getpass", "_input_request")
    for name in names:
        if callable(getattr(kernel, name, None)):
            _guard(kernel, name)
    when_imported("pdb", _guard_debugger)
    when_imported("debugpy.server.api", _guard_debugpy)


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
            # The error of an input that is at its end, for which much code is prepared.
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
    # ipykernel replaces `pdb.Pdb` by a class of its own; the one meant is below it.
    base = next(it for it in pdb.Pdb.__mro__ if it.__module__ == "pdb")
    for name in ("set_trace", "interaction"):
        method = getattr(base, name)
        if not hasattr(method, "_ipykill_guard"):
            setattr(base, name, _guarded_debugger(method))


def _guarded_debugger(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    @holds("it is in the debugger")
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        # A debugger that talks through a socket is welcome.
        if self.stdin is sys.stdin and _is_question():
            _refuse_debugger()
        return method(self, *args, **kwargs)

    guarded._ipykill_guard = True  # type: ignore[attr-defined]
    return guarded


def _guard_debugpy(api: ModuleType) -> None:
    """Let `breakpoint` raise in a job where debugpy would silently pass over it.

    In ipykernel, debugpy stands behind `breakpoint` and pauses only for a front end whose
    debugger is on. It pauses in the frame that calls it, so there may be none of ours between
    the user's and its own, and what can be guarded is the question that it asks (debugpy 1.8,
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
