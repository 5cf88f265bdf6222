"""Wake a thread that waits in a call, in the way that CPython itself handles Ctrl-C.

When a signal interrupts a call that waits, CPython runs the Python signal handlers (PEP 475),
and if one raises, the call ends with that exception. So Ctrl-C ends ``sleep``, ``recv``,
``Lock.acquire``. CPython does so in the main thread only: the thread whose ident is in the
variable ``_PyRuntime.main_thread``, *the word*. To wake another thread, the main thread *lends*
it the word: it writes the other thread's ident there for a moment. `install` finds the word,
proves that it is the right one, and installs a handler for SIGURG, which is ignored by default
(Go uses it for the same purpose).

1. The reaper files a `_Request` and sends SIGURG to the main thread, whose handler runs
   wherever that is: in a system call, or between two instructions. A signal that comes just
   before the main thread enters a system call does not wake it, so the reaper sends it again.
2. In the handler the main thread looks whether the target is open, with the target's gate
   held, so that no signal goes to a dead thread. (The gate is an RLock, because the interrupted
   code of the main thread may hold it.) Then it writes the target's ident into the word, sends
   SIGURG to the target, and again while the word is lent, and waits for `Target.lender`, at most
   `_Request.patience` seconds.
3. The main thread runs no other Python code while the word is lent. So no code in it finds
   that it is not the main thread. A Ctrl-C is handled when the main thread has the word again;
   it looks for one then, because CPython 3.13 may have stopped looking. CPython may run the
   handlers of other signals in the target, so these are replaced meanwhile (`standins`).
4. The target's call is interrupted. The target passes for the main thread, so it runs the same
   handler. That first puts the main thread's ident back. If a Kill may be raised in the call
   that waits (`policy`), the handler prepares the call (`waits`) and raises it. If not, it arms
   the target's stack (`running`), and the call goes on waiting. A target that ends puts the
   main thread's ident back as well.
5. C functions that do not wait look for signals as well, ``str()`` for example, and an exception
   there would be one at any instruction. So a Kill is raised only if the target was in the same
   call of the same frame a moment before: `Target.waits_at`. The killing thread writes it, or on
   3.11, where it cannot, the target when it is woken first; then it is woken again at once. It
   refers to the frame, because another frame could get the same address. Only the target drops
   the reference, so that what is freed with the frame is freed in the target's own thread. (A
   frame of ``Condition.wait`` is believed at once: nothing that it calls looks for signals but a
   lock that is waited for.)
6. A target that goes on answers the lender at once. One that dies answers when it ends, or at
   once if its group has other threads. A target that does not wait is killed by its engine
   (`running`), or does not answer. In any case the word is the main thread's again when the
   patience ends. (Up to 3.12 running code answers, see `cstack`, and dies at once if it is at the
   jump back of a loop.)
7. If the main thread does not answer for 40 ms, it is in C code that does not look for
   signals, so it runs no Python code. Then the reaper lends the word itself, with stand-ins as
   well, for a shorter time, and only while the main thread has not moved. The thread that
   gets `_Request.claim`, main or reaper, lends; and only the thread that has `standins.lending`
   lends or installs stand-ins.

   In the first moments of a Kill the reaper lends the word at once, without asking the main thread,
   when that waits in a call that code outside of the standard library has made. That call may fail
   when a signal interrupts it, which CPython's own calls do not (PEP 475).

8. A target that *is* the main thread (a cell that goes on in the background, see
   `ipykill.foreground`) needs no word: its handler decides like that of any other target.

A handler of SIGURG that was there before ours is called for every SIGURG that does not belong to
a request.
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
from . import cstack, in_main, loops, main_thread, policy, standins, thread_states, waits
from . import target as targets
from .switches import has_gil, level
from .target import Target, current_target

__all__ = ["LOOKS", "by_what", "install", "wake", "why_not", "works"]

_AGAIN, _AGAIN_MAX = 0.0002, 0.005  # seconds until the signal is sent to the main thread again,
_TIMES = 12  # and how many times in all: about 40 ms
_LOST = 1.0  # seconds after which a request that the main thread claimed is given up
_ALONE = 0.002  # seconds for which the reaper lends without the main thread
_RESEND = 0.0002  # seconds until the signal is sent to the target again, which double,
_RESEND_MAX = 0.02  # up to this; then it is not sent again, see `pursuit._QUIET`
LOOKS = sys.version_info >= (3, 12) and has_gil()
"""Whether a frame of another thread may be kept. If not, a target that waits is woken twice."""

in_main.ring = lambda: _ring()

_found = False  # whether `targets.main_word` is the interpreter's
_signal: int = getattr(signal, "SIGURG", 0)
_previous: Any = None  # the handler that was there before ours
_why_not = "ipykill was not imported in the main thread"


class _Request:
    """A request of the reaper's that `target` be woken."""

    __slots__ = ("claim", "done", "patience", "target")

    def __init__(self, target: Target, patience: float) -> None:
        self.target = target
        self.patience = patience  # seconds
        self.claim = threading.Lock()  # held by the thread that lends
        self.done = threading.Lock()  # released when the word is the main thread's again
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


def by_what() -> str:
    """Return how waiting calls are woken."""
    how = "by SIGURG, the way of Ctrl-C"
    return how if has_gil() else f"{how}, as soon as the main thread looks for signals"


