"""Functions that keep the foreground cell in which they run from becoming a job.

While such a function runs, for example one that asks the user for input, the cell cannot go on in
the background (`foreground`). That is seen from the code objects of the frames on its stack.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType, FrameType
from typing import TypeVar

__all__ = ["holds", "why_held"]

_Function = TypeVar("_Function", bound=Callable[..., object])

_reasons: dict[CodeType, str] = {}


def holds(why: str) -> Callable[[_Function], _Function]:
    """Decorate a function that keeps its cell in the foreground; `why` says so to the user."""

    def hold(function: _Function) -> _Function:
        _reasons[function.__code__] = why
        return function

    return hold


def why_held(frame: FrameType) -> str:
    """Return why the function of this frame holds its cell; empty if it does not."""
    return _reasons.get(frame.f_code, "")
