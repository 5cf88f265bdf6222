"""What the reaper remembers of a target that it tries to end."""

from __future__ import annotations

__all__ = ["Chase"]


class Chase:
    """What the reaper has tried on one target."""

    __slots__ = ("attempts", "cpu_time", "interrupted", "last", "quiet_at", "quiets", "struck")

    def __init__(self) -> None:
        self.attempts = 0
        self.last = 0.0  # when it was tried, monotonic,
        self.cpu_time = 0.0  # and the target's at that time
        self.interrupted = 0.0  # when its sqlite3 queries were interrupted, monotonic
        self.quiet_at = 0.0  # when it was left in peace after one signal, monotonic,
        self.quiets = 0  # and how often
        self.struck = 0
