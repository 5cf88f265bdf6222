"""Which threads belong to a job.

A job is more than the thread its code starts in: whatever thread that code starts, and
whatever thread those start, is a member of its `Family`. `threading.Thread.start` is
wrapped once, at the first launch of a job, and for a thread that is no member's child the
wrapper only looks up the caller.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from .exceptions import JobKilled
from .kill import Target, contain, current_target, pursue
from .threads import ServiceThread, ThreadWithExc
from .waiting import Deadline

_thread_start: Callable[[threading.Thread], None] = threading.Thread.start


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
    of others runs.
    """

    def __init__(
        self,
        first: ThreadWithExc,
        enter: Callable[[], None],
        finish: Callable[[BaseException | None], None],
    ) -> None:
        self._enter = enter
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
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
            with self._lock:
                self._threads.clear()
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
        """Return the threads that live, in the order in which they were started."""
        with self._lock:
            self._threads[:] = [
                thread for thread in self._threads if thread.ident is None or thread.is_alive()
            ]
            return list(self._threads)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until every thread has ended.

        The calling thread, if it is a member, does not wait for itself.
        """
        deadline = Deadline(timeout)
        me = threading.current_thread()
        while others := [thread for thread in self.threads() if thread is not me]:
            left = deadline.left()
            if left == 0:
                return False
            others[0].join(left)
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

        def run() -> None:
            target = Target(self, thread)
            with self._lock:
                self._targets.append(target)
            self._enter()
            try:
                error = contain(target, body)
                if finish is not None:
                    finish(error)
                elif error is not None and not isinstance(error, JobKilled):
                    raise error
            finally:
                with self._lock:
                    self._targets.remove(target)
                    self._past_cpu_time += target.cpu_time()

        thread.run = run  # type: ignore[method-assign]
        vars(thread)[_ADOPTED] = True
        with self._lock:
            self._threads.append(thread)


_ADOPTED = "_ipykill_adopted"


def _start(thread: threading.Thread) -> None:
    target = current_target()
    if (
        target is not None
        and _ADOPTED not in vars(thread)
        and not isinstance(thread, ServiceThread)
    ):
        family = target.group
        assert isinstance(family, Family)
        family._adopt(thread)  # a ThreadWithExc has guarded its body by now
    _thread_start(thread)


def _install() -> None:
    """Wrap `threading.Thread.start`, once."""
    if threading.Thread.start is _thread_start:
        threading.Thread.start = _start  # type: ignore[method-assign, assignment]
