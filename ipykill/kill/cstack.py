"""Whether a signal handler runs inside a C call or between instructions: CPython 3.11, 3.12.

Up to 3.12 the interpreter runs signal handlers in two places: in a C call that a signal has
interrupted (``PyErr_CheckSignals``), and between two instructions, also right after a call
*returned*. In both the caller's frame stands at its CALL. The difference decides: a waiting
``lock.acquire()`` that was interrupted did not get the lock, one that returned has it, and
an exception would lose it.

The C stack tells them apart, by the return address of the call that the evaluation loop is
in: it looks for signals in one place of its code, and calls C functions in others.

1. Every evaluation loop has a record on the C stack, `_PyCFrame`, linked from the thread
   state. The handler runs in a loop of its own; the record below belongs to the loop in
   question.
2. That loop's return address lies a fixed distance below its record, since both are in the
   stack frame of the same C function.
3. `calibrate` finds this distance, and the address for signals between instructions, by
   raising the signal in both ways.

Both versions get security fixes only, so the offsets here are final. From 3.13 on, the
interpreter looks for signals between instructions in the main thread only.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from types import FrameType

from .thread_states import get_thread_state

__all__ = ["calibrate", "inside_a_call"]

_NEEDED = sys.version_info < (3, 13)
_POINTER = ctypes.sizeof(ctypes.c_void_p)
# PyThreadState.cframe: after 3 pointers and 7 ints, aligned, on both versions.
_CFRAME = 3 * _POINTER + 8 * 4
# _PyCFrame.previous: 3.11 has a byte, a pointer and then it; 3.12 a pointer and then it.
_PREVIOUS = (2 if sys.version_info < (3, 12) else 1) * _POINTER
_LOOP_SIZE = 1 << 18  # bytes; no evaluation loop is longer
_DEEPEST = 600  # bytes from a record to the return address, at most

_slot = 0  # how far below the record the return address lies
_between = 0  # the return address when signals are handled between instructions


def _word(address: int) -> int:
    return ctypes.c_size_t.from_address(address).value


def _record() -> int:
    """Return the address of the record of the loop below the one that calls this."""
    return _word(_word(get_thread_state() + _CFRAME) + _PREVIOUS)


def inside_a_call() -> bool:
    """Whether the calling signal handler interrupts a C function, not Python code."""
    return not _NEEDED or _word(_record() - _slot) != _between


def calibrate(number: int) -> str | None:
    """Find the distance and the address by raising signal `number`; return None, or why not.

    Main thread only. The signal's handler is put back.
    """
    global _slot, _between
    if not _NEEDED:
        return None
    symbol = getattr(ctypes.pythonapi, "_PyEval_EvalFrameDefault", None)
    if symbol is None:
        return "this CPython does not export _PyEval_EvalFrameDefault"
    found: list[dict[int, int]] = []

    def handler(number: int, frame: FrameType | None) -> None:
        record = _record()
        slots = range(_POINTER, _DEEPEST, _POINTER)
        found.append({slot: _word(record - slot) for slot in slots})

    before = signal.signal(number, handler)
    try:
        for _ in range(3):
            ctypes.pythonapi.PyErr_SetInterruptEx(number)
        between, found = found, []
        for _ in range(3):
            # pthread_kill() looks for signals before it returns.
            signal.pthread_kill(threading.get_ident(), number)
        inside = found
    finally:
        signal.signal(number, before)
    loop = ctypes.cast(symbol, ctypes.c_void_p).value or 0
    for slot in between[0] if between and inside else ():
        addresses = {words[slot] for words in between}
        calls = {words[slot] for words in inside}
        in_loop = all(loop < call < loop + _LOOP_SIZE for call in calls)
        if in_loop and len(addresses) == 1 and not addresses & calls:
            _slot, _between = slot, addresses.pop()
            return None
    return "the C stack of this interpreter is not as expected"
