"""Where a thread is: its stack as data, and the part of it that is the user's.

A `Frame` names a place as a user would: ``cell [7]`` instead of a temporary file, and the
C function in which the innermost frame waits (``time.sleep``). A C function has no frame, so its
name is read from the source of the call.
"""

from __future__ import annotations

import dis
import functools
import importlib.machinery
import itertools
import linecache
import os
import re
import sysconfig
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import CodeType, FrameType, MappingProxyType, TracebackType
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_LIBRARY = tuple(
    os.path.join(sysconfig.get_path(key), "") for key in ("stdlib", "platstdlib", "purelib")
)
_CYTHON = (".pyx", ".pxd", ".pxi")
_COMPILED = tuple(importlib.machinery.EXTENSION_SUFFIXES)
_OURSELVES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")

_CACHED = 2000  # places, and names of files

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
    label
        What the file is called; if empty, what `cell_label` says, or else the file's name.
    """

    filename: str
    lineno: int
    function: str
    source: str
    call: str
    user: bool
    label: str = ""

    @property
    def place(self) -> str:
        """The place in words: ``cell [7], line 12``."""
        label = self.label or cell_label(self.filename) or _basename(self.filename)
        return f"{label}, line {self.lineno}"

    def __str__(self) -> str:
        return f"{self.place} ({self.call})" if self.call else self.place


_basename = functools.lru_cache(maxsize=_CACHED)(os.path.basename)


@dataclass(frozen=True)
class Stack:
    """Where one thread of a job is, or one of its waiting asyncio tasks.

    Attributes
    ----------
    name
        What the thread or the task is called.
    depth
        0 for the job's own thread, 1 for threads and tasks that it started, and so on.
    task
        Whether it is a task, not a thread.
    frames
        Outermost first: the user's frames, and the innermost one if it is a library's.
    hindrance
        If the job was killed: why this still lives, and what will end it. Else empty.
    """

    name: str
    depth: int
    task: bool
    frames: tuple[Frame, ...]
    hindrance: str = ""

    @property
    def place(self) -> str:
        """Where it is in the user's code, in words; if it is in none, its innermost frame."""
        users = [frame for frame in self.frames if frame.user] or self.frames
        frames = [frame for frame in users if not _is_made_up(frame.filename)] or users
        return str(frames[-1]) if frames else ""


NO_LABELS: Mapping[str, str] = MappingProxyType({})


@functools.lru_cache(maxsize=_CACHED)  # each frame of each job is asked about, again and again
def is_user(filename: str) -> bool:
    """Whether `filename` is the user's own code."""
    return not (
        filename.startswith((*_LIBRARY, _OURSELVES, "<frozen"))
        or filename.endswith(_CYTHON)
        or "site-packages" in filename
        or "dist-packages" in filename
    )


def _is_compiled(module_globals: Mapping[str, object]) -> bool:
    """Whether a frame was made up by compiled code (Cython, mypyc) for a traceback.

    Its file is the source from which it was compiled. That may be the user's own work, but the
    line of Python that calls it says more.
    """
    file = module_globals.get("__file__")
    return isinstance(file, str) and file.endswith(_COMPILED)


def _is_made_up(filename: str) -> bool:
    """Whether there is no such file, as for exec'd code and the ``__init__`` of a dataclass."""
    # Such code may be the user's, but the line that calls it says more, if that is the user's.
    return filename.startswith("<") and cell_label(filename) is None


_machinery: set[CodeType] = set()


def machinery(fn: Callable[_P, _T]) -> Callable[_P, _T]:
    """Mark a function that only calls the user's code, so that no traceback shows it."""
    _machinery.add(fn.__code__)
    return fn


def without_machinery(tb: TracebackType | None) -> TracebackType | None:
    """Return a traceback that begins below `machinery`, without frames of ipykill's.

    If all frames are ipykill's, the last of them is kept.
    """
    found = tb
    while tb is not None:
        if tb.tb_frame.f_code in _machinery:
            found = tb.tb_next
        tb = tb.tb_next
    parts: list[TracebackType] = []
    while found is not None:
        parts.append(found)
        found = found.tb_next
    kept = [part for part in parts if not is_ours(part.tb_frame.f_code)] or parts[-1:]
    for part in reversed(kept):  # new objects: the exception's own traceback is not changed
        found = TracebackType(found, part.tb_frame, part.tb_lasti, part.tb_lineno)
    return found


