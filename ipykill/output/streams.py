"""Taps of the standard streams: text that a job writes to them goes to the job's output."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Callable
from typing import Any

from ..base.wrapping import wrap
from ..core.current import acting, caller
from .job_output import of_job

__all__ = ["captured", "stand_in", "tap_again", "tap_prompt", "untap"]


class _Tap:
    """Mixed into the class of a stream: leads what a job writes into the job's output.

    It changes the stream itself, not `sys.stdout`, because a logging handler or a library may
    have kept a reference to the stream. `write` is a property, because IPython 9 sets it on
    the stream while a cell runs, to record what the cell prints; the text of a job bypasses
    that.

    IPython and the kernel use the stream some ten times around each cell. So what no code of a job
    or a cell calls is told from the rest by one look at the context, and goes its usual way.
    """

    _ipykill_name: str

    @property
    def write(self) -> Callable[[str], int]:
        job, cell = caller() if acting.get(None) is not None else (None, None)
        if job is not None and (output := of_job()) is not None:
            return functools.partial(output.write, self._ipykill_name)
        method: Callable[[str], int] = vars(self).get("write") or super().write  # type: ignore[misc]
        if cell is not None:
            return functools.partial(cell.write, self._ipykill_name, method)
        return method

    @write.setter
    def write(self, method: Callable[[str], int]) -> None:
        vars(self)["write"] = method

    @write.deleter
    def write(self) -> None:
        del vars(self)["write"]

    # A property too, so that an interrupt of the original shows no frame of ours.
    @property
    def flush(self) -> Callable[[], None]:
        if acting.get(None) is not None and (output := of_job()) is not None:
            # A job's output is sent soon anyway; one message for each flush would be too many.
            return functools.partial(output.flush_stream, self._ipykill_name)
        method: Callable[[], None] = super().flush  # type: ignore[misc]
        return method


class _Stream:
    """A wrapper of a stream whose class is written in C, and to which no mixin can be added."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __iter__(self) -> Any:
        return iter(self.stream)

    def write(self, text: str) -> int:
        written: int = self.stream.write(text)
        return written

    def flush(self) -> None:
        self.stream.flush()


_tapped: dict[type, type] = {}


def _tap(name: str) -> None:
    stream = getattr(sys, name)
    if isinstance(stream, _Tap):
        return
    if isinstance(stream, io.TextIOWrapper | io.StringIO):
        setattr(sys, name, stand_in(name, stream))
    else:
        _tap_object(name, stream)


def _tap_object(name: str, stream: Any) -> None:
    kind = type(stream)
    if kind not in _tapped:
        _tapped[kind] = type(kind.__name__, (_Tap, kind), {})
    stream._ipykill_name = name
    stream.__class__ = _tapped[kind]


def stand_in(name: str, stream: Any) -> Any:
    """Return a tapped wrapper of `stream`, to be assigned to ``sys.stdout`` or ``sys.stderr``."""
    substitute = _Stream(stream)
    _tap_object(name, substitute)
    return substitute


def tap_again() -> None:
    """Tap the present standard streams, as far as they are not tapped yet."""
    _tap("stdout")
    _tap("stderr")


def captured() -> bool:
    """Whether a standard stream is being captured now, in a `io.StringIO`."""
    streams = [getattr(it, "stream", it) for it in (sys.stdout, sys.stderr)]
    return any(isinstance(stream, io.StringIO) for stream in streams)


def untap(name: str) -> None:
    """Undo `_tap`: what a job writes to the stream goes where any thread's goes."""
    stream = getattr(sys, name)
    if isinstance(stream, _Tap):
        stream.__class__ = type(stream).__mro__[2]
        if isinstance(stream, _Stream):
            setattr(sys, name, stream.stream)


def tap_prompt() -> None:
    """Tap the object by which prompt_toolkit replaces the standard streams during a prompt."""
    try:
        from prompt_toolkit.patch_stdout import StdoutProxy
    except ImportError:
        return
    wrap(StdoutProxy, "write", _of_jobs_apart)


def _of_jobs_apart(original: Any) -> Any:
    def write(self: Any, text: str) -> int:
        output = of_job()
        if output is not None:
            return output.write("stdout", text)
        written: int = original(self, text)
        return written

    return write
