"""Decide where a Kill may be raised: in running code, and in a call that waits.

The thread that is to be killed asks, about its own stack, at the instruction where the exception
would be raised. So no other thread can change the answer before it is used. (Other threads ask
only to describe or to guess, see `foreign` in `shelter`.)

In *running code* (`may_land`) the instruction must be a safe point (`codemap`) of a frame that is
*in reach*. The user's own code is in reach at once. Libraries are only when the Kill has found
no such place for a while, and modules of the standard library that hold locks, or change what
the whole process shares, never are.

In a *waiting call* (`may_break`) any frame will do, the standard library's too: its waits
are written for an exception at exactly this point, because Ctrl-C raises one there.

Both require that no frame on the stack is doing something that must be completed (`shelter`).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from types import CodeType, FrameType
from typing import ParamSpec, TypeVar

from ..base import stack
from ..base.by_identity import by_identity
from .codemap import codemap
from .dying import is_order
from .finalizers import collects, finalizes
from .target import Target, contain, current_target
from .tasks import EXITS, is_of_a_loop

_P = ParamSpec("_P")
_T = TypeVar("_T")

__all__ = [
    "in_reach",
    "is_cleaning",
    "is_ours",
    "may_break",
    "may_die_at_loop_jump",
    "may_land",
    "reaches",
    "shelter",
    "sheltered",
    "unbroken",
]

# No Kill in these: __exit__ is called only if __enter__ completed; an error of __del__ is printed.
_ENTERS = frozenset({"__enter__", "__aenter__"})
_GUARDED = _ENTERS | {"__exit__", "__aexit__", "__del__"}

# The waits in these may be broken: the wait is the first thing that they do, or it is in the code
# of a generator, which is as prepared for an exception as any other code.
_PASSING_ON = (
    threading.Condition.__enter__.__code__,
    contextlib._GeneratorContextManager.__enter__.__code__,
)

# These wait only for a moment, and leave something half-made behind when that is broken.
_SHORT = (
    threading.Thread.start.__code__,
    subprocess.Popen._execute_child.__code__,  # type: ignore[attr-defined]
    BaseProcess.start.__code__,
    concurrent.futures.ThreadPoolExecutor.submit.__code__,
)

_IMPORTING = "importing"

# asyncio's tasks in pure Python (nest_asyncio uses them) continue their coroutine inside an
# `except` block, which is no cleanup.
_WAKEUP = asyncio.tasks._PyTask._Task__wakeup.__code__  # type: ignore[attr-defined]

_SPAWN = os.path.join("ptyprocess", "ptyprocess.py")  # IPython runs a !command with it

_TEXT = "<string>"  # the file name of code that was compiled from a string

_HANDLER = os.path.join(os.path.dirname(__file__), "wake.py")
_STDLIB = os.path.join(os.path.dirname(os.__file__), "")
_OURSELVES = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
# Files that are never in reach: code there holds a lock, a file or a thread outside of any `try`.
_CLOSED = (
    "<frozen",
    _OURSELVES,
    *(
        _STDLIB + name
        for name in (
            *("threading.py", "queue.py", "logging", "contextlib.py", "concurrent", "weakref.py"),
            *("_weakrefset.py", "tempfile.py", "asyncio", "multiprocessing", "warnings.py"),
            *("functools.py", "importlib"),
        )
    ),
)
# Files that are in reach only where a loop begins anew.
_LOOPS_ONLY = tuple(
    _STDLIB + name
    for name in ("subprocess.py", "selectors.py", "socketserver.py", "shutil.py", "random.py")
)


@functools.lru_cache(maxsize=5000)
def _is_user(filename: str) -> bool:
    return stack.is_user(filename)


@functools.lru_cache(maxsize=5000)
def _is_open_library(filename: str) -> bool:
    return not filename.startswith(_CLOSED) and not is_of_a_loop(filename)


@functools.lru_cache(maxsize=5000)
def _has_loops_only(filename: str) -> bool:
    return filename.startswith(_LOOPS_ONLY)


def is_ours(code: CodeType) -> bool:
    """Whether this is code of ipykill."""
    return code.co_filename.startswith(_OURSELVES)


def in_reach(code: CodeType, *, libraries: bool) -> bool:
    """Whether a Kill may be raised in running code of this code object, as far as its file says."""
    return _is_open(code.co_filename, libraries=libraries)


def _is_open(filename: str, *, libraries: bool) -> bool:
    return _is_user(filename) or (libraries and _is_open_library(filename))


def reaches(frame: FrameType, *, libraries: bool) -> bool:
    """Whether a Kill may be raised in running code of this frame, as far as its file says.

    Code that was compiled from a string has no file. It counts as code of the module whose globals
    it has (the ``__init__`` of a dataclass), or else as the user's. Only the code that
    `collections.namedtuple` makes has no module's globals. It counts as code of its caller, so that
    no Kill is raised in it in the middle of ``Popen()`` or of ipykill itself.
    """
    owner = frame
    while owner.f_back is not None and _is_of_a_named_tuple(owner):
        owner = owner.f_back
    if owner.f_code.co_filename == _TEXT:
        file = dict.get(owner.f_globals, "__file__")
        if isinstance(file, str):
            return _is_open(file, libraries=libraries)
    return in_reach(owner.f_code, libraries=libraries)


def _is_of_a_named_tuple(frame: FrameType) -> bool:
    if frame.f_code.co_filename != _TEXT:
        return False
    module = dict.get(frame.f_globals, "__name__")
    return isinstance(module, str) and module.startswith("namedtuple_")


def may_land(target: Target, frame: FrameType, offset: int) -> bool:
    """Whether a Kill may be raised before the instruction at `offset` of running code.

    Asked by the target's own thread, about its innermost frame.
    """
    known = codemap(frame.f_code)
    if not (
        (target.group.kill_requested or target.wanted)
        and (offset in known.safe or offset in known.later)
        and (offset in known.beginnings or not _has_loops_only(frame.f_code.co_filename))
        and reaches(frame, libraries=target.libraries)
        and shelter(frame, calling=False, **target.resorts) is None
    ):
        return False
    if not target.wanted:
        target.give_way()
    return target.wanted and not target.parked


def may_die_at_loop_jump(target: Target, frame: FrameType) -> bool:
    """Whether a Kill may be raised between two instructions of running code, if it is wanted.

    Asked by the target's own thread, about its innermost frame. It may be raised if the last
    instruction was the jump back of a loop: then no statement is half done.
    """
    # A library may be the tool that traces the thread; an exception would end its tracing.
    libraries = target.libraries and not target.traced
    return (
        frame.f_lasti in codemap(frame.f_code).loop_jumps
        and reaches(frame, libraries=libraries)
        and shelter(frame, calling=False, late=libraries) is None
        and not target.parked
    )


def may_break(target: Target, frame: FrameType) -> bool:
    """Whether the call in which `frame` waits may be broken, if the Kill is wanted.

    Asked by the target's own thread, about its innermost frame.
    """
    return shelter(frame, waiting=True, **target.resorts) is None and not target.parked


def shelter(
    frame: FrameType | None,
    *,
    calling: bool = True,
    waiting: bool = False,
    late: bool = False,
    later: bool = False,
    last: bool = False,
    foreign: bool = False,
) -> tuple[FrameType, str] | None:
    """Return the innermost frame from `frame` outwards in which no Kill may be raised, and why.

    None if there is no such frame.

    Parameters
    ----------
    calling
        Whether the innermost frame is inside a call, as all others are.
    waiting
        Whether the innermost frame is in a call that waits.
    late
        Whether the Kill has been sought for a while. Then an ``__enter__`` that waits may be
        broken, and an ``except`` block of code that is going to try again, unless what it
        handles comes from the Kill itself.
    later
        Whether it has been sought for so long that an ``except`` block that may raise again may
        be broken too, on the same condition.
    last
        Whether the Kill has been pending for so long (`resorts`) that it may be raised in a
        library between ``acquire()`` and ``release()`` outside of any ``try``, and in what may
        be the callback of a weak reference.
    foreign
        Whether `frame` belongs to another thread than the calling one. On CPython 3.11 its
        variables are not read then, because it may be gone.
    """
    names = _GUARDED - _ENTERS if late and waiting else _GUARDED
    collecting = collects()
    looks = not foreign or sys.version_info >= (3, 12)
    called: FrameType | None = None
    runs_module = False
    # An exception that is raised in the body of `contain` goes no further than that.
    while frame is not None and (code := frame.f_code) is not contain.__code__:
        known = codemap(code)
        why = _shelters(code)
        if why and not (why == _IMPORTING and runs_module):
            return frame, why
        # The import system is prepared for an exception out of a module's code: it drops the
        # half-made module and releases its locks. Only in its own code no Kill may be raised.
        runs_module = why == _IMPORTING or _is_user_module(code)
        if frame.f_lasti in known.holding and not last and _is_installed(code.co_filename):
            return frame, "holding a lock"
        if code.co_name in names and not (waiting and _is_one_of(code, _PASSING_ON)):
            return frame, f"in {code.co_name}"
        # A `with` may call a function of any name: `__exit__ = close`, or a replaced method.
        by_with = frame.f_lasti in known.exits or (
            frame.f_lasti in known.enters and not (late and waiting)
        )
        if by_with and called is not None and _is_user(called.f_code.co_filename):
            return called, f"in {called.f_code.co_name}, which a with block calls"
        breakable = known.handling if later else known.recovering
        recovers = late and frame.f_lasti in breakable and not is_order(sys.exception())
        if frame.f_lasti in known.cleanup and not recovers and code is not _WAKEUP:
            return frame, "in cleanup"
        freed = id(code) in collecting or (looks and finalizes(frame, surely=last))
        if freed or (calling and frame.f_lasti in known.finalizing):
            # A debugger may hold the thread in a trace function, which is also called anywhere.
            return frame, "in a finalizer or a debugger"
        calling = True
        called, frame = frame, frame.f_back
    return None


@by_identity
def _is_user_module(code: CodeType) -> bool:
    return code.co_name == "<module>" and _is_user(code.co_filename)


@functools.lru_cache(maxsize=5000)
def _is_installed(filename: str) -> bool:
    return "site-packages" in filename or "dist-packages" in filename


_unbroken: set[CodeType] = set()


def unbroken(fn: Callable[_P, _T]) -> Callable[_P, _T]:
    """Mark a function of ipykill's that foreign code calls: no Kill in it or in what it calls."""
    _unbroken.add(fn.__code__)
    return fn


