"""How a waiting call is woken: by the interpreter's own Ctrl-C path.

When a signal interrupts a call that waits, CPython runs the Python signal handlers (PEP
475), and if one raises, the call ends with that exception: so Ctrl-C ends ``sleep``,
``recv``, ``Lock.acquire``. It does so in the main thread only, which it knows by its ident,
``_PyRuntime.main_thread``. To wake another thread, the main thread lends it that word for a
moment. `install` finds the word, proves that it is the one, and installs a handler for
SIGURG, which is ignored by default (Go uses it for the same purpose).

1. The reaper files a `_Request` and sends SIGURG to the main thread, whose handler runs: in
   a system call, between two instructions, wherever main is. A signal that comes just
   before main enters a system call does not wake it, so the reaper sends again.
2. In the handler main looks, with the target's gate held, whether it is open, so the signal
   cannot go to a dead thread (the gate is an RLock: the interrupted code of main may hold
   it). Then it writes the target's ident into the word, sends it SIGURG, and waits for
   `Target.lender`, at most `_Request.patience`, and sends again while the word is there.
3. Main runs no other Python code while the word is lent. So nothing in main finds itself
   not to be the main thread, and no Ctrl-C is handled elsewhere: it waits until main has
   the word again, and main looks for it then, because CPython 3.13 might have stopped
   looking in the meantime. The handlers of other signals, which CPython may run in the target
   before ours, are replaced for this time (`standins`).
4. The target's call is interrupted, the target takes itself for the main thread and runs
   the same handler. That puts the word back first of all. If the Kill may be raised from the
   call in which it waits (`policy`), it gets that call ready to be left (`waits`) and raises.
   If not, it arms its own stack (`running`), and the call goes on waiting. A target that ends
   puts the word back as well.
5. C functions look for signals without waiting as well, ``str()`` does, and to break them
   would be to break running code anywhere. So it must be known that the target was in the
   same call of the same frame a moment before: `Target.waits_at`, which the killer writes,
   or, where that is not possible (3.11), the target itself when it is woken first. It holds
   the frame, since another one could get the same address, and only the target lets it go,
   so that what dies with the frame dies in its own thread.
6. A target that goes on answers, one that dies does so with its last step. One that does
   not wait dies by the way for running code, or does not answer. In any case main has the
   word again when its patience ends. (Up to 3.12 running code answers, see `cstack`, and
   dies at once if that happens to be at the jump back of a loop.)
7. When main does not answer for 40 ms it sits in C code that does not look for signals, so
   it runs no Python either. Then the reaper lends the word itself, with stand-ins as well, for a
   shorter time, and not when main has moved.
   Whether main or the reaper lends is decided by who gets `_Request.claim`; and who has
   `standins.lending` lends or puts stand-ins in place, nobody else.

8. A target that *is* the main thread (a cell that goes on in the background, see
   `ipykill.foreground`) needs no word: its handler asks itself what any other target asks, and
   raises.

Whoever raises a stray SIGURG, or had a handler for it before us: that handler is called
for every signal that is not an answer to a request.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

from ..base import locks
from . import cstack, in_main, loops, policy, standins, waits
from . import target as targets
from .switches import has_gil, level
from .target import Target, current_target

__all__ = ["install", "wake", "why_not", "works"]

_AGAIN, _AGAIN_MAX = 0.0002, 0.005  # seconds until the signal is sent to main again,
_TIMES = 12  # and how many times in all: 40 ms
_LOST = 1.0  # seconds after which a request that main claimed is given up
_ALONE = 0.002  # seconds for which the reaper lends without the main thread
_RESEND = 0.0002  # seconds until the signal is sent to the target again, which doubles,
_RESEND_MAX = 0.02  # and after which it is not, see `pursuit`

in_main.ring = lambda: _ring()

_found = False  # whether `targets.main_word` is the interpreter's
_signal: int = getattr(signal, "SIGURG", 0)
_previous: Any = None  # the handler that was there before ours
_why_not = "ipykill was not imported in the main thread"


class _Request:
    """A wish to have `target` woken."""

    __slots__ = ("claim", "done", "patience", "target")

    def __init__(self, target: Target, patience: float) -> None:
        self.target = target
        self.patience = patience  # seconds
        self.claim = threading.Lock()  # held by the one who lends
        self.done = threading.Lock()  # released when the word is back
        self.done.acquire()


_request: _Request | None = None


def works() -> bool:
    """Whether waiting calls can be woken now."""
    return _found and level() == "full" and signal.getsignal(_signal) is _on_signal


def why_not() -> str:
    """Return why waiting calls cannot be woken, empty if they can."""
    if level() != "full":
        return "switched off"
    if _found:
        return "" if works() else "another handler of SIGURG took the place of ours"
    return _why_not


def install() -> None:
    """Get ready to wake threads, if this is the main thread; to do it again is harmless."""
    global _why_not, _found, _previous
    if threading.current_thread() is not threading.main_thread() or level() != "full":
        return
    try:
        if not _found:
            found = _find_word()
            if isinstance(found, str):
                _why_not = found
                return
            _why_not = cstack.calibrate(_signal) or ""
            if _why_not:
                return
            targets.main_ident = threading.get_ident()
            targets.main_state = targets.get_thread_state()
            targets.main_word = found
            _found = True
        if (before := signal.getsignal(_signal)) is not _on_signal:
            _previous = before
            standins.set_handler(_signal, _on_signal)
    except (ValueError, OSError) as error:  # not the main interpreter, for example
        _why_not = str(error)


def _find_word() -> ctypes.c_ulong | str:
    """Return ``_PyRuntime.main_thread``, or why it is not to be had."""
    if sys.implementation.name != "cpython":
        return "this is not CPython"
    if not hasattr(signal, "pthread_kill") or not _signal:
        return "this system cannot send a signal to one thread"
    if not has_gil():
        return "this CPython has no global interpreter lock"
    try:
        runtime = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    except ValueError:
        return "this CPython does not export _PyRuntime"
    me = threading.get_ident()
    size = ctypes.sizeof(ctypes.c_ulong)
    for offset in range(0, 2048, size):  # bytes 80, 64, 656, 832, 960 on 3.11 to 3.15
        word = ctypes.c_ulong.from_address(runtime + offset)
        if word.value == me and _decides(word):
            return word
    return "the main thread's ident was not found in _PyRuntime"


def _decides(word: ctypes.c_ulong) -> bool:
    """Whether `word` makes this thread the main thread: signal.signal() refuses without."""
    me = word.value
    handler = signal.getsignal(_signal)
    try:
        word.value = 1
        signal.signal(_signal, handler)
    except ValueError:
        return True
    finally:
        word.value = me
    return False


def _ring() -> None:
    signal.pthread_kill(targets.main_ident, _signal)


def wake(target: Target, patience: float) -> None:
    """Raise the Kill in `target` if it waits in a call where it may be raised.

    For the reaper, or the main thread. When this returns, the main thread has the word and
    the target has answered, or did not within `patience` seconds.
    """
    global _request
    if threading.get_ident() == targets.main_ident:
        if target.ident != targets.main_ident:
            _lend_in_main(target, patience)
            ctypes.pythonapi.PyErr_CheckSignals()
        return
    request = _request = _Request(target, patience)
    try:
        if _main_lends(request) or target.ident == targets.main_ident:
            return
        if request.claim.acquire(blocking=False):
            _lend_alone(target, min(patience, _ALONE))
        else:
            # Not for ever: a Ctrl-C may come between the claim and its `try`.
            request.done.acquire(timeout=_LOST)
    finally:
        _request = None


def _main_lends(request: _Request) -> bool:
    for attempt in range(_TIMES):
        _ring()
        if request.done.acquire(timeout=min(_AGAIN * 2**attempt, _AGAIN_MAX)):
            return True
    return False


def _lend_in_main(target: Target, patience: float) -> None:
    """Lend the word from the main thread, which alone handles signals meanwhile."""
    stand_ins: list[standins.Heard] = []
    with standins.lending:  # the reaper may be lending: then nobody may call signal.signal()
        try:
            standins.install(stand_ins, _on_signal)
            _lend(target, patience)
        finally:
            standins.make_way(stand_ins, sys._getframe(1))


def _lend_alone(target: Target, patience: float) -> None:
    """Lend the word without the main thread, until that runs Python again."""
    stand_ins = standins.StandIns(_on_signal)
    with standins.lending, stand_ins:
        if stand_ins.stand:
            _lend(target, patience, _main_place())
    if stand_ins.missed:
        signal.pthread_kill(targets.main_ident, _signal)


def _main_place() -> tuple[int, int] | None:
    """Return where the main thread is, if that can be looked at."""
    if sys.version_info < (3, 12):  # see Target.innermost_frame
        return None
    frame = targets.frame_of(targets.main_state)
    return None if frame is None else (id(frame), frame.f_lasti)


def _lend(target: Target, patience: float, main_place: tuple[int, int] | None = None) -> None:
    answered = threading.Lock()
    answered.acquire()
    with standins.lending:
        try:
            with target.gate:
                if not target.open or sys.is_finalizing():
                    return
                target.lender = answered
                targets.main_word.value = target.ident
            _signal_target(target, answered, patience, main_place)
        finally:
            targets.main_word.value = targets.main_ident
            target.lender = None


def _signal_target(
    target: Target, answered: threading.Lock, patience: float, main_place: tuple[int, int] | None
) -> None:
    end = time.monotonic() + patience
    pause = _RESEND
    while targets.main_word.value == target.ident and target.signal(_signal):
        # A signal that came just before the target entered a system call was in vain.
        if pause > _RESEND_MAX:
            break
        if answered.acquire(timeout=min(pause, patience)) or time.monotonic() >= end:
            return
        if main_place is not None and main_place != _main_place():
            return
        pause *= 2
    answered.acquire(timeout=max(end - time.monotonic(), 0))


def _on_signal(number: int, frame: FrameType | None) -> None:
    if threading.get_ident() == targets.main_ident:
        inside = cstack.inside_a_call()
        in_main.make_calls()
        request = _request
        if request is None or not request.claim.acquire(blocking=False):
            _call_previous(number, frame)
            return
        try:
            itself = request.target.ident == targets.main_ident
            leaves = itself and _reached(request.target, frame, inside)
            if not itself:
                _lend_in_main(request.target, request.patience)
        finally:
            request.done.release()
        if leaves:
            raise request.target.strike()
        # May raise KeyboardInterrupt, see step 3 above.
        ctypes.pythonapi.PyErr_CheckSignals()
        return
    targets.main_word.value = targets.main_ident
    inside = cstack.inside_a_call()
    target = current_target()
    if target is None:
        return
    if _reached(target, frame, inside):
        raise target.strike()
    target.answer()


def _reached(target: Target, frame: FrameType | None, inside: bool) -> bool:
    """Whether the target, whose own thread this is, dies in `frame`; if not, it is armed there."""
    leaves = False
    if frame is not None and target.wanted:
        # Nothing is raised in what is done from here on, by whatever other way.
        target.depth += 1
        try:
            leaves = _leaves(target, frame, inside)
            if not leaves and not loops.hears(target):
                targets.arm_here(target, frame)
        except RecursionError:  # ours, not the code's: it is too deep for the question
            pass
        finally:
            target.depth -= 1
    return leaves


def _leaves(target: Target, frame: FrameType, inside: bool) -> bool:
    """Whether the target, reached in `frame`, leaves the call in which it waits."""
    before, target.waits_at = target.waits_at, None
    if not inside:
        return policy.may_turn(target, frame) and loops.may_strike(target, frame)
    if not loops.may_strike(target, frame):
        return False
    may_break = waits.may_be_left(frame, target) and policy.may_break(target, frame)
    if not may_break and not waits.hasten(frame, target):
        return False
    if before != (frame, frame.f_lasti):
        target.waits_at = frame, frame.f_lasti
        return False
    return waits.leave(frame, target)


_calling_previous = False


def _call_previous(number: int, frame: FrameType | None) -> None:
    global _calling_previous
    # It may call us in turn.
    if callable(_previous) and not _calling_previous:
        _calling_previous = True
        try:
            _previous(number, frame)
        finally:
            _calling_previous = False


def _after_fork_in_child() -> None:
    # CPython has made the calling thread the main thread.
    global _request
    _request = None
    standins.lending = locks.RLock()
    if _found:
        targets.main_ident = threading.get_ident()
        targets.main_state = targets.get_thread_state()
        targets.main_word.value = targets.main_ident


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
