"""The pursuit: one reaper follows every Kill until all threads of its group are dead.

An interrupt (`Group.interrupt_requested`) is followed in the same way, until it was raised once in
the first thread of its group.

1. `pursue` takes an engine, if none is held, and arms all targets of the group: in the
   caller, so that a thread in a loop dies without waiting for the reaper. Then it rings; for
   who waits for the end, after the moment in which a thread dies by itself.
2. The reaper wakes those that have not moved since. Both happen again and again, because a
   Kill may be swallowed, code may run that was not on the stack when it was armed, and a
   call may begin to wait at any time. A thread that starts meanwhile looks by itself
   whether its group is being killed (`target.contain`).
3. When no thread of a group lives, or the interrupt was raised, the reaper forgets it; with
   the last group it gives the engine back.

While a Kill is pending, and until those who wait for its end know of it, the switch interval
is short: a thread that is to die has to get the interpreter's lock to do so, and beside four
busy threads it would wait 4 times 5 ms, several times. Who waits for that lock already goes
by the old interval, until somebody else asks for it as well; so a killer that waits for the
end asks again and again. Whoever sets the interval meanwhile keeps what was set.

While an engine is held, the recursion limit is a little higher: a thread that is near it needs some
frames to ask itself whether it may die.

Who kills many jobs does it in a `volley`. Among a hundred busy threads, each time that the
killer gave the interpreter's lock away, it would have to wait for a hundred turns.
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
from ..exceptions import JobKilled
from ..threads import ServiceThread
from . import loops, margins, order, policy, running, waits, wake
from . import target as targets_module
from .chase import Chase
from .codemap import codemap
from .looking import Gated, holds_a_gate
from .target import Group, Target, current_target

__all__ = ["await_death", "get_ready", "pursue", "volley"]

_logger = logging.getLogger("ipykill")

# All in seconds.
_TICK, _TICK_MAX = 0.0005, 0.02  # between two looks at all targets,
_RETRY, _RETRY_MAX = 0.001, 0.05  # between two attempts to wake the same one,
_PATIENCE, _PATIENCE_MAX = 0.002, 0.02  # for its answer
_NO_ANSWER = 2  # attempts, after which a sqlite3 query is looked for at the place,
_STUCK = 5  # and everywhere,
_INTERRUPT = 1.0  # and how often
# Some C code looks for signals only when none came for 0.1 s. It is given so long, more and more
# rarely, for the main thread waits meanwhile.
_QUIET, _QUIET_EVERY = 0.25, 1.0
# After which libraries, and an except that goes on, are in reach, and what holds a lock untried.
_LIBRARIES, _AT_LAST = 0.3, 10.0
_DYING = 0.002  # after which a thread is looked at that was dying
_UNDISTURBED = 0.0003  # that it has for itself before, if the others let it,
_STIR = 0.0001  # and then, how often the killer makes them take turns
_HURRY_FOR = 2.0  # for which the switch interval is short
_VOLLEY = 0.05  # the switch interval in a volley
_UNASKED = 2.0  # between two looks when nobody rings


_lock = locks.RLock()
_hunted: dict[Group, float] = {}  # since when
_chases: dict[Target, Chase] = {}
_engine: running.Engine | None = None
_late: deque[Group] = deque()  # that the killer could not pursue
_waiting: set[object] = set()  # those who are in `await_death`
_bell: queue.SimpleQueue[float] = queue.SimpleQueue()  # when to look, monotonic
_reaper: ServiceThread | None = None
_in_volley = False
_usual_hook = sys.unraisablehook


def get_ready() -> None:
    """Do what takes long before the first Kill: start the reaper, find the way to wake."""
    global _reaper
    wake.install()
    with _lock:
        if _reaper is None:
            _reaper = ServiceThread(_reap, "reaper")
            _reaper.start()


def pursue(group: Group, patience: float = 0.0) -> None:
    """Kill every target of `group`, those that start later too; or interrupt its first one.

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
            # A finalizer kills: its thread may hold a gate for which another killer waits, or is
            # in the middle of what follows here.
            _late.append(group)
            return
        with _lock:
            engine = _get_engine()
            _hunted.setdefault(group, now)
            if not _in_volley:
                margins.hurry()
            targets = _arm(engine, group)
        if all(map(_turns, targets)):
            look_at += _DYING
        # The main thread can wake a thread sooner than anybody can make it do so.
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
    """Arm a group; return those that may have to be woken."""
    # Who runs an event loop is told, and needs no more; those whose turn comes later are armed as
    # well: one that computes gives way to the others.
    armed = group.targets() if group.kill_requested else _sought(group)
    armed = [target for target in armed if not loops.reach(target)]
    for target in armed:
        engine.arm(target)
    targets = [target for target in armed if target.sought]
    for target in targets:
        _note_place(target)
    return targets


def _get_engine() -> running.Engine:
    """Return the engine that is held, or take one; with the lock held."""
    global _engine, _usual_hook
    if _engine is None:
        get_ready()
        engine = running.choose()
        if _engine is None:
            _engine = engine
        elif _engine is not engine:  # a signal handler of the main thread killed meanwhile
            engine.end()
        margins.make_room()
    if sys.unraisablehook is not _drop_unraisable:
        _usual_hook, sys.unraisablehook = sys.unraisablehook, _drop_unraisable
    return _engine


def _let_die(group: Group, patience: float, until: float) -> None:
    pause = _UNDISTURBED
    while time.monotonic() < until and not group.join_threads(min(patience, pause)):
        pause = _STIR


