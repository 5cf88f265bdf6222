"""The messages that describe a job that runs elsewhere: its present state, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.info import JobInfo, Progress
from ..processes import ProcessInfo

__all__ = ["End", "Report"]


@dataclass(frozen=True)
class Report:
    """The present state of a job there.

    Attributes
    ----------
    place, hindrance, cpu_time, progress, threads, processes
        As in `JobInfo`.
    """

    place: str = ""
    hindrance: str = ""
    cpu_time: float = 0.0
    progress: Progress | None = None
    threads: int = 0
    processes: tuple[ProcessInfo, ...] = ()

    @classmethod
    def of(cls, info: JobInfo) -> Report:
        """Make a report from a snapshot."""
        return cls(
            info.place, info.hindrance, info.cpu_time, info.progress, info.threads, info.processes
        )


@dataclass(frozen=True)
class End:
    """How a job ended there.

    Attributes
    ----------
    state
        The value of its final `JobState`.
    reason
        Why it was asked to end.
    lines
        Its traceback, if it failed.
    left
        The variables that cannot be sent, each with the name of its type.
    changed
        The variables that come back because they were changed in place.
    report
        Its state at the end.
    value_stays
        The name of the type of its value if that cannot be sent; else empty.
    """

    state: str
    reason: str
    lines: tuple[str, ...]
    left: tuple[tuple[str, str], ...]
    changed: frozenset[str]
    report: Report
    value_stays: str = ""
