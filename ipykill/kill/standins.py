"""Stand-ins for the handlers of signals, while a thread passes for the main thread.

While the word that says which thread is the main one is lent (`wake`), CPython runs in that
thread the handlers of all signals that have come, of Ctrl-C and of an alarm, and what they raise
would end the wrong code. So for this time each is replaced by a `Heard`, which only notes
that its signal came. Afterwards the handlers are called by the main thread.

The main thread puts them there with `signal.signal` (`install`, `make_way`). The reaper lends
alone when the main thread is deep in C code, and `signal.signal` is for the main thread only. So
the reaper changes the interpreter's own table of handlers (`StandIns`):

1. The table is found by what it holds (`_table`): the handler of every signal, as
   `signal.getsignal` tells them, ours among them, which no other memory has in this order.
2. A pointer is exchanged with the interpreter's lock held, so nobody sees half of it. The table
   owns a reference to what it holds, so they change hands with it.
3. If the main thread sets a handler meanwhile, that stays, and the `Heard` is what it is told
   was there before. Should it put that back, the `Heard` makes way when it is called.
4. Signals that were heard come again (``PyErr_SetInterruptEx``), now in the main thread. It may
   wait in a call by now, or have looked in vain for one that came (and CPython 3.13 looks once);
   so it has to be told of any (`StandIns.missed`).

Where the table is not found, the reaper does not lend. While somebody lends, the main thread may
not set a handler; what is ipykill's own takes `lending` for that (`set_handler`).
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

__all__ = ["Handler", "Heard", "StandIns", "install", "lending", "make_way", "set_handler"]

Handler: TypeAlias = Callable[[int, FrameType | None], Any]

_POINTER = ctypes.sizeof(ctypes.c_void_p)
_ENTRY = 2 * _POINTER  # whether the signal has come, an int, and the handler
_SEARCHED = 1 << 14  # bytes of _PyRuntime, from CPython 3.12 on


lending = locks.RLock()
"""Held by the one who lends the word."""


def set_handler(number: int, handler: Any) -> Any:
    """Do what `signal.signal` does, in the main thread, when nobody lends."""
    with lending:
        return signal.signal(number, handler)


class Heard(list[None]):
    """A stand-in for a signal's handler that only notes that the signal came.

    An exception of a handler may leave it behind; then it makes way when it is called. And the
    thread that calls it may have been called away before it could note anything, so both that
    thread and the one that ends the stand-in look whether there is a note: first the one stores
    the note and the other that it is over, then each looks, and who takes the note passes it on.
    """

    def __init__(self, number: int, usual: Handler) -> None:
        super().__init__()
        self.number = number
        self.usual = usual
        self._over = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note it."""
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
        """Note that it is over; return whether the signal came, and has to be passed on."""
        self._over = True
        return self._take()

    def _take(self) -> bool:
        try:
            self.pop()  # atomic
        except IndexError:
            return False
        self.clear()
        return True


def _handlers(ours: Handler) -> Iterator[tuple[int, Handler]]:
    """Return the signals that have a handler in Python but ours, and those."""
    for number in range(1, signal.NSIG):
        usual = getsignal(number)
        if callable(usual) and usual is not ours:
            yield number, usual


def install(stand_ins: list[Heard], ours: Handler) -> None:
    """Put a stand-in in the place of each handler but ours, and note it before."""
    for number, usual in _handlers(ours):
        # One that was left behind is over.
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
        except BaseException:  # of a handler: it begins with those of signals that have come
            signal.signal(heard.number, heard.usual)
            raise
        finally:
            if heard.end():
                heard.usual(heard.number, frame)


class StandIns:
    """Within, every handler but `ours` is replaced; for a thread that is not the main one.

    Attributes
    ----------
    stand
        Whether they could be replaced.
    missed
        Whether a signal came that the main thread has not handled; afterwards.
    """

    def __init__(self, ours: Handler) -> None:
        self._ours = ours
        self._stand_ins: list[Heard] = []
        self._table = _table(ours)
        self.stand = self._table is not None
        self.missed = False

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
            come = ctypes.c_int.from_address(self._table + heard.number * _ENTRY)
            self.missed = self.missed or bool(come.value)


def _exchange(table: int, number: int, old: Handler, new: Handler) -> bool:
    """Put `new` where `old` is, if that is there; return whether it is."""
    _incref(new)
    entry = ctypes.c_void_p.from_address(table + number * _ENTRY + _POINTER)
    here, there = id(new), id(old)
    # From here to the store no function is called, so nobody else runs.
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
    """Return the address of the interpreter's handlers, that of number 0; None if not found."""
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
    """Return where the table may be: in the runtime, on 3.11 in the variables after it."""
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
