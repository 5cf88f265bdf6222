"""Who dies first: a thread before those that it has started.

A thread that is killed cleans up, and its cleanup may need the threads that it has started: a
worker that is told to end and waited for, an event loop that closes what it has opened, a pool
that writes what is left. Struck at the same time, they would be gone, and the cleanup would
wait for their answer for ever. So each thread has a *leader*, the one that started it, and is
not killed before that is dead. It need not wait for so long

1. when the leader has come to nothing new for a second: it waits in cleanup for what does not
   come, or it is in a call that cannot be broken;
2. when the leader's cleanup joins it, and it stands still, or is a worker of a pool at work on
   what it was given before the Kill: its end is all that the cleanup wants.

What is begun while the leader is being killed is *late*: a thread of a library, or work that is
given to a pool. It is a part of the cleanup, which nothing breaks, and dies after it. A thread
that the user's own code starts then is held at its first line (`hold`), and as a rule dies there.

All this is looked after by the reaper. Whose turn has come is known to the thread itself
(`Target.wanted`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import FrameType

from . import policy, waits
from .looking import Look, look
from .target import Target

__all__ = ["give_turns", "hold"]

_STALL = 1.0  # seconds without anything new, after which a leader's cleanup is not waited for,
_STILL = 0.1  # and a thread that is joined is taken for one that will not end by itself
_NEEDED = 0.02  # and a leader for one that needs the thread which is held
_LOOK = 0.0005  # between two looks at such a leader
_IDLE = 0.02  # the part of the time that a thread works at least if it comes to something new


class _Watch:
    """Since when a thread has come to nothing new, as far as can be seen from outside.

    It has if its place has changed and it has used some time: a loop that polls does not.
    """

    __slots__ = ("cpu_time", "place", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self.place: tuple[int, int] | None = None
        self.cpu_time = 0.0

    def still_for(self, target: Target, frame: FrameType | None, now: float) -> float:
        """Look at the thread; return for how many seconds it has stood still."""
        # Only numbers are kept: on CPython 3.11 no frame of another thread may be.
        place = None if frame is None else (id(frame), frame.f_lasti)
        cpu_time = target.cpu_time()
        if place != self.place:
            if cpu_time - self.cpu_time > _IDLE * (now - self.since):
                self.since, self.cpu_time = now, cpu_time
            self.place = place
        return now - self.since


def give_turns(targets: Sequence[Target], now: float) -> None:
    """Let those of a group be killed whose turn has come; for the reaper.

    Parameters
    ----------
    targets
        All threads of the group.
    now
        On the monotonic clock.
    """
    waiting = [target for target in targets if not target.has_turn]
    if not waiting:
        return
    see = look()
    leaders = {target.leader for target in waiting}
    for leader in leaders:
        if leader is None or not leader.has_turn:
            continue
        frame = see(leader)
        if _watch(leader, now).still_for(leader, frame, now) > _STALL:
            for target in waiting:
                target.turn |= target.leader is leader
        elif policy.shelter(frame, foreign=True) is not None:
            _give_turn_to_joined(frame, waiting, see, now)
    for target in waiting:
        if target.late:
            _give_turn_to_joined(see(target), waiting, see, now)


def hold(target: Target) -> None:
    """Hold a thread that was started during a Kill, until it is known whether it is needed.

    Raises
    ------
    JobKilled
        It is not: its leader is dead, or joins it. Else the leader stands still; it may wait for
        something that this thread is to do, and would do so for ever.
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
    """Let the thread be killed that a piece of cleanup, which is at `frame`, joins."""
    thread = waits.joined(frame)
    if thread is None:
        return
    pool = waits.pool_of(thread)
    for target in waiting:
        if pool is not None:
            target.turn |= waits.pool_of(target.thread) is pool
        # All of them, for the next one will be joined as well.
        elif _watch(target, now).still_for(target, see(target), now) > _STILL:
            target.turn |= target.thread is thread


def _watch(target: Target, now: float) -> _Watch:
    if not isinstance(target.watch, _Watch):
        target.watch = _Watch(now)
    return target.watch
