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

import concurrent.futures
import contextlib
import functools
import gc
import os
import subprocess
import sys
import threading
from multiprocessing.process import BaseProcess
from types import CodeType, FrameType

from .. import stack
from .codemap import by_identity, codemap
from .target import Target, contain, current_target

__all__ = [
    "in_cleanup",
    "in_reach",
    "is_cleaning",
    "is_ours",
    "may_break",
    "may_land",
    "may_turn",
    "shelter",
    "sheltered",
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

_SPAWN = os.path.join("ptyprocess", "ptyprocess.py")  # with which IPython runs a !command

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
    return not filename.startswith(_CLOSED)


def is_ours(code: CodeType) -> bool:
    """Whether this is code of ipykill."""
    return code.co_filename.startswith(_OURSELVES)


def in_reach(code: CodeType, *, libraries: bool) -> bool:
    """Whether running code of this code object may be killed in it."""
    filename = code.co_filename
    return _is_user(filename) or (libraries and _is_open_library(filename))


def in_cleanup(frame: FrameType) -> bool:
    """Whether a frame, seen by itself, is cleaning up."""
    known = codemap(frame.f_code)
    return frame.f_code.co_name in _GUARDED or frame.f_lasti in known.cleanup


def may_land(target: Target, frame: FrameType, offset: int) -> bool:
    """Whether a Kill may be raised before the instruction at `offset` of running code.

    Asked by the target's own thread, about its innermost frame.
    """
    if not (
        (target.group.kill_requested or target.wanted)
        and offset in codemap(frame.f_code).safe
        and in_reach(frame.f_code, libraries=target.libraries)
        and shelter(frame, calling=False) is None
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
        and in_reach(frame.f_code, libraries=libraries)
        and shelter(frame, calling=False) is None
    )


def may_break(target: Target, frame: FrameType) -> bool:
    """Whether the call in which `frame` waits may be broken, if the Kill is wanted.

    Asked by the target's own thread, about its innermost frame.
    """
    return shelter(frame, waiting=True, enters=target.libraries) is None


def shelter(
    frame: FrameType | None,
    *,
    calling: bool = True,
    waiting: bool = False,
    enters: bool = False,
) -> tuple[FrameType, str] | None:
    """Return the innermost frame from `frame` outwards that must not be broken, and why.

    Parameters
    ----------
    calling
        Whether the innermost frame is inside a call, as all others are.
    waiting
        Whether the innermost frame is in a call that waits.
    enters
        Whether any ``__enter__`` may be broken: it may, if it has been waiting for long.
    """
    names = _GUARDED - _ENTERS if enters else _GUARDED
    collecting = {id(getattr(callback, "__code__", None)) for callback in gc.callbacks}
    called: FrameType | None = None
    # Nothing that is raised in the body of `contain` comes further.
    while frame is not None and (code := frame.f_code) is not contain.__code__:
        known = codemap(code)
        if why := _shelters(code):
            return frame, why
        if code.co_name in names and not (waiting and _is_one_of(code, _PASSING_ON)):
            return frame, f"in {code.co_name}"
        # By whatever name: `__exit__ = close`, or a function in another one's place.
        by_with = frame.f_lasti in known.exits or (frame.f_lasti in known.enters and not enters)
        if by_with and called is not None and _is_user(called.f_code.co_filename):
            return called, f"in {called.f_code.co_name}, which a with block calls"
        if frame.f_lasti in known.cleanup:
            return frame, "in cleanup"
        if (calling and frame.f_lasti in known.finalizing) or id(code) in collecting:
            # Or a trace function, in which a debugger holds the thread.
            return frame, "in a finalizer or a debugger"
        calling = True
        called, frame = frame, frame.f_back
    return None


@by_identity
def _shelters(code: CodeType) -> str:
    """Return why no frame of `code` may ever be broken, empty if one may."""
    if _is_one_of(code, _SHORT) or (code.co_name == "spawn" and code.co_filename.endswith(_SPAWN)):
        return f"in {code.co_name}()"
    if code.co_filename == _HANDLER:
        # What the handler calls may be code without a file, of a dataclass say, which
        # looks like the user's own.
        return "in ipykill"
    return "importing" if code.co_filename.startswith("<frozen importlib") else ""


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
