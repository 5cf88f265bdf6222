"""The processes of a family: noted when they start, and ended with it.

No one is forgotten:

1. A process is noted in the thread that started it, before the call that did returns;
   nothing is raised there from outside (`ipykill.kill.policy`).
2. `Offspring.end_processes` comes when no thread of the family lives. It declares the family
   desolate, with the lock held, and ends what is noted.
3. After that only others start processes, in the family's name. Each of them sees with
   the lock held that it is desolate, unless it came before (2), and has its process
   ended itself.
"""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Callable

from .. import processes
from ..base import locks
from ..base.waiting import Latch
from ..processes import ChildProcess, ProcessInfo
from ..threads import ServiceThread

__all__ = ["Offspring"]

_LOOK = 16  # processes, when to forget those that are gone


class Offspring:
    """The processes of one job, started by threads that `join_threads` waits for.

    Attributes
    ----------
    spares : bool
        Whether they live on when the job is killed.
    in_foreground : bool
        Whether it is a cell's in the foreground. Its processes start as those of any cell then,
        in the kernel's process group, where an interrupt of the cell reaches them.
    """

    def __init__(self) -> None:
        self.spares = self._desolate = False
        self.in_foreground = False
        self._lock = locks.RLock()
        self._processes: list[ChildProcess] = []
        self._look_at = _LOOK
        self._ender: Latch | None = None

    def join_threads(self, timeout: float | None = None) -> bool:
        """Wait until every thread but the calling one has ended; return whether they have."""
        raise NotImplementedError

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

    def processes(self) -> tuple[ProcessInfo, ...]:
        """Return the processes that run, or that ended and nobody has waited for."""
        if not self._processes:  # as in most jobs, and a list of jobs asks them all
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
        """Interrupt them as ■ does those of a cell, which reaches the whole group.

        The code may wait for one in a moment, and would wait for ever for one that goes on.
        """
        for child in self.children() if not self.in_foreground else ():
            if not child.late and not child.ended:
                child.signal(signal.SIGINT)

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
        for child in self.children():
            if not child.is_daemon:
                child.signal(processes.SIGKILL)

    def children(self) -> list[ChildProcess]:
        """Return what stands for them."""
        return self._processes.copy()  # atomic

    def forget_processes(self) -> None:
        """Let go of the processes that are gone: each costs a file descriptor."""
        for child in self.children():
            if not child.exists:
                self.let_process_go(child)

    def let_process_go(self, child: ChildProcess | None) -> None:
        """Forget a process, which lives on if it does."""
        if child is not None:
            with contextlib.suppress(ValueError):  # somebody else has
                self._processes.remove(child)
            child.forget()


def _end_soon(work: Callable[[], None]) -> bool:
    try:
        ServiceThread(work, "ender").start()
    except RuntimeError:  # the system has no thread left, or the interpreter exits
        return False
    return True