def is_ours(code: CodeType) -> bool:
    """Whether this is code of ipykill."""
    return code.co_filename.startswith(_OURSELVES)


def at(code: CodeType, offset: int, labels: Mapping[str, str] = NO_LABELS) -> Frame:
    """Return the place of the instruction at `offset`. For `labels` see `here`."""
    lines = (line for start, end, line in code.co_lines() if start <= offset < end)
    return _describe(code, offset, next(lines, None), {}, labels)


def of_frame(frame: FrameType | None, labels: Mapping[str, str] = NO_LABELS) -> list[Frame]:
    """Return the stack of `frame`, outermost first. For `labels` see `here`."""
    found = []
    while frame is not None:
        found.append(
            _describe(frame.f_code, frame.f_lasti, frame.f_lineno, frame.f_globals, labels)
        )
        frame = frame.f_back
    return found[::-1]


def suspended(coroutine: Any) -> list[FrameType]:
    """Return the frames of a coroutine that waits, outermost first.

    The frames of an asynchronous generator are not found, nor the frames that it awaits.
    """
    found = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            break
        found.append(frame)
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return found


def of_coroutine(coroutine: Any, labels: Mapping[str, str] = NO_LABELS) -> list[Frame]:
    """Return the stack of a coroutine that waits, outermost first."""
    return [
        _describe(frame.f_code, frame.f_lasti, frame.f_lineno, frame.f_globals, labels)
        for frame in suspended(coroutine)
    ]


def of_traceback(tb: TracebackType | None) -> list[Frame]:
    """Return the frames of a traceback, outermost first."""
    found = []
    while tb is not None:
        frame = tb.tb_frame
        found.append(_describe(frame.f_code, tb.tb_lasti, tb.tb_lineno, frame.f_globals))
        tb = tb.tb_next
    return found


def trim(frames: Iterable[Frame]) -> list[Frame]:
    """Keep the user's frames, and the innermost frame if that is a library's."""
    frames = [frame for frame in frames if not frame.filename.startswith(_OURSELVES)]
    while frames and frames[0].filename == threading.__file__:  # what runs the thread
        del frames[0]
    return [frame for frame in frames[:-1] if frame.user] + frames[-1:]


def here(frame: FrameType | None, labels: Mapping[str, str] = NO_LABELS) -> Frame | None:
    """Return the innermost of the user's frames of a thread that is at `frame`.

    Parameters
    ----------
    labels
        What a file is called, by its name, where that differs from what `cell_label` says now.
    """
    made_up: FrameType | None = None
    while frame is not None:
        filename = frame.f_code.co_filename
        if is_user(filename) and not _is_compiled(frame.f_globals):
            if filename in labels or not _is_made_up(filename):
                break
            made_up = made_up or frame
        frame = frame.f_back
    frame = frame or made_up
    if frame is None:
        return None
    return _describe(frame.f_code, frame.f_lasti, frame.f_lineno, frame.f_globals, labels)


def end(tb: TracebackType | None) -> tuple[CodeType, int] | None:
    """Return the code and offset, as `at` takes them, of the innermost user's frame of `tb`."""
    found = made_up = None
    while tb is not None:
        filename = tb.tb_frame.f_code.co_filename
        if is_user(filename) and not _is_compiled(tb.tb_frame.f_globals):
            if _is_made_up(filename):
                made_up = tb
            else:
                found = tb
        tb = tb.tb_next
    found = found or made_up
    return None if found is None else (found.tb_frame.f_code, found.tb_lasti)


_LITERAL = re.compile(
    r"""("{3}|'{3}).*?\1|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\#[^\n]*""", re.DOTALL
)
_NAME = re.compile(r"[^\W\d]\w*(?:\s*\.\s*[^\W\d]\w*)*\s*$")
# The instructions at which a coroutine waits.
_AWAITS = {"SEND", "YIELD_VALUE", "RESUME", "JUMP_BACKWARD_NO_INTERRUPT"}
_MAX_LINES = 100  # of one call's source; more is not read

