"""Where a Kill may be raised: in running code, and in a call that waits.

The question is always asked by the thread that is to be killed, about its own stack, at the
instruction where the exception would come: nobody else can change the answer meanwhile.

In *running code* (`may_land`) the instruction must be a safe one (`codemap`) of a frame
that is in reach: the user's own code at once; libraries only when the Kill has not found
such a place for a while, and never the standard library's modules that hold locks or
change what the whole process shares.

In a *waiting call* (`may_break`) any frame will do, the standard library's too: its waits
are written for an exception at exactly this point, which Ctrl-C raises there.

Both require that nothing on the stack shelters what it is doing (`shelter`).
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
from .codemap import by_identity, codemap
from .dying import is_order
from .finalizers import collects, finalizes
from .target import Target, contain, current_target
from .tasks import is_of_a_loop

_P = ParamSpec("_P")
_T = TypeVar("_T")

__all__ = [
    "in_reach",
    "is_cleaning",
    "is_ours",
    "may_break",
    "may_land",
    "may_turn",
    "reaches",
    "shelter",
    "sheltered",
    "unbroken",
]

# __exit__ runs if and only if __enter__ completed, and a finalizer's error is only printed.
_ENTERS = frozenset({"__enter__", "__aenter__"})
_GUARDED = _ENTERS | {"__exit__", "__aexit__", "__del__"}

# What they wait for is the first thing that they do, or a generator's own code, which is as
# ready for an exception as any.
_PASSING_ON = (
    threading.Condition.__enter__.__code__,
    contextlib._GeneratorContextManager.__enter__.__code__,
)

# They wait for a moment only, and leave a half-made thing behind when that is broken.
_SHORT = (
    threading.Thread.start.__code__,
    subprocess.Popen._execute_child.__code__,  # type: ignore[attr-defined]
    BaseProcess.start.__code__,
    concurrent.futures.ThreadPoolExecutor.submit.__code__,
)

_IMPORTING = "importing"

# A task of asyncio in pure Python (of nest_asyncio) goes on in an `except`, with an exception.
_WAKEUP = asyncio.tasks._PyTask._Task__wakeup.__code__  # type: ignore[attr-defined]

_SPAWN = os.path.join("ptyprocess", "ptyprocess.py")  # with which IPython runs a !command

_TEXT = "<string>"  # the file of code that was made from a text

_HANDLER = os.path.join(os.path.dirname(__file__), "wake.py")
_STDLIB = os.path.join(os.path.dirname(os.__file__), "")
_OURSELVES = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
# Where running code holds a lock, a file or a thread before it enters its try.
_CLOSED = (
    "<frozen",
    _OURSELVES,
    *(
        _STDLIB + name
        for name in (
            *("threading.py", "queue.py", "logging", "contextlib.py", "concurrent", "weakref.py"),
            *("_weakrefset.py", "subprocess.py", "tempfile.py", "asyncio", "selectors.py"),
            *("socketserver.py", "multiprocessing", "warnings.py", "functools.py", "shutil.py"),
            *("random.py", "importlib"),
        )
    ),
)


@functools.lru_cache(maxsize=5000)
def _is_user(filename: str) -> bool:
    return stack.is_user(filename)


@functools.lru_cache(maxsize=5000)
def _is_open_library(filename: str) -> bool:
    return not filename.startswith(_CLOSED) and not is_of_a_loop(filename)


def is_ours(code: CodeType) -> bool:
    """Whether this is code of ipykill."""
    return code.co_filename.startswith(_OURSELVES)


def in_reach(code: CodeType, *, libraries: bool) -> bool:
    """Whether running code of this code object may be killed in it."""
    return _is_open(code.co_filename, libraries=libraries)


def _is_open(filename: str, *, libraries: bool) -> bool:
    return _is_user(filename) or (libraries and _is_open_library(filename))


def reaches(frame: FrameType, *, libraries: bool) -> bool:
    """Whether running code of this frame may be killed in it, as far as its file says.

    Code that was made from a text has no file. It is of the module among whose names it runs, as
    the ``__init__`` of a dataclass is, or the user's own. Only what `collections.namedtuple` makes
    runs among no module's names: it belongs to whoever calls it, for in the middle of ``Popen()``,
    or of ipykill itself, nothing may be broken because of it.
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
        and (offset in known.safe or (target.libraries and offset in known.later))
        and reaches(frame, libraries=target.libraries)
        and shelter(frame, calling=False, late=target.libraries, last=target.at_last) is None
    ):
        return False
    if not target.wanted:
        target.give_way()
    return target.wanted


