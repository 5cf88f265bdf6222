"""Tracebacks that show the user's code, and no frame of ipykill's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

from .stack import is_ours

__all__ = ["above_us", "below_us", "hidden", "set_traceback"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


def hidden(fn: Callable[_P, _T]) -> Callable[_P, _T]:
    """Hide the decorated function, and what it calls in ipykill, from tracebacks.

    It is for errors that the caller has made. A frame that an exception leaves by a bare
    ``raise`` is not added to the traceback again, so what is removed here stays removed.
    """

    @functools.wraps(fn)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return fn(*args, **kwargs)
        except BaseException as error:
            set_traceback(error, below_us(error.__traceback__))
            raise

    return call


def set_traceback(error: BaseException, tb: TracebackType | None) -> None:
    """Set the traceback of an exception without calling its class's ``__setattr__``."""
    BaseException.__setattr__(error, "__traceback__", tb)


def below_us(tb: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of ipykill's at its beginning."""
    while tb is not None and is_ours(tb.tb_frame.f_code):
        tb = tb.tb_next
    return tb


def above_us(tb: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of ipykill's at its end, as a new object."""
    parts: list[TracebackType] = []
    while tb is not None:
        parts.append(tb)
        tb = tb.tb_next
    while parts and is_ours(parts[-1].tb_frame.f_code):
        parts.pop()
    for part in reversed(parts):
        tb = TracebackType(tb, part.tb_frame, part.tb_lasti, part.tb_lineno)
    return tb
