"""The snapshot of a job, `JobInfo`, and the protocols of the objects that it is made from."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..base import stack
from ..processes import ProcessInfo

__all__ = ["Bar", "JobInfo", "JobState", "Loop", "Progress"]


class JobState(enum.Enum):
    """The states of a job."""

    PENDING = "pending"
    """It has not started."""
    RUNNING = "running"
    """Its code runs."""
    STOPPING = "stopping"
    """Its code runs and was asked to stop."""
    KILLING = "killing"
    """It is being killed, and a thread of it still lives."""
    DONE = "done"
    """Its code ended by itself."""
    FAILED = "failed"
    """Its code ended with an error."""
    STOPPED = "stopped"
    """Its code ended because it was asked to stop, or was interrupted."""
    KILLED = "killed"
    """It was killed; no thread of it lives."""
    SKIPPED = "skipped"
    """It never started."""

    @property
    def final(self) -> bool:
        """Whether this is the last state of a job."""
        return self in _FINAL


_FINAL = {
    JobState.DONE,
    JobState.FAILED,
    JobState.STOPPED,
    JobState.KILLED,
    JobState.SKIPPED,
}


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes
    ----------
    done, total
        How many steps are done, and how many there are; None where that is not known.
    description
        What is being done; may be empty.
    left
        Seconds that the rest takes at the present rate, None where that is not known.
    rate
        Steps a second so far, None where that is not known.
    inner
        The innermost of the nested bars, which runs from start to end during one step of this.
    """

    done: float
    total: float | None
    description: str
    left: float | None
    rate: float | None = None
    inner: Progress | None = None


class JobInfo(NamedTuple):  # to make a frozen dataclass takes twice as long
    """What was true of a job at one moment.

    Attributes
    ----------
    id, name, source, cell
        Its number, its name, its code, and the number of the cell that launched it.
    state
        Its `JobState`.
    requested
        What was asked of it: ``"stop"``, ``"kill"`` or None.
    reason
        Why it was asked to end, or was skipped; empty when a person asked.
    created, started, ended
        Seconds since the epoch, None when that has not happened.
    elapsed, cpu_time
        Seconds since its start until now or its end, and the CPU time of all its threads, in
        seconds.
    asked
        Seconds since a Stop or Kill was last asked, until now or its end; None when neither was.
    place
        Where it is now, or where it ended early: ``cell [7], line 12 (time.sleep)``.
    hindrance
        Why a job that was killed a while ago still lives, and what would end it, or why an
        interrupt has not been raised yet; else empty.
    error
        The last line of its traceback, empty when there is none.
    last_line
        The last line that it printed.
    progress
        How far it is, None where it has no progress bar.
    threads
        How many of its threads live.
    processes
        The processes that it started and that have not ended.
    waits
        The jobs that must be over before it starts, and are not: ``train (job 3)``.
    left
        How many of its threads live on after its end. Its first thread counts only if something
        has kept it from ending for a while, such as a finalizer.
    clashes
        The variables that its code assigns, and cells in the foreground have assigned as well
        since it started: ``i (cell [9])``.
    size
        The memory that its value takes, in bytes; 0 if that is little, or the value is not kept
        any more.
    again
        Whether it ended early, and can be launched once more.
    """

    id: int
    name: str
    source: str
    cell: int | None
    state: JobState
    requested: str | None
    reason: str
    created: float
    started: float | None
    ended: float | None
    elapsed: float
    cpu_time: float
    asked: float | None
    place: str
    hindrance: str
    error: str
    last_line: str
    progress: Progress | None
    threads: int
    processes: tuple[ProcessInfo, ...]
    waits: tuple[str, ...] = ()
    left: int = 0
    clashes: tuple[str, ...] = ()
    size: int = 0
    again: bool = False


class Bar(Protocol):
    """A progress bar, which knows how far a job is. See `ipykill.integrations.progress`."""

    @property
    def closed(self) -> bool:
        """Whether it is at its end; any thread may ask."""

    def look(self) -> Progress:
        """Return how far it is; any thread may ask."""


class Loop(Protocol):
    """The event loop of a job whose code awaits. See `ipykill.core.loop`."""

    def stacks(self, labels: Mapping[str, str]) -> list[stack.Stack]:
        """Return where its tasks wait, the main task first; any thread may ask."""
