"""Why a thread that is being killed still lives, and what ends it."""

from __future__ import annotations

from types import FrameType

from . import wake
from .policy import shelter
from .target import Target

__all__ = ["hindrance"]

_OFTEN = 3  # times that a Kill was raised in vain, until the code is said to swallow it


def hindrance(target: Target, frame: FrameType | None) -> str:
    """Return in words what keeps a thread alive, empty when nothing is known.

    Any thread may ask. The answer describes the moment, and nothing rests on it.

    Parameters
    ----------
    frame
        Where the thread is, see `sys._current_frames`.
    """
    if not target.open:
        return ""
    if target.depth:
        return "it is in a shield() block and dies at its end"
    sheltered = shelter(frame, calling=False)
    if sheltered is not None:
        return f"it is {sheltered[1]} and dies when that has ended"
    if target.struck >= _OFTEN:
        return "its code catches the Kill again and again"
    if target.traced:
        return "a debugger or another tool traces it; on Python 3.11 it may take long to hit a loop"
    if target.busy:
        return "it is in C code that is busy and dies when that call returns"
    if not wake.works():
        return f"a call that waits is not woken here ({wake.why_not()}); it dies when that returns"
    return "it is in C code that does not look for signals and dies when that call returns"
