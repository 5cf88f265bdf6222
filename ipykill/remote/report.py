"""What is said of a job that runs elsewhere: how it is, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.info import JobInfo, Progress
from ..processes import ProcessInfo

__all__ = ["End", "Report"]


@dataclass(frozen=True)
class Report:
    """What is true there.

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
        """Take what `info` says."""
        return cls(
            info.place, info.hindrance, info.cpu_time, info.progress, info.threads, info.processes
        )


@dataclass(frozen=True)
class End:
    """How it ended there.

    Attributes
    ----------
    state
        The value of its final `JobState`.
    reason
        Why it was asked to end.
    lines
        Its traceback, if it failed.
    left
        The variables that stay behind because they cannot travel, and what they are.
    changed
        Those that come back because they were changed in place.
    report
        What is true at the end.
    value_stays
        The type of its value, if that cannot travel; else empty.
    """

    state: str
    reason: str
    lines: tuple[str, ...]
    left: tuple[tuple[str, str], ...]
    changed: frozenset[str]
    report: Report
    value_stays: str = ""
