"""A thread that can be killed: its record, and its body.

Others only ever *ask* for a Kill (`Group.kill_requested`); whether and where it is raised,
the thread decides for itself (`policy`). So there is a simple reason why nothing is raised
too late:

1. `contain` registers the `Target`, looks whether its group is being killed already, and
   opens it; from here on a Kill may be raised in the body.
2. When the body has ended (`Ending.finish` counts as a part of it), `contain` closes the
   target, in the target's own thread. Every way by which a Kill is raised looks at
   `Target.open` in that same thread first, so after this none is.
3. Between the end of the body and the closing only code of this file runs. It is out of
   reach of a Kill in running code, and it does not wait, so nothing is lost on the way.
4. Other threads use the thread's ident, its thread state and its clock only with `gate`
   held and `open` seen; closing takes the gate. So they are never those of a dead thread.

Only the plain engine (`plain`) leaves the decision to the interpreter; closing takes back
what it asked for, as `ipykill.threads` explains.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType

from ..base import locks
from ..exceptions import JobKilled, TaskInterrupted, TaskKilled
from ..threads import take_back
from . import resorts
from .group import Ending, Group
from .parked import Parked
from .switches import has_gil
from .thread_states import frame_of, get_thread_state

__all__ = ["Group", "Target", "contain", "current_target"]

# `main_word` is the interpreter's variable with the main thread's ident, and `wake` writes another
# ident there for a moment; `main_ident` and `main_state` are the real ones. `wake` sets all three.
main_word = ctypes.c_ulong(0)
main_ident = main_state = 0

arm_here: Callable[[Target, FrameType], None] = lambda target, frame: None  # noqa: E731
"""Makes the calling thread ask, in `frame` and its callers, whether it dies; set by `pursuit`."""

_GIVE_WAY_FOR = 0.0005  # seconds for which a thread gives way to its leader,
_GIVE_WAY_MOST = 40  # and how often at most

_HAS_CLOCKS = hasattr(time, "pthread_getcpuclockid")


class Target:
    """A thread that can be killed, from before its first line to after its last.

    Attributes
    ----------
    depth : int
        How many shields the thread is in.
    open : bool
        Whether its body runs.
    struck : int
        How many times a Kill was raised in it.
    dropped : int
        How often C code that called it back, as ctypes does, has dropped the exception.
    endings : dict
        What ends the event loops that the thread runs, by loop, see `loops`.
    first : bool
        Whether it is the one that its group began with.
    leader : Target or None
        The thread that is to die before this one, see `dies_after` and `order`.
    leads : bool
        Whether this one is the leader of another.
    turn : bool
        Whether this one is to be killed although its leader lives.
    late : bool
        Whether what it does at this moment was begun by its leader's cleanup.
    watch : object
        What `order` has seen of it.
    service : object
        What is known of how a library started the thread, None if none did.
    shared : bool or None
        Whether other jobs need it as well; None if that was not looked at yet.
    released : bool
        Whether the group has let it go, so that it is not killed.
    given_way : int
        How often it has given way to its leader.
    busy : bool
        Whether it has used much CPU time since the last attempt to wake it.
    asked : bool
        Whether the plain engine asked that a Kill be raised in it.
    sought_for, worked_for, used_before : float
        For how many seconds a Kill has been sought; the thread's CPU time in these, and before.
    refused : int
        About how many safe points, or on 3.11 instructions, it has passed in vain since it was
        armed.
    survey : bool or None
        Whether the thread shall arm its whole stack at the next chance, see `monitoring`; None
        until it was armed for the first time.
    traced : bool
        Whether another tool traces it, so that ipykill does not, see `tracing`.
    cleanup_stands : (object, float)
        The wait in which its cleanup was seen last, and since when, monotonic.
    waits_at : (frame, int) or None
        The frame, and the offset in it, of a call in which the thread was found once and
        may be killed, see `wake`.
    shielded_by : (code, int) or None
        The code, and the offset in it, of the outermost shield that the thread is in.
    lender : lock or None
        Held while another thread waits for this one to answer, see `wake`.
    parked : Parked or None
        The generators in which the Kill was raised last.

    Threading
    ---------
    `depth`, `open`, `struck` and `traced` are written by the target's own thread only;
    `sought_for`, `worked_for` and `used_before` by the reaper, and `busy` by it or by a main thread
    that kills. `waits_at` is set by the killer when it is None, else by the target. For the rest
    see the module's docstring.
    """

    __slots__ = (
        *("_clock", "_cpu_time", "asked", "busy", "depth", "dropped", "endings", "first"),
        *("gate", "group", "ident", "late", "leader", "leads", "lender", "open", "outer_loop"),
        *("refused", "released", "service", "shared", "shielded_by", "sought_for", "struck"),
        *("survey", "thread", "thread_state", "traced", "turn", "used_before", "waits_at"),
        *("cleanup_stands", "watch", "given_way", "parked", "worked_for"),
    )

    def __init__(self, group: Group, thread: threading.Thread) -> None:
        self.group = group
        self.thread = thread
        self.ident = threading.get_ident()
        self.thread_state: int = get_thread_state()
        self.gate = locks.RLock()  # not Lock: a signal handler may ask for the CPU time
        self.asked = self.busy = self.open = self.first = self.late = self.leads = False
        self.traced = self.turn = self.released = False
        self.depth = self.struck = self.dropped = self.refused = self.given_way = 0
        self.endings: dict[object, Ending] = {}
        # The kernel's own loop, if this is a cell in the foreground: it runs around the cell.
        self.outer_loop = asyncio._get_running_loop()
        self.leader: Target | None = None
        self.sought_for = self.worked_for = self.used_before = 0.0
        self.survey: bool | None = None
        self.shielded_by: tuple[CodeType, int] | None = None
        self.watch: object = None
        self.service: object = None
        self.cleanup_stands: tuple[object, float] = None, 0.0
        self.shared: bool | None = None
        self.waits_at: tuple[FrameType, int] | None = None
        self.lender: threading.Lock | None = None
        self.parked: Parked | None = None
        self._clock: int | None = None
        self._cpu_time = 0.0

    @property
    def wanted(self) -> bool:
        """Whether a pending Kill or interrupt may be raised: the body runs, outside of shields."""
        return self.open and not self.depth and self.sought

    @property
    def libraries(self) -> bool:
        """Whether libraries are in reach too, see `policy`."""
        return resorts.libraries(self.sought_for, self.worked_for if _HAS_CLOCKS else None)

    @property
    def resorts(self) -> resorts.Resorts:
        """What may be broken by now that is left alone at first."""
        return resorts.resorts(self.sought_for)

    @property
    def dies_after(self) -> Target | None:
        """The thread that has to die first: the leader; if it has ended by itself, the leader's."""
        leader = self.leader
        while leader is not None and not leader.open and not leader.struck:
            leader = leader.leader
        return leader if leader is not None and leader.open else None

    @property
    def has_turn(self) -> bool:
        """Whether no other thread has to die before this one, see `order`."""
        return (self.turn and not self.late) or self.dies_after is None

    def follow(self, leader: Target | None, *, late: bool) -> None:
        """Let `leader`, if it is in the same group, die before this thread."""
        if leader is not None and leader.group is self.group:
            self.leader, self.late = leader, late
            leader.leads = True

    def give_way(self) -> None:
        """Let the leader run, if it has to die first; own thread only.

        A thread that computes slows the leader's end, and so its own. But the leader may need
        what this thread computes, so it gives way only a few times.
        """
        if self.given_way < _GIVE_WAY_MOST and not self.has_turn:
            self.given_way += 1
            time.sleep(_GIVE_WAY_FOR)

    @property
    def sought(self) -> bool:
        """Whether a Kill of this thread, whose turn it is, or an interrupt is pending."""
        if self.group.kill_requested:
            return self.has_turn and not self.released
        return self.first and self.group.interrupt_requested

    def running_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the event loop of asyncio that the code runs, if any; own thread only."""
        loop = asyncio._get_running_loop()
        return None if loop is self.outer_loop else loop

    def strike(self) -> type[BaseException]:
        """Note that a Kill or interrupt is being raised; return the class; own thread only."""
        kill = self.group.kill_requested
        self.note()
        kind: type[BaseException] = KeyboardInterrupt
        if kill:  # a loop in another thread may wait for this one, and get its exception
            kind = JobKilled if self.first else TaskKilled
        loop = self.running_loop()
        if loop is not None:  # an exception that left it would abandon its tasks
            if asyncio.current_task(loop) is not None:
                kind = TaskKilled if kill else TaskInterrupted
            elif kill:
                kind = asyncio.CancelledError
        self.parked = Parked(sys._getframe(1), contain.__code__) if kill and not loop else None
        for ending in list(self.endings.values()):
            kind = ending.strikes(kind)
        return kind

    def note(self) -> None:
        """Note that the Kill or interrupt is being delivered; own thread only."""
        if not self.group.kill_requested:
            with self.gate:  # `pursuit` holds it while it looks at `sought` and sets `waits_at`
                self.group.interrupt_requested = False
                self.waits_at = None
            self.group.interrupt_processes()
            self.answer()
            return
        self.struck += 1
        self.group.struck = True
        # If the group has one target, the lender is answered when this thread has ended
        # (`core.family`), so that the lender does not take the interpreter's lock before. If it has
        # more, the lender goes on at once.
        if len(self.group.targets()) > 1:
            self.answer()

    def answer(self) -> None:
        """Release the lender, if one waits for this thread to answer; own thread only."""
        lender, self.lender = self.lender, None
        if lender is not None:
            lender.release()

    def signal(self, number: int) -> bool:
        """Send a signal to the thread, if its body runs; return whether it runs."""
        with self.gate:
            if self.open:
                signal.pthread_kill(self.ident, number)
            return self.open

    def innermost_frame(self) -> FrameType | None:
        """Return where the thread is at this moment; call with `gate` held.

        On CPython 3.11 the frame must not be kept: its object may outlive it (a thread that is
        clearing a frame still shows it). None without a global interpreter lock, because there
        the frame may be gone before a reference is taken.
        """
        if not self.open or not has_gil():
            return None
        return frame_of(self.thread_state)

    def cpu_time(self) -> float:
        """CPU time that the thread has used, in seconds; any thread may ask."""
        with self.gate:
            if self.open and _HAS_CLOCKS:
                if self._clock is None:
                    # For a dead thread, this would read freed memory.
                    self._clock = time.pthread_getcpuclockid(self.ident)
                self._cpu_time = time.clock_gettime(self._clock)
            return self._cpu_time

    def close(self) -> None:
        """From here on nothing is raised in the thread; its own thread calls this."""
        with self.gate:
            self.open = False
            self._cpu_time = time.thread_time()
            if main_word.value == self.ident:  # from here on it is not lent to this thread
                main_word.value = main_ident
            if self.asked:
                take_back()
        self.waits_at = self.parked = None

    def release(self) -> None:
        """Kill this thread no more, although it goes on."""
        self.released = True
        if self.open and threading.get_ident() == self.ident:
            self.close()
        _targets.pop(self.ident, None)
        if self.lender is not None:
            self.answer()


_targets: dict[int, Target] = {}


def current_target() -> Target | None:
    """Return the target whose thread is calling."""
    return _targets.get(threading.get_ident())


def contain(target: Target, body: Callable[[], object]) -> BaseException | None:
    """Run `body` in the target's own thread and return how it ended.

    When this returns, nothing is raised in the thread from outside any more.

    Returns
    -------
    BaseException or None
        What the body raised. If a Kill was raised in the thread, or before in another one
        of its group, a `JobKilled`, with what the body raised instead, if anything, as its
        context.
    """
    failure: BaseException | None = None
    killed: JobKilled | None
    _targets[target.ident] = target
    target.open = True
    try:
        # A thread that a library keeps for others begins all the same; it is let go where it waits.
        asked = target.group.kill_requested or target.group.interrupt_requested
        if asked and target.wanted and (target.service is None or not target.group.shares(target)):
            raise target.strike()
        body()
    except BaseException as error:
        failure = error
    try:
        for ending in list(target.endings.values()) if target.group.struck else ():
            ending.finish()
    except BaseException as error:
        failure = failure or error
    # The body has ended: from here on the thread does not pass for the main thread any more.
    if main_word.value == target.ident:
        main_word.value = main_ident
    # For the plain engine: at most two requests are left, see threads.py.
    target.depth += 1
    try:
        try:
            target.close()
        except JobKilled:
            target.group.struck = True
            target.close()
    except JobKilled:
        target.group.struck = True
    _targets.pop(target.ident, None)
    target.endings.clear()
    try:
        if target.group.struck and not isinstance(failure, JobKilled):
            killed = JobKilled()
            killed.__context__ = failure
            return killed
        return failure
    finally:
        # This frame is in the traceback. With the two in a cycle, all that the frames of the
        # body hold (files, child processes, memory) would live until the garbage collector runs.
        failure = killed = None


def _after_fork_in_child() -> None:
    # Only the calling thread is left. Another thread may have held a gate, and the idents and
    # thread states of the others are those of dead threads.
    caller = current_target()
    for target in _targets.values():
        target.gate = locks.RLock()
        target.lender = None
        target.open = target is caller
    _targets.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
