"""Recognise finalizers: functions that Python calls when an object dies, or is collected.

Python may call a finalizer at any instruction: a call drops its arguments, an assignment the old
value. So a finalizer is not recognised by its caller, but by itself: it is the ``__del__`` of its
first argument, under whatever name, or was passed to `weakref` or `gc`. No Kill is raised in one,
because Python would only print the exception, and the rest of the finalizer would not run.
"""

from __future__ import annotations

import functools
import gc
import inspect
import io
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any, cast

__all__ = ["collects", "finalizes"]

_INNER = 10  # partials and the like around a function that are looked into, at most
_WRAPPERS = (functools.partial, functools.partialmethod)
_STDLIB = os.path.join(os.path.dirname(os.__file__), "")
_OURSELVES = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
_VARIADIC = inspect.CO_VARARGS
_GENERATORS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_bases = type.__dict__["__mro__"].__get__
_members = type.__dict__["__dict__"].__get__

# What weakref.finalize calls is a finalizer.
_FINALIZE = weakref.finalize.__call__.__code__


def collects() -> set[int]:
    """Return the ids of the code objects of all functions that a garbage collection calls.

    That is the callbacks in `gc.callbacks` and the finalizer hook of asynchronous generators.
    """
    return {id(_code_of(it)) for it in [*gc.callbacks, sys.get_asyncgen_hooks().finalizer]}


def finalizes(frame: FrameType, *, surely: bool = False) -> bool:
    """Whether `frame` belongs to a finalizer. No foreign code runs to find that out.

    Parameters
    ----------
    surely
        Whether to leave out callbacks of weak references. They are recognised by an argument, a
        dead weak reference, which other functions may have as well.
    """
    code = frame.f_code
    if code is _FINALIZE:
        return True
    # Nothing calls a generator to finalize something. And if `frame` is of another thread, and
    # its generator is freed meanwhile, to read its variables crashes CPython 3.13 (gh-125723).
    if code.co_flags & _GENERATORS:
        return False
    arguments = list(_arguments(frame))
    if not arguments:
        return False
    return _is_del(code, type(arguments[0])) or (not surely and _is_callback(frame, arguments))


def _arguments(frame: FrameType) -> Iterator[object]:
    """Yield the positional arguments of a function, as far as its variables still have them."""
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
        return False  # a pool's worker, for example, has a reference to a pool that may be dead
    if not any(issubclass(type(it), weakref.ref) and _is_dead(it) for it in arguments):
        return False
    # The function of a thread or a job may have such an argument and is no finalizer: it works
    # for an object as long as that lives.
    caller = frame.f_back
    if caller is None:
        return False
    called: list[object] = []
    if caller.f_code is threading.Thread.run.__code__:
        called = [vars(caller.f_locals["self"]).get("_target")]
    elif (
        caller.f_code.co_filename.startswith(_OURSELVES)
        and not caller.f_code.co_flags & _GENERATORS
    ):
        called = list(caller.f_locals.values())
    return not any(_code_of(it) is frame.f_code for it in called)


def _is_dead(reference: object) -> bool:
    return weakref.ref.__call__(reference) is None  # type: ignore[arg-type]


def _code_of(fn: Any) -> CodeType | None:
    """Return the code object of a function or another callable, None if it has none."""
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
