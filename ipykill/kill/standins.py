"""Stand-ins for the handlers of signals, while another thread passes for the main thread.

While the main thread's ident is lent to another thread (`wake`), CPython runs the handlers of all
signals that come in that thread. Those of Ctrl-C or of an alarm would raise their exception in the
wrong code. So meanwhile each handler is replaced by a `Heard`, which only notes that its signal
came. Afterwards the main thread calls the handlers.

If the main thread lends, it does this with `signal.signal` (`install`, `make_way`). If the main
thread is deep in C code, the reaper lends without it. As `signal.signal` works in the main thread
only, the reaper changes the interpreter's own table of handlers (`StandIns`):

1. The table is found by its contents (`_table`): the handlers of all signals, as
   `signal.getsignal` returns them, in this order. No other memory has that.
2. A pointer is exchanged with the interpreter's lock held, so no thread sees half of it. The
   table owns a reference to each handler, so reference counts are changed with it.
3. If the main thread sets a handler meanwhile, that handler stays, and `signal.signal` returns
   the `Heard` as the previous one. If the main thread later puts the `Heard` back, this restores
   the real handler when it is called.
4. A signal that was noted is raised again (``PyErr_SetInterruptEx``), now for the main thread.
   The main thread may wait in a call by now, or may have looked for signals in vain before (CPython
   3.13 looks only once). So the reaper sends it a signal afterwards (`StandIns.missed`), and again,
   because one that comes just before the main thread enters a system call does not wake it.

If the table is not found, the reaper does not lend. While any thread lends, `signal.signal` fails
in the main thread, so ipykill's own code uses `set_handler`, which waits for `lending`.
"""

from __future__ import annotations

import ctypes
import functools
import signal
import sys
import threading
from _signal import getsignal  # type: ignore[import-not-found]  # signal's takes six times as long
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

from ..base import locks
from . import target as targets

__all__ = [
    "Handler",
    "Heard",
    "StandIns",
    "install",
    "lending",
    "make_way",
    "refuse_others",
    "set_handler",
]

Handler: TypeAlias = Callable[[int, FrameType | None], Any]

_POINTER = ctypes.sizeof(ctypes.c_void_p)
_ENTRY = 2 * _POINTER  # an int, whether the signal has come, and the pointer to the handler
_SEARCHED = 1 << 14  # bytes of _PyRuntime, from CPython 3.12 on


lending = locks.RLock()
"""Held by the thread that lends the main thread's ident."""


def set_handler(number: int, handler: Any) -> Any:
    """Call `signal.signal` when no thread lends; call this in the main thread."""
    with lending:
        return signal.signal(number, handler)


