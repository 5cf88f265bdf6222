"""Where a thread is: its stack as data, and the part of it that is the user's.

A `Frame` names a place as a user would: ``cell [7]`` instead of a temporary file, and the
C function in which the innermost frame waits (``time.sleep``), which has no frame of its
own and is read off the source of the call.
"""

from __future__ import annotations

import linecache
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import CodeType, FrameType, TracebackType
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_LIBRARY = tuple(
    os.path.join(sysconfig.get_path(key), "") for key in ("stdlib", "platstdlib", "purelib")
)
_OURSELVES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")

cell_label: Callable[[str], str | None] = lambda filename: None  # noqa: E731
"""What the shell calls the code of this file name, e.g. ``cell [7]``; set by the extension."""


@dataclass(frozen=True)
class Frame:
    """One place in a stack.

    Attributes
    ----------
    filename, lineno, function
        As in a traceback; `lineno` counts from 1.
    source
        The line's text without indentation, empty where it is not known.
    call
        The function that is being called there, as written (``time.sleep``), or empty.
    user
        Whether this is the user's own code: not the standard library, an installed
        package or ipykill.
    """

    filename: str
    lineno: int
    function: str
    source: str
    call: str
    user: bool

    @property
    def place(self) -> str:
        """The place in words: ``cell [7], line 12``."""
        label = cell_label(self.filename) or os.path.basename(self.filename)
        return f"{label}, line {self.lineno}"

    def __str__(self) -> str:
        return f"{self.place} ({self.call})" if self.call else self.place


def is_user(filename: str) -> bool:
    """Whether `filename` is the user's own code."""
    return not (
        filename.startswith((*_LIBRARY, _OURSELVES, "<frozen"))
        or "site-packages" in filename
        or "dist-packages" in filename
    )


_machinery: set[CodeType] = set()


def machinery(fn: Callable[_P, _T]) -> Callable[_P, _T]:
    """Mark a function that only leads to the user's code, as not to be shown above it."""
    _machinery.add(fn.__code__)
    return fn


def without_machinery(tb: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that begins below the last function of ours."""
    found = tb
    while tb is not None:
        if tb.tb_frame.f_code in _machinery:
            found = tb.tb_next
        tb = tb.tb_next
    return found


def of_frame(frame: FrameType | None) -> list[Frame]:
    """Return the stack of `frame`, outermost first."""
    found = []
    while frame is not None:
        found.append(_describe(frame.f_code, frame.f_lasti, frame.f_lineno, frame.f_globals))
        frame = frame.f_back
    return found[::-1]


def of_traceback(tb: TracebackType | None) -> list[Frame]:
    """Return the frames of a traceback, outermost first."""
    found = []
    while tb is not None:
        frame = tb.tb_frame
        found.append(_describe(frame.f_code, tb.tb_lasti, tb.tb_lineno, frame.f_globals))
        tb = tb.tb_next
    return found


def of_thread(ident: int) -> list[Frame]:
    """Return the stack of the thread with this ident, outermost first; empty if it ended."""
    return of_frame(sys._current_frames().get(ident))


def trim(frames: Iterable[Frame]) -> list[Frame]:
    """Keep the user's frames, and the innermost frame if that is a library's."""
    frames = [frame for frame in frames if not frame.filename.startswith(_OURSELVES)]
    while frames and not frames[0].user:
        del frames[0]
    return [frame for frame in frames[:-1] if frame.user] + frames[-1:]


def innermost(frames: Iterable[Frame]) -> Frame | None:
    """Return the innermost of the user's frames."""
    return next((frame for frame in reversed(list(frames)) if frame.user), None)


def here(frame: FrameType | None) -> Frame | None:
    """Return the innermost of the user's frames of a thread that is at `frame`."""
    while frame is not None and not is_user(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return None
    return _describe(frame.f_code, frame.f_lasti, frame.f_lineno, frame.f_globals)


_CALLEE = re.compile(r"([A-Za-z_][\w.]*)\s*\(")


def _describe(
    code: CodeType, lasti: int, lineno: int | None, module_globals: dict[str, object]
) -> Frame:
    filename = code.co_filename
    lineno = lineno or code.co_firstlineno
    line = linecache.getline(filename, lineno, module_globals)
    call = ""
    positions = list(code.co_positions())
    if 0 <= lasti // 2 < len(positions):
        _, _, column, _ = positions[lasti // 2]
        # The columns of a call begin at its callee and count bytes.
        if column is not None:
            rest = line.encode()[column:].decode(errors="replace")
            if found := _CALLEE.match(rest):
                call = found[1]
    return Frame(filename, lineno, code.co_name, line.strip(), call, is_user(filename))
