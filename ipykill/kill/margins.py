"""What changes for the whole process while a Kill is pending.

The switch interval, the recursion limit, and the hook that tells of exceptions that C code drops.
"""

from __future__ import annotations

import sys

from ..exceptions import JobKilled
from . import target

__all__ = ["hurry", "hush", "make_room", "relax", "set_interval", "take_room_back", "unhush"]

_HURRY = 0.00005  # the switch interval in the beginning of a pursuit, in seconds
_ROOM, _MOST_ROOM = 100, 1000  # frames that a thread to be killed has beyond the recursion limit

_usual_interval: float | None = None
_usual_limit = _wide_limit = 0  # the recursion limit, and what it was raised to; 0: it is not
_highest = 0  # the highest limit of all, until no thread of `_deep` lives any more
_deep: frozenset[int] = frozenset()  # idents of the targets when the limit was put back
_usual_hook = sys.unraisablehook


def make_room() -> None:
    """Raise the recursion limit: a thread near it has to ask itself whether it may die there.

    The thread may even be deeper than the usual limit, if it got there while the limit was raised
    for the Kill of another one. So the limit rises more each time, as long as a target lives that
    lived when it was last put back.
    """
    global _usual_limit, _wide_limit, _highest
    limit = sys.getrecursionlimit()
    if limit != _wide_limit:  # somebody has set it
        _usual_limit = limit
        if not _deep.intersection(list(target._targets)):
            _highest = limit
    _highest = min(max(_highest, _usual_limit) + _ROOM, _usual_limit + _MOST_ROOM)
    if _highest > limit:
        _wide_limit = _highest
        sys.setrecursionlimit(_wide_limit)


def take_room_back() -> None:
    """Put the recursion limit back, unless somebody has set it meanwhile."""
    global _wide_limit, _deep
    limit, _wide_limit = _wide_limit, 0
    _deep = frozenset(list(target._targets))
    if limit and sys.getrecursionlimit() == limit:
        sys.setrecursionlimit(_usual_limit)


def hurry() -> None:
    """Make the switch interval short, so that threads take turns quickly."""
    global _usual_interval
    interval = sys.getswitchinterval()
    if _usual_interval is None and interval > _HURRY:
        _usual_interval = interval
        set_interval(_HURRY)


def relax() -> None:
    """Restore the switch interval, unless other code has set it meanwhile."""
    global _usual_interval
    interval, _usual_interval = _usual_interval, None
    if interval is not None and abs(sys.getswitchinterval() - _HURRY) < 1e-6:
        set_interval(interval)


def set_interval(seconds: float) -> None:
    """Set the switch interval."""
    # CPython cuts to whole microseconds, and sys.getswitchinterval() is often a little too short.
    sys.setswitchinterval(seconds + 5e-7)


def hush() -> None:
    """Let CPython not print a Kill that C code has dropped, because it is raised again."""
    global _usual_hook
    if sys.unraisablehook is not _drop_unraisable:
        _usual_hook, sys.unraisablehook = sys.unraisablehook, _drop_unraisable


def unhush() -> None:
    """Put the hook back, unless somebody has set it meanwhile."""
    if sys.unraisablehook is _drop_unraisable:
        sys.unraisablehook = _usual_hook


def _drop_unraisable(args: sys.UnraisableHookArgs, /) -> None:
    # C code that calls back into Python may have no way to pass an exception on; CPython then
    # calls this hook. A Kill that ended like this is raised again, so it is only counted here.
    if not issubclass(args.exc_type, JobKilled):
        _usual_hook(args)
    elif (killed := target.current_target()) is not None:
        killed.dropped += 1
