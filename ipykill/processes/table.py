"""What the system says about processes: the process table, and pidfds."""

from __future__ import annotations

import os
import select
import sys
from typing import NamedTuple

__all__ = ["Entry", "command_line", "entry_of", "exists", "has_ended", "live_groups", "table"]


_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def has_ended(pidfd: int) -> bool:
    """Whether the process to which a pidfd refers has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def exists(pid: int) -> bool:
    """Whether a process, or a zombie, has this pid."""
    if sys.platform == "win32":  # there signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def command_line(pid: int) -> str:
    """Return the command line of a process, empty where the system does not show it."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return " ".join(os.fsdecode(word) for word in file.read().split(b"\0") if word)
    except OSError:
        return ""


class Entry(NamedTuple):
    """A line of the process table.

    Attributes
    ----------
    cpu
        CPU seconds that it and those of its children that were waited for have used.
    memory
        Resident bytes.
    """

    pid: int
    parent: int
    group: int
    session: int
    state: str
    start: str
    cpu: float = 0.0
    memory: int = 0


def entry_of(pid: int) -> Entry | None:
    """Return the line of one process, None where the system shows none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name of the program, in parentheses, may contain anything, also ")".
            words = file.read().rpartition(b")")[2].decode().split()
        cpu = sum(map(int, words[11:15])) / _TICKS
        relatives = int(words[1]), int(words[2]), int(words[3])
        return Entry(pid, *relatives, words[0], words[19], cpu, int(words[21]) * _PAGE)
    except (OSError, IndexError, ValueError):
        return None


def table() -> list[Entry]:
    """Return the process table, empty where the system does not show it."""
    if sys.platform != "linux":
        return []
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return []
    return [entry for pid in pids if (entry := entry_of(pid)) is not None]


def live_groups() -> set[int]:
    """Return the process groups with a member that is no zombie; empty except on Linux."""
    return {entry.group for entry in table() if entry.state not in "ZX"}
