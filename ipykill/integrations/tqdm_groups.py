"""The bars of tqdm that stand together: those of a job, and those of the foreground.

tqdm has one list of all bars of the process. A bar that is not the first in it is painted some
lines further down, by movements of the cursor that a notebook does not make: each step is then a
new line. Bars of different jobs stand below different cells, so here each job has a list, and a
lock, of its own. A lock that a killed job has left held stops nobody else either.
"""

from __future__ import annotations

import contextvars
import functools
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from ..core.current import act_for, current_job
from ..core.job import Job

__all__ = ["separate"]

_PATIENCE = 1.0  # seconds to wait for the lock of a killed job, whose holder may be dead


class _Bars:
    """Stands in for ``tqdm._instances``, a weak set."""

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
        """Remove a bar, whoever has made it."""
        for bars in (self._foreground, *self._of_jobs.values()):
            if bar in bars:
                bars.remove(bar)
                return
        raise KeyError(bar)

    def copy(self) -> set[Any]:
        """Return all bars, for tqdm's thread that looks after them."""
        return {bar for bars in (self._foreground, *self._of_jobs.values()) for bar in bars}


class _Lock:
    """Stands in for ``tqdm._lock``."""

    def __init__(self, foreground: Any) -> None:
        self._foreground = foreground
        self._of_jobs: weakref.WeakKeyDictionary[Job, Any] = weakref.WeakKeyDictionary()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._foreground, name)

    def __reduce__(self) -> Any:  # other processes have no jobs
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
    """Separate the bars of jobs from now on, until the process ends."""
    tqdm._instances = _Bars(tqdm._instances)
    tqdm.set_lock(_Lock(tqdm.get_lock()))
    # tqdm's own thread paints bars that have not moved for long, and the garbage collector
    # closes those that were left open, in whatever thread.
    for name in ("display", "close"):
        setattr(tqdm, name, _in_its_job(getattr(tqdm, name)))
    init = tqdm.__init__

    @functools.wraps(init)
    def noted_init(self: Any, *args: Any, **kwargs: Any) -> None:
        job = current_job()
        if job is not None:
            vars(self)["_ipykill_job"] = weakref.ref(job)
        init(self, *args, **kwargs)

    tqdm.__init__ = noted_init


def _in_its_job(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        reference = vars(self).get("_ipykill_job")
        job = None if reference is None else reference()
        if job is None or current_job() is job:
            return method(self, *args, **kwargs)
        call = functools.partial(method, self, *args, **kwargs)
        return contextvars.copy_context().run(act_for, job, call)

    return called
