"""What the whole process lends while a Kill is pending: turns that are short, room on the stack."""

from __future__ import annotations

import sys

__all__ = ["hurry", "make_room", "relax", "set_interval", "take_room_back"]

_HURRY = 0.00005  # the switch interval in the beginning of a pursuit, in seconds
_ROOM = 100  # frames that a thread to be killed has beyond the recursion limit

_usual_interval: float | None = None
_usual_limit: int | None = None  # of recursion


def make_room() -> None:
    """Raise the recursion limit: a thread near it has to ask itself whether it may die there."""
    global _usual_limit
    if _usual_limit is None:
        _usual_limit = sys.getrecursionlimit()
        sys.setrecursionlimit(_usual_limit + _ROOM)


def take_room_back() -> None:
    """Put the recursion limit back, unless somebody has set it meanwhile."""
    global _usual_limit
    limit, _usual_limit = _usual_limit, None
    if limit is not None and sys.getrecursionlimit() == limit + _ROOM:
        sys.setrecursionlimit(limit)


def hurry() -> None:
    """Let threads take turns quickly."""
    global _usual_interval
    interval = sys.getswitchinterval()
    if _usual_interval is None and interval > _HURRY:
        _usual_interval = interval
        set_interval(_HURRY)


def relax() -> None:
    """Let threads take turns as before, unless somebody has set that meanwhile."""
    global _usual_interval
    interval, _usual_interval = _usual_interval, None
    if interval is not None and abs(sys.getswitchinterval() - _HURRY) < 1e-6:
        set_interval(interval)


def set_interval(seconds: float) -> None:
    """Set the switch interval."""
    # CPython cuts to whole microseconds, and what it tells is often a little too short.
    sys.setswitchinterval(seconds + 5e-7)
