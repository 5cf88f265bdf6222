"""Threads that a library starts once and keeps for all its users: a Kill spares them.

Some libraries start a thread when a function is used for the first time: the event loop of
fsspec and zarr, the feeder of a ``multiprocessing.Queue``, the manager of a process pool, the
workers of trio's cache. If that happens in a job, the thread does not belong to the job: it serves
the next user of the library as well, who would wait for it for ever if the Kill ended it.

ipykill knows such a thread by how it was started, not by its name. A library's code started it, and

1. that library's modules refer to it;
2. or the object that it serves is older than the job: the job's function, arguments or globals
   refer to it;
3. or the thread that started it is spared itself: the thread that manages a pool of processes
   (1) starts the feeder of their queue.

A thread for an object that the job itself made is none of these. References from ipykill do not
count, because it refers to all threads. The search runs no code of others.
"""

from __future__ import annotations

import functools
import gc
import sys
import threading
import time
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
from ..base.alive import is_alive
from ..base.waiting import Deadline, Latch
from ..kill import Target, contain

__all__ = ["Code", "Service", "begun"]

_BEGIN, _POLL = 1.0, 0.0005  # seconds: a job's end waits for a thread to begin; between looks
_FRAMES = 15  # how many frames of the library are looked at
_DEEP = 6  # how many references lead from a module or an argument to the object looked for
_MOST = 20_000  # how many objects are looked at
# Modules that are not searched, because they refer to what is everybody's: all threads, what ends
# pools at exit, the queues of all pools. The calls in those queues lead to the jobs that wait for
# them, and so to all that these jobs made themselves.
_UNSEARCHED_MODULES = (
    *("threading", "concurrent.futures.thread", "multiprocessing.util", "multiprocessing.process"),
)
# Where the code of a thread begins.
_OUTERMOST = (contain.__code__, threading.Thread.run.__code__)
_LEAVES: tuple[type, ...] = (
    *(str, bytes, int, float, complex, type(None), ModuleType, CodeType, FrameType),
    *(TracebackType, BuiltinFunctionType),
    # These keep a value only while something else lives: its key, or a thread.
    *(weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet, threading.local),
)
_Cache = functools._lru_cache_wrapper
_Weak = Callable[[], object]  # a weak reference


class Code:
    """A callable that runs code objects in a namespace, as `ipykill.cells.cell.Cell` does."""

    namespace: dict[str, Any]

    @property
    def codes(self) -> list[CodeType]:
        """The code objects."""
        raise NotImplementedError


class Service:
    """What ipykill knows of a thread or a process that a library has started.

    Parameters
    ----------
    starter
        The frame of the library that started it.
    made
        The objects that the job is known to have made, by their ids; this adds some.
    by_one
        Tells whether the thread that ran that frame is spared itself.

    Attributes
    ----------
    library
        The name of the library.
    """

    def __init__(
        self, starter: FrameType, made: dict[int, _Weak], by_one: Callable[[], bool] = lambda: False
    ) -> None:
        self._is_by_one = by_one
        self._made = made
        modules: dict[str, None] = {}
        # By their ids: the objects whose methods led to the start; and, if one of these was in its
        # `__init__` then, the makers: the objects whose methods had called that.
        self._served: dict[int, _Weak] = {}
        self._makers: dict[int, _Weak] = {}
        frame: FrameType | None = starter
        owners = self._served
        for _ in range(_FRAMES):
            if frame is None or stack.is_user(frame.f_code.co_filename):
                break
            if frame.f_code in _OUTERMOST:
                break
            name = frame.f_globals.get("__name__", "")
            if not _is_ours(name):
                modules[name] = None
            # A maker goes on without the object that it has made: the context of `multiprocessing`
            # that makes a pool is kept for ever. So the callers of an `__init__` are set apart.
            if not _is_ours(name) and frame.f_code.co_argcount:
                owner = _owner(frame)
                makes = frame.f_code.co_name == "__init__" and not _is_thread(owner)
                try:
                    (self._served if makes else owners)[id(owner)] = weakref.ref(owner)
                except TypeError:  # it takes no weak references
                    pass
                if makes:
                    owners = self._makers = {}
            frame = frame.f_back
        if owners is self._makers:
            made |= self._served
        self._modules = tuple(modules) or ("",)
        self.library = self._modules[-1].partition(".")[0]

    def is_kept(self, thing: object) -> bool:
        """Whether the library keeps `thing`, a thread or process, or a spared thread started it."""
        return self._is_by_one() or self.is_in_a_module(thing)

    def is_in_a_module(self, thing: object) -> bool:
        """Whether the library's modules refer to `thing`, or to an object that it serves."""
        wanted = self._wanted(thing)
        for name in self._modules:
            if (module := sys.modules.get(name)) is None or name in _UNSEARCHED_MODULES:
                continue
            # The builtins, to which each module refers, lead to IPython's shell, and so to all
            # variables of the user.
            held = [it for key, it in vars(module).copy().items() if key != "__builtins__"]
            classes = [it for it in held if issubclass(type(it), type) and it.__module__ == name]
            held += [value for each in classes for value in list(vars(each).values())]
            if _reach(held, wanted, {id(vars(sys.modules["__main__"]))}):
                return True
        return False

    def is_given(self, thing: object, call: object) -> bool:
        """Whether a job's `call` refers, in some steps, to `thing` or an object that it serves.

        What the job itself has made was not given to it, wherever it is kept now. But its maker,
        the object whose method made it, may have been given to the job, and may keep it.
        """
        wanted, given = self._wanted(thing), _inputs(call)
        own = {id(it) for it in _alive(self._made)}
        makers = _alive(self._makers)
        # Without the makers, which may have been passed to a function that made the object: each
        # would lead to itself.
        made = wanted - {id(maker) for maker in makers}
        return _reach(given, wanted - own, own.copy()) or any(
            _reach([maker], made, set()) and _reach(given, {id(maker)}, own.copy())
            for maker in makers
        )

    def _wanted(self, thing: object) -> set[int]:
        return {id(it) for it in (thing, *_bound(thing), *_alive(self._served))}


