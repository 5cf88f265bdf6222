"""Threads that a library starts once and keeps for others: whom a Kill spares.

Many a library starts a thread when something is used for the first time: the event loop of
fsspec and zarr, the feeder of a ``multiprocessing.Queue``, the manager of a process pool, the
workers of trio's cache. If that happens in a job, such a thread is none of the job's: it serves
whoever uses the library next, who would wait for it for ever if the Kill ended it.

It is known by how it came to be, not by its name. The code that started it is a library's, and

1. that library's modules hold it;
2. or what it serves was there before the job: it can be reached from what the job was given;
3. or it was started by a thread that is spared, which uses it: the one that manages a pool of
   processes (1) starts the feeder of their queue.

What the job itself made is none of these. Of ipykill nothing counts: it holds all threads.

To look runs no code of others.
"""

from __future__ import annotations

import functools
import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import (
    BuiltinFunctionType,
    CodeType,
    FrameType,
    FunctionType,
    MethodType,
    ModuleType,
    TracebackType,
)
from typing import Any

from ..base import names, stack
from ..kill import contain

__all__ = ["Code", "Service"]

_FRAMES = 15  # of the library that are looked at
_DEEP = 6  # references from a module or an argument to what is looked for
_MOST = 20_000  # objects that are looked at
# They hold what is everybody's: all threads, and the queues of all pools, from whose calls the job
# that waits for them can be reached, and all that is its own.
_OF_ALL = ("threading", "concurrent.futures.thread")
# Where the code of a thread begins.
_OUTERMOST = (contain.__code__, threading.Thread.run.__code__)
_LEAVES: tuple[type, ...] = (
    *(str, bytes, int, float, complex, type(None), ModuleType, CodeType, FrameType),
    *(TracebackType, BuiltinFunctionType),
)


class Code:
    """What runs code objects in a namespace, as the call of a cell does."""

    namespace: dict[str, Any]

    @property
    def codes(self) -> list[CodeType]:
        """The code objects."""
        raise NotImplementedError


class Service:
    """What is known of a thread or a process that a library has started.

    Parameters
    ----------
    starter
        The frame of the library that started it.
    by_one
        Tells whether the thread in which that happened is spared.

    Attributes
    ----------
    library
        The name of the library.
    """

    def __init__(self, starter: FrameType, by_one: Callable[[], bool] = lambda: False) -> None:
        self._is_by_one = by_one
        modules: dict[str, None] = {}
        self._served: list[Callable[[], object]] = []  # whose methods have led to the start
        frame: FrameType | None = starter
        for _ in range(_FRAMES):
            if frame is None or stack.is_user(frame.f_code.co_filename):
                break
            if frame.f_code in _OUTERMOST:
                break
            name = frame.f_globals.get("__name__", "")
            if not _is_ours(name):
                modules[name] = None
            if not _is_ours(name) and frame.f_code.co_argcount:
                owner = frame.f_locals.get(frame.f_code.co_varnames[0])
                try:
                    self._served.append(weakref.ref(owner))
                except TypeError:  # only where it is; the thread keeps it alive, if anything does
                    pass
            frame = frame.f_back
        self._modules = tuple(modules) or ("",)
        self.library = self._modules[-1].partition(".")[0]

    def is_kept(self, thing: object) -> bool:
        """Whether the library keeps `thing`, which it has started, or uses it for what it keeps."""
        return self._is_by_one() or self.is_in_a_module(thing)

    def is_in_a_module(self, thing: object) -> bool:
        """Whether the library's modules hold `thing`, which it has started, or whom that serves."""
        wanted = self._wanted(thing)
        for name in self._modules:
            if (module := sys.modules.get(name)) is None or name in _OF_ALL:
                continue
            # The builtins, which each module has, lead to IPython's shell, and so to all variables.
            held = [it for key, it in list(vars(module).items()) if key != "__builtins__"]
            classes = [it for it in held if issubclass(type(it), type) and it.__module__ == name]
            held += [value for each in classes for value in list(vars(each).values())]
            if _reach(held, wanted, {id(vars(sys.modules["__main__"]))}):
                return True
        return False

    def is_given(self, thing: object, call: object) -> bool:
        """Whether `thing`, or whom it serves, can be reached from what a job was given to call."""
        return _reach(_inputs(call), self._wanted(thing), set())

    def _wanted(self, thing: object) -> set[int]:
        served = [it for it in (each() for each in self._served) if it is not None]
        return {id(it) for it in (thing, *_bound(thing), *served)}


_module = type.__dict__["__module__"].__get__


def _is_ours(module: object) -> bool:
    return isinstance(module, str) and module.partition(".")[0] == "ipykill"


def _bound(thing: object) -> Iterator[object]:
    """Return the object whose method a thread runs."""
    if issubclass(type(thing), threading.Thread):
        owner = getattr(getattr(thing, "_target", None), "__self__", None)
        if owner is not None:
            yield owner


def _inputs(call: object) -> list[object]:
    """Return what a job was given: arguments, what functions enclose, and the globals they use."""
    found: list[object] = []
    seen: set[int] = set()
    todo: list[Any] = [call]
    while todo:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if issubclass(type(thing), functools.partial):
            todo += [thing.func, *thing.args, *thing.keywords.values()]
        elif type(thing) is MethodType:
            todo += [thing.__func__, thing.__self__]
        elif type(thing) is FunctionType:
            for cell in thing.__closure__ or ():
                try:
                    todo.append(cell.cell_contents)
                except ValueError:  # it is empty
                    pass
            todo += thing.__defaults__ or ()
            found += _globals([thing.__code__], thing.__globals__)
        else:
            if issubclass(type(thing), Code):
                found += _globals(thing.codes, thing.namespace)
            found.append(thing)
    return found


def _globals(codes: Iterable[CodeType], namespace: dict[str, Any]) -> list[object]:
    """Return the variables that code uses and does not assign itself."""
    codes = list(codes)
    used = names.used(codes, namespace) - names.assigned(codes)
    return [namespace[name] for name in used if name in namespace]


def _reach(roots: list[object], wanted: set[int], seen: set[int]) -> bool:
    """Whether one of `wanted` can be reached from `roots`, not through what is `seen` already."""
    level = roots
    for _ in range(_DEEP):
        inner: list[object] = []
        for thing in level:
            if id(thing) in wanted:
                return True
            if id(thing) in seen or issubclass(type(thing), _LEAVES) or len(seen) > _MOST:
                continue
            seen.add(id(thing))
            # A function leads to the globals of its module, a class to all its subclasses.
            if not issubclass(type(thing), (type, FunctionType)):
                inner += [it for it in gc.get_referents(thing) if not _is_ours(_module(type(it)))]
        level = inner
    return False
