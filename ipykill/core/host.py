"""What surrounds the code of a job: where its output goes, and what it began in."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import CodeType
from typing import TYPE_CHECKING, Protocol

from .family import Family

if TYPE_CHECKING:
    from .job import Job

__all__ = ["Begun", "Foreground", "Host", "NoHost"]


class Host(Protocol):
    """What surrounds a job: where its output goes. See `ipykill.output`."""

    def enter(self, job: Job) -> None:
        """Prepare the calling thread, a new one of the job, before its first line."""

    def leave(self, job: Job) -> None:
        """Undo that, in a thread that goes on to work for others."""

    def finish(self, job: Job, error: BaseException | None) -> None:
        """Deliver what is left of the job's output, and the error it failed with, if any.

        Called when the job's state is final, in its first thread, or in whatever thread
        ended a job that never started. `Job.wait` returns after it.
        """


class NoHost:
    """Of a job whose output goes where any thread's goes."""

    def enter(self, job: Job) -> None:
        """Do nothing."""

    def leave(self, job: Job) -> None:
        """Do nothing."""

    def finish(self, job: Job, error: BaseException | None) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Begun:
    """What runs already when it becomes a job.

    Attributes
    ----------
    family
        Its threads and processes, of which the first is the `thread` that it began in.
    context
        What it began in.
    moment
        When it began, by `time.monotonic`.
    codes
        Its code.
    """

    family: Family
    thread: threading.Thread
    context: contextvars.Context
    moment: float
    codes: Sequence[CodeType]


class Foreground(Protocol):
    """What can make a job of the cell that runs. See `ipykill.foreground`."""

    def detach(self) -> Job:
        """Let that cell go on as a job, or raise `JobError`."""

    def runs(self) -> tuple[int, float] | None:
        """Return the number of that cell and when it began, in seconds since the epoch."""
