"""What surrounds the code of a job: where its output goes, and the cell that it was before."""

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
    """The front end that a job's output goes to. See `ipykill.output`."""

    def enter(self, job: Job) -> None:
        """Route the output of the calling thread, a new one of the job, before its first line."""

    def leave(self, job: Job) -> None:
        """Undo `enter` in the calling thread, which goes on to work for others."""

    def finish(self, job: Job, error: BaseException | None) -> None:
        """Deliver what is left of the job's output, and the error it failed with, if any.

        Called when the job's state is final, in its first thread, or in the thread that
        ended a job that never started. `Job.wait` returns after this.
        """

    def line(self, text: str) -> None:
        """Write a line of ipykill's own, which begins on a new line."""


class NoHost:
    """The host of a job whose output goes where any thread's goes."""

    def enter(self, job: Job) -> None:
        """Do nothing."""

    def leave(self, job: Job) -> None:
        """Do nothing."""

    def finish(self, job: Job, error: BaseException | None) -> None:
        """Do nothing."""

    def line(self, text: str) -> None:
        """Print it."""
        print(text)


@dataclass(frozen=True)
class Begun:
    """A cell that runs in the foreground at the moment when it becomes a job.

    Attributes
    ----------
    family
        Its threads and processes.
    thread
        The thread that it runs in, the first of the family.
    context
        The context that it runs in.
    moment
        When it began, by `time.monotonic`.
    codes
        Its code objects.
    """

    family: Family
    thread: threading.Thread
    context: contextvars.Context
    moment: float
    codes: Sequence[CodeType]


class Foreground(Protocol):
    """Knows the cell that runs in the foreground. See `ipykill.foreground`."""

    def detach(self) -> Job:
        """Let that cell go on as a job, or raise `JobError`; any thread but the cell's may call."""

    def runs(self) -> tuple[int, float] | None:
        """Return that cell's number, and when it began, in seconds since the epoch; or None."""
