"""Which threads and processes belong to a job.

A job is more than the thread its code starts in. Each `threading.Thread` that this code starts,
and each that those threads start, is a member of the job's `Family`, and so are the processes
that they start. `offspring` ends the processes; `adoption` tells a family of new members.

A thread is a member if a member starts it. A process may also be started by a thread that is
no member, on behalf of one: ``%%bash`` asks the event loop of another thread to start it. An
event loop runs what it is asked in the context of the caller, so a variable, `acting_family`,
says which family a process belongs to.
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

from ..base.alive import is_alive, join
from ..base.tracebacks import hidden
from ..base.waiting import Deadline, Latch
from ..exceptions import JobKilled, JobStopped
from ..kill import (
    Target,
    await_death,
    contain,
    current_target,
    get_ready,
    hand_over,
    hold,
    pool_of,
    pursue,
    serves_loop,
    stop_loop,
)
from ..threads import ThreadWithExc
from .forks import end_fork
from .offspring import Offspring
from .process_pools import registered, run_keeper
from .services import Service, begun

acting_family: contextvars.ContextVar[Family] = contextvars.ContextVar("ipykill_acting_family")
"""The family whose code runs in this context, or has asked another thread to run it."""


class Family(Offspring):
    """The threads and processes of one job.

    Parameters
    ----------
    first
        The thread, not yet started, that the family begins with.
    enter
        Called in each thread of the family before its first line; it must not raise.
    finish
        Called in the first thread, when its code has ended and nothing is raised in the thread
        from outside any more, with the error that the code raised, or None.
    leave
        Called in a thread of others, such as a pool's, that was a member for a while.
    serves
        Whether the first thread runs already and outlives the family, as that of a cell in the
        foreground does; see `foreground.family`.

    Attributes
    ----------
    dissolved : bool
        Whether the family was a foreground cell's, which is over and has not become a job. A
        thread pool that the cell has made is then anybody's.

    Threading
    ---------
    Any thread may call any method, a signal handler and a finalizer too. The lists and the
    dictionary change in steps that are atomic by themselves; `_lock` is for the few steps that
    belong together. No call of other code is made while `_lock` is held, so no other lock is
    ever waited for behind it.
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
        self.enter, self.leave_thread = enter, leave
        super().__init__()
        # Each thread, with a latch that is set when it leaves: its code ended, or it was let go.
        # One that has not left but is not alive is about to start. (It may have an ident by then.)
        self._threads: dict[threading.Thread, Latch] = {}
        self._targets: list[Target] = []
        self.past_idents: set[int] = set()
        self._pid = os.getpid()
        self._past_cpu_time = 0.0
        self.kill_requested = self.interrupt_requested = False
        self.struck = False
        self.first = first
        self.given: object = None  # what the job was given to call
        self.made: dict[int, Callable[[], object]] = {}  # see `Service`
        self.let_go_idents: set[int] = set()  # the idents of threads that it let go
        self.spared: dict[str, str] = {}  # names of such threads: the library that keeps it
        self._first_target: Target | None = None
        self.in_foreground = serves
        self.dissolved = False
        if not serves:
            assert isinstance(first, ThreadWithExc)
            first._guard()
            self._adopt(first, finish=finish)

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
                self.disown(self.first)
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
            A member called this for its own family, outside any shield.
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
            The first thread itself called this, outside any shield.
        """
        pursue(self)
        target = current_target()
        if target is not None and target.group is self and target.wanted:
            raise target.strike()

    def stop_loop(self) -> None:
        """Cancel the tasks of the event loop that the first thread runs, if it runs one."""
        target = self.target_of(self.first)
        if target is not None:
            stop_loop(target)

    def targets(self) -> list[Target]:
        """Return the records of the threads that have begun and not ended."""
        return self._targets.copy()  # atomic

    def threads(self) -> list[threading.Thread]:
        """Return the threads that live or are starting, in the order of their start."""
        for thread, left in self._threads.copy().items():  # gc may run within list(items())
            if left.is_set() and not is_alive(thread):
                self._threads.pop(thread, None)
        return list(self._threads)

    def target_of(self, thread: threading.Thread) -> Target | None:
        """Return the record of a thread that has begun and not ended."""
        for target in self.targets():
            if target.thread is thread:
                return target
        return None

    def let_go(self, target: Target) -> None:
        """Forget a thread, which goes on: it serves others as well, or is theirs."""
        if isinstance(target.service, Service):
            self.let_go_idents.add(target.ident)
            self.spared[target.thread.name] = target.service.library
            # With the thread that manages an idle process pool, its processes are let go too.
            if not getattr(target.thread, "pending_work_items", None):
                for handle in list((getattr(target.thread, "processes", None) or {}).values()):
                    self.let_process_go(self.child_of(handle))
        self._leave(target)
        if (left := self._threads.pop(target.thread, None)) is not None:
            left.set()
        target.release()

    def shares(self, target: Target) -> bool:
        """Whether a thread that a library started serves others as well."""
        service = target.service
        if not isinstance(service, Service):
            return False
        if target.shared is None:
            given = self.given  # once: the job's own thread sets it to None when the job ends
            # Workers of a pool that the job has made are the job's, wherever the pool is kept.
            own = pool_of(target.thread) is not None
            target.shared = not own and service.is_given(target.thread, given)
        # Asked each time: a library may let go of a worker that works, and take it back later.
        return target.shared or service.is_kept(target.thread)

    def let_go_of_services(self) -> None:
        """Let threads and processes go that libraries keep for others; the job's code has ended."""
        for target in begun(self._threads, self.targets):
            shared = target.service is not None and self.shares(target)
            if shared and not self.kill_requested:
                self.let_go(target)
        for child in self.children():
            service = child.service
            if isinstance(service, Service) and service.is_given(child.handle, self.given):
                self.let_process_go(child)

    def _leave(self, target: Target) -> None:
        used = 0.0 if self.dissolved else target.cpu_time()
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
                # Thread.join refuses a thread that is about to start, goes on waiting for one that
                # is let go, and up to 3.12 takes a thread for dead when a Ctrl-C breaks the wait.
                # Where none of that can happen, it is used: it waits once, the code below twice.
                whole = thread is self.first and isinstance(thread, ThreadWithExc)
                if sys.version_info >= (3, 13) and whole and thread.is_alive():
                    thread.join(deadline.left())
                    continue
                left = self._threads.get(thread)
                if left is None or not left.wait(deadline.left()):
                    continue
                # A pool's worker that was let go may be a member again, and has another latch then.
                if self._threads.get(thread) is left:
                    join(thread, deadline.left())
        return True

    def cpu_time(self) -> float:
        """CPU time that all threads of the family have used so far, in seconds."""
        with self._lock:
            past, targets = self._past_cpu_time, self._targets.copy()
        # The sum may be negative for a moment, while a thread of others comes or goes.
        return max(past + sum(target.cpu_time() for target in targets), 0.0)

    def _adopt(
        self,
        thread: threading.Thread,
        *,
        parent: Target | None = None,
        service: Service | None = None,
        keeper: threading.Thread | None = None,
        finish: Callable[[BaseException | None], None] | None = None,
    ) -> None:
        body = thread.run
        if keeper is thread:
            body = functools.partial(run_keeper, keeper, body)
        left = Latch()
        leader, late = parent, self.kill_requested or serves_loop(thread)
        # A thread of another family that starts a worker of this family's pool is no leader here.
        if leader is not None and leader.group is not self:
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
            target.follow(registered(keeper, self.target_of, self._threads) or leader, late=late)
            target.service = service
            self.let_go_idents.discard(target.ident)
            self._targets.append(target)
            self.claim()
            self.enter()
            error: BaseException | None
            try:
                if finish is not None:
                    # No variable here refers to the error, so that `finish` can free its frames.
                    finish(contained(target))
                    return None
                error = contained(target)
                if error is not None and not isinstance(error, JobKilled | JobStopped):
                    raise error
            finally:
                error = None  # else it and this frame, in its traceback, are a cycle
                hand_over(target)
                self._leave(target)
                left.set()
                vars(thread).pop("run", None)  # a thread that is kept must not keep the job alive,
                if "_context" in vars(thread):  # nor its context, which CPython 3.15 leaves there
                    vars(thread)["_context"] = None
                target.answer()

        thread.run = run  # type: ignore[method-assign]
        vars(thread)[ADOPTED] = nobody if parent is None else weakref.ref(parent.thread)
        self._threads[thread] = left

    def lead_no_longer(self, target: Target) -> None:
        """Kill the threads that were to die after this one, at once; its code has ended."""
        if self.kill_requested and target.leads:
            pursue(self)

    def register(self, target: Target) -> None:
        """Make the calling thread, which others have started, a member until it is let go."""
        with self._lock:
            self._threads[target.thread] = Latch()
            self._targets.append(target)
            self._past_cpu_time -= time.thread_time()  # what it has used before is not the family's

    def claim(self) -> None:
        """Let what runs in the calling context, or is asked for there, belong to the family."""
        acting_family.set(self)

    def disown(self, thread: threading.Thread) -> None:
        """Forget a thread that did not start."""
        self._threads.pop(thread).set()


ADOPTED = "_ipykill_parent"
"""Attribute of an adopted thread: a weak reference to the thread that started it."""


def nobody() -> None:
    """Return None, like a dead weak reference: the parent of a family's first thread."""