@by_identity
def _shelters(code: CodeType) -> str:
    """Return why no Kill may ever be raised in a frame of `code`; empty if one may."""
    if _is_one_of(code, _SHORT) or (code.co_name == "spawn" and code.co_filename.endswith(_SPAWN)):
        return f"in {code.co_name}()"
    if code.co_filename == _HANDLER or code in _unbroken:
        # The handler may call code without a file, of a dataclass for example, which would
        # count as the user's own.
        return "in ipykill"
    return _IMPORTING if code.co_filename.startswith("<frozen importlib") else ""


def _is_one_of(code: CodeType, codes: tuple[CodeType, ...]) -> bool:
    # Not `in`, which compares two code objects of one name instruction by instruction.
    return any(code is each for each in codes)


def is_cleaning() -> bool:
    """Whether the calling code is cleanup, which a Kill leaves alone, even one that comes later."""
    target = current_target()
    if target is None:
        return False
    if target.group.kill_requested:
        dying = target.struck > 0 or not target.has_turn
        return dying or shelter(sys._getframe(1)) is not None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (code := frame.f_code) is not contain.__code__:
        if code.co_name in EXITS:
            return True
        # Each call that a job gives to a pool comes here, and most code has no `try` and no `with`.
        if code.co_exceptiontable and code is not _WAKEUP:
            known = codemap(code)
            if frame.f_lasti in known.cleanup and frame.f_lasti not in known.recovering:
                return True
        frame = frame.f_back
    return False


def sheltered() -> bool:
    """Whether no Kill may be raised in the calling code: it is cleanup, or in a shield."""
    target = current_target()
    return target is not None and (target.depth > 0 or shelter(sys._getframe(1)) is not None)
