"""Waiting for the end of a job, and getting its value or its error."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, cast

from ..base import locks
from ..base.tracebacks import below_us, hidden, set_traceback
from ..exceptions import JobAborted, JobError, JobTimeout
from .current import own_job
from .facts import JobFacts
from .info import JobState
from .view import JobView

if TYPE_CHECKING:
    from .job import Job

__all__ = ["JobResult"]

_logger = logging.getLogger("ipykill")

_waiting = locks.RLock()  # held while a thread looks which jobs wait for which


class JobResult(JobView):
    """The part of a `Job` that is for callers who wait for it."""

    _value: object = None
    _forgotten = ""  # why the value is not kept any more

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._callbacks: list[Callable[[], None]] = []
        self._wakers: list[Callable[[], None]] = []

    @hidden
    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the job is over, or `timeout` seconds; return whether it is.

        Raises
        ------
        JobError
            The job's own thread called, or, without a `timeout`, that of a job for which this
            one waits in turn: it would wait for itself for ever.
        """
        self.refuse_itself()
        waiter = own_job()
        if waiter is None or timeout is not None or self.done():
            return self.over.wait(timeout)
        with _waiting:
            # If several jobs come to wait for each other, the last one to come here sees that.
            if circle := self.way_to(waiter):
                names = " waits for ".join(f"job {job.id} ({job.name})" for job in circle)
                msg = f"job {waiter.id} ({waiter.name}) would wait for itself: {names}"
                raise JobError(msg)
            waiter.waits_for = (self,)
        waiter._on_wait()
        try:
            return self.over.wait()
        finally:
            waiter.waits_for = ()

    def way_to(self, other: JobFacts) -> list[JobFacts]:
        """Return the chain of waiting jobs from this one to `other`, empty if there is none."""
        ways: list[list[JobFacts]] = [[self]]
        seen: set[JobFacts] = {self}
        for way in ways:
            if way[-1] is other:
                return way
            for job in way[-1].waits_for:
                if job not in seen:
                    seen.add(job)
                    ways.append([*way, job])
        return []

    def refuse_itself(self) -> None:
        """Raise `JobError` if the job's own thread calls, as it is about to wait for itself."""
        if threading.get_ident() == self.thread.ident and not self.done():
            msg = f"job {self.id} ({self.name}) cannot wait for itself"
            raise JobError(msg)

    @hidden
    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end and return what `result` would raise, None if the job is done.

        Raises
        ------
        TimeoutError
            The job is not over after `timeout` seconds.
        JobError
            As for `wait`.
        """
        if not self.wait(timeout):
            msg = f"job {self.id} ({self.name}) is still {self.state.value} after {timeout} s"
            raise TimeoutError(msg)
        if self._outcome is JobState.DONE:
            return None
        if self._outcome is JobState.FAILED:
            assert self.failure is not None
            return self.failure.error
        assert self._outcome is not None
        kind = JobTimeout if self.overdue and self._reason == "timeout" else JobAborted
        why = f": {self._reason}" if self._reason else ""
        return kind(f"job {self.id} ({self.name}) was {self._outcome.value}{why}")

    @hidden
    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end and return the value of the job's code.

        Raises
        ------
        JobAborted
            The job was stopped, killed or skipped; `JobTimeout` if its deadline did that.
        TimeoutError
            The job is not over after `timeout` seconds.
        JobError
            The value is not kept any more: the job was cleared, or its cell was run again. Or
            as for `wait`.
        BaseException
            What the job's code raised. If another job has failed since, or this one was
            cleared, it is a copy of that error, whose cause is the traceback as text.
        """
        error = self.exception(timeout)
        if error is not None:
            raise error
        value = self._value
        if forgotten := self._forgotten:
            msg = f"job {self.id} ({self.name}) has no value any more: {forgotten}"
            raise JobError(msg)
        return value

    def forget(self, why: str) -> None:
        """Let go of the value of a job that is over, and of the frames of its error.

        Parameters
        ----------
        why
            The reason that `result` gives from now on.
        """
        self._forgotten = self._forgotten or why  # first: result() reads it after the value
        self._value = None
        self._size = 0
        self._last_info = None
        if self.failure is not None:
            self.failure.let_go()

    def add_done_callback(self, fn: Callable[[Job], object]) -> None:
        """Call ``fn(job)`` when the job is over.

        Callbacks run one after another on a thread of ipykill, never on the job's. If the
        job is over already, the callback runs at once in the calling thread. Errors of
        callbacks are logged.
        """
        call = functools.partial(self._call_back, fn)
        self._callbacks.append(call)
        if self.over.is_set() and _take(self._callbacks, call):
            call()

    def _call_back(self, fn: Callable[[Job], object]) -> None:
        try:
            fn(cast("Job", self))
        except Exception:
            _logger.exception("a done callback of job %s (%s) failed", self.id, self.name)

    def take_callbacks(self) -> tuple[list[Callable[[], None]], list[Callable[[], None]]]:
        """Hand over the calls that are due now that the job is over; for the manager.

        Returns
        -------
        wakers, callbacks
            The calls that wake the tasks that await the job, and the callbacks of users.
        """
        return list(_drain(self._wakers)), list(_drain(self._callbacks))

    def __await__(self) -> Generator[Any, None, Any]:
        self.refuse_itself()
        loop = asyncio.get_running_loop()
        over = loop.create_future()

        def wake() -> None:
            if not over.done():
                over.set_result(None)

        def notify() -> None:
            try:
                loop.call_soon_threadsafe(wake)
            except RuntimeError:  # the loop is closed, nobody waits any more
                pass

        self._wakers.append(notify)
        if self.over.is_set() and _take(self._wakers, notify):
            wake()
        waiter = own_job()
        if waiter is not None:
            waiter._awaits += 1
            waiter._on_wait()
        try:
            yield from over.__await__()
        finally:
            if waiter is not None:
                waiter._awaits -= 1
        try:
            return self.result(0)
        except BaseException as error:
            set_traceback(error, below_us(error.__traceback__))
            raise  # without our frames, as `hidden` does for plain functions


def _take(calls: list[Callable[[], None]], call: Callable[[], None]) -> bool:
    """Take a call out of a list; return False if another thread has taken it."""
    try:
        calls.remove(call)  # atomic
    except ValueError:
        return False
    return True


def _drain(calls: list[Callable[[], None]]) -> Iterator[Callable[[], None]]:
    while calls:
        try:
            yield calls.pop(0)
        except IndexError:  # _take() took the last one just now
            return
