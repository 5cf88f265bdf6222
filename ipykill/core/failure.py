"""The error that a job failed with, and what is kept of it when its frames are let go.

The frames of a traceback hold every local variable of the code that failed. IPython keeps the
frames of the newest error only (`sys.last_exc`), and so does ipykill: when another job
fails, or the job is forgotten, only a copy of the error is kept, which has the same type and
text, and the traceback as text, but refers to none of the user's objects.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import traceback
import weakref
from collections.abc import Iterator
from typing import Any

from ..base import locks, stack
from ..base.tracebacks import set_traceback
from ..exceptions import JobError, JobKilled, JobStopped
from .info import JobState

__all__ = ["Failure", "comes_from", "is_only", "message", "outcome_of"]

# What is kept of an error: at most so many
_TEXT = 20_000  # characters of its traceback,
_FRAMES = 200  # frames, as text,
_LONGEST = 10_000  # characters of a text among its arguments and attributes,
_WIDEST = 20  # and elements of a tuple there.
_PLAIN = {str, bytes, int, float, complex, bool, type(None)}

# These bypass what the error's class defines, which is code of others.
_set = BaseException.__setattr__
_name_of = vars(type)["__name__"].__get__

_lock = locks.RLock()  # reentrant: a signal handler or a finalizer may take it again
_newest: weakref.ref[Failure] | None = None
_numbers = itertools.count()


class Failure:
    """How a job failed.

    Attributes
    ----------
    kind : type
        The class of the error.
    line : str
        The last line of its traceback.
    text : str
        Its message.

    Threading
    ---------
    The job's own thread makes it and calls `settle`. Any thread may call the rest.
    """

    def __init__(self, error: BaseException) -> None:
        try:
            self._describe(error)
        except BaseException:  # raised by the error's own class; the job has to end all the same
            self._describe(JobError("its error cannot be described"))

    def _describe(self, error: BaseException) -> None:
        for one in _chain(error):
            set_traceback(one, stack.without_machinery(one.__traceback__))
        self.kind = type(error)
        self.text = message(error)
        first = next(iter(self.text.strip().splitlines()), "")
        name = _name_of(self.kind)
        self.line = f"{name}: {first}" if first else name
        self._error: BaseException | None = error
        self._tb = error.__traceback__
        self._frames: tuple[stack.Frame, ...] = ()
        self._recipe: _Recipe | None = None
        self._unwanted = False
        self._number = next(_numbers)

    # Why no frame is kept for ever, and no error is lost:
    #
    # 1. settle() first makes the copy to keep, and then becomes the newest failure, with `_lock`
    #    held. The newest before it, which had settled, lets go of its error. If a failure that
    #    was made later has settled earlier, this one lets go of its own error instead.
    # 2. let_go() may be called before settle(), if a job is forgotten at once. Then it leaves
    #    a note for settle(); else it finds the copy that settle() has made. Both hold `_lock`.
    # 3. What is let go is freed when `_lock` is not held: finalizers are code of others.

    def settle(self) -> None:
        """Become the newest failure, which keeps its frames; for the job's own thread."""
        global _newest
        error = self._error
        assert error is not None
        try:
            frames, recipe = _frames(error), _Recipe(error, self.text)
        except Exception:  # raised by the error's own class
            frames, recipe = (), _Recipe(Exception(self.text), self.text)
        with _lock:
            self._frames, self._recipe = frames, recipe
            other = None if _newest is None else _newest()
            late = other is not None and other._number > self._number
            loser = self if self._unwanted or late else other
            if loser is not self:
                _newest = weakref.ref(self)
            dropped = None
            if loser is not None:
                dropped = loser._drop()
        del dropped, error

    def let_go(self) -> None:
        """Keep only text from now on, and none of the user's objects."""
        with _lock:
            self._unwanted = True
            dropped = self._drop() if self._recipe is not None else None
        del dropped

    def _drop(self) -> object:
        # Called with `_lock` held; the caller frees what this returns when it has released it.
        dropped = self._error, self._tb
        self._error = self._tb = None
        return dropped

    @property
    def error(self) -> BaseException:
        """The error itself, or a copy of it without frames."""
        with _lock:
            error, tb, recipe = self._error, self._tb, self._recipe
        if error is not None:
            set_traceback(error, tb)  # drops the frames of callers of result() that raised it
            return error
        assert recipe is not None
        return recipe.error()

    @property
    def frames(self) -> tuple[stack.Frame, ...]:
        """Where it failed: the user's frames, see `stack.trim`."""
        with _lock:
            error = self._error
        return self._frames if error is None or self._recipe is not None else _frames(error)

    @property
    def traceback(self) -> str:
        """The traceback as Python would print it, empty before `settle`."""
        recipe = self._recipe
        return "" if recipe is None else recipe.traceback


def _frames(error: BaseException) -> tuple[stack.Frame, ...]:
    return tuple(stack.trim(stack.of_traceback(error.__traceback__))[-_FRAMES:])