_known: dict[tuple[int, int, str], tuple[CodeType, Frame]] = {}


def _describe(
    code: CodeType,
    lasti: int,
    lineno: int | None,
    module_globals: dict[str, object],
    labels: Mapping[str, str] = NO_LABELS,
) -> Frame:
    # Cached, because lists of jobs are asked for again and again, and most jobs have not moved.
    # The key has the id of the code, which is kept alive: to hash long code takes long.
    filename = code.co_filename
    label = labels.get(filename, "")
    key = id(code), lasti, label
    known = _known.get(key)
    if known is not None:
        return known[1]
    lineno = lineno or code.co_firstlineno
    lines = _lines(filename, module_globals)
    source = lines[lineno - 1].strip() if 0 < lineno <= len(lines) else ""
    call = _callee(code, lasti, lines)
    user = is_user(filename) and not _is_compiled(module_globals)
    frame = Frame(filename, lineno, code.co_name, source, call, user, label)
    if len(_known) >= _CACHED:
        _known.clear()
    _known[key] = code, frame
    return frame


def _lines(filename: str, module_globals: dict[str, object]) -> list[str]:
    try:
        return linecache.getlines(filename, module_globals)
    except Exception:  # whatever the module's `__loader__` raises
        return []


def is_calling(frame: FrameType) -> bool:
    """Whether a frame is inside a call, as far as its last instruction tells."""
    return "CALL" in _operation(frame.f_code, frame.f_lasti)[1]


def _operation(code: CodeType, lasti: int) -> tuple[int, str]:
    """Return where the instruction at `lasti` begins, and its name."""
    opcodes = code.co_code
    begin = max(lasti, 0)
    while begin > 0 and not opcodes[begin]:  # CACHE units belong to the instruction before them
        begin -= 2
    return begin, dis.opname[opcodes[begin]]


def _position(code: CodeType, offset: int) -> tuple[int | None, int | None, int | None, int | None]:
    """Return the first and last line and column of what an instruction was compiled from."""
    unknown = (None, None, None, None)
    return next(itertools.islice(code.co_positions(), offset // 2, None), unknown)


def _is_implicit(code: CodeType, call: int) -> bool:
    """Whether the compiler added the call: that of ``__exit__`` at the end of a ``with`` block.

    Such a call has the same position in the source as its arguments.
    """
    if dis.opname[code.co_code[call]] not in ("CALL", "PRECALL"):
        return False
    before, operation = _operation(code, call - 2)
    if operation == "PRECALL":  # 3.11
        before, operation = _operation(code, before - 2)
    # CPython 3.15 has an instruction of its own for None.
    constant = operation in ("LOAD_CONST", "LOAD_COMMON_CONSTANT")
    return constant and _position(code, before) == _position(code, call)


def _callee(code: CodeType, lasti: int, lines: list[str]) -> str:
    """Return what the instruction at `lasti` calls, as written; empty if it calls nothing."""
    if lasti < 0 or not lines:
        return ""
    begin, operation = _operation(code, lasti)
    awaits = operation in _AWAITS
    if ("CALL" not in operation and not awaits) or _is_implicit(code, begin):
        return ""
    first, last, left, right = _position(code, begin)
    if first is None or last is None or left is None or right is None:
        return ""
    if last - first > _MAX_LINES:
        return ""
    # Columns count bytes. The range of a call ends with the parenthesis of its arguments.
    text = [line.encode() for line in lines[first - 1 : last]]
    if len(text) <= last - first:
        return ""
    text[-1] = text[-1][:right]
    text[0] = text[0][left:]
    written = _LITERAL.sub("", b"".join(text).decode(errors="replace"))
    if awaits and not (written.startswith("await") and written.endswith(")")):
        return ""
    depth = 0
    for index in range(len(written) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(written[index], 0)
        if depth == 0:
            found = _NAME.search(written[:index])
            return "".join(found[0].split()) if found else ""
    return ""
