"""What a Kill may break when it has been sought for a while, and leaves alone at first."""

from __future__ import annotations

from typing import TypedDict

__all__ = ["Resorts", "libraries", "resorts"]

# Seconds for which a Kill has been sought, after which libraries, and an except that goes on, are
# in reach, then an except that may raise again, and at last what holds a lock without a try.
_LATE, _LATER, _LAST = 0.3, 2.0, 10.0
# Seconds of CPU time until running code of a library is in reach. On a machine with much to do a
# thread has hardly run in 0.3 s, and may be about to come back from there.
_WORKED = 0.1


class Resorts(TypedDict):
    """See `policy.shelter`."""

    late: bool
    later: bool
    last: bool


def resorts(sought_for: float) -> Resorts:
    """Return what may be broken after so many seconds."""
    return {
        "late": sought_for > _LATE,
        "later": sought_for > _LATER,
        "last": sought_for > _LAST,
    }


def libraries(sought_for: float, worked_for: float | None) -> bool:
    """Return whether running code of libraries is in reach; `worked_for` is None if not known."""
    return sought_for > _LATE and (worked_for is None or worked_for > _WORKED)