class JobTraceback(Exception):
    """The traceback, as text, of an error whose frames were let go: the cause of its copy."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Recipe:
    """What is needed to make a copy of an error, without any object of the user's.

    That is its type, its notes, and its arguments and attributes as far as they are text or
    numbers: `OSError.errno`, but not `AttributeError.obj`.
    """

    def __init__(self, error: BaseException, text: str) -> None:
        self._kind = type(error)
        self._text = text
        try:
            self.traceback = _cut("".join(traceback.format_exception(error)))
        except Exception:  # raised by the class of this error, or of one that it is chained to
            self.traceback = ""
        self._args = error.args if all(map(_is_plain, error.args)) else (text,)
        self._attributes = {
            name: value
            for name, value in _attributes(error)
            if name != "args" and value is not None and _is_plain(value)
        }
        notes = vars(error).get("__notes__")
        if isinstance(notes, list) and all(map(_is_plain, notes)):
            self._attributes["__notes__"] = notes.copy()
        self._inner: list[_Recipe] = []
        if isinstance(error, BaseExceptionGroup):
            self._args = (error.message,)
            self._inner = [_Recipe(inner, message(inner)) for inner in error.exceptions]

    def error(self) -> BaseException:
        """Return a new copy of the error."""
        made = self._made(self._kind)
        if made is None or message(made) != self._text:  # its __str__ needs more than we kept
            made = self._made(_saying(self._kind, self._text)) or Exception(self._text)
        if self.traceback:
            _set(made, "__cause__", JobTraceback(self.traceback))
        return made

    def _made(self, kind: type[BaseException]) -> BaseException | None:
        # Uses the __new__ of the builtin base class: that of the user's class may do anything.
        base = next(it for it in kind.__mro__ if it.__module__ == "builtins")
        try:
            arguments = self._args
            if self._inner:
                arguments = (*arguments, [it.error() for it in self._inner])
            made: BaseException = base.__new__(kind, *arguments)
            for name, value in {"args": arguments, **self._attributes}.items():
                with contextlib.suppress(Exception):
                    _set(made, name, value)
        except Exception:
            return None
        return made


def _saying(kind: type[BaseException], text: str) -> type[BaseException]:
    """Return a class that passes for `kind` and whose message is `text`."""
    about = {"__str__": lambda self: text, "__module__": kind.__module__}
    base = next(it for it in kind.__mro__ if it.__module__ == "builtins")
    try:
        return type(_name_of(kind), (kind,), about)
    except Exception:  # the class refuses subclasses
        return type(_name_of(kind), (base,), about)


def _attributes(error: BaseException) -> Iterator[tuple[str, object]]:
    """Yield the attributes of an error, without running any code of its class."""
    for base in type(error).__mro__:
        if base.__module__ == "builtins":
            for name, found in vars(base).items():
                if not name.startswith("__") and inspect.isdatadescriptor(found):
                    member: Any = found
                    with contextlib.suppress(Exception):
                        yield name, member.__get__(error)
    yield from vars(error).items()


def _is_plain(value: object) -> bool:
    if type(value) is tuple:  # pandas raises KeyError with a tuple
        return len(value) <= _WIDEST and all(
            type(it) is not tuple and _is_plain(it) for it in value
        )
    return type(value) in _PLAIN and not (isinstance(value, str | bytes) and len(value) > _LONGEST)


def _cut(text: str) -> str:
    half = _TEXT // 2
    return text if len(text) <= _TEXT else f"{text[:half]}\n...\n{text[-half:]}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, the members of its group, its causes and its contexts, and theirs."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += (one.__cause__, one.__context__)
            if isinstance(one, BaseExceptionGroup):
                todo += one.exceptions


def outcome_of(
    error: BaseException | None, *, killed: bool, stopped: bool, interrupted: bool
) -> JobState:
    """Return how a job has ended, given what its code raised and what was asked of it."""
    code = error.code if isinstance(error, SystemExit) else 1
    if error is None or code is None or (isinstance(code, int) and code == 0):
        return JobState.DONE
    if killed and comes_from(error, JobKilled):
        return JobState.KILLED
    if stopped and is_only((JobStopped, asyncio.CancelledError), error):
        return JobState.STOPPED
    if interrupted and is_only(KeyboardInterrupt, error):
        return JobState.STOPPED
    return JobState.FAILED


def comes_from(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether `error` is of this kind, or a member, cause or context of it is."""
    return any(isinstance(one, kind) for one in _chain(error))


def is_only(
    kind: type[BaseException] | tuple[type[BaseException], ...], error: BaseException | None
) -> bool:
    """Whether an error is of this kind, or a group of nothing else, as a TaskGroup makes."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_only(kind, each) for each in error.exceptions)
    return isinstance(error, kind)


def message(error: BaseException) -> str:
    """Return ``str(error)``, or a substitute if its class raises."""
    try:
        return str(error)
    except BaseException:  # even SystemExit: the caller is ending a job
        return "<its message cannot be shown>"
