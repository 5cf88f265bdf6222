"""A Kill that waits in a suspended generator, whose cleanup has yielded.

A scheduler of generators, as in simulations, steps them in turn. If a Kill is raised in one of
them and its ``finally:`` block yields, the exception waits there, and comes to the scheduler when
the block has ended, as that of a Ctrl-C does. Until then the thread runs the scheduler, which is
in no cleanup, and a second Kill raised there would cut the block short.

Event loops are not concerned: what they run cleans up beside other tasks (`loops`).
"""

from __future__ import annotations

import dis
import time
from types import CodeType, FrameType

from .codemap import codemap

__all__ = ["Parked"]

# Where a suspended generator stands: up to CPython 3.12 at the first, then at the second.
_YIELDS = {dis.opmap["YIELD_VALUE"], dis.opmap["RESUME"]}
_GENERATORS = 0x20 | 0x80 | 0x100 | 0x200  # flags of the code of any kind of generator or coroutine
_STANDS = 1.0  # seconds after which a generator that nobody steps is not waited for


class Parked:
    """The generators in which a Kill was raised last.

    Its own thread asks whether it is true; others do for messages only, and change nothing but
    since when the generators stand, by what they see.

    Parameters
    ----------
    frame
        Where it is raised.
    end
        The code of the outermost frame to look at.
    """

    __slots__ = ("_frames", "_places", "_since")

    def __init__(self, frame: FrameType | None, end: CodeType) -> None:
        self._frames: list[FrameType] = []
        while frame is not None and frame.f_code is not end:
            if frame.f_code.co_flags & _GENERATORS:
                self._frames.append(frame)
            frame = frame.f_back
        self._places: list[int] = []
        self._since = 0.0

    def __bool__(self) -> bool:
        """Whether one of them has yielded in its cleanup, and is stepped."""
        if not self._frames:
            return False
        places = [it.f_lasti for it in self._frames if _has_yielded_in_cleanup(it)]
        now = time.monotonic()
        if places != self._places:
            self._places, self._since = places, now
        return bool(places) and now - self._since < _STANDS


def _has_yielded_in_cleanup(frame: FrameType) -> bool:
    # A generator that has ended has not stopped at a yield.
    return (
        frame.f_lasti in codemap(frame.f_code).cleanup
        and frame.f_code.co_code[frame.f_lasti] in _YIELDS
    )
