"""A thread that can be killed: its record, and its body.

Others only ever *ask* for a Kill (`Group.kill_requested`); whether and where it is raised,
the thread decides for itself (`policy`). So there is a simple reason why nothing is raised
too late:

1. `contain` registers the `Target`, looks whether its group is being killed already, and
   opens it; from here on a Kill may be raised in the body.
2. When the body has ended, `contain` closes the target, in the target's own thread. Every
   way by which a Kill is raised looks at `Target.open` in that same thread first, so after
   this none is.
3. Between the end of the body and that store only code of this file runs. It is out of
   reach of a Kill in running code, and it does not wait, so nothing is lost on the way.
4. The thread's ident, its thread state and its clock are used by others only with `gate`
   held and `open` seen; closing takes the gate. So they are never those of a dead thread.

Only the plain engine (`plain`) leaves the decision to the interpreter; closing takes back
what it asked for, as `ipykill.threads` explains.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType

from ..base import locks
from ..exceptions import JobKilled, TaskInterrupted, TaskKilled
from ..threads import take_back
from .group import Ending, Group
from .switches import has_gil

__all__ = ["Group", "Target", "contain", "current_target"]

# The main thread's ident, as the interpreter holds it, and as it is, and its thread state:
# `wake` lends the word to a thread, and installs the interpreter's own here.
main_word = ctypes.c_ulong(0)
main_ident = main_state = 0

arm_here: Callable[[Target, FrameType], None] = lambda target, frame: None  # noqa: E731
"""Lets a Kill of the calling thread land in `frame` and its callers; `pursuit` sets it."""

# For the brackets see `ipykill.threads`.
get_thread_state = ctypes.pythonapi["PyThreadState_Get"]
get_thread_state.argtypes = []
get_thread_state.restype = ctypes.c_void_p

# Public since 3.9. sys._current_frames() would do, but it crashes 3.12 and 3.13 while a
# subinterpreter lives.
_get_frame = ctypes.pythonapi["PyThreadState_GetFrame"]
_get_frame.argtypes = [ctypes.c_void_p]
_get_frame.restype = ctypes.py_object


def frame_of(thread_state: int) -> FrameType | None:
    """Return the innermost frame of a thread that lives, None if it runs no Python."""
    try:
        frame: FrameType = _get_frame(thread_state)
    except ValueError:  # NULL
        return None
    return frame


_WAY, _WAYS = 0.0005, 40  # seconds for which a thread gives way, and how often

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
        How often C code that called it back has dropped one, as ctypes does.
    endings : dict
        What ends the event loops that the thread runs, by loop, see `loops`.
    first : bool
        Whether it is the one that its group began with.
    leader : Target or None
        The thread that is to die before this one, see `order`.
    leads : bool
        Whether this one is such a thread.
    turn : bool
        Whether this one is to be killed although its leader lives.
    late : bool
        Whether it does, at this moment, what its leader's cleanup began.
    watch : object
        What `order` has seen of it.
    service : object
        What is known of how a library started the thread, None if none did.
    shared : bool or None
        Whether it serves others, as far as somebody has looked.
    released : bool
        Whether the group has let it go.
    ways : int
        How often it has given way to its leader.
    busy : bool
        Whether its CPU clock moved between the last attempts to wake it.
    asked : bool
        Whether the plain engine asked the interpreter to raise in this thread.
    libraries : bool
        Whether libraries are in reach too, see `policy`.
    at_last : bool
        Whether a library may be left with a lock that it holds without a ``try``, see `policy`.
    survey : bool
        Whether the thread shall arm its whole stack at the next chance, see `monitoring`.
    traced : bool
        Whether somebody else's tracing keeps ours out, see `tracing`.
    waits_at : (frame, int) or None
        The frame, and the offset in it, of a call in which the thread was found once and
        may be killed, see `wake`.
    shielded_by : (code, int) or None
        The code, and the offset in it, of the outermost shield that the thread is in.
    lender : lock or None
        Held while somebody waits for an answer of this thread, see `wake`.

    Threading
    ---------
    `depth`, `open`, `struck` and `traced` are written by the target's own thread only, `libraries`,
    `at_last` and `busy` by the reaper. `waits_at` is set by the killer when it is None, else by the
    target. For the rest see the module's docstring.
    """

    __slots__ = (
        *("_clock", "_cpu_time", "asked", "at_last", "busy", "depth", "dropped", "endings"),
        *("first", "gate", "group", "ident", "late", "leader", "leads", "lender", "libraries"),
        *("open", "outer_loop", "released", "service", "shared", "shielded_by", "struck"),
        *("survey", "thread", "thread_state", "traced", "turn", "waits_at", "watch", "ways"),
    )

    def __init__(self, group: Group, thread: threading.Thread) -> None:
        self.group = group
        self.thread = thread
        self.ident = threading.get_ident()
        self.thread_state: int = get_thread_state()
        self.gate = locks.RLock()  # not Lock: a signal handler may ask for the CPU time
        self.asked = False
        self.busy = False
        self.depth = 0
        self.endings: dict[object, Ending] = {}
        # In which all this is one step: that of the kernel, around a cell in the foreground.
        self.outer_loop = asyncio._get_running_loop()
        self.open = False
        self.struck = 0
        self.dropped = 0
        self.first = False
        self.late = False
        self.leader: Target | None = None
        self.leads = False
        self.libraries = False
        self.at_last = False
        self.survey = False
        self.shielded_by: tuple[CodeType, int] | None = None
        self.traced = False
        self.turn = False
        self.watch: object = None
        self.ways = 0
        self.service: object = None
        self.shared: bool | None = None
        self.released = False
        self.waits_at: tuple[FrameType, int] | None = None
        self.lender: threading.Lock | None = None
        self._clock: int | None = None
        self._cpu_time = 0.0

    @property
    def wanted(self) -> bool:
        """Whether a Kill, or an interrupt, is to be raised here, now or later in the body."""
        return self.open and not self.depth and self.sought

    @property
    def has_turn(self) -> bool:
        """Whether no other thread has to die before this one."""
        leader = self.leader
        return leader is None or not leader.open or (self.turn and not self.late)

    def follow(self, leader: Target | None, *, late: bool) -> None:
        """Let `leader`, if it is of the same group, die before this thread."""
        if leader is not None and leader.group is self.group:
            self.leader, self.late = leader, late
            leader.leads = True

    def give_way(self) -> None:
        """Leave the interpreter to the leader, if that is to die first; own thread only.

        A thread that computes would delay it, and with it its own end. But the leader may need
        what this one computes, so there is an end to that.
        """
        if self.ways < _WAYS and not self.has_turn:
            self.ways += 1
            time.sleep(_WAY)

    @property
    def sought(self) -> bool:
        """Whether somebody asked for a Kill of this thread, or for an interrupt."""
        if self.group.kill_requested:
            return self.has_turn and not self.released
        return self.first and self.group.interrupt_requested

    def running_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the event loop of asyncio that the code runs, if any; own thread only."""
        loop = asyncio._get_running_loop()
        return None if loop is self.outer_loop else loop

    def strike(self) -> type[BaseException]:
        """Note that something is being raised, and return what to raise; own thread only."""
        kill = self.group.kill_requested
        self.note()
        kind: type[BaseException] = KeyboardInterrupt
        if kill:  # a loop may wait for what another thread does, and be given the exception
            kind = JobKilled if self.first else TaskKilled
        loop = self.running_loop()
        if loop is not None:  # what leaves it would leave its tasks alone, see `ending`
            if asyncio.current_task(loop) is not None:
                kind = TaskKilled if kill else TaskInterrupted
            elif kill:
                kind = asyncio.CancelledError
        for ending in list(self.endings.values()):
            kind = ending.strikes(kind)
        return kind

    def note(self) -> None:
        """Note that what was asked for is being done; own thread only."""
        if not self.group.kill_requested:
            with self.gate:  # who notes where the thread waits looks in it whether it is wanted
                self.group.interrupt_requested = False
                self.waits_at = None
            self.group.interrupt_processes()
            self.answer()
            return
        self.struck += 1
        self.group.struck = True
        # Who lends goes on when this thread has ended (`release`), and does not take the
        # interpreter's lock from it before; unless another thread has to die first.
        if len(self.group.targets()) > 1:
            self.answer()

    def answer(self) -> None:
        """Let the lender go, if one waits for this thread; own thread only."""
        lender, self.lender = self.lender, None
        if lender is not None:
            lender.release()

    def signal(self, number: int) -> bool:
        """Send a signal to the thread, if its body runs; return whether it does."""
        with self.gate:
            if self.open:
                signal.pthread_kill(self.ident, number)
            return self.open

    def innermost_frame(self) -> FrameType | None:
        """Return where the thread is at this moment; call with `gate` held.

        On CPython 3.11 not to be kept: there the frame object may outlive the frame (a thread
        that is clearing a frame still shows it). None without a global interpreter lock, where
        the frame may be gone before it is ours.
        """
        if not self.open or not has_gil():
            return None
        return frame_of(self.thread_state)

    def cpu_time(self) -> float:
        """CPU time that the thread has used, in seconds; any thread may ask."""
        with self.gate:
            if self.open and _HAS_CLOCKS:
                if self._clock is None:
                    # Of a dead thread, this would read freed memory.
                    self._clock = time.pthread_getcpuclockid(self.ident)
                self._cpu_time = time.clock_gettime(self._clock)
            return self._cpu_time

    def close(self) -> None:
        """From here on nothing is raised in the thread; its own thread calls this."""
        with self.gate:
            self.open = False
            self._cpu_time = time.thread_time()
            if main_word.value == self.ident:  # from here on nobody lends it to this thread
                main_word.value = main_ident
            if self.asked:
                take_back()
        self.waits_at = None

    def release(self) -> None:
        """Give the thread up while it goes on."""
        self.released = True
        if threading.get_ident() == self.ident:
            self.close()
        _targets.pop(self.ident, None)
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
        if target.wanted:
            raise target.strike()
        body()
    except BaseException as error:
        failure = error
    try:
        for ending in list(target.endings.values()) if target.group.struck else ():
            ending.finish()
    except BaseException as error:
        failure = failure or error
    # From here on nothing runs in its name: if it passes for the main thread, no longer.
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
    # Only the calling thread is left; somebody else may have held its gate.
    target = current_target()
    if target is not None:
        target.gate = locks.RLock()
        target.lender = None
    _targets.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