def begun(
    threads: dict[threading.Thread, Latch], targets: Callable[[], list[Target]]
) -> list[Target]:
    """Return the targets of all threads that were started; wait for those that are to begin.

    It takes a moment only, but if the job ended meanwhile, nobody would let go of such a thread.
    """
    deadline = Deadline(_BEGIN)

    def is_beginning() -> bool:
        known = {target.thread for target in targets()}
        started = [it for it, left in threads.copy().items() if not left.is_set()]
        return any(it not in known and is_alive(it) for it in started)

    while is_beginning() and deadline.left() != 0:
        time.sleep(_POLL)
    return targets()


def _alive(references: dict[int, _Weak]) -> list[object]:
    return [it for it in (each() for each in list(references.values())) if it is not None]


def _owner(frame: FrameType) -> object:
    """Return the first argument of a function; None if the function is of an unrelated class.

    The first argument of a static method, as in `multiprocessing.pool.Pool`, is no ``self``: it
    may be an object that is everybody's.
    """
    owner: object = frame.f_locals.get(frame.f_code.co_varnames[0])
    kind = frame.f_code.co_qualname.rpartition(".")[0].rpartition(".")[2]
    classes = [each.__name__ for each in _bases(type(owner))]
    return owner if kind in ("", "<locals>", *classes) or issubclass(type(owner), type) else None


_bases = type.__dict__["__mro__"].__get__
_module = type.__dict__["__module__"].__get__


def _is_ours(module: object) -> bool:
    return isinstance(module, str) and module.partition(".")[0] == "ipykill"


def _bound(thing: object) -> Iterator[object]:
    """Yield the object whose method a thread runs, if it runs one."""
    if _is_thread(thing):
        owner = getattr(getattr(thing, "_target", None), "__self__", None)
        if owner is not None and not issubclass(type(owner), type):
            yield owner


def _is_thread(thing: object) -> bool:
    return issubclass(type(thing), threading.Thread)


def _inputs(call: object) -> list[object]:
    """Return the objects that a call may use: arguments, closures, and the globals it reads."""
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
    """Return the values of the variables that code uses and does not assign itself."""
    codes = list(codes)
    used = names.used(codes, namespace) - names.assigned(codes)
    return [namespace[name] for name in used if name in namespace]


def _referents(thing: object) -> list[object]:
    """Return what `thing` keeps; of an `lru_cache` the results, not the arguments of its calls."""
    found = gc.get_referents(thing)
    if type(thing) is _Cache:
        caches: list[dict[object, object]] = [it for it in found if type(it) is dict]
        keys = {id(key) for cache in caches for key in list(cache)}
        found = [it for it in found if type(it) is not dict and id(it) not in keys]
        found += [it for cache in caches for it in list(cache.values())]
    return found


def _reach(roots: list[object], wanted: set[int], seen: set[int]) -> bool:
    """Whether references lead from `roots` to an id in `wanted`, not through an id in `seen`."""
    level = roots
    for _ in range(_DEEP):
        inner: list[object] = []
        for thing in level:
            if id(thing) in wanted:
                return True
            if id(thing) in seen or issubclass(type(thing), _LEAVES) or len(seen) > _MOST:
                continue
            seen.add(id(thing))
            # Not these: a function leads to its module's globals, a class to all its subclasses.
            if not issubclass(type(thing), (type, FunctionType)):
                inner += [it for it in _referents(thing) if not _is_ours(_module(type(it)))]
        level = inner
    return False
