"""How a pool of `multiprocessing` that a job has made ends with the job: by its ``terminate()``.

Such a pool has three threads, and its processes share locks. If a Kill ended each of them by
itself, a process might die with a lock for which the pool waits for ever when the interpreter
exits. So of the three threads the *keeper*, which looks after the processes, dies first. It does
what ``Pool.terminate`` does, for which it needs the others, and these die after it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from ..base.waiting import Latch
from ..exceptions import JobKilled
from ..kill import Target, current_target
from ..processes import timing
from ..threads import ServiceThread

__all__ = ["keeper_of", "registered", "run_keeper"]

_SOON = 0.0005  # seconds between two looks


def keeper_of(starter: FrameType | None) -> threading.Thread | None:
    """Return the keeper of the pool whose ``__init__`` runs in a frame, None if it has none yet."""
    if starter is None or starter.f_globals.get("__name__") != "multiprocessing.pool":
        return None
    keeper = getattr(starter.f_locals.get("self"), "_worker_handler", None)
    return keeper if isinstance(keeper, threading.Thread) else None


def registered(
    keeper: threading.Thread | None,
    target_of: Callable[[threading.Thread], Target | None],
    latches: Mapping[threading.Thread, Latch],
) -> Target | None:
    """Wait for the record of `keeper`, another thread, and return it; None if it has ended."""
    if keeper is None or keeper is threading.current_thread():
        return None
    while (target := target_of(keeper)) is None:  # its record comes with its first line
        latch = latches.get(keeper)
        if latch is None or latch.is_set():
            return None
        time.sleep(_SOON)
    return target


def run_keeper(keeper: threading.Thread, run: Callable[[], None]) -> None:
    """Call `run`, the code of a keeper, in its own thread; if that is killed, terminate the pool.

    Raises
    ------
    JobKilled
        Afterwards.
    """
    try:
        run()
    except JobKilled:
        from multiprocessing import util

        target = current_target()
        assert target is not None
        target.group.note_descendants(target.group.children())
        for finalizer in list(util._finalizer_registry.values()):  # type: ignore[attr-defined]
            arguments: tuple[Any, ...] = finalizer._args or ()
            if any(it is keeper for it in arguments):
                with contextlib.suppress(Exception):  # whatever is wrong is no reason to live on
                    _terminate(finalizer, taskqueue=arguments[0], workers=arguments[3])
        raise


def _terminate(finalizer: Any, *, taskqueue: Any, workers: list[Any]) -> None:
    ended = threading.Event()

    def insist() -> None:
        if not ended.wait(timing.grace):  # a process ignores SIGTERM
            for worker in list(workers):
                if hasattr(worker, "kill"):  # a worker may be a thread
                    worker.kill()

    pool = finalizer._weakref and finalizer._weakref()
    taskqueue.put(None)  # the last that a keeper does: no more tasks come
    ServiceThread(insist, "pool").start()
    try:
        if pool is None:
            finalizer()
        else:
            pool.terminate()
    finally:
        ended.set()
