"""Tracebacks in which the user's code stands, and no frame of ours."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

from .stack import is_ours

__all__ = ["below_us", "hidden", "set_traceback"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


def hidden(fn: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let no traceback show the function, nor what it calls of ours: it is the caller's error.

    A frame gets into a traceback when the exception leaves it, but not when it leaves it by a
    bare ``raise``. So here the traceback is freed of ours, and stays so.
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
    """Give an error this traceback, without a call of its class's ``__setattr__``."""
    BaseException.__setattr__(error, "__traceback__", tb)


def below_us(tb: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback below our own frames that begin it."""
    while tb is not None and is_ours(tb.tb_frame.f_code):
        tb = tb.tb_next
    return tb
