"""What the reaper remembers of each target that it tries to wake."""

from __future__ import annotations

__all__ = ["Chase"]


class Chase:
    """What the reaper has tried on one target. Times are monotonic, in seconds."""

    __slots__ = (
        *("asked_at", "attempts", "cpu_time", "interrupted", "last", "quiet_at", "quiets"),
        *("shared", "struck"),
    )

    def __init__(self) -> None:
        self.attempts = 0  # to wake it, since a Kill was last raised in it
        self.last = 0.0  # when the last attempt ended,
        self.cpu_time = 0.0  # and the thread's CPU seconds then
        self.interrupted = 0.0  # when its database queries were last interrupted
        self.quiet_at = 0.0  # when it last got `pursuit._QUIET` seconds for one signal,
        self.quiets = 0  # and how often it got them while it was not busy
        self.struck = 0  # `Target.struck` as last seen
        self.shared = True  # whether other jobs need it,
        self.asked_at = 0.0  # and when that was looked at
