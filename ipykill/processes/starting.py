"""Start a process in a process group of its own, or with SIGINT blocked."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any

__all__ = ["own_group", "without_interrupt"]


def own_group(arguments: dict[str, Any], *, change: bool = True) -> bool:
    """Let a `subprocess.Popen` with these arguments lead a process group of its own.

    Parameters
    ----------
    change
        Whether the arguments may be changed for that.

    Returns
    -------
    bool
        Whether it will lead one. It will not if the caller has put it into another group.
    """
    if os.name != "posix":
        return False
    if arguments.get("start_new_session"):
        return True
    group = arguments.get("process_group")
    if group is not None and group != -1:
        return bool(group == 0)
    if not change:
        return False
    if (preexec := arguments.get("preexec_fn")) is not None:
        # The user's function may call os.setsid, which fails in the leader of a group.
        arguments["preexec_fn"] = _then_own_group(preexec)
    else:
        arguments["process_group"] = 0
    return True


def _then_own_group(preexec: Callable[[], object]) -> Callable[[], None]:
    parents = os.getpgrp()

    def run() -> None:
        preexec()
        if os.getpgrp() == parents:
            os.setpgid(0, 0)

    return run


@contextlib.contextmanager
def without_interrupt(process: BaseProcess) -> Iterator[None]:
    """Block SIGINT in `process`, of `multiprocessing`, which is started within this context.

    A process inherits the signals that its starting thread has blocked. With the start method
    "forkserver" another process starts it, so this does nothing.
    """
    method = getattr(process, "_start_method", None)
    if method is None:
        import multiprocessing

        method = multiprocessing.get_start_method()
    if method == "forkserver" or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    if method == "spawn":
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # else it would start below, and unblock SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
