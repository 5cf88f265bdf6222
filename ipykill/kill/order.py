"""Who dies first: a thread before those that it has started.

A thread that is killed cleans up, and its cleanup may need the threads that it has started: a
worker that is told to end and waited for, an event loop that closes what it has opened, a pool
that writes what is left. Killed at the same time, these would be gone, and the cleanup would
wait for their answer for ever. So each thread has a *leader*, the one that started it, and is
not killed before the leader is dead. (When a leader has ended by itself, its own leader takes its
place, as for the threads of a `multiprocessing.Pool` whose keeper is done.) It is killed earlier

1. if the leader has made no progress for a second: it waits in cleanup for something that does
   not come, or it is in a call that cannot be broken;
2. if the leader's cleanup joins it, and it stands still, or is a pool's worker, at work on
   what it was given before the Kill: all that the cleanup wants is its end;
3. if trio waits for it, which cannot cancel what a thread does for it.

A library's thread that starts while its leader is being killed, and work that is given to a pool
then, is *late*: it is a part of the cleanup, no Kill is raised in it, and it dies after the
cleanup. So is a thread in which an event loop waits for its pool or for a process, whenever it has
started. A thread that the user's own code starts then is held at its first line (`hold`), and
usually dies there.

The reaper decides whose turn it is (`give_turns`); the thread itself looks (`Target.has_turn`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import FrameType

from ..base import stack
from . import loops, policy, waits
from .looking import Look, look
from .switches import has_gil
from .target import Target

__all__ = ["give_turns", "hand_over", "hold", "serves_loop"]

_STALL = 1.0  # seconds without progress after which a leader is not waited for,
_STILL = 0.1  # after which a thread that is joined counts as one that does not end by itself,
_NEEDED = 0.02  # after which a leader counts as one that needs the thread that is held
_LOOK = 0.0005  # seconds between two looks at such a leader
_IDLE = 0.02  # share of the time for which a thread that makes progress uses the CPU, at least

_OF_LOOPS = {"_do_shutdown", "_do_waitpid"}  # what asyncio and uvloop run in such threads


class _Watch:
    """For how long a thread has made no progress, as far as can be seen from outside.

    A thread makes progress if its place changes and it uses CPU time; a loop that polls does not.
    A loop that computes is always seen at its jump back, where it gives up the interpreter's lock.
    So a place that is no call counts as a new one.
    """

    __slots__ = ("cpu_time", "place", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self.place: tuple[int, int] | None = None
        self.cpu_time = 0.0

    def still_for(self, target: Target, frame: FrameType | None, now: float) -> float:
        """Look at the thread; return for how many seconds it has stood still."""
        # Only numbers, because on CPython 3.11 a frame of another thread must not be kept.
        place = None if frame is None else (id(frame), frame.f_lasti)
        cpu_time = target.cpu_time()
        if not has_gil():  # its place is not known
            place = 0, int(cpu_time * 1e6)
        if place != self.place or (frame is not None and not stack.is_calling(frame)):
            if cpu_time - self.cpu_time > _IDLE * (now - self.since):
                self.since, self.cpu_time = now, cpu_time
            self.place = place
        return now - self.since


def give_turns(targets: Sequence[Target], now: float) -> None:
    """Let those threads of a group be killed whose turn has come; called by the reaper.

    Parameters
    ----------
    targets
        All threads of the group.
    now
        On the monotonic clock, in seconds.
    """
    waiting = [target for target in targets if not target.has_turn]
    if not waiting:
        return
    see = look()
    leaders = {target.dies_after for target in waiting}
    for leader in leaders:
        if leader is None or not leader.has_turn:
            continue
        frame = see(leader)
        stalls = _watch(leader, now).still_for(leader, frame, now) > _STALL
        if stalls or loops.waits_for_threads(leader):
            for target in waiting:
                target.turn |= target.dies_after is leader
        elif policy.shelter(frame, foreign=True) is not None:
            _give_turn_to_joined(frame, waiting, see, now)
    for target in waiting:
        if target.late:
            _give_turn_to_joined(see(target), waiting, see, now)


def hand_over(target: Target) -> None:
    """Let those that follow a thread, which has ended by itself, follow its leader from now on.

    Else the last thread of a chain would keep all before it alive.
    """
    if target.struck:  # these have their turn now
        target.leader = None
        return
    heir = target.dies_after
    for other in target.group.targets() if target.leads else ():
        if other.leader is target:
            other.leader = heir
    target.leader = heir  # and not None, for one of them may be looking


def serves_loop(thread: threading.Thread) -> bool:
    """Whether an event loop has started a thread to wait for its thread pool, or for a process.

    The loop waits for the answer, and there is none if a Kill is raised in the thread.
    """
    return getattr(getattr(thread, "_target", None), "__name__", "") in _OF_LOOPS


def hold(target: Target) -> None:
    """Block a thread that was started during a Kill until it is known whether it is needed.

    Called in that thread, before its first line. If this returns, its leader stands still and may
    be waiting, for ever, for something that this thread is to do.

    Raises
    ------
    JobKilled
        The thread is not needed: its leader is dead, or joins it.
    """
    leader = target.leader
    watch = _Watch(time.monotonic())
    while leader is not None and leader.open and waits.joined(look()(leader)) is not target.thread:
        now = time.monotonic()
        if watch.still_for(leader, look()(leader), now) > _NEEDED:
            return
        time.sleep(_LOOK)
    raise target.strike()


def _give_turn_to_joined(
    frame: FrameType | None, waiting: Sequence[Target], see: Look, now: float
) -> None:
    """Let the thread be killed that the cleanup at `frame` joins, if it joins one."""
    thread = waits.joined(frame)
    if thread is None:
        return
    pool = waits.pool_of(thread)
    for target in waiting:
        if pool is not None:
            target.turn |= waits.pool_of(target.thread) is pool
        # Every thread is watched, because the cleanup may join the others next.
        elif _watch(target, now).still_for(target, see(target), now) > _STILL:
            target.turn |= target.thread is thread


def _watch(target: Target, now: float) -> _Watch:
    if not isinstance(target.watch, _Watch):
        target.watch = _Watch(now)
    return target.watch
