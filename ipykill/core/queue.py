"""When pending jobs start, and what ends the jobs that have passed their deadlines."""

from __future__ import annotations

import functools
import math
import time
import weakref

from . import render
from .agent import Agent
from .info import JobState
from .interrupts import uninterrupted
from .job import Job
from .table import JobTable

__all__ = ["JobQueue"]


class JobQueue(JobTable):
    """Jobs that wait for others, or for a place among those that run.

    Attributes
    ----------
    grace : float
        Seconds from the Stop of a job that passed its deadline until it is killed.

    Threading
    ---------
    Any thread may call any method. `_lock` guards the pending jobs too; it is not held while a
    job is started or ended.
    """

    def __init__(self) -> None:
        super().__init__()
        self.grace = 5.0
        self._max_running = 0

    def _begin(self) -> None:
        super()._begin()
        self._pending: dict[Job, tuple[Job, ...]] = {}
        self._clock = Agent("manager")
        self._callbacks = Agent("callbacks")

    @property
    def max_running(self) -> int:
        """How many jobs may run at once; later ones wait for their turn. 0: no limit.

        A job that waits for another job does not count as running, because that other job may
        be one that waits for its turn.
        """
        return self._max_running

    @max_running.setter
    def max_running(self, number: int) -> None:
        self._max_running = number
        with uninterrupted():
            self._advance()

    def _advance(self) -> None:
        """Start, or skip, the pending jobs whose turn it is; call this within `uninterrupted`."""
        while self._pending:
            with self._lock:
                job, failed = self._take_ready()
            if job is None:
                return
            if failed is not None:
                state = failed.state.value
                how = state if state == "failed" else f"was {state}"
                job.skip(f"{render.named(failed)} {how}")
            elif job.start():
                self._wait_for_deadline(weakref.ref(job))

    def _take_ready(self) -> tuple[Job | None, Job | None]:
        full = False
        if self.max_running:
            started = (job for job in self._jobs.values() if job not in self._pending)
            full = sum(not (job.done() or job.waits) for job in started) >= self.max_running
        for job, after in self._pending.items():
            failed = next((it for it in after if it.done() and it.state is not JobState.DONE), None)
            ready = not full and all(it.done() for it in after)
            if ready or failed is not None or job.done():
                del self._pending[job]
                job.waits_for = ()
                return job, failed
        return None, None

    # These three take a weak reference, so that a job that ended long before its deadline can be
    # forgotten. They compare the deadline with the clock because it may have been set anew.

    def _wait_for_deadline(self, ref: weakref.ref[Job]) -> None:
        job = ref()
        if job is not None and job.deadline < math.inf:
            self._clock.call(functools.partial(self._expire, ref), job.deadline)

    def _expire(self, ref: weakref.ref[Job]) -> None:
        job = ref()
        if job is not None and not job.done() and job.deadline <= time.monotonic():
            job.overdue = True
            job.stop(reason="timeout")
            self._clock.call(functools.partial(self._overdue, ref), time.monotonic() + self.grace)

    def _overdue(self, ref: weakref.ref[Job]) -> None:
        job = ref()
        if job is not None and not job.done() and job.deadline <= time.monotonic():
            job.kill(reason="timeout")

    def _ended(self, job: Job) -> None:
        # The job's own thread calls this, or the thread that ended a pending job.
        wakers, callbacks = job.take_callbacks()
        for waker in wakers:  # on another thread than the users' callbacks, which may be slow
            self._clock.call(waker)
        for callback in [*callbacks, job.let_go_of_bars]:
            self._callbacks.call(callback)
        self._advance_soon()

    def _advance_soon(self) -> None:
        if self._pending:
            self._clock.call(self._advance)
