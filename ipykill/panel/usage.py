"""How much of the machine each job uses: CPU per cent, and the memory of its processes.

This is measured only while a panel is open, every two seconds. The CPU time of a job is that of
its threads, of the processes that it started, and of their descendants. If a process has ended
since the last look, the time that it used after that look is missing. The memory is that of the
processes alone, resident, as ``top`` shows it: the threads of all jobs share the kernel's memory.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from ..core.job import Job
from ..processes import Entry, table

__all__ = ["INTERVAL", "Usage"]

INTERVAL = 2.0  # seconds between two looks

Shown = tuple[int, int]  # CPU in per cent of one processor, and bytes


class Usage:
    """The usage of each job, as the views were told last.

    Threading
    ---------
    Not thread-safe; `ipykill.panel.service` holds a lock around it.
    """

    def __init__(self) -> None:
        # For each job: the time of the last look, and the CPU seconds of threads and of processes.
        self._used: dict[int, tuple[float, float, float]] = {}
        self._shown: dict[int, Shown] = {}
        self._next = 0.0

    def forget(self) -> None:
        """Begin anew, as no panel was open for a while."""
        self._used.clear()
        self._shown.clear()
        self._next = 0.0

    def full(self) -> dict[int, Shown]:
        """Return the usage of all jobs, for a page that has just been opened."""
        return dict(self._shown)

    def refresh(self, jobs: Iterable[Job]) -> dict[int, Shown | None] | None:
        """Look at the jobs if it is time, and return changes; a job that uses nothing now has None.

        Returns None if it is too early, or nothing changed.
        """
        now = time.monotonic()
        if now < self._next:
            return None
        self._next = now + INTERVAL
        entries: dict[int, Entry] | None = None
        shown: dict[int, Shown] = {}
        used: dict[int, tuple[float, float, float]] = {}
        for job in jobs:
            if job.started is None or (job.done() and not job.processes):
                continue
            roots = {it.pid for it in job.processes}
            if roots and entries is None:
                entries = {entry.pid: entry for entry in table()}
            mine = _with_descendants(roots, entries or {})
            # A job elsewhere runs in one of its processes, which counts below.
            threads = 0.0 if job.elsewhere else job.cpu_time
            processes = sum(entry.cpu for entry in mine)
            before = self._used.get(job.id)
            used[job.id] = now, threads, processes
            spent = 0.0
            if before is not None:
                # Not below 0: the time of a process that has ended drops out of the sum.
                spent = max(threads - before[1], 0) + max(processes - before[2], 0)
                spent /= max(now - before[0], 0.001)
            facts = round(100 * spent), sum(entry.memory for entry in mine)
            if any(facts):
                shown[job.id] = facts
        self._used = used
        changes: dict[int, Shown | None] = {
            number: facts for number, facts in shown.items() if _differs(self._shown, number, facts)
        }
        changes |= dict.fromkeys(self._shown.keys() - shown.keys())
        for number in self._shown.keys() & shown.keys() - changes.keys():
            shown[number] = self._shown[number]  # so that small changes add up to one to tell
        self._shown = shown
        return changes or None


def _differs(known: dict[int, Shown], number: int, new: Shown) -> bool:
    old = known.get(number)
    return old is None or abs(new[0] - old[0]) > 1 or abs(new[1] - old[1]) > old[1] / 50


def _with_descendants(roots: set[int], entries: dict[int, Entry]) -> list[Entry]:
    """Return the entries of these processes and their descendants, as far as they run."""
    if not roots:
        return []
    mine = set(roots)
    grown = True
    while grown:
        below = {pid for pid, entry in entries.items() if entry.parent in mine} - mine
        grown = bool(below)
        mine |= below
    return [entry for pid in mine if (entry := entries.get(pid)) and entry.state not in "ZX"]
