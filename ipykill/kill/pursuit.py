"""The reaper: a thread that pursues every Kill until all threads of its group are dead.

It pursues an interrupt (`Group.interrupt_requested`) in the same way, until that was raised once
in the first thread of its group.

1. The killing thread calls `pursue`, which takes an engine, if none is in use, and arms all
   targets of the group at once, so that a thread in a loop dies without waiting for the reaper.
   Then it rings the reaper: at once, or, if it is going to wait for the end anyway, after the
   moment in which a running thread dies.
2. The reaper wakes the targets that still live. It arms and wakes them again and again, because
   a Kill may be swallowed, code may run that was not on the stack when it was armed, and a call
   may begin to wait at any time. A thread that starts meanwhile looks by itself whether its
   group is being killed (`target.contain`).
3. When no thread of a group lives, or the interrupt was raised, the reaper forgets the group.
   After the last group it gives the engine back.

While a Kill is pending, and until the threads that wait for its end have returned, the switch
interval is short. A thread needs the interpreter's lock to die, and among four busy threads it
would wait 4 times 5 ms for it, several times. A thread that already waits for the lock waits for
the old interval, unless another thread asks for the lock, too. So a killing thread that waits for
the end asks again and again. An interval that other code sets meanwhile stays. The recursion
limit is a little higher: a thread that is near it needs frames to ask whether it may die.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator

from ..base import locks
from ..threads import ServiceThread
from . import loops, margins, order, policy, running, waits, wake
from . import target as targets_module
from .chase import Chase
from .codemap import codemap
from .looking import Gated, holds_a_gate
from .target import Group, Target

__all__ = ["await_death", "get_ready", "pursue", "volley"]

_logger = logging.getLogger("ipykill")

# All in seconds.
_TICK, _TICK_MAX = 0.0005, 0.02  # between two looks at all targets,
_RETRY, _RETRY_MAX = 0.001, 0.05  # between two attempts to wake the same target,
_PATIENCE, _PATIENCE_MAX = 0.002, 0.02  # to wait for its answer
_NO_ANSWER = 2  # attempts after which the query is interrupted that the target's call mentions,
_STUCK = 5  # and after which that of any sqlite3 connection of the target is,
_INTERRUPT = 1.0  # at most once in this time
# Some C code looks for signals only when none came for 0.1 s. It is given so long for one signal,
# more and more rarely, because the main thread has to wait meanwhile.
_QUIET, _QUIET_EVERY = 0.25, 1.0
_DYING = 0.002  # after which the reaper looks at a thread that was about to die
_UNDISTURBED = 0.0003  # for which the killer lets that thread be, at first,
_STIR = 0.0001  # and between two moments at which it then makes all threads take turns
_HURRY_FOR = 2.0  # for which the switch interval is short
_SETTLED = 0.25  # after which the reaper asks whether a library's thread is this job's alone
_VOLLEY = 0.05  # the switch interval in a volley
_UNASKED = 2.0  # between two looks when nobody rings, or two such questions

_lock = locks.RLock()
_hunted: dict[Group, float] = {}  # the groups that are pursued, and since when, monotonic
_chases: dict[Target, Chase] = {}
_engine: running.Engine | None = None
_late: deque[Group] = deque()  # groups that `pursue` has left to the reaper
_waiting: set[object] = set()  # an object for each thread that is in `await_death`
_bell: queue.SimpleQueue[float] = queue.SimpleQueue()  # when to look, monotonic
_reaper: ServiceThread | None = None
_in_volley = False


def get_ready() -> None:
    """Do the slow things before the first Kill: start the reaper, install the wake-up."""
    global _reaper
    wake.install()
    with _lock:
        if _reaper is None:
            _reaper = ServiceThread(_reap, "reaper")
            _reaper.start()


def pursue(group: Group, patience: float = 0.0) -> None:
    """Kill every target of `group`, those that start later too; or interrupt its first one.

    Any thread may call this, a signal handler or a finalizer too.

    Parameters
    ----------
    patience
        Seconds that the caller is going to wait for the end anyway. The first two
        milliseconds are waited here: the reaper, rung at once, would take the interpreter's
        lock from the thread that is dying.
    """
    look_at = now = time.monotonic()
    try:
        if holds_a_gate() or (_lock._is_owned() and not _in_volley):  # type: ignore[attr-defined]
            # A finalizer kills. Its thread may hold a gate for which another killing thread waits,
            # or may be in the middle of the block below.
            _late.append(group)
            return
        with _lock:
            engine = _get_engine()
            if group not in _hunted:
                margins.make_room()
            _hunted.setdefault(group, now)
            if not _in_volley:
                margins.hurry()
            targets = _arm(engine, group)
        if all(map(_is_at_loop_jump, targets)):
            look_at += _DYING
        # The main thread wakes the target itself, sooner than the reaper could ask it to.
        elif (
            len(targets) == 1
            and not _in_volley
            and threading.current_thread() is threading.main_thread()
        ):
            with Gated():
                _try_to_wake(targets[0])
            if targets[0].struck:
                look_at = time.monotonic() + _DYING
        if patience:
            _let_die(group, patience, look_at)
    finally:
        _bell.put(look_at)


def _arm(engine: running.Engine, group: Group) -> list[Target]:
    """Arm the targets of a group; return those that may have to be woken."""
    # A target whose event loop was told to end it needs no more. One whose turn comes later is
    # armed as well: if it computes, it gives way to the others.
    armed = group.targets() if group.kill_requested else _sought(group)
    armed = [target for target in armed if not loops.reach(target)]
    for target in armed:
        engine.arm(target)
    targets = [target for target in armed if target.sought]
    for target in targets:
        _note_place(target)
    return targets


def _get_engine() -> running.Engine:
    """Return the engine that is in use, or take one; called with the lock held."""
    global _engine
    if _engine is None:
        get_ready()
        engine = running.choose()
        if _engine is None:
            _engine = engine
        elif _engine is not engine:  # a signal handler of the main thread killed meanwhile
            engine.end()
    margins.hush()
    return _engine


def _let_die(group: Group, patience: float, until: float) -> None:
    """Wait for the end of a group, and make the busy threads take turns meanwhile."""
    pause = _UNDISTURBED
    while time.monotonic() < until and not group.join_threads(min(patience, pause)):
        pause = _STIR


@contextlib.contextmanager
def volley() -> Iterator[None]:
    """Arm the targets of all jobs that are killed in the block before any of them runs on.

    The calling thread keeps the interpreter's lock: among a hundred busy threads it would get it
    back only after a hundred turns. So the block must be short and not wait.
    """
    global _in_volley
    with _lock:
        margins.hurry()
        interval, _in_volley = sys.getswitchinterval(), True
        margins.set_interval(_VOLLEY)
        try:
            yield
        finally:
            _in_volley = False
            margins.set_interval(interval)
            _bell.put(time.monotonic())  # if nothing was killed, the reaper ends the hurry


@contextlib.contextmanager
def await_death() -> Iterator[None]:
    """Keep the switch interval short in the block, which waits for the end of a group."""
    me = object()
    try:
        _waiting.add(me)
        yield
    finally:
        _waiting.discard(me)
        if not holds_a_gate():  # else the reaper does it
            with _lock:
                if not _waiting and not _hunted:
                    margins.relax()


def _reap() -> None:
    bell = _bell
    look_at, tick, go_on = 0.0, _TICK, False
    while True:
        left = look_at - time.monotonic()
        if left > 0:
            try:
                rung = bell.get(timeout=left)
                look_at, tick, go_on = min(look_at, rung), _TICK, True
                continue
            except queue.Empty:
                pass
        if not go_on:
            # Nobody rang. A Ctrl-C may have cut off a killing thread before it rang, or before
            # it left `await_death`.
            _waiting.clear()
        try:
            go_on = _look()
        except Exception:
            go_on = True
            _logger.exception("the pursuit of a kill met an error; it goes on")
        look_at = time.monotonic() + (tick if go_on else _UNASKED)
        tick = min(tick * 1.5, _TICK_MAX)


def _look() -> bool:
    """Try every target once; return whether a group is left to pursue."""
    with _lock:
        _take_late()
        for group in itertools.filterfalse(_is_pending, list(_hunted)):
            del _hunted[group]
        if not _hunted or _engine is None:
            _put_back()
            return False
        now = time.monotonic()
        if now - max(_hunted.values()) > _HURRY_FOR:
            margins.relax()
        targets = _arm_again(_engine, now)
    with Gated():
        for target in targets:
            _try_to_wake(target)
    return True


def _take_late() -> None:
    while _late:
        margins.make_room()
        _hunted.setdefault(_late.popleft(), time.monotonic())
        _get_engine()


def _arm_again(engine: running.Engine, now: float) -> list[Target]:
    """Arm the targets of all pursued groups; return those that may have to be woken."""
    targets = []
    for group, since in _hunted.items():
        if group.kill_requested:
            order.give_turns(group.targets(), now)
        for target in _sought(group):
            if _is_the_jobs(target, now - since, now):
                used = target.cpu_time()
                if not target.sought_for:
                    target.used_before = used
                target.sought_for, target.worked_for = now - since, used - target.used_before
            if target.open and not loops.reach(target):
                engine.arm(target)
                targets.append(target)
    if not targets and not any(loops.arms(it) for group in _hunted for it in _sought(group)):
        engine.rest()  # else events would slow an event loop that is ending its tasks
    return targets


def _is_the_jobs(target: Target, sought_for: float, now: float) -> bool:
    """Whether no other job needs the thread; only then its libraries come in reach in the end."""
    if target.service is None:
        return True
    chase = _chases.setdefault(target, Chase())
    if sought_for > _SETTLED and now - chase.asked_at > _UNASKED:  # to ask takes some milliseconds
        chase.asked_at, chase.shared = now, target.group.shares(target)
    return not chase.shared


def _is_pending(group: Group) -> bool:
    """Whether a Kill or an interrupt of a group is pending."""
    return bool((group.kill_requested or group.interrupt_requested) and group.threads())


def _sought(group: Group) -> list[Target]:
    return [target for target in group.targets() if target.sought]


def _put_back() -> None:
    """Restore everything as it was before the first Kill; called with the lock held."""
    global _engine
    engine, _engine = _engine, None
    if engine is not None:
        engine.end()
        margins.unhush()
        margins.take_room_back()
    _chases.clear()
    if not _waiting:
        margins.relax()


def _try_to_wake(target: Target) -> None:
    if not target.wanted or not wake.works():
        return
    chase = _chases.setdefault(target, Chase())
    if chase.struck != target.struck:  # a Kill was raised, and swallowed
        chase.struck = target.struck
        chase.attempts = 0
    now = time.monotonic()
    since = now - chase.last
    if since < min(_RETRY * 2**chase.attempts, _RETRY_MAX):
        return
    target.busy = chase.attempts > 0 and target.cpu_time() - chase.cpu_time > since / 10
    # A busy thread is not likely to wait in a call. (On 3.11 waking it is what arms it.)
    patience = _PATIENCE if target.busy else min(_PATIENCE * 2**chase.attempts, _PATIENCE_MAX)
    if not target.traced:
        chase.attempts = min(chase.attempts + 1, 10)
    _note_place(target)
    # On 3.11 only the handler of the signal can arm a thread that comes back from C code.
    still = chase.attempts >= _STUCK and not (target.busy and wake.LOOKS)
    if still and now - chase.quiet_at > _QUIET_EVERY * 2**chase.quiets:
        chase.quiet_at, chase.quiets = now, chase.quiets + (not target.busy)
        patience = _QUIET
    wake.wake(target, patience)
    if not target.group.kill_requested:
        pass  # an interrupt is like Ctrl-C, which interrupts no query
    elif chase.attempts == _NO_ANSWER:
        if _interrupt_query(target, search=False):
            chase.interrupted = now
    elif chase.attempts >= _STUCK and now - chase.interrupted > _INTERRUPT:
        chase.interrupted = now
        _interrupt_query(target, search=True)
    if not wake.LOOKS and target.waits_at is not None:
        wake.wake(target, patience)
    if target.wanted:
        chase.cpu_time = target.cpu_time()
        chase.last = time.monotonic()


def _note_place(target: Target) -> None:
    """Note the call in which the target is, so that it knows when woken that it waits there."""
    if not wake.LOOKS or target.waits_at is not None:
        return  # see Target.innermost_frame; a frame that is noted only the target may drop
    with target.gate:
        frame = target.innermost_frame()
        if frame is not None and target.sought:
            target.waits_at = frame, frame.f_lasti


def _is_at_loop_jump(target: Target) -> bool:
    """Whether the noted place of a target is a jump back, where it lost the interpreter's lock.

    Then it runs a loop, and dies as soon as it runs on, if it may die there.
    """
    place = target.waits_at
    return place is not None and place[1] in codemap(place[0].f_code).loop_jumps


def _interrupt_query(target: Target, *, search: bool) -> bool:
    """Interrupt the query that a target is in; see `waits.interrupt_query`."""
    with target.gate:
        frame = target.innermost_frame()
        place = -1 if frame is None else frame.f_lasti
    # The frame can be looked at, because the target stands still: else it would have answered.
    if frame is None or policy.shelter(frame, foreign=True) is not None:
        return False
    return waits.interrupt_query(target, frame, place, search=search)


def _after_fork_in_child() -> None:
    # No thread is left but the caller; locks may be held by those that are gone.
    global _lock, _bell, _reaper
    _lock = locks.RLock()
    _bell = queue.SimpleQueue()
    _reaper = None
    _waiting.clear()
    _hunted.clear()
    _late.clear()  # the threads of these groups are gone, with their states
    _put_back()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _arm_here(target: Target, frame: object) -> None:
    if (engine := _engine) is not None and target.sought:  # a Stop is never raised in the code
        engine.arm_here(target, frame)  # type: ignore[arg-type]


targets_module.arm_here = _arm_here
