"""Which threads belong to a job.

A job is more than the thread its code starts in: whatever `threading.Thread` that code
starts, and whatever those start, is a member of its `Family`. `Thread.start` is wrapped
once, at the first launch of a job, and for a thread that is no member's child the wrapper
only looks up the caller.
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.process import BaseProcess
from typing import Any

from . import stack
from .exceptions import JobKilled, JobStopped
from .kill import (
    GROUP_ATTRIBUTE,
    Look,
    Target,
    await_death,
    contain,
    current_target,
    get_ready,
    hindrance,
    pursue,
    serves_cleanup,
)
from .threads import ServiceThread, ThreadWithExc
from .waiting import Deadline, Latch


class Family:
    """The threads of one job.

    Parameters
    ----------
    first
        The thread, not yet started, that the family begins with.
    enter
        Called in each thread of the family before its first line; it must not raise.
    finish
        Called in the first thread with what its code raised, when that has ended and
        nothing is raised in the thread from outside any more.

    Threading
    ---------
    Any thread may call any method. `_lock` guards the lists; it is never held while code
    of others runs, but for a signal handler, which may take it again.
    """

    def __init__(
        self,
        first: ThreadWithExc,
        enter: Callable[[], None],
        finish: Callable[[BaseException | None], None],
    ) -> None:
        self._enter = enter
        self._lock = threading.RLock()
        # Each with the fact that it left: its code ended, or it was let go. A thread that is
        # not alive and has not left is about to start. (Thread.ident does not tell: it is
        # set a moment before is_alive() says True.)
        self._threads: dict[threading.Thread, Latch] = {}
        self._targets: list[Target] = []
        self._parents: weakref.WeakKeyDictionary[
            threading.Thread, weakref.ref[threading.Thread]
        ] = weakref.WeakKeyDictionary()
        self.past_idents: set[int] = set()
        self._processes: weakref.WeakSet[BaseProcess] = weakref.WeakSet()
        self._past_cpu_time = 0.0
        self.kill_requested = self.struck = False
        self._first = first
        first._guard()
        self._adopt(first, finish)

    def start(self) -> None:
        """Start the first thread.

        Raises
        ------
        RuntimeError
            The system can start no more threads; the family is empty then.
        """
        _install()
        get_ready()
        try:
            self._first.start()
        except Exception:
            if self._first.ident is None:
                self._disown(self._first)
            raise

    def kill(self) -> None:
        """Kill every thread of the family, now and from now on; returns at once.

        Raises
        ------
        JobKilled
            In a member that kills its own family outside any shield.
        """
        self.kill_requested = True
        pursue(self)
        target = current_target()
        if target is not None and target.group is self and target.wanted:
            raise target.strike()

    def targets(self) -> list[Target]:
        """Return the threads that have begun and not ended."""
        with self._lock:
            return list(self._targets)

    def threads(self) -> list[threading.Thread]:
        """Return the threads that live or are starting, in the order of their start."""
        with self._lock:
            for thread, left in list(self._threads.items()):
                if left.is_set() and not thread.is_alive():
                    del self._threads[thread]
            return list(self._threads)

    def first_runs(self) -> bool:
        """Whether the code that the family began with still runs."""
        with self._lock:
            return any(target.open and target.thread is self._first for target in self._targets)

    def tree(self) -> Iterator[tuple[threading.Thread, int]]:
        """Return the threads, each below the one that started it, with its depth there."""
        threads = self.threads()
        parents = {thread: self._parents.get(thread) for thread in threads}
        children: dict[threading.Thread | None, list[threading.Thread]] = {}
        for thread, reference in parents.items():
            parent = reference() if reference is not None else None
            children.setdefault(parent if parent in parents else None, []).append(thread)

        def below(parent: threading.Thread | None, depth: int) -> Iterator[tuple[Any, int]]:
            for thread in children.get(parent, ()):
                # What a thread that has ended started stands on the first level.
                yield thread, depth if thread is self._first else max(depth, 1)
                yield from below(thread, depth + 1 if thread is self._first else max(depth, 1) + 1)

        return below(None, 0)

    def target_of(self, thread: threading.Thread) -> Target | None:
        """Return the record of a thread that has begun and not ended."""
        return next((it for it in self.targets() if it.thread is thread), None)

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
        with self._lock:
            self._leave(target)
            left = self._threads.pop(target.thread)
        left.set()
        target.release()

    def _leave(self, target: Target) -> None:
        # With the lock held.
        if target in self._targets:
            self._targets.remove(target)
            self.past_idents.add(target.ident)
            self._past_cpu_time += target.cpu_time()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until every thread has ended.

        The calling thread, if it is a member, does not wait for itself.
        """
        deadline = Deadline(timeout)
        me = threading.current_thread()
        while others := [thread for thread in self.threads() if thread is not me]:
            if deadline.left() == 0:
                return False
            with await_death():
                # Not Thread.join: it refuses a thread that is only about to start, and goes
                # on waiting for one that is let go.
                left = self._threads.get(others[0])
                if left is not None and left.wait(deadline.left()) and others[0] in self._threads:
                    others[0].join(deadline.left())
        return True

    def end_processes(self) -> None:
        """End the processes of `multiprocessing` that the family started; when it is dead.

        Nobody is left who would: a pool's own threads were members as well. And at exit
        the interpreter waits for such a process, however long it takes.
        """
        with self._lock:
            processes = list(self._processes)
        if not processes:
            return
        for end in (BaseProcess.kill, lambda process: process.join(_REAP)):
            for process in processes:
                with contextlib.suppress(Exception):  # it did not start, or is closed
                    end(process)

    def cpu_time(self) -> float:
        """CPU time that all threads of the family have used so far, in seconds."""
        with self._lock:
            return self._past_cpu_time + sum(target.cpu_time() for target in self._targets)

    def _adopt(
        self,
        thread: threading.Thread,
        finish: Callable[[BaseException | None], None] | None = None,
    ) -> None:
        body = thread.run
        left = Latch()

        def run() -> None:
            target = Target(self, thread)
            target.last = serves_cleanup(thread)
            with self._lock:
                self._targets.append(target)
            self._enter()
            error: BaseException | None
            try:
                if finish is not None:
                    # No name here, so that `finish` can let go of what its traceback holds.
                    finish(contain(target, body))
                    return
                error = contain(target, body)
                if error is not None and not isinstance(error, JobKilled | JobStopped):
                    raise error
            finally:
                error = None  # else it and this frame, in its traceback, are a cycle
                with self._lock:
                    self._leave(target)
                left.set()
                vars(thread).pop("run", None)  # who keeps the thread shall not keep the job
                target.answer()

        thread.run = run  # type: ignore[method-assign]
        vars(thread)[_ADOPTED] = True
        with self._lock:
            self._threads[thread] = left

    def _disown(self, thread: threading.Thread) -> None:
        """Forget a thread that did not start."""
        with self._lock:
            left = self._threads.pop(thread)
        left.set()