class Heard(list[None]):
    """A stand-in for a signal's handler that only notes that the signal came.

    If a handler's exception leaves it in place, it restores the usual handler when it is called.

    The thread that calls it may have to wait before it can store its note, while another thread
    ends the stand-in. So the one stores the note, the other stores that the stand-in is over, and
    then both look for the note; the thread that takes it passes the signal on.
    """

    def __init__(self, number: int, usual: Handler) -> None:
        super().__init__()
        self.number = number
        self.usual = usual
        self._over = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note that the signal came."""
        me = threading.get_ident()
        if me == targets.main_ident == targets.main_word.value:
            signal.signal(number, self.usual)
            self.usual(number, frame)
            return
        self.append(None)
        if self._over and self._take():
            ctypes.pythonapi.PyErr_SetInterruptEx(number)
            signal.pthread_kill(targets.main_ident, signal.SIGURG)

    def end(self) -> bool:
        """End the stand-in; return whether the signal came and the caller has to pass it on."""
        self._over = True
        return self._take()

    def _take(self) -> bool:
        try:
            self.pop()  # atomic
        except IndexError:
            return False
        self.clear()
        return True


def _for_main(real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def call(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            raise ValueError(f"{real.__name__} only works in main thread of the main interpreter")
        return real(*args, **kwargs)

    call.__module__ = "signal"  # where it is, so that it can be pickled
    return call


def refuse_others() -> None:
    """Let only the main thread set handlers of signals, not also one that passes for it.

    Trio tries to set one to find out whether it is in the main thread, and would take all signals.
    The wrappers stay, as the check in CPython does.
    """
    for name in ("signal", "set_wakeup_fd"):
        real = getattr(signal, name)
        if getattr(real, "__globals__", None) is not globals():
            setattr(signal, name, _for_main(real))


def _handlers(ours: Handler) -> Iterator[tuple[int, Handler]]:
    """Yield each signal that has a handler in Python, except ours, with the handler."""
    for number in range(1, signal.NSIG):
        usual = getsignal(number)
        if callable(usual) and usual is not ours:
            yield number, usual


def install(stand_ins: list[Heard], ours: Handler) -> None:
    """Replace each handler except ours by a stand-in, which is first added to `stand_ins`."""
    for number, usual in _handlers(ours):
        # A Heard that an exception left in place is replaced as well.
        heard = Heard(number, usual.usual if isinstance(usual, Heard) else usual)
        stand_ins.append(heard)
        signal.signal(number, heard)


def make_way(stand_ins: list[Heard], frame: FrameType) -> None:
    """Put the handlers back, and call those whose signals came; each of them may raise."""
    if not stand_ins:
        return
    heard = stand_ins.pop()
    try:
        make_way(stand_ins, frame)
    finally:
        try:
            signal.signal(heard.number, heard.usual)
        except BaseException:  # signal.signal() first runs handlers that are due, and one raised
            signal.signal(heard.number, heard.usual)
            raise
        finally:
            if heard.end():
                heard.usual(heard.number, frame)


class StandIns:
    """A context in which every handler except `ours` is replaced; not for the main thread.

    Attributes
    ----------
    stand
        Whether the handlers can be replaced: the interpreter's table was found.
    """

    def __init__(self, ours: Handler) -> None:
        self._ours = ours
        self._stand_ins: list[Heard] = []
        self._table = _table(ours)
        self.stand = self._table is not None

    def __enter__(self) -> None:
        if self._table is not None:
            for number, usual in _handlers(self._ours):
                if not isinstance(usual, Heard):
                    heard = Heard(number, usual)
                    if _exchange(self._table, number, usual, heard):
                        self._stand_ins.append(heard)

    def __exit__(self, *_: object) -> None:
        for heard in self._stand_ins:
            assert self._table is not None
            _exchange(self._table, heard.number, heard, heard.usual)
            if heard.end():
                ctypes.pythonapi.PyErr_SetInterruptEx(heard.number)

    def missed(self) -> bool:
        """Whether a signal came, in the block or since, that the main thread has not handled."""
        if self._table is None:
            return False
        entries = (self._table + heard.number * _ENTRY for heard in self._stand_ins)
        return any(ctypes.c_int.from_address(entry).value for entry in entries)


def _exchange(table: int, number: int, old: Handler, new: Handler) -> bool:
    """Replace the handler `old` by `new` in the table; return False if `old` is not there."""
    _incref(new)
    entry = ctypes.c_void_p.from_address(table + number * _ENTRY + _POINTER)
    here, there = id(new), id(old)
    # From here to the store no function is called, so no other thread runs.
    found = entry.value == there
    if found:
        entry.value = here
    _decref(old if found else new)
    return found


_incref = ctypes.pythonapi["Py_IncRef"]
_decref = ctypes.pythonapi["Py_DecRef"]
for _function in (_incref, _decref):
    _function.argtypes = [ctypes.py_object]
    _function.restype = None


@functools.cache
def _table(ours: Handler) -> int | None:
    """Return the address of the interpreter's table, its entry 0; None if it is not found."""
    mine = id(ours).to_bytes(_POINTER, sys.byteorder)
    try:
        for begin, end in _places():
            memory = ctypes.string_at(begin, end - begin)
            at = memory.find(mine)
            while at >= 0:
                table = begin + at - _POINTER - signal.SIGURG * _ENTRY
                if table >= begin and _is_table(table):
                    return table
                at = memory.find(mine, at + 1)
    except (OSError, ValueError):
        pass
    return None


def _places() -> Iterator[tuple[int, int]]:
    """Yield the ranges of memory to search: _PyRuntime, on 3.11 the static variables after it."""
    runtime = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    if sys.version_info >= (3, 12):
        yield runtime, runtime + _SEARCHED
        return
    last = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, *_ = line.split()
        begin, end = (int(number, 16) for number in span.split("-"))
        if begin <= runtime < end or (begin == last and rights.startswith("rw")):
            yield begin, end
            last = end


def _is_table(table: int) -> bool:
    for number in range(1, signal.NSIG):
        held = ctypes.c_void_p.from_address(table + number * _ENTRY + _POINTER).value
        handler = getsignal(number)
        if held != id(handler) and (held is not None or handler is not None):
            return False
    return True
