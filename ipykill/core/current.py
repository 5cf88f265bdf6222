"""Which job the code belongs to that is running, and what that code may ask.

A context variable says so: what a job's code starts or asks for, in whatever thread, is done in
a copy of its context.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from ..base import stack
from ..base.tracebacks import hidden
from ..exceptions import JobKilled, JobStopped
from ..kill import current_target
from .family import Family, asks
from .info import Bar

if TYPE_CHECKING:
    from .job import Job

__all__ = [
    "Candidate",
    "act_as",
    "act_for",
    "become",
    "candidate",
    "checkpoint",
    "current_job",
    "every",
    "own_job",
    "run_as",
    "sleep",
    "stop_requested",
]


class Candidate(Protocol):
    """Code that runs in the foreground and may become a job, see `ipykill.foreground`."""

    def settled(self) -> Job | None:
        """Return the job that it has become; waits while that is being decided."""

    def write(self, name: str, write: Callable[[str], int], text: str) -> int:
        """Write to the stream `name` with `write`, or as the job that it is now."""

    def add_bar(self, bar: Bar) -> None:
        """Let `bar` tell how far it is, see `Job.add_bar`."""

    def showing(self) -> AbstractContextManager[None]:
        """Within, the error is shown with which it has ended, unless it is a job by now."""

    def asked(self) -> bool:
        """Whether the job that it has become was asked to end."""


_current: contextvars.ContextVar[Job | Candidate] = contextvars.ContextVar("ipykill_current_job")


def current_job() -> Job | None:
    """Return the job whose code is calling, None outside any job."""
    found = _current.get(None)
    return None if found is None else found.settled()


def own_job() -> Job | None:
    """Return the job whose first thread, without which it cannot end, is calling."""
    job = current_job()
    return job if job is not None and job.thread.ident == threading.get_ident() else None


def become(job: Job) -> None:
    """Let all that the calling context runs from now on be the job's."""
    _current.set(job)


@stack.machinery
def run_as(job: Job, family: Family, call: Callable[[], object]) -> object:
    """Make a call that is the job's own code, in a context of its own."""
    _current.set(job)
    family.claim()
    return call()


def act_for(job: Job, call: Callable[[], object]) -> object:
    """Make a call in the name of `job`, in a context of the caller's own."""
    _current.set(job)
    return call()


def act_as(candidate: Candidate, family: Family) -> Callable[[], None]:
    """Let the code that calls be a candidate's, until what is returned is called."""
    tokens = _current.set(candidate), asks.set(family)

    def undo() -> None:
        _current.reset(tokens[0])
        asks.reset(tokens[1])

    return undo


def candidate() -> Candidate | None:
    """Return what is calling if it is code in the foreground that may become a job."""
    found = _current.get(None)
    if found is None or found.settled() is not None:
        return None
    return found  # type: ignore[return-value]  # a job has settled


def stop_requested() -> bool:
    """Whether the job whose code is calling was asked to stop, or is being killed."""
    job = current_job()
    return job is not None and job.asked()


def checkpoint() -> None:
    """Let a Stop take effect here.

    Does nothing outside a job, inside `shield`, or in a thread that the cleanup of the one that
    started it may need.

    Raises
    ------
    JobStopped
        The job was asked to stop. Every later checkpoint raises it again.
    JobKilled
        The job is being killed.
    """
    job = current_job()
    if job is None or not job.asked():
        return
    if _is_excused(job):
        return
    if job.requested == "kill":
        target = current_target()
        raise target.strike() if target is not None and target.wanted else JobKilled
    raise JobStopped


def _is_excused(job: Job) -> bool:
    target = current_target()
    return target is not None and (
        target.depth > 0 or (job.requested == "kill" and not target.has_turn)
    )


@hidden
def sleep(seconds: float) -> None:
    """Sleep like `time.sleep`, and end at once when the job is asked to stop.

    Outside a job, and inside `shield`, it sleeps for the whole time.

    Raises
    ------
    JobStopped, JobKilled
        As `checkpoint` does, before and after the sleep.
    """
    checkpoint()
    job = current_job()
    if job is None or _is_excused(job):
        time.sleep(seconds)
    else:
        if seconds < 0:
            msg = "sleep length must be non-negative"
            raise ValueError(msg)
        job.wait_for_stop(seconds)
        checkpoint()


def every(seconds: float) -> Iterator[int]:
    """Yield 0 at once, then the number of the beat every so many `seconds`, for ever.

    For what has to be done again and again: ``for beat in ipykill.every(60): refresh()``.
    Between two beats a Stop ends the job at once, see `sleep`. A beat that comes while the
    body still works is left out, and the next one is on time.

    Raises
    ------
    ValueError
        `seconds` is not above zero.
    """
    if not seconds > 0:
        msg = f"every() needs a number of seconds above 0, not {seconds!r}"
        raise ValueError(msg)
    return _beats(seconds)


def _beats(seconds: float) -> Iterator[int]:
    begin = time.monotonic()
    beat = 0
    while True:
        checkpoint()
        yield beat
        passed = time.monotonic() - begin
        beat = max(beat, int(passed / seconds)) + 1
        sleep(max(begin + beat * seconds - time.monotonic(), 0.0))
