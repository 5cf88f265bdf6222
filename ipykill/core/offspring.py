"""The processes of a family: noted when they start, and ended with it.

Why no process is forgotten:

1. The thread that starts a process notes it before the call that started it returns;
   nothing is raised there from outside (`ipykill.kill.policy`).
2. `Offspring.end_processes` is called when no thread of the family lives. It marks the family
   as *desolate*, with the lock held, and ends the processes that are noted.
3. After that only threads of others start processes, on behalf of the family. Such a thread
   looks at the mark, with the lock held: if the family is desolate, the thread has the new
   process ended; if not, (2) comes later and ends it.
"""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Callable, Sequence

from .. import processes
from ..base import locks
from ..base.waiting import Latch
from ..processes import ChildProcess, ProcessInfo
from ..threads import ServiceThread

__all__ = ["Offspring"]

_LOOK = 16  # how many new processes are noted before those that are gone are forgotten


class Offspring:
    """The processes of one job. `Family`, its subclass, adds the threads that start them.

    Attributes
    ----------
    keep_processes : bool
        Whether the processes live on when the job is killed.
    in_foreground : bool
        Whether it belongs to a cell in the foreground. Its processes then start as those of any
        cell, in the kernel's process group, where an interrupt of the cell reaches them.

    Threading
    ---------
    Any thread may call any method; only `end_processes` and `join_threads` block. No other code is
    called with `_lock` held.
    """

    def __init__(self) -> None:
        self.keep_processes = self._desolate = False
        self.in_foreground = False
        self._lock = locks.RLock()
        self._processes: list[ChildProcess] = []
        self._look_at = _LOOK
        self._ender: Latch | None = None

    def join_threads(self, timeout: float | None = None) -> bool:
        """Wait until every thread but the calling one has ended; return whether they have."""
        raise NotImplementedError

    def note(self, child: ChildProcess) -> None:
        """Note a process that was started by the family or on its behalf."""
        if len(self._processes) >= self._look_at:
            self.forget_processes()
            self._look_at = 2 * len(self._processes) + _LOOK
        with self._lock:
            self._processes.append(child)
            desolate = self._desolate and not self.keep_processes
        if desolate:
            _end_soon(functools.partial(processes.end, [child]))

    def note_descendants(self, children: Sequence[ChildProcess]) -> None:
        """Note what `children` have started, before these end and it gets another parent."""
        for child in processes.descendants(children):
            self.note(child)

    def processes(self) -> tuple[ProcessInfo, ...]:
        """Return the processes that run, or that have ended and nobody has waited for."""
        if not self._processes:  # a fast path: most jobs have none, and a table asks all jobs
            return ()
        self.forget_processes()
        children = self.children()
        live_groups = functools.cache(processes.live_groups)
        return tuple(child.info(live_groups) for child in children)

    def processes_run(self) -> bool:
        """Whether one of its processes runs."""
        return any(child.running for child in self.children())

    def child_of(self, handle: object) -> ChildProcess | None:
        """Return the process that `handle` stands for, if it belongs to the family."""
        return next((child for child in self.children() if child.stands_for(handle)), None)

    def interrupt_processes(self) -> None:
        """Send SIGINT to the processes of a job, as ■ sends it to those of a cell.

        Else a job that catches the interrupt, and waits for a process then, might wait for ever.
        Those of a cell in the foreground get the signal with their process group.
        """
        for child in self.children() if not self.in_foreground else ():
            if not child.late and not child.ended:
                child.signal(signal.SIGINT)

    def end_processes(self) -> None:
        """End the processes of the family, of which no thread lives any more; blocks."""
        with self._lock:
            self._desolate = True
            children = [] if self.keep_processes else list(self._processes)
        if children:
            processes.end(children)
            self.forget_processes()

    def end_processes_soon(self) -> None:
        """End the processes as soon as no thread of the family lives; `join` waits for that."""
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
        """Kill the processes now, even those that a cleanup needs: the interpreter exits."""
        for child in self.children():
            if not child.is_daemon:
                child.signal(processes.SIGKILL)

    def children(self) -> list[ChildProcess]:
        """Return the records of the processes."""
        return self._processes.copy()  # atomic

    def forget_processes(self) -> None:
        """Let go of the processes that are gone: each costs a file descriptor."""
        for child in self.children():
            if not child.exists:
                self.let_process_go(child)

    def let_process_go(self, child: ChildProcess | None) -> None:
        """Forget a process, without ending it."""
        if child is not None:
            with contextlib.suppress(ValueError):  # another thread has forgotten it
                self._processes.remove(child)
            child.forget()


def _end_soon(work: Callable[[], None]) -> bool:
    try:
        ServiceThread(work, "ender").start()
    except RuntimeError:  # the system has no thread left, or the interpreter exits
        return False
    return True