def install() -> None:
    """Get ready to wake threads. In other threads than the main one this does nothing.

    It may be called again at any time.
    """
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
            targets.main_state = thread_states.get_thread_state()
            targets.main_word = found
            main_thread.is_this()
            standins.refuse_others()
            _found = True
        if (before := signal.getsignal(_signal)) is not _on_signal:
            _previous = before
            standins.set_handler(_signal, _on_signal)
    except (ValueError, OSError) as error:  # not the main interpreter, for example
        _why_not = str(error)


def _find_word() -> ctypes.c_ulong | str:
    """Return ``_PyRuntime.main_thread``, or in words why it is not found."""
    if sys.implementation.name != "cpython":
        return "this is not CPython"
    if not hasattr(signal, "pthread_kill") or not _signal:
        return "this system cannot send a signal to one thread"
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
    """Whether `word` decides that this is the main thread: else signal.signal() raises."""
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
    """Make `target` raise the Kill, if it waits in a call where that may be raised.

    Called by the reaper, or by a main thread that kills. It blocks until the target has answered,
    or `patience` seconds, and somewhat longer if the main thread does not answer. Then the word is
    the main thread's again.
    """
    global _request
    if threading.get_ident() == targets.main_ident:
        if target.ident != targets.main_ident:
            _lend_in_main(target, patience)
            ctypes.pythonapi.PyErr_CheckSignals()
        return
    early = not target.resorts["late"]
    if early and target.ident != targets.main_ident and main_thread.waits_in_a_call():
        _lend_alone(target, min(patience, _ALONE))
        return
    request = _request = _Request(target, patience)
    try:
        if _main_lends(request) or target.ident == targets.main_ident:
            return
        if request.claim.acquire(blocking=False):
            # Without the interpreter's lock the main thread may go on meanwhile, and run Python.
            if has_gil():
                _lend_alone(target, min(patience, _ALONE))
        else:
            # Not for ever: in the main thread a Ctrl-C may come between the claim and the `try`.
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
    """Lend the word, in the main thread."""
    stand_ins: list[standins.Heard] = []
    with standins.lending:  # while the reaper lends, signal.signal() fails
        try:
            standins.install(stand_ins, _on_signal)
            _lend(target, patience)
        finally:
            standins.make_way(stand_ins, sys._getframe(1))


def _lend_alone(target: Target, patience: float) -> None:
    """Lend the word, in the reaper, as long as the main thread runs no Python code."""
    stand_ins = standins.StandIns(_on_signal)
    with standins.lending, stand_ins:
        if stand_ins.stand:
            _lend(target, patience, main_thread.place())
    pause = _RESEND
    while stand_ins.missed() and pause <= _RESEND_MAX:
        signal.pthread_kill(targets.main_ident, _signal)
        time.sleep(pause)
        pause *= 2


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
        # Sent again, because a signal just before the target enters a system call has no effect.
        if pause > _RESEND_MAX:
            break
        if answered.acquire(timeout=min(pause, patience)) or time.monotonic() >= end:
            return
        if main_place is not None and main_place != main_thread.place():
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
            kill = _reached(request.target, frame, inside) if itself else None
            if not itself:
                _lend_in_main(request.target, request.patience)
        finally:
            request.done.release()
        if kill is not None:
            raise kill
        # May raise KeyboardInterrupt, see step 3 above.
        ctypes.pythonapi.PyErr_CheckSignals()
        return
    targets.main_word.value = targets.main_ident
    inside = cstack.inside_a_call()
    target = current_target()
    if target is None:
        return
    if (kill := _reached(target, frame, inside)) is not None:
        raise kill
    target.answer()


def _reached(target: Target, frame: FrameType | None, inside: bool) -> type[BaseException] | None:
    """Arm the calling thread, `target`'s own, in `frame`; return what is to be raised there now."""
    kill: type[BaseException] | None = None
    if frame is not None and target.wanted:
        # Meanwhile no other part of ipykill raises a Kill in this thread.
        target.depth += 1
        noted = target.waits_at is not None
        try:
            kill = target.strike() if _leaves(target, frame, inside) else None
            # Also if it dies now: code that swallows the Kill dies where it goes on. (On 3.11 the
            # swallowed exception sees to that.) But an armed thread is slow, so it is not armed if
            # it has only noted where it waits, and is woken again at once.
            arms = LOOKS or (kill is None and (noted or target.waits_at is None))
            if arms and not loops.ends_by_itself(target):
                targets.arm_here(target, frame)
        except RecursionError:  # of these calls: the user's code is too near the limit to ask
            pass
        finally:
            target.depth -= 1
    return kill


def _leaves(target: Target, frame: FrameType, inside: bool) -> bool:
    """Whether a Kill is to be raised now in `frame`, where the signal came in the target's thread.

    `inside` says whether the handler runs inside a call of `frame`, or between two instructions.
    """
    before, target.waits_at = target.waits_at, None
    if not inside:
        return policy.may_die_at_loop_jump(target, frame) and loops.may_strike(target, frame)
    if before != (frame, frame.f_lasti) and not waits.surely_waits(frame):
        # All else is looked at when it is found there again, so that this takes no time.
        target.waits_at = frame, frame.f_lasti
        return False
    if not loops.may_strike(target, frame):
        return False
    may_break = waits.may_be_left(frame, target) and policy.may_break(target, frame)
    if not may_break and not waits.hasten(frame, target):
        return False
    return waits.leave(frame, target)


_calling_previous = False


def _call_previous(number: int, frame: FrameType | None) -> None:
    global _calling_previous
    # The previous handler may call ours in turn.
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
    main_thread.is_this()
    standins.lending = locks.RLock()
    if _found:
        targets.main_ident = threading.get_ident()
        targets.main_state = thread_states.get_thread_state()
        targets.main_word.value = targets.main_ident


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
