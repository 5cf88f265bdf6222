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

import contextlib
import contextvars
import functools
import os
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from . import locks, processes, stack
from .exceptions import JobKilled, JobStopped, TaskKilled
from .kill import (
    Look,
    Target,
    await_death,
    contain,
    current_target,
    get_ready,
    hindrance,
    hold,
    is_cleaning,
    pool_of,
    pursue,
    stop_loop,
)
from .processes import ChildProcess
from .services import Service
from .threads import ServiceThread, ThreadWithExc
from .tracebacks import hidden
from .waiting import Deadline, Latch

asks: contextvars.ContextVar[Family] = contextvars.ContextVar("ipykill_asks")
"""Whose code is running, or asked for what is running."""


class Family:
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
    in_foreground : bool
        Whether it is a cell's in the foreground. Its processes start as those of any cell then,
        in the kernel's process group, where an interrupt of the cell reaches them.

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
        self._enter = enter
        self._leave_thread = leave
        self._lock = locks.RLock()
        # Each with the fact that it left: its code ended, or it was let go. A thread that is
        # not alive and has not left is about to start. (Thread.ident does not tell: it is
        # set a moment before is_alive() says True.)
        self._threads: dict[threading.Thread, Latch] = {}
        self._targets: list[Target] = []
        self.past_idents: set[int] = set()
        self._processes: list[ChildProcess] = []
        self._look_at = _LOOK  # processes, when to forget those that are gone
        self._ender: Latch | None = None
        self._pid = os.getpid()
        self._past_cpu_time = 0.0
        self.kill_requested = self.interrupt_requested = False
        self.struck = self.spares = self._desolate = False
        self._first = first
        self.given: object = None  # what the job was given to call
        self.free_idents: set[int] = set()  # of threads that it has let go,
        self.spared: dict[str, str] = {}  # their names, and the library that keeps each
        self._first_target: Target | None = None
        self.in_foreground = serves
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
        self._register(target)
        error = contain(target, body)
        self._lead_no_longer(target)
        return error, target

    def start(self) -> None:
        """Start the first thread.

        Raises
        ------
        RuntimeError
            The system can start no more threads; the family is empty then.
        """
        get_ready()
        assert isinstance(self._first, ThreadWithExc)
        try:
            self._first.start_soon()
        except Exception:
            if not self._first.runs_all_the_same():
                self._disown(self._first)
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
        target = self.target_of(self._first)
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

    def tree(self) -> Iterator[tuple[threading.Thread, int]]:
        """Return the threads, each below the one that started it, with its depth there."""
        threads = self.threads()
        living = set(threads)
        children: dict[threading.Thread | None, list[threading.Thread]] = {}
        for thread in threads:
            parent = vars(thread).get(ADOPTED, _nobody)()
            children.setdefault(parent if parent in living else None, []).append(thread)

        def below(parent: threading.Thread | None, depth: int) -> Iterator[tuple[Any, int]]:
            for thread in children.get(parent, ()):
                # What a thread that has ended started stands on the first level.
                yield thread, depth if thread is self._first else max(depth, 1)
                yield from below(thread, depth + 1 if thread is self._first else max(depth, 1) + 1)

        return below(None, 0)

    def target_of(self, thread: threading.Thread) -> Target | None:
        """Return the record of a thread that has begun and not ended."""
        for target in self.targets():
            if target.thread is thread:
                return target
        return None

    def stacks(self, look: Look, labels: Mapping[str, str]) -> list[stack.Stack]:
        """Return where the threads are, in the order of `tree`."""
        found = []
        for thread, depth in self.tree():
            target = self.target_of(thread)
            frame = None if target is None else look(target)
            frames = stack.trim(stack.of_frame(frame, labels))
            why = ""
            if target is not None and self.kill_requested:
                why = hindrance(target, frame, labels)
            found.append(stack.Stack(thread.name, depth, False, tuple(frames), why))
        return found

    def hindrance(self, look: Look, labels: Mapping[str, str]) -> str:
        """Return in words why the family, which is being killed, still lives."""
        for child in self._children():
            if (due := child.due) is not None:
                what = f"process {child.pid} ({child.command[:40]})"
                return f"its {what} was asked to end and is killed in {due:.1f} s"
        for target in self.targets():
            frame = look(target)
            if why := hindrance(target, frame, labels):
                if target.thread is self._first:
                    return why
                here = stack.here(frame, labels)
                return f"{target.thread.name}{f' in {here}' if here else ''}: {why}"
        return ""

    def let_go(self, target: Target) -> None:
        """Forget a thread that turned out to serve others as well."""
        if isinstance(target.service, Service):
            self.free_idents.add(target.ident)
            self.spared[target.thread.name] = target.service.library
            # The processes of a pool that has nothing to do go with the thread that manages it.
            if not getattr(target.thread, "pending_work_items", None):
                for handle in list((getattr(target.thread, "processes", None) or {}).values()):
                    self._let_process_go(self.child_of(handle))
        self._leave(target)
        if (left := self._threads.pop(target.thread, None)) is not None:
            left.set()
        target.release()

    def shares(self, target: Target) -> bool:
        """Whether a thread that a library started serves others as well."""
        if target.shared is None:
            target.shared = self._is_shared(target.service, target.thread)
        return target.shared

    def _is_shared(self, service: object, thread: threading.Thread) -> bool:
        if not isinstance(service, Service):
            return False
        # The workers of a pool that the job has made are the job's, wherever that is kept.
        own = pool_of(thread) is not None
        return service.is_kept(thread) or (not own and service.is_given(thread, self.given))

    def let_go_of_services(self) -> None:
        """Let those go that libraries keep for others, as the code of the job has ended."""
        for target in self.targets():
            shared = target.service is not None and self.shares(target)
            if shared and not self.kill_requested:
                self.let_go(target)
        for child in self._children():
            service = child.service
            if isinstance(service, Service) and service.is_given(child.handle, self.given):
                self._let_process_go(child)

    def _let_process_go(self, child: ChildProcess | None) -> None:
        if child is not None:
            with contextlib.suppress(ValueError):  # somebody else has
                self._processes.remove(child)
            child.forget()

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
                whole = thread is self._first and isinstance(thread, ThreadWithExc)
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

    # Processes. No one is forgotten:
    #
    # 1. A process is noted in the thread that started it, before the call that did returns;
    #    nothing is raised there from outside (`policy`).
    # 2. `end_processes` comes when no thread of the family lives. It declares the family
    #    desolate, with the lock held, and ends what is noted.
    # 3. After that only others start processes, in the family's name. Each of them sees with
    #    the lock held that it is desolate, unless it came before (2), and has its process
    #    ended itself.

    def note(self, child: ChildProcess) -> None:
        """Note that a process was started by the family or in its name."""
        if len(self._processes) >= self._look_at:
            self.forget_processes()
            self._look_at = 2 * len(self._processes) + _LOOK
        with self._lock:
            self._processes.append(child)
            desolate = self._desolate and not self.spares
        if desolate:
            _end_soon(functools.partial(processes.end, [child]))

    def processes(self) -> tuple[processes.ProcessInfo, ...]:
        """Return the processes that run, or that ended and nobody has waited for."""
        if not self._processes:  # as in most jobs, and a list of jobs asks them all
            return ()
        self.forget_processes()
        children = self._children()
        live_groups = functools.cache(processes.live_groups)
        return tuple(child.info(live_groups) for child in children)

    def processes_run(self) -> bool:
        """Whether one of its processes runs."""
        return any(child.running for child in self._children())

    def child_of(self, handle: object) -> ChildProcess | None:
        """Return the process that `handle` stands for, if it belongs to the family."""
        return next((child for child in self._children() if child.stands_for(handle)), None)

    def end_processes(self) -> None:
        """End the processes of the family, which has no thread any more; blocks."""
        with self._lock:
            self._desolate = True
            children = [] if self.spares else list(self._processes)
        if children:
            processes.end(children)
            self.forget_processes()

    def end_processes_soon(self) -> None:
        """End the processes when no thread of the family lives; `join` waits for it."""
        with self._lock:
            if self._ender is not None and not self._ender.is_set():
                return
            ender = self._ender = Latch()

        def run() -> None:
            try:
                self.join_threads()
                self.end_processes()
            finally:
                ender.set()

        if not _end_soon(run):
            ender.set()

    def kill_processes(self) -> None:
        """Kill the processes now, whoever may need them: the interpreter exits."""
        for child in self._children():
            if not child.is_daemon:
                child.signal(processes.SIGKILL)

    def _children(self) -> list[ChildProcess]:
        return self._processes.copy()  # atomic

    def forget_processes(self) -> None:
        """Let go of the processes that are gone: each costs a file descriptor."""
        for child in self._children():
            if not child.exists:
                self._let_process_go(child)

    def cpu_time(self) -> float:
        """CPU time that all threads of the family have used so far, in seconds."""
        with self._lock:
            past, targets = self._past_cpu_time, self._targets.copy()
        return past + sum(target.cpu_time() for target in targets)

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
                    _end_fork(error)
                self._lead_no_longer(target)
                return error
            finally:
                error = None  # else it and this frame, in its traceback, are a cycle

        @hidden
        def run() -> None:
            target = Target(self, thread)
            target.first = finish is not None
            if target.first:
                self._first_target = target
            target.follow(leader, late=late)
            target.service = service
            self.free_idents.discard(target.ident)
            self._targets.append(target)
            self.claim()
            self._enter()
            error: BaseException | None
            try:
                if finish is not None:
                    # No name here, so that `finish` can let go of what its traceback holds.
                    finish(contained(target))
                    return
                error = contained(target)
                if error is not None and not isinstance(error, JobKilled | JobStopped):
                    raise error
            finally:
                error = None  # else it and this frame, in its traceback, are a cycle
                target.leader = None  # else the last of a chain keeps them all
                self._leave(target)
                left.set()
                vars(thread).pop("run", None)  # who keeps the thread shall not keep the job
                target.answer()

        thread.run = run  # type: ignore[method-assign]
        vars(thread)[ADOPTED] = _nobody if parent is None else weakref.ref(parent.thread)
        self._threads[thread] = left

    def _lead_no_longer(self, target: Target) -> None:
        # Those that were to die after this thread, which has just ended, need not wait until
        # the reaper looks.
        if self.kill_requested and target.leads:
            pursue(self)

    def errand(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return `work` as a call that is a member while a thread of others makes it."""
        leader, late = current_target(), is_cleaning()

        @hidden
        def run(*args: Any, **kwargs: Any) -> Any:
            call = functools.partial(work, *args, **kwargs)
            target = current_target()
            if target is None:
                target = Target(self, threading.current_thread())
                target.follow(leader, late=late)
                return contextvars.copy_context().run(self._run_errand, target, call)
            if target.group is not self:  # one of another job: nobody else ends what it does
                return call()
            if self.kill_requested and not late:
                raise TaskKilled  # what waits in a pool for its turn is not begun any more
            before, target.late = target.late, late
            try:
                return call()
            finally:
                target.late = before

        return run

    def _register(self, target: Target) -> None:
        """Make the calling thread, which has its own life, a member until it is let go."""
        with self._lock:
            self._threads[target.thread] = Latch()
            self._targets.append(target)
            self._past_cpu_time -= time.thread_time()  # that is not the family's

    def _run_errand(self, target: Target, work: Callable[[], Any]) -> Any:
        values: list[Any] = []
        self._register(target)
        self.claim()
        self._enter()
        error: BaseException | None = None
        try:
            error = contain(target, lambda: values.append(work()))
            if isinstance(error, JobKilled) and not (target.struck or target.asked):
                error = error.__context__  # others were killed, this was not
            if error is not None:
                raise error
            return values.pop()
        finally:
            error = None  # else it and this frame, in its traceback, are a cycle
            self._leave_thread()
            self.let_go(target)
            self._lead_no_longer(target)

    def claim(self) -> None:
        """Make the calling context, of the code it runs and asks for, the family's."""
        asks.set(self)

    def _disown(self, thread: threading.Thread) -> None:
        """Forget a thread that did not start."""
        self._threads.pop(thread).set()


_LOOK = 16

ADOPTED = "_ipykill_parent"
"""The attribute of an adopted thread: who started it, a weak reference."""


def _nobody() -> None:
    """Be the reference to the parent of a thread that nobody of its family started."""


def _end_fork(error: BaseException | None) -> NoReturn:
    """End the child of a fork whose code has come to its end, as a program ends.

    Nothing of what surrounds the job is this process's: not the sockets, not the log.
    """
    code: object = 0
    if isinstance(error, SystemExit):
        code = error.code
    elif error is not None:
        code = 1
        with contextlib.suppress(Exception):
            tb = stack.without_machinery(error.__traceback__)
            text = "".join(traceback.format_exception(type(error), error, tb))
            os.write(2, text.encode(errors="replace"))
    os._exit(code & 255 if isinstance(code, int) else int(code is not None))


def _end_soon(work: Callable[[], None]) -> bool:
    try:
        ServiceThread(work, "ender").start()
    except RuntimeError:  # the system has no thread left, or the interpreter exits
        return False
    return True
