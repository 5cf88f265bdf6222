"""Which bars of tqdm stand below each other: those of one job, and those of the foreground.

tqdm has one list of all bars of the process. It paints a bar that is not the first some lines
further down, by cursor movements that a notebook does not follow: each step would be a new line
there. But bars of different jobs stand below different cells. So here each job has a list of its
own, and a lock of its own: if a killed job leaves its lock held, that blocks no other job.
"""

from __future__ import annotations

import contextvars
import functools
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from ..base.wrapping import replace, wrap
from ..core.current import act_for, current_job
from ..core.job import Job

__all__ = ["separate"]

_PATIENCE = 1.0  # seconds to wait for the lock of a killed job, whose holder may be dead


class _Bars:
    """Replaces ``tqdm._instances``, a weak set."""

    def __init__(self, foreground: weakref.WeakSet[Any]) -> None:
        self._foreground = foreground
        self._of_jobs: weakref.WeakKeyDictionary[Job, weakref.WeakSet[Any]] = (
            weakref.WeakKeyDictionary()
        )

    def _mine(self) -> weakref.WeakSet[Any]:
        job = current_job()
        if job is None:
            return self._foreground
        return self._of_jobs.setdefault(job, weakref.WeakSet())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mine(), name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._mine())

    def __len__(self) -> int:
        return len(self._mine())

    def __contains__(self, bar: object) -> bool:
        return bar in self._mine()

    def remove(self, bar: object) -> None:
        """Remove a bar of any job or of the foreground."""
        for bars in (self._foreground, *self._of_jobs.values()):
            if bar in bars:
                bars.remove(bar)
                return
        raise KeyError(bar)

    def copy(self) -> set[Any]:
        """Return all bars, for the thread with which tqdm monitors them."""
        return {bar for bars in (self._foreground, *self._of_jobs.values()) for bar in bars}


class _Lock:
    """Replaces ``tqdm._lock``."""

    def __init__(self, foreground: Any) -> None:
        self._foreground = foreground
        self._of_jobs: weakref.WeakKeyDictionary[Job, Any] = weakref.WeakKeyDictionary()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._foreground, name)

    def __reduce__(self) -> Any:  # other processes have no jobs: they get the original
        return _itself, (self._foreground,)

    def acquire(self, *args: Any, **kwargs: Any) -> Any:
        job = current_job()
        if job is None or args or kwargs:
            return self._of(job).acquire(*args, **kwargs)
        while not (held := self._of(job).acquire(timeout=_PATIENCE)) and job.requested != "kill":
            pass
        return held

    def release(self) -> None:
        job = current_job()
        try:
            self._of(job).release()
        except RuntimeError:  # acquire() has given up
            if job is None or job.requested != "kill":
                raise

    def _of(self, job: Job | None) -> Any:
        if job is None:
            return self._foreground
        return self._of_jobs.setdefault(job, threading.RLock())

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


def _itself(lock: Any) -> Any:
    return lock


def separate(tqdm: Any) -> None:
    """Separate the bars of jobs from now on."""
    if not isinstance(tqdm._instances, _Bars):
        replace(tqdm, "_instances", _Bars(tqdm._instances))
        replace(tqdm, "_lock", _Lock(tqdm.get_lock()))
    # The thread of tqdm paints bars that have not moved for long, and the garbage collector closes
    # bars that were left open, in any thread: both act in the name of the bar's job.
    for name in ("display", "close"):
        wrap(tqdm, name, _in_its_job)
    wrap(tqdm, "__init__", _noting)


def _noting(init: Callable[..., None]) -> Callable[..., None]:
    def noted_init(self: Any, *args: Any, **kwargs: Any) -> None:
        job = current_job()
        if job is not None:
            vars(self)["_ipykill_job"] = weakref.ref(job)
        init(self, *args, **kwargs)

    return noted_init


def _in_its_job(method: Callable[..., Any]) -> Callable[..., Any]:
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        reference = vars(self).get("_ipykill_job")
        job = None if reference is None else reference()
        if job is None or current_job() is job:
            return method(self, *args, **kwargs)
        call = functools.partial(method, self, *args, **kwargs)
        return contextvars.copy_context().run(act_for, job, call)

    return called
