"""``future.cancel()`` ends a Dask task that runs: a plugin for the workers of any cluster.

    client.register_plugin(ipykill.dask.CancelRunning())

Dask lets go of a task that is cancelled while it runs, but the task runs on, and keeps its slot
(distributed#4694). With this plugin a Kill ends it: wherever Ctrl-C could, with its ``finally:``
blocks. The worker, its data and its other tasks are left alone. No notebook is needed, nor
anything in the code of the task.

How it works:

1. Each call of a worker's thread pool is a `Target` of its own while it lasts. That costs some
   microseconds; nothing watches the task.
2. When Dask lets go of a task that runs (a transition from executing to released), the plugin
   looks in which thread it is, and asks for a Kill of the call that is there.
3. The call is over when the Kill has reached its outermost frame. Dask is told that the task is
   to be scheduled again, which it does if somebody wants it by now, and else forgets it.

Never the wrong task: the worker's table says which task a thread runs, and is written within
the call. So if the call is read first, and the table after that, they belong together.
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

_AGAIN = 0.02  # seconds between two looks at a task that is to end
_TOLD = 3.0  # seconds after which it is told why it still runs


class _Call:
    """A call of a worker's thread pool, as a group of targets with one member."""

    def __init__(self) -> None:
        self.kill_requested = self.struck = self.interrupt_requested = False
        self.spares = True
        self.thread = threading.current_thread()
        self.target = kill.Target(self, self.thread)

    def targets(self) -> list[kill.Target]:
        """Return the call's thread while it is in the call."""
        return [self.target] if self.target.open else []

    def threads(self) -> list[threading.Thread]:
        """Return the same."""
        return [self.thread] if self.target.open else []

    def interrupt_processes(self) -> None:
        """Interrupt nothing: what a task has started is not known."""

    def child_of(self, handle: object) -> None:
        """Return nothing: a process that the task waits for is its own affair."""

    def join_threads(self, timeout: float | None = None) -> bool:
        """Return True: there is no other thread."""
        return True

    def let_go(self, target: kill.Target) -> None:
        """Do nothing: it ends with the call."""

    def shares(self, target: kill.Target) -> bool:
        """Return False: no library has started the thread for what the call does."""
        return False


class CancelRunning(WorkerPlugin):
    """Let ``future.cancel()`` end a task that runs. For `Client.register_plugin`.

    The workers need ipykill too. A task that is in C code which does not return cannot be ended;
    the worker's log says so, and which code that is.

    Parameters
    ----------
    hard
        So many seconds after that the nanny restarts the worker, as soon as no other task runs
        there; Dask computes anew what was only in its memory. None: never.

    Threading
    ---------
    The calls are made in the threads of the worker's pool, all else happens in its event loop.
    """

    name = "ipykill-cancel-running"
    idempotent = True

    def __init__(self, hard: float | None = None) -> None:
        self.hard = hard

    def setup(self, worker: Any) -> None:
        """Begin, in the event loop of a worker."""
        kill.get_ready()
        self._worker = worker
        self._calls: dict[int, _Call] = {}
        self._asked: dict[Any, float] = {}  # when, by the key of the task
        self._told: set[Any] = set()
        pool = worker.executors["default"]
        self._submit = pool.submit
        pool.submit = self._submit_killable

    def teardown(self, worker: Any) -> None:
        """End; the calls that are under way end as if there had been no plugin."""
        vars(worker.executors["default"]).pop("submit", None)

    def _submit_killable(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return self._submit(self._run, functools.partial(fn, *args, **kwargs))

    def _run(self, fn: Callable[[], Any]) -> Any:
        """Make a call, in a thread of the pool."""
        if kill.current_target() is not None:  # of a job, which has a cluster of its own
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
        with worker.active_threads_lock:  # Dask's own frame was left before it did this
            worker.active_threads.pop(ident, None)
        return error_message(Reschedule("the task was cancelled")) | {
            "op": "task-erred",
            "actual_exception": Reschedule("the task was cancelled"),
            "start": start,
            "stop": time.time(),
            "thread": ident,
        }

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        """Note that Dask has let go of a task that runs."""
        if start in ("executing", "long-running") and finish in ("released", "cancelled"):
            self._asked[key] = time.monotonic()
            self._end(key)

    def _end(self, key: Any) -> None:
        """Kill the call that runs a task, and look again; it may be about to begin."""
        worker = self._worker
        task = worker.state.tasks.get(key)
        if task is None or task.state != "cancelled":
            self._asked.pop(key, None)
            self._told.discard(key)
            return
        call = None
        for ident, candidate in list(self._calls.items()):
            if worker.active_threads.get(ident) == key:
                call = candidate
                if not call.kill_requested:
                    call.kill_requested = True
                    kill.pursue(call)
        if call is not None:
            self._look_after(key, call)
        worker.loop.call_later(_AGAIN, self._end, key)

    def _look_after(self, key: Any, call: _Call) -> None:
        """Tell why a task lives on, and have the worker restarted."""
        since = time.monotonic() - self._asked[key]
        if since > _TOLD and key not in self._told:
            self._told.add(key)
            target = call.target
            frame = kill.look()(target)
            why = kill.hindrance(target, frame, stack.NO_LABELS) or "it does not end"
            place = stack.here(frame)
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
