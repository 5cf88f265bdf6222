"""What a cell in the foreground may be in that it cannot become a job meanwhile.

A question that it asks belongs to the foreground, and so does a stream that stands for all. Who
looks at the cell's stack finds them there by the code of the functions that are named here.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType, FrameType
from typing import TypeVar

__all__ = ["holds", "why_held"]

_Function = TypeVar("_Function", bound=Callable[..., object])

_reasons: dict[CodeType, str] = {}


def holds(why: str) -> Callable[[_Function], _Function]:
    """Let the function that is decorated hold the cell in which it runs, which `why` tells."""

    def hold(function: _Function) -> _Function:
        _reasons[function.__code__] = why
        return function

    return hold


def why_held(frame: FrameType) -> str:
    """Return why the code of this frame holds its cell, empty if it does not."""
    return _reasons.get(frame.f_code, "")