@contextlib.contextmanager
def volley() -> Iterator[None]:
    """Arm the targets of all that is killed in the block before any of them runs on.

    For a block that neither waits nor takes long.
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
            _bell.put(time.monotonic())  # who kills nothing ends the hurry, too


@contextlib.contextmanager
def await_death() -> Iterator[None]:
    """Keep the hurry of a pursuit in the block, which waits for the end of a group."""
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
            # Nobody rang. An interrupt may have cut off a killer that was about to, or one that
            # was about to leave `await_death`.
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
        for group in itertools.filterfalse(_is_open, list(_hunted)):
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
        _hunted.setdefault(_late.popleft(), time.monotonic())
        _get_engine()


def _arm_again(engine: running.Engine, now: float) -> list[Target]:
    """Arm all that are hunted; return those that may have to be woken."""
    targets = []
    for group, since in _hunted.items():
        if group.kill_requested:
            order.give_turns(group.targets(), now)
        for target in _sought(group):
            target.libraries = now - since > _LIBRARIES and target.service is None
            target.at_last = now - since > _AT_LAST and target.service is None
            if target.open and not loops.reach(target):
                engine.arm(target)
                targets.append(target)
    if not targets:
        engine.rest()  # what a loop that ends its tasks runs is not to be slow
    return targets


def _is_open(group: Group) -> bool:
    """Whether what was asked of a group has not come to its end."""
    return bool((group.kill_requested or group.interrupt_requested) and group.threads())


def _sought(group: Group) -> list[Target]:
    return [target for target in group.targets() if target.sought]


def _put_back() -> None:
    """Leave everything as it was before the first Kill; with the lock held."""
    global _engine
    engine, _engine = _engine, None
    if engine is not None:
        engine.end()
        if sys.unraisablehook is _drop_unraisable:
            sys.unraisablehook = _usual_hook
        margins.take_room_back()
    _chases.clear()
    if not _waiting:
        margins.relax()


def _try_to_wake(target: Target) -> None:
    if not target.wanted or not wake.works():
        return
    chase = _chases.setdefault(target, Chase())
    if chase.struck != target.struck:  # and the Kill was swallowed
        chase.struck = target.struck
        chase.attempts = 0
    now = time.monotonic()
    since = now - chase.last
    if since < min(_RETRY * 2**chase.attempts, _RETRY_MAX):
        return
    target.busy = chase.attempts > 0 and target.cpu_time() - chase.cpu_time > since / 10
    # A thread that is busy does not wait, unless it woke up just now; 3.11 arms this way.
    patience = _PATIENCE if target.busy else min(_PATIENCE * 2**chase.attempts, _PATIENCE_MAX)
    if not target.traced:
        chase.attempts = min(chase.attempts + 1, 10)
    _note_place(target)
    still = chase.attempts >= _STUCK and not target.busy
    if still and now - chase.quiet_at > _QUIET_EVERY * 2**chase.quiets:
        chase.quiet_at, chase.quiets = now, chase.quiets + 1
        patience = _QUIET
    wake.wake(target, patience)
    if not target.group.kill_requested:
        pass  # Ctrl-C interrupts no query either
    elif chase.attempts == _NO_ANSWER:
        if _interrupt_query(target, search=False):
            chase.interrupted = now
    elif chase.attempts >= _STUCK and now - chase.interrupted > _INTERRUPT:
        chase.interrupted = now
        _interrupt_query(target, search=True)
    if sys.version_info < (3, 12) and target.waits_at is not None:
        wake.wake(target, patience)
    if target.wanted:
        chase.cpu_time = target.cpu_time()
        chase.last = time.monotonic()


def _note_place(target: Target) -> None:
    """Note the call in which the target is, so that it knows when woken that it waits there."""
    if sys.version_info < (3, 12) or target.waits_at is not None:
        return  # see Target.innermost_frame, and who lets a frame go
    with target.gate:
        frame = target.innermost_frame()
        if frame is not None and target.sought:
            target.waits_at = frame, frame.f_lasti


def _turns(target: Target) -> bool:
    """Whether a target whose place was noted runs a loop, at whose turn it gave way.

    Then it waits for nothing, and dies as soon as it goes on, if it may die there.
    """
    place = target.waits_at
    return place is not None and place[1] in codemap(place[0].f_code).turns


def _interrupt_query(target: Target, *, search: bool) -> bool:
    """Interrupt the query that a target is in; return whether a server was asked to."""
    with target.gate:
        frame = target.innermost_frame()
        place = -1 if frame is None else frame.f_lasti
    # It stands still, or else it would have answered.
    if frame is None or policy.shelter(frame, foreign=True) is not None:
        return False
    return waits.interrupt_query(target, frame, place, search=search)


def _drop_unraisable(args: sys.UnraisableHookArgs, /) -> None:
    # C code that calls back into Python may have no way to pass an exception on; CPython
    # prints it then. A Kill that ended like this is raised again.
    if not issubclass(args.exc_type, JobKilled):
        _usual_hook(args)
    elif (target := current_target()) is not None:
        target.dropped += 1


def _after_fork_in_child() -> None:
    # No thread is left but the caller; locks may be held by those that are gone.
    global _lock, _bell, _reaper
    _lock = locks.RLock()
    _bell = queue.SimpleQueue()
    _reaper = None
    _waiting.clear()
    _hunted.clear()
    _put_back()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _arm_here(target: Target, frame: object) -> None:
    if _engine is not None:
        _engine.arm_here(target, frame)  # type: ignore[arg-type]


targets_module.arm_here = _arm_here
