"""``future.cancel()`` ends a Dask task that runs: a plugin for the workers of any cluster.

    client.register_plugin(ipykill.dask.CancelRunning())

Dask releases a task that is cancelled while it runs, but the code of the task runs on and keeps
its slot (distributed#4694). With this plugin a Kill ends the code wherever Ctrl-C could, and its
``finally:`` blocks run. The worker, its data and its other tasks are left alone. This needs no
notebook, and no change in the code of the task.

How it works:

1. Each call that a worker's thread pool makes is a `Target` of its own while it lasts. That costs
   some microseconds; nothing watches the task.
2. When Dask releases a task that runs (executing or long-running becomes released or cancelled),
   the plugin finds the thread that runs it, and asks for a Kill of the call in that thread.
3. When the Kill has reached the outermost frame of the call, the call is over. The plugin tells
   Dask to schedule the task again; Dask does so if somebody wants it by now, and else forgets it.

The wrong task is never killed: Dask writes which task a thread runs into a table of the worker,
within the call. The plugin first reads the call of a thread, and then the table. So if the table
names the task, the call is that task's.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from distributed.core import Status, error_message
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.worker import Reschedule

from . import kill
from .base import stack
from .exceptions import JobKilled

__all__ = ["CancelRunning"]

_logger = logging.getLogger("distributed.worker.ipykill")

_AGAIN = 0.02  # seconds between two looks at a cancelled task
_TOLD = 3.0  # seconds after which the log says why it still runs


class _Call:
    """A call of a worker's thread pool, as a group of targets with one member."""

    def __init__(self) -> None:
        self.kill_requested = self.struck = self.interrupt_requested = False
        self.keep_processes = True
        self.thread = threading.current_thread()
        self.target = kill.Target(self, self.thread)

    def targets(self) -> list[kill.Target]:
        """Return the call's thread while it is in the call."""
        return [self.target] if self.target.open else []

    def threads(self) -> list[threading.Thread]:
        """Return the call's thread while it is in the call."""
        return [self.thread] if self.target.open else []

    def interrupt_processes(self) -> None:
        """Interrupt nothing: what a task has started is not known."""

    def children(self) -> list[Any]:
        """Return nothing: what a task has started is not known."""
        return []

    def note_descendants(self, children: object) -> None:
        """Note nothing."""

    def child_of(self, handle: object) -> None:
        """Return nothing: a process that the task waits for is its own affair."""

    def join_threads(self, timeout: float | None = None) -> bool:
        """Return True: there is no other thread."""
        return True

    def let_go(self, target: kill.Target) -> None:
        """Do nothing: the target ends with the call."""

    def shares(self, target: kill.Target) -> bool:
        """Return False: the call's thread serves nothing else during the call."""
        return False


class CancelRunning(WorkerPlugin):
    """Let ``future.cancel()`` end a task that runs. For `Client.register_plugin`.

    The workers need ipykill too. A task that is in C code which does not return cannot be ended;
    the worker's log then names that code.

    Parameters
    ----------
    hard
        Seconds after which the nanny restarts the worker if a cancelled task still runs, as soon
        as no other task runs there; Dask then computes again what was only in the worker's memory.
        None: never.

    Threading
    ---------
    `_run` is called in the threads of the worker's pool, all other methods in its event loop.
    """

    name = "ipykill-cancel-running"
    idempotent = True

    def __init__(self, hard: float | None = None) -> None:
        self.hard = hard

    def setup(self, worker: Any) -> None:
        """Install the plugin on a worker."""
        kill.get_ready()
        self._worker = worker
        self._calls: dict[int, _Call] = {}
        self._asked: dict[Any, float] = {}  # when each task was cancelled, monotonic, by its key
        self._told: set[Any] = set()
        pool = worker.executors["default"]
        self._submit = pool.submit
        pool.submit = self._submit_killable

    def teardown(self, worker: Any) -> None:
        """Remove the plugin; calls that run already are not affected."""
        vars(worker.executors["default"]).pop("submit", None)

    def _submit_killable(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return self._submit(self._run, functools.partial(fn, *args, **kwargs))

    def _run(self, fn: Callable[[], Any]) -> Any:
        """Make a call that can be killed, in a thread of the pool."""
        # The thread may belong to a job already, one that has made a cluster in its own process.
        if kill.current_target() is not None:
            return fn()
        call = _Call()
        ident = call.target.ident
        self._calls[ident] = call
        results: list[Any] = []
        start = time.time()
        try:
            error = kill.contain(call.target, lambda: results.append(fn()))
        finally:
            self._calls.pop(ident, None)
            call.target.release()
        if error is None:
            return results.pop()
        if not (call.struck and isinstance(error, JobKilled)):
            try:
                raise error
            finally:
                error = None  # else it and this frame, in its traceback, are a cycle
        del error
        worker = self._worker
        with worker.active_threads_lock:  # the Kill may have ended Dask's frame before it did this
            worker.active_threads.pop(ident, None)
        return error_message(Reschedule("the task was cancelled")) | {
            "op": "task-erred",
            "actual_exception": Reschedule("the task was cancelled"),
            "start": start,
            "stop": time.time(),
            "thread": ident,
        }

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        """Note that Dask has released a task that runs; Dask calls this for each change."""
        if start in ("executing", "long-running") and finish in ("released", "cancelled"):
            self._asked[key] = time.monotonic()
            self._end(key)

    def _end(self, key: Any) -> None:
        """Kill the call that runs a task, and look again soon: the call may be about to begin."""
        worker = self._worker
        task = worker.state.tasks.get(key)
        if task is None or task.state != "cancelled":
            self._asked.pop(key, None)
            self._told.discard(key)
            return
        call = None
        for ident, candidate in self._calls.copy().items():
            if worker.active_threads.get(ident) == key:
                call = candidate
                if not call.kill_requested:
                    call.kill_requested = True
                    kill.pursue(call)
        if call is not None:
            self._look_after(key, call)
        worker.loop.call_later(_AGAIN, self._end, key)

    def _look_after(self, key: Any, call: _Call) -> None:
        """Log why a task lives on, and have the worker restarted if it does not end."""
        since = time.monotonic() - self._asked[key]
        if since > _TOLD and key not in self._told:
            self._told.add(key)
            target = call.target
            look = kill.look()
            why = kill.hindrance(target, look) or "it does not end"
            place = stack.here(look(target))
            where = f" in {place}" if place is not None else ""
            _logger.warning("task %r was cancelled and runs on%s: %s", key, where, why)
        if self.hard is None or since < max(self.hard, _AGAIN):
            return
        others = [it for it in self._worker.active_threads.values() if it not in self._asked]
        if others or self._worker.status is not Status.running:
            return
        self.hard = None
        if self._worker.nanny is None:
            _logger.warning("task %r cannot be ended: this worker has no nanny to restart it", key)
            return
        _logger.warning("task %r does not end: the nanny restarts this worker", key)
        self._worker.loop.add_callback(self._restart)

    async def _restart(self) -> None:
        nanny = self._worker.rpc(self._worker.nanny)
        await nanny.restart(timeout=30, reason="ipykill-cancelled-task-does-not-end")
