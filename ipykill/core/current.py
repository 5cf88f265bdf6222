"""Which job the running code belongs to, and what that code may ask.

A context variable holds the job. Other threads and event loops do what a job asks of them in a copy
of its context, so the variable is right there as well.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from ..base import stack
from ..base.tracebacks import below_us, hidden, set_traceback
from ..exceptions import JobKilled, JobStopped
from ..kill import current_target
from .family import Family
from .info import Bar

if TYPE_CHECKING:
    from .job import Job

__all__ = [
    "Candidate",
    "act_as",
    "act_for",
    "acting",
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
    """A cell that runs in the foreground and may become a job, see `ipykill.foreground`."""

    def settled(self) -> Job | None:
        """Return the job that it has become, if any; waits while that is being decided."""

    def write(self, name: str, write: Callable[[str], int], text: str) -> int:
        """Write to the stream `name`: with `write`, or as the job that it has become."""

    def add_bar(self, bar: Bar) -> None:
        """Let `bar` tell how far the cell is, see `Job.add_bar`."""

    def showing(self) -> AbstractContextManager[None]:
        """Surround the display of the error that ended it; does nothing if it is a job by now."""

    def asked(self) -> bool:
        """Whether the job that it has become was asked to end."""


acting: contextvars.ContextVar[Job | Candidate] = contextvars.ContextVar("ipykill_current_job")
"""The job, or the foreground cell, whose code runs in this context; unset for all other code."""


def current_job() -> Job | None:
    """Return the job whose code is calling, None outside any job."""
    found = acting.get(None)
    return None if found is None else found.settled()


def own_job() -> Job | None:
    """Return the job whose own thread is calling, None in any other thread."""
    job = current_job()
    return job if job is not None and job.thread.ident == threading.get_ident() else None


def become(job: Job) -> None:
    """Let all code that runs in the calling context from now on count as the job's."""
    acting.set(job)


@stack.machinery
def run_as(job: Job, family: Family, call: Callable[[], object]) -> object:
    """Run the job's own code; the caller has entered the job's context."""
    acting.set(job)
    family.claim()
    return call()


def act_for(job: Job, call: Callable[[], object]) -> object:
    """Make a call that counts as code of `job`; the caller has entered a context for it."""
    acting.set(job)
    return call()


def act_as(candidate: Candidate, family: Family) -> None:
    """Let code in the calling context count as the candidate's from now on."""
    acting.set(candidate)
    family.claim()


def caller() -> tuple[Job | None, Candidate | None]:
    """Return the job whose code is calling, or else the foreground cell; outside both, neither."""
    found = acting.get(None)
    if found is None:
        return None, None
    job = found.settled()
    return job, (found if job is None else None)  # type: ignore[return-value]  # a Job settles


def candidate() -> Candidate | None:
    """Return the foreground cell whose code is calling; None outside one, and when it is a job."""
    return caller()[1]


def stop_requested() -> bool:
    """Whether the job whose code is calling was asked to stop, or is being killed."""
    job = current_job()
    return job is not None and job.asked()


def checkpoint() -> None:
    """End the job here if it was asked to stop.

    Does nothing outside a job, and inside `shield`. During a Kill it also does nothing in a
    thread whose starter must die first, because the starter's cleanup may need this thread.

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

    Parameters
    ----------
    seconds
        How long to sleep.

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


@hidden
def every(seconds: float) -> Iterator[int]:
    """Yield 0 at once, then 1, 2, 3 ..., one number every so many `seconds`, for ever.

    For work that is done again and again: ``for beat in ipykill.every(60): refresh()``.
    Between two beats a Stop ends the job at once, see `sleep`. A beat that falls due while the
    body of the loop still works is left out, its number too, and the next one is on time.

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
    try:
        while True:
            checkpoint()
            yield beat
            passed = time.monotonic() - begin
            beat = max(beat, int(passed / seconds)) + 1
            sleep(max(begin + beat * seconds - time.monotonic(), 0.0))
    except BaseException as error:
        set_traceback(error, below_us(error.__traceback__))
        raise  # as hidden does
