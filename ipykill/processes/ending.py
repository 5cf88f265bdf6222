"""End processes that no one needs any more, with their groups and their descendants."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from . import timing
from .child import SIGKILL, ChildProcess
from .table import Entry, entry_of
from .table import table as process_table

__all__ = ["descendants", "end"]

_COURTESY = 0.1  # seconds that threads outside of the job have to fetch an exit status


def end(children: Iterable[ChildProcess]) -> None:
    """End processes with their groups and descendants; return when they are gone.

    Called when all threads of the job are dead, so that none of them waits for a process.
    It blocks for at most `timing.grace` and about one more second.
    """
    chosen = [child for child in children if not child.is_daemon]
    left = [child for child in chosen if child.running]
    left += descendants(left)
    for child in left:
        child.press()
    begin = time.monotonic()
    for _ in timing.looks():
        _reap(chosen)  # else a group would go on existing through the zombie of its leader
        left = [child for child in left if child.running and not child.beyond]
        if not left or time.monotonic() > begin + timing.grace:
            break
    if left:
        left += descendants(left)
        for child in left:
            child.signal(SIGKILL)
    begin = time.monotonic()
    for _ in timing.looks():
        _reap(chosen)
        left = [child for child in left if child.running]
        if not left or time.monotonic() > begin + timing.GONE:
            break
    begin = time.monotonic()
    for _ in timing.looks():
        since = time.monotonic() - begin
        if not _reap(chosen, watched=since > _COURTESY) or since > 2 * _COURTESY:
            break


def _reap(children: Iterable[ChildProcess], *, watched: bool = False) -> list[ChildProcess]:
    """Reap those that have ended; return those that are not reaped.

    Unless `watched`, those are left alone whose exit status a thread outside of the job may fetch.
    """
    zombies = [child for child in children if child.ended and not child.reaped()]
    for child in zombies:
        if watched or not child.watched:
            child.reap()
    return [child for child in zombies if not child.reaped()]


def descendants(children: Sequence[ChildProcess]) -> list[ChildProcess]:
    """Return the descendants that a signal to the children's groups does not reach."""
    if not children:
        return []
    table = {entry.pid: entry for entry in process_table()}
    below: dict[int, list[Entry]] = {}
    for entry in table.values():
        below.setdefault(entry.parent, []).append(entry)
    reached = {child.pid for child in children if child.leads}
    found = []
    seen = {child.pid for child in children}
    todo = [table[child.pid] for child in children if not child.ended and child.pid in table]
    while todo:
        parent = todo.pop()
        for entry in below.get(parent.pid, ()):
            if entry.pid in seen or entry.session != parent.session:
                continue
            seen.add(entry.pid)
            todo.append(entry)
            if entry.group in reached:
                continue
            child = ChildProcess(entry.pid, ours=False)
            again = entry_of(entry.pid)
            if again is not None and again.start == entry.start:  # its pid was not reused before
                found.append(child)
    return found
