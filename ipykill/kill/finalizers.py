"""Whom Python calls when an object dies, or when it looks for such objects.

That may be at any instruction: a call lets go of its arguments, an assignment of what was there.
So it does not show in the caller, but in what is called: it is the ``__del__`` of its first
argument, by whatever name, or a function that was given to `weakref` or `gc`. What is raised in
it is only printed, and the rest of what it was to undo is lost.
"""

from __future__ import annotations

import functools
import gc
import io
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any, cast

__all__ = ["collects", "finalizes"]

_INNER = 10  # partials and the like in which a function may be
_WRAPPERS = (functools.partial, functools.partialmethod)
_STDLIB = os.path.join(os.path.dirname(os.__file__), "")
_OURSELVES = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
_VARIADIC = 4  # in co_flags: it has *args
_bases = type.__dict__["__mro__"].__get__
_members = type.__dict__["__dict__"].__get__

# weakref.finalize: what it calls is a finalizer.
_FINALIZE = weakref.finalize.__call__.__code__


def collects() -> set[int]:
    """Return the ids of the code of those that are told of a garbage collection.

    And of the one who is given the asynchronous generators that die.
    """
    return {id(_code_of(it)) for it in [*gc.callbacks, sys.get_asyncgen_hooks().finalizer]}


def finalizes(frame: FrameType, *, surely: bool = False) -> bool:
    """Whether `frame` is of a finalizer; no code of others runs for that.

    Parameters
    ----------
    surely
        Whether to leave out what only looks like one: the callback of a weak reference is known by
        an argument, a reference to what is dead, that anybody may pass on.
    """
    code = frame.f_code
    if code is _FINALIZE:
        return True
    arguments = list(_arguments(frame))
    if not arguments:
        return False
    return _is_del(code, type(arguments[0])) or (not surely and _is_callback(frame, arguments))


def _arguments(frame: FrameType) -> Iterator[object]:
    """Yield what a function was given by position, as far as it has kept that."""
    code = frame.f_code
    count = code.co_argcount
    variadic = code.co_flags & _VARIADIC
    if not count and not variadic:
        return
    variables = frame.f_locals
    for name in code.co_varnames[:count]:
        if name in variables:
            yield variables[name]
    if variadic:
        rest = variables.get(code.co_varnames[count + code.co_kwonlyargcount])
        yield from rest if type(rest) is tuple else ()


def _is_del(code: CodeType, kind: type) -> bool:
    """Whether Python calls `code` when an object of this type dies."""
    bases = _bases(kind)
    names = {"__del__", "close"} if io.IOBase.__base__ in bases else {"__del__"}
    for base in bases:
        members = _members(base)
        for name in [name for name in names if name in members]:
            if _code_of(members[name]) is code:
                return True
            names.remove(name)
    return False


def _is_callback(frame: FrameType, arguments: list[object]) -> bool:
    """Whether `frame` seems to be called because the referent of a weak reference is dead."""
    if frame.f_code.co_filename.startswith(_STDLIB):
        return False  # the worker of a pool refers to that, and may outlive it
    if not any(issubclass(type(it), weakref.ref) and _is_dead(it) for it in arguments):
        return False
    # As a thread's own function does, or a job's, which works for somebody as long as he lives.
    caller = frame.f_back
    if caller is None:
        return False
    called: list[object] = []
    if caller.f_code is threading.Thread.run.__code__:
        called = [vars(caller.f_locals["self"]).get("_target")]
    elif caller.f_code.co_filename.startswith(_OURSELVES):
        called = list(caller.f_locals.values())
    return not any(_code_of(it) is frame.f_code for it in called)


def _is_dead(reference: object) -> bool:
    return weakref.ref.__call__(reference) is None  # type: ignore[arg-type]


def _code_of(fn: Any) -> CodeType | None:
    """Return the code of a function, or of what is called like one."""
    for _ in range(_INNER):
        kind = type(fn)
        if kind is FunctionType:
            return cast(CodeType, fn.__code__)
        if kind in (MethodType, staticmethod, classmethod):
            fn = fn.__func__
        elif kind in _WRAPPERS:
            fn = fn.func
        else:
            members = (_members(base) for base in _bases(kind))
            fn = next((its["__call__"] for its in members if "__call__" in its), None)
    return None
