"""The threads that can be killed: one `Target` each, registered while its body runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from ..exceptions import JobKilled
from ..threads import _NULL, _set_async_exc


class Group(Protocol):
    """Targets that are killed together."""

    kill_requested: bool

    def targets(self) -> list[Target]:
        """Return the threads of the group that have begun."""
        ...

    def threads(self) -> list[threading.Thread]:
        """Return the threads of the group that live."""
        ...


class Target:
    """A thread that can be killed, from before its first line to after its last.

    Threading
    ---------
    `depth` is written by the target's own thread only. `open` says that the body runs; it
    is cleared by that thread with `gate` held. Who raises in it, or reads its clock, holds
    `gate` and looks at `open` first, so that the ident is never a reused one.
    """

    __slots__ = ("_cpu_time", "depth", "gate", "group", "ident", "native_id", "open", "thread")

    def __init__(self, group: Group, thread: threading.Thread) -> None:
        self.group = group
        self.thread = thread
        self.ident = threading.get_ident()
        self.native_id = threading.get_native_id()
        self.gate = threading.Lock()
        self.depth = 0
        self.open = False
        self._cpu_time = 0.0

    def cpu_time(self) -> float:
        """CPU time that the thread has used, in seconds; any thread may ask."""
        with self.gate:
            # Of a dead thread, pthread_getcpuclockid() reads freed memory.
            if self.open and hasattr(time, "pthread_getcpuclockid"):
                self._cpu_time = time.clock_gettime(time.pthread_getcpuclockid(self.ident))
            return self._cpu_time

    def throw(self) -> None:
        """Raise `JobKilled` in the thread, unless its body is over or shielded."""
        if self.open and not self.depth:
            with self.gate:
                if self.open and not self.depth:
                    _set_async_exc(self.ident, JobKilled)

    def close(self) -> None:
        """From here on nothing is raised in the thread; its own thread calls this."""
        with self.gate:
            self.open = False
            self._cpu_time = time.thread_time()
            _set_async_exc(self.ident, _NULL)


_targets: dict[int, Target] = {}


def current_target() -> Target | None:
    """Return the target whose thread is calling."""
    return _targets.get(threading.get_ident())


def contain(target: Target, body: Callable[[], object]) -> BaseException | None:
    """Run `body` in the target's own thread and return what it raised.

    When this returns, nothing is raised in the thread from outside any more.
    """
    _targets[target.ident] = target
    failure: BaseException | None = None
    target.open = True
    try:
        if target.group.kill_requested:
            failure = JobKilled()
        else:
            body()
    except BaseException as error:
        failure = error
    # At most two requests are left, one filed and one being filed: see threads.py.
    target.depth += 1
    try:
        try:
            target.close()
        except JobKilled as error:
            failure = error
            target.close()
    except JobKilled as error:
        failure = error
    del _targets[target.ident]
    return failure


@contextmanager
def shield() -> Iterator[None]:
    """Make a Kill that comes inside the block wait for its end.

    Outside a job this does nothing. Shields nest; a Kill is raised at the end of the
    outermost. It also keeps `ipykill.checkpoint` from raising.
    """
    target = current_target()
    if target is None:
        yield
        return
    target.depth += 1
    try:
        yield
    finally:
        target.depth -= 1
        if not target.depth and target.group.kill_requested:
            raise JobKilled
