"""Which threads belong to a job.

A job is more than the thread its code starts in: whatever `threading.Thread` that code
starts, and whatever those start, is a member of its `Family`. `Thread.start` is wrapped
once, at the first launch of a job, and for a thread that is no member's child the wrapper
only looks up the caller.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable

from .exceptions import JobKilled, JobStopped
from .kill import Target, contain, current_target, pursue
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
        # Each with the fact that its code was reached. Only then is a thread that is not
        # alive a dead one: Thread.ident is set a moment before is_alive() says True.
        self._threads: dict[threading.Thread, Latch] = {}
        self._targets: list[Target] = []
        self._past_cpu_time = 0.0
        self.kill_requested = False
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
        try:
            self._first.start()
        except RuntimeError:
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
        if target is not None and target.group is self and not target.depth:
            raise JobKilled

    def targets(self) -> list[Target]:
        """Return the threads that have begun and not ended."""
        with self._lock:
            return list(self._targets)

    def threads(self) -> list[threading.Thread]:
        """Return the threads that live or are starting, in the order of their start."""
        with self._lock:
            for thread, begun in list(self._threads.items()):
                if begun.is_set() and not thread.is_alive():
                    del self._threads[thread]
            return list(self._threads)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until every thread has ended.

        The calling thread, if it is a member, does not wait for itself.
        """
        deadline = Deadline(timeout)
        me = threading.current_thread()
        while others := [thread for thread in self.threads() if thread is not me]:
            if deadline.left() == 0:
                return False
            begun = self._threads.get(others[0])
            # join() refuses a thread that is only about to start.
            if begun is None or begun.wait(deadline.left()):
                others[0].join(deadline.left())
        return True

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
        begun = Latch()

        def run() -> None:
            begun.set()
            target = Target(self, thread)
            with self._lock:
                self._targets.append(target)
            self._enter()
            try:
                error = contain(target, body)
                if finish is not None:
                    finish(error)
                elif error is not None and not isinstance(error, JobKilled | JobStopped):
                    raise error
            finally:
                with self._lock:
                    self._targets.remove(target)
                    self._past_cpu_time += target.cpu_time()

        thread.run = run  # type: ignore[method-assign]
        vars(thread)[_ADOPTED] = True
        with self._lock:
            self._threads[thread] = begun

    def _disown(self, thread: threading.Thread) -> None:
        """Forget a thread that did not start."""
        with self._lock:
            begun = self._threads.pop(thread)
        begun.set()


_ADOPTED = "_ipykill_adopted"
_thread_start: Callable[[threading.Thread], None] | None = None  # what _start wraps


@functools.wraps(threading.Thread.start)
def _start(thread: threading.Thread) -> None:
    assert _thread_start is not None
    target = current_target()
    adopted = vars(thread)
    if target is None or _ADOPTED in adopted or isinstance(thread, ServiceThread):
        _thread_start(thread)
        return
    family = target.group
    assert isinstance(family, Family)
    own_run = adopted.get("run")
    family._adopt(thread)  # a ThreadWithExc has guarded its body by now
    try:
        _thread_start(thread)
    except RuntimeError:  # it had been started before, or the system has no thread left
        family._disown(thread)
        del adopted["run"], adopted[_ADOPTED]
        if own_run is not None:
            adopted["run"] = own_run
        raise


def _install() -> None:
    """Wrap `threading.Thread.start`, once."""
    global _thread_start
    if _thread_start is None:
        _thread_start = threading.Thread.start
        threading.Thread.start = _start  # type: ignore[method-assign, assignment]