_REAP = 0.5  # seconds that a killed process has to be gone

_ADOPTED = "_ipykill_adopted"
_thread_start: Callable[[threading.Thread], None] | None = None  # what _start wraps,
_popen_init: Callable[..., None] | None = None  # and _init_popen,
_process_start: Callable[[BaseProcess], None] | None = None  # and _start_process


def _serves_all(thread: threading.Thread) -> bool:
    """Whether a thread belongs to the whole process, whoever happens to start it."""
    # The monitor of tqdm is started with the first bar, and watches all bars from then on.
    return isinstance(thread, ServiceThread) or type(thread).__module__ == "tqdm._monitor"


@functools.wraps(threading.Thread.start)
def _start(thread: threading.Thread) -> None:
    assert _thread_start is not None
    target = current_target()
    adopted = vars(thread)
    if target is None or _ADOPTED in adopted or _serves_all(thread):
        _thread_start(thread)
        return
    family = target.group
    assert isinstance(family, Family)
    own_run = adopted.get("run")
    family._parents[thread] = weakref.ref(target.thread)
    family._adopt(thread)  # a ThreadWithExc has guarded its body by now
    try:
        _thread_start(thread)
    except RuntimeError:  # it had been started before, or the system has no thread left
        family._disown(thread)
        del adopted["run"], adopted[_ADOPTED]
        if own_run is not None:
            adopted["run"] = own_run
        raise


@functools.wraps(subprocess.Popen.__init__)
def _init_popen(process: subprocess.Popen[Any], *args: Any, **kwargs: Any) -> None:
    assert _popen_init is not None
    target = current_target()
    if target is not None:
        setattr(process, GROUP_ATTRIBUTE, target.group)
    _popen_init(process, *args, **kwargs)


@functools.wraps(BaseProcess.start)
def _start_process(process: BaseProcess) -> None:
    assert _process_start is not None
    target = current_target()
    if target is not None and isinstance(target.group, Family):
        with target.group._lock:
            target.group._processes.add(process)
    _process_start(process)


def _install() -> None:
    """Wrap `threading.Thread.start`, `subprocess.Popen` and `multiprocessing`, once."""
    global _thread_start, _popen_init, _process_start
    if _thread_start is None:
        _thread_start = threading.Thread.start
        _popen_init = subprocess.Popen.__init__
        threading.Thread.start = _start  # type: ignore[method-assign, assignment]
        subprocess.Popen.__init__ = _init_popen  # type: ignore[method-assign, assignment]
        _process_start = BaseProcess.start
        BaseProcess.start = _start_process  # type: ignore[method-assign, assignment]