def may_turn(target: Target, frame: FrameType) -> bool:
    """Whether a Kill may be raised between two instructions of running code, if it is wanted.

    Asked by the target's own thread, about its innermost frame. Where its last instruction was
    the jump back of a loop, nothing is in the making.
    """
    # The library may be the tool that traces the thread, which would lose its tracing.
    libraries = target.libraries and not target.traced
    return (
        frame.f_lasti in codemap(frame.f_code).turns
        and reaches(frame, libraries=libraries)
        and shelter(frame, calling=False, late=libraries) is None
    )


def may_break(target: Target, frame: FrameType) -> bool:
    """Whether the call in which `frame` waits may be broken, if the Kill is wanted.

    Asked by the target's own thread, about its innermost frame.
    """
    return shelter(frame, waiting=True, late=target.libraries, last=target.at_last) is None


def shelter(
    frame: FrameType | None,
    *,
    calling: bool = True,
    waiting: bool = False,
    late: bool = False,
    last: bool = False,
    foreign: bool = False,
) -> tuple[FrameType, str] | None:
    """Return the innermost frame from `frame` outwards that must not be broken, and why.

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
    last
        Whether nothing else has helped for so long that a library may be broken between its
        calls of ``acquire()`` and ``release()``, outside of any ``try``.
    foreign
        Whether `frame` is of another thread than the calling one. On CPython 3.11 what is in it is
        not looked at then, it may be gone.
    """
    names = _GUARDED - _ENTERS if late and waiting else _GUARDED
    collecting = collects()
    looks = not foreign or sys.version_info >= (3, 12)
    called: FrameType | None = None
    runs_module = False
    # Nothing that is raised in the body of `contain` comes further.
    while frame is not None and (code := frame.f_code) is not contain.__code__:
        known = codemap(code)
        why = _shelters(code)
        if why and not (why == _IMPORTING and runs_module):
            return frame, why
        # The import system is written for an exception that comes out of a module: it drops the
        # half-made module and releases its locks. Only its own code must not be broken.
        runs_module = why == _IMPORTING or _is_user_module(code)
        if frame.f_lasti in known.holding and not last and _is_installed(code.co_filename):
            return frame, "holding a lock"
        if code.co_name in names and not (waiting and _is_one_of(code, _PASSING_ON)):
            return frame, f"in {code.co_name}"
        # By whatever name: `__exit__ = close`, or a function in another one's place.
        by_with = frame.f_lasti in known.exits or (
            frame.f_lasti in known.enters and not (late and waiting)
        )
        if by_with and called is not None and _is_user(called.f_code.co_filename):
            return called, f"in {called.f_code.co_name}, which a with block calls"
        recovers = late and frame.f_lasti in known.recovering and not is_order(sys.exception())
        if frame.f_lasti in known.cleanup and not recovers and code is not _WAKEUP:
            return frame, "in cleanup"
        freed = id(code) in collecting or (looks and finalizes(frame, surely=last))
        if freed or (calling and frame.f_lasti in known.finalizing):
            # Or a trace function, in which a debugger holds the thread.
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
    """Mark a function of ours that code of others calls: nothing is raised in all it calls."""
    _unbroken.add(fn.__code__)
    return fn


@by_identity
def _shelters(code: CodeType) -> str:
    """Return why no frame of `code` may ever be broken, empty if one may."""
    if _is_one_of(code, _SHORT) or (code.co_name == "spawn" and code.co_filename.endswith(_SPAWN)):
        return f"in {code.co_name}()"
    if code.co_filename == _HANDLER or code in _unbroken:
        # What the handler calls may be code without a file, of a dataclass say, which
        # looks like the user's own.
        return "in ipykill"
    return _IMPORTING if code.co_filename.startswith("<frozen importlib") else ""


def _is_one_of(code: CodeType, codes: tuple[CodeType, ...]) -> bool:
    # Not `in`, which compares two code objects of one name instruction by instruction.
    return any(code is each for each in codes)


def is_cleaning() -> bool:
    """Whether the code that calls cleans up, as a part of a job that is being killed."""
    target = current_target()
    return (
        target is not None
        and target.group.kill_requested
        and (target.struck > 0 or not target.has_turn or shelter(sys._getframe(1)) is not None)
    )


def sheltered() -> bool:
    """Whether the code that calls must not be broken: it cleans up, or is in a shield."""
    target = current_target()
    return target is not None and (target.depth > 0 or shelter(sys._getframe(1)) is not None)
