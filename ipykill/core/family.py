"""Which threads and processes belong to a job.

A job is more than the thread its code starts in: whatever `threading.Thread` that code
starts, and whatever those start, is a member of its `Family`, and so are the processes they
start; how those end is said in `processes`, and how a family hears of either in `adoption`.

A thread is a member's child if a member starts it. A process may also be started by somebody
else in a member's name: ``%%bash`` asks the event loop of another thread to do it, and what
is asked of an event loop is done in the context of who asks. So the context says whose a
process is.
"""

from __future__ import annotations

import contextvars
import functools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable

from ..base.tracebacks import hidden
from ..base.waiting import Deadline, Latch
from ..exceptions import JobKilled, JobStopped
from ..kill import (
    Target,
    await_death,
    contain,
    current_target,
    get_ready,
    hold,
    pool_of,
    pursue,
    stop_loop,
)
from ..threads import ThreadWithExc
from .forks import end_fork
from .offspring import Offspring
from .services import Service

asks: contextvars.ContextVar[Family] = contextvars.ContextVar("ipykill_asks")
"""Whose code is running, or asked for what is running."""


class Family(Offspring):
    """The threads and processes of one job.

    Parameters
    ----------
    first
        The thread, not yet started, that the family begins with.
    enter
        Called in each thread of the family before its first line; it must not raise.
    finish
        Called in the first thread with what its code raised, when that has ended and
        nothing is raised in the thread from outside any more.
    serves
        Whether the first thread lives already and lives on, see `serve`.

    Attributes
    ----------
    dissolved : bool
        Whether that cell is over and has become no job: whose pool it made, anybody uses.

    Threading
    ---------
    Any thread may call any method, a signal handler and a finalizer too. The lists and the
    dictionary change in steps that are atomic by themselves; `_lock` is for the few steps that
    belong together. It is held for a few instructions that call nobody, so that who is killed
    or looked at never waits for another lock behind it.
    """

    def __init__(
        self,
        first: threading.Thread,
        enter: Callable[[], None],
        finish: Callable[[BaseException | None], None],
        leave: Callable[[], None] = lambda: None,
        *,
        serves: bool = False,
    ) -> None:
        self.enter = enter
        self.leave_thread = leave
        super().__init__()
        # Each with the fact that it left: its code ended, or it was let go. A thread that is
        # not alive and has not left is about to start. (Thread.ident does not tell: it is
        # set a moment before is_alive() says True.)
        self._threads: dict[threading.Thread, Latch] = {}
        self._targets: list[Target] = []
        self.past_idents: set[int] = set()
        self._pid = os.getpid()
        self._past_cpu_time = 0.0
        self.kill_requested = self.interrupt_requested = False
        self.struck = False
        self.first = first
        self.given: object = None  # what the job was given to call
        self.free_idents: set[int] = set()  # of threads that it has let go,
        self.spared: dict[str, str] = {}  # their names, and the library that keeps each
        self._first_target: Target | None = None
        self.in_foreground = serves
        self.dissolved = False
        if not serves:
            assert isinstance(first, ThreadWithExc)
            first._guard()
            self._adopt(first, finish=finish)

    def serve(self, body: Callable[[], object]) -> tuple[BaseException | None, Target]:
        """Run the first code of a family that `serves` in the calling thread, which lives on.

        Returns
        -------
        BaseException or None, Target
            What `contain` returned, and what is to be let go when all is done.
        """
        target = Target(self, threading.current_thread())
        target.first = True
        self._first_target = target
        self.register(target)
        error = contain(target, body)
        self.lead_no_longer(target)
        return error, target

    def start(self) -> None:
        """Start the first thread.

        Raises
        ------
        RuntimeError
            The system can start no more threads; the family is empty then.
        """
        get_ready()
        assert isinstance(self.first, ThreadWithExc)
        try:
            self.first.start_soon()
        except Exception:
            if not self.first.runs_all_the_same():
                self._disown(self.first)
            raise

    def kill(self, patience: float = 0.0) -> None:
        """Kill every thread of the family, now and from now on.

        Parameters
        ----------
        patience
            Seconds that the caller is going to wait for the end anyway.

        Raises
        ------
        JobKilled
            In a member that kills its own family outside any shield.
        """
        self.kill_requested = True
        pursue(self, patience)
        target = current_target()
        if target is not None and target.group is self:
            target.turn = True
            if target.wanted:
                raise target.strike()

    def interrupt(self) -> None:
        """Raise `KeyboardInterrupt` once in the first thread, as soon as it may be raised there.

        Raises
        ------
        KeyboardInterrupt
            In that thread, outside any shield.
        """
        pursue(self)
        target = current_target()
        if target is not None and target.group is self and target.wanted:
            raise target.strike()

    def stop_loop(self) -> None:
        """Cancel what the first thread runs on an event loop, if it does."""
        target = self.target_of(self.first)
        if target is not None:
            stop_loop(target)

    def targets(self) -> list[Target]:
        """Return the threads that have begun and not ended."""
        return self._targets.copy()  # atomic

    def threads(self) -> list[threading.Thread]:
        """Return the threads that live or are starting, in the order of their start."""
        for thread, left in list(self._threads.items()):
            if left.is_set() and not thread.is_alive():
                self._threads.pop(thread, None)
        return list(self._threads)

    def target_of(self, thread: threading.Thread) -> Target | None:
        """Return the record of a thread that has begun and not ended."""
        for target in self.targets():
            if target.thread is thread:
                return target
        return None

    def let_go(self, target: Target) -> None:
        """Forget a thread that turned out to serve others as well."""
        if isinstance(target.service, Service):
            self.free_idents.add(target.ident)
            self.spared[target.thread.name] = target.service.library
            # The processes of a pool that has nothing to do go with the thread that manages it.
            if not getattr(target.thread, "pending_work_items", None):
                for handle in list((getattr(target.thread, "processes", None) or {}).values()):
                    self.let_process_go(self.child_of(handle))
        self._leave(target)
        if (left := self._threads.pop(target.thread, None)) is not None:
            left.set()
        target.release()

    def dissolve(self) -> None:
        """Let all threads go: the cell in the foreground is over, and they are nobody's now."""
        self.dissolved = True
        for target in self.targets():
            self.let_go(target)

    def shares(self, target: Target) -> bool:
        """Whether a thread that a library started serves others as well."""
        if target.shared is None:
            # Read first: when the job is over it is forgotten, after the same was asked of all.
            given = self.given
            target.shared = self._is_shared(target.service, target.thread, given)
        return target.shared

    def _is_shared(self, service: object, thread: threading.Thread, given: object) -> bool:
        if not isinstance(service, Service):
            return False
        # The workers of a pool that the job has made are the job's, wherever that is kept.
        own = pool_of(thread) is not None
        return service.is_kept(thread) or (not own and service.is_given(thread, given))

    def let_go_of_services(self) -> None:
        """Let those go that libraries keep for others, as the code of the job has ended."""
        for target in self.targets():
            shared = target.service is not None and self.shares(target)
            if shared and not self.kill_requested:
                self.let_go(target)
        for child in self.children():
            service = child.service
            if isinstance(service, Service) and service.is_given(child.handle, self.given):
                self.let_process_go(child)

    def _leave(self, target: Target) -> None:
        used = target.cpu_time()
        with self._lock:
            if target in self._targets:
                self._targets.remove(target)
                self.past_idents.add(target.ident)
                self._past_cpu_time += used

    def join(self, timeout: float | None = None) -> bool:
        """Wait until every thread has ended, and every process that is being ended.

        The calling thread, if it is a member, does not wait for itself.
        """
        deadline = Deadline(timeout)
        ended = self.join_threads(timeout)
        ender = self._ender
        return ended and (ender is None or ender.wait(deadline.left()))

    def join_threads(self, timeout: float | None = None) -> bool:
        """Wait until every thread but the calling one has ended; return whether they have."""
        deadline = Deadline(timeout)
        me = threading.current_thread()
        while others := [thread for thread in self.threads() if thread is not me]:
            if deadline.left() == 0:
                return False
            with await_death():
                thread = others[0]
                # Not Thread.join: it refuses a thread that is only about to start, goes on
                # waiting for one that is let go, and takes a thread for dead when a Ctrl-C
                # breaks it (up to 3.12). None of that is true here, where there is one wait
                # instead of two:
                whole = thread is self.first and isinstance(thread, ThreadWithExc)
                if sys.version_info >= (3, 13) and whole and thread.is_alive():
                    thread.join(deadline.left())
                    continue
                left = self._threads.get(thread)
                if left is None or not left.wait(deadline.left()):
                    continue
                # Not if it is a worker of a pool that was let go, and has come back since with
                # the next of what the family gave to the pool.
                if self._threads.get(thread) is left:
                    thread.join(deadline.left())
        return True

    def cpu_time(self) -> float:
        """CPU time that all threads of the family have used so far, in seconds."""
        with self._lock:
            past, targets = self._past_cpu_time, self._targets.copy()
        # Not less than nothing, while a thread of others comes or goes.
        return max(past + sum(target.cpu_time() for target in targets), 0.0)

    def _adopt(
        self,
        thread: threading.Thread,
        *,
        parent: Target | None = None,
        service: Service | None = None,
        finish: Callable[[BaseException | None], None] | None = None,
    ) -> None:
        body = thread.run
        left = Latch()
        leader, late = parent, self.kill_requested
        if leader is not None and leader.group is not self:  # it works in a pool of this family
            leader = self._first_target

        def late_body(target: Target) -> None:
            hold(target)
            body()

        def contained(target: Target) -> BaseException | None:
            held = late and service is None
            error = contain(target, functools.partial(late_body, target) if held else body)
            try:
                if os.getpid() != self._pid:
                    end_fork(error)
                self.lead_no_longer(target)
                return error
            finally:
                error = None  # else it and this frame, in its traceback, are a cycle

        @hidden
        def run() -> None:
            if self.dissolved:
                left.set()
                vars(thread).pop("run", None)
                return body()
            target = Target(self, thread)
            target.first = finish is not None
            if target.first:
                self._first_target = target
            target.follow(leader, late=late)
            target.service = service
            self.free_idents.discard(target.ident)
            self._targets.append(target)
            self.claim()
            self.enter()
            error: BaseException | None
            try:
                if finish is not None:
                    # No name here, so that `finish` can let go of what its traceback holds.
                    finish(contained(target))
                    return None
                error = contained(target)
                if error is not None and not isinstance(error, JobKilled | JobStopped):
                    raise error
            finally:
                error = None  # else it and this frame, in its traceback, are a cycle
                target.leader = None  # else the last of a chain keeps them all
                self._leave(target)
                left.set()
                vars(thread).pop("run", None)  # who keeps the thread shall not keep the job,
                if "_context" in vars(thread):  # nor its context, which CPython 3.15 leaves there
                    vars(thread)["_context"] = None
                target.answer()

        thread.run = run  # type: ignore[method-assign]
        vars(thread)[ADOPTED] = nobody if parent is None else weakref.ref(parent.thread)
        self._threads[thread] = left

    def lead_no_longer(self, target: Target) -> None:
        """Let those die whose turn it is, now that the code of a thread has ended."""
        # Those that were to die after this thread, which has just ended, need not wait until
        # the reaper looks.
        if self.kill_requested and target.leads:
            pursue(self)

    def register(self, target: Target) -> None:
        """Make the calling thread, which has its own life, a member until it is let go."""
        with self._lock:
            self._threads[target.thread] = Latch()
            self._targets.append(target)
            self._past_cpu_time -= time.thread_time()  # that is not the family's

    def claim(self) -> None:
        """Make the calling context, of the code it runs and asks for, the family's."""
        asks.set(self)

    def _disown(self, thread: threading.Thread) -> None:
        """Forget a thread that did not start."""
        self._threads.pop(thread).set()


ADOPTED = "_ipykill_parent"
"""The attribute of an adopted thread: who started it, a weak reference."""


def nobody() -> None:
    """Be the reference to the parent of a thread that nobody of its family started."""
