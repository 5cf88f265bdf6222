"""There, on a worker of a Dask cluster: the task that runs a job, and how the client reaches it.

A client has no address, so a worker sends it only one event: that the task has begun. For
everything else the client asks, by functions that the worker's event loop runs (`tell`,
`collect`). If a connection breaks, nothing is lost, because messages stay here until the next
`collect` says that they have arrived. If a client is slow, the job waits, and no queue grows.

The code runs at most once. Dask runs a task again when its worker dies, but a cell may do harm if
it runs twice. So the task waits here until the client says "go", and the client says it once.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any

from distributed import get_worker
from distributed.threadpoolexecutor import thread_state as state_of_pool
from distributed.worker import thread_state as state_of_task

from ..base import locks, stack
from ..base.waiting import Latch
from ..kill import get_ready, shield
from . import shell
from .pieces import Joined, cut, sizes
from .work import Work

__all__ = ["collect", "others", "perform", "prepare", "tell"]

_LOOK = 0.25  # seconds between two looks whether Dask still wants the task
_POLL = 5.0  # seconds that `collect` waits for a message
_BYTES = 16 << 20  # about how many bytes of pieces one answer has
_MANY = 200  # how many messages may wait before a thread that prints or displays has to wait,
_PATIENCE = 1.0  # at most so many seconds
_TEXT = 200_000  # characters in one message; if there are more, the oldest are left out

_visits: dict[str, _Attempt] = {}


def prepare() -> None:
    """Get ready for Kills; for the worker's main thread, where signal handlers are installed."""
    get_ready()


def perform(number: str, topic: str) -> None:
    """Run the job `number` when its client says "go"; called in a thread of the worker's pool."""
    worker = get_worker()
    visit = _visits[number] = _Attempt(worker)
    with shield():  # from a Kill by `ipykill.dask.CancelRunning`; `_wait` ends the job instead
        try:
            worker.log_event(topic, (number, visit.attempt, worker.address))
            visit.run()
        finally:
            if _visits.get(number) is visit:
                del _visits[number]


def tell(number: str, attempt: str, *message: Any) -> None:
    """Give a message of the client to a job; for the worker's event loop, so it must not block."""
    visit = _visits.get(number)
    if visit is not None and visit.attempt == attempt:
        visit.tell(*message)


async def collect(number: str, attempt: str, seen: int) -> list[tuple[Any, ...]] | None:
    """Return the messages of a job after the first `seen`; wait a while if there are none.

    Returns None if the job is not here any more.
    """
    visit = _visits.get(number)
    if visit is None or visit.attempt != attempt:
        return None
    return await visit.outbox.read(seen)


def others(attempt: str, dask_worker: Any = None) -> int:
    """Return how many tasks run on this worker, not counting the one with this `attempt`."""
    mine = {visit.key for visit in list(_visits.values()) if visit.attempt == attempt}
    return len(set(dask_worker.active_threads.values()) - mine)


class _Outbox:
    """The messages that a job has for its client.

    Threading
    ---------
    Any thread may call `post`, which may block for a second; the worker's event loop reads.
    """

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._lock = locks.RLock()  # a finalizer may print in the middle of `post`
        self._messages: deque[tuple[Any, ...]] = deque()
        self._gone = 0  # how many messages have arrived at the client
        self._given = 0  # how many in `_messages` were in an answer, and must not change any more
        self._news = asyncio.Event()

    def post(self, *message: Any) -> None:
        """Add a message; join a text, or replace a report, if the last message is of that kind."""
        end = time.monotonic() + _PATIENCE
        while message[0] in ("text", "display") and len(self._messages) > _MANY:
            if time.monotonic() > end:
                break
            time.sleep(0.01)
        with self._lock:
            last = self._messages[-1] if len(self._messages) > self._given else None
            if last is not None and last[0] == "report" == message[0]:
                self._messages[-1] = message
            elif last is not None and last[:2] == message[:2] and last[0] == "text":
                text = last[2] + message[2]
                if len(text) > _TEXT:
                    text = f"\n... more than can be sent; the newest:\n{text[-_TEXT // 2 :]}"
                self._messages[-1] = (*message[:2], text)
            else:
                self._messages.append(message)
        self._loop.add_callback(self._news.set)

    async def read(self, seen: int) -> list[tuple[Any, ...]]:
        """Forget the first `seen` messages; return those that follow, or wait for some."""
        with self._lock:
            self._forget(seen)
        self._news.clear()
        if not self._messages:
            try:
                await asyncio.wait_for(self._news.wait(), _POLL)
            except TimeoutError:
                pass
        with self._lock:
            answer = self._first()
            self._given = max(self._given, len(answer))
        return answer

    def _forget(self, seen: int) -> None:
        while self._gone < seen:
            self._messages.popleft()
            self._gone += 1
            self._given -= 1

    def _first(self) -> list[tuple[Any, ...]]:
        """Return as many messages as one answer should have."""
        found: list[tuple[Any, ...]] = []
        size = 0
        for message in self._messages:
            found.append(message)
            size += len(message[1]) if message[0] == "piece" else 0
            if size >= _BYTES:
                break
        return found


class _Attempt:
    """One attempt of a worker to run a job."""

    def __init__(self, worker: Any) -> None:
        self.attempt = uuid.uuid4().hex
        self.key = worker.get_current_task()
        self.outbox = _Outbox(worker.loop)
        self._worker = worker
        self._place = _Place(vars(state_of_pool).get("executor"))
        self._luggage: Joined | None = None
        self._meta: dict[str, Any] = {}
        self._asked: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._work: Work | None = None
        self._go = Latch()  # the client has said whether the code may begin
        self._over = Latch()  # the client has said "bye", or is gone

    def tell(self, *message: Any) -> None:
        """Handle a message of the client."""
        kind = message[0]
        if kind == "luggage":
            self._luggage = Joined(message[1])
        elif kind == "piece":
            assert self._luggage is not None
            self._luggage.add(message[1])
        elif kind == "go":
            self._meta = message[1]
            self._go.set()
        elif kind == "bye":  # if this comes before "go", the code must not begin
            self._over.set()
            self._go.set()
        elif kind == "where" and self._work is not None:  # would block the event loop for a moment
            threading.Thread(target=self._work.tell, args=message, daemon=True).start()
        else:
            self._asked.put(message)
            self._pass_on()

    def _pass_on(self) -> None:
        """Give the messages to the job; called after each message, and when the job has begun."""
        while self._work is not None:
            try:
                self._work.tell(*self._asked.get_nowait())
            except queue.Empty:
                return

    def run(self) -> None:
        """Run the job, and stay until the client has fetched what the job leaves."""
        self._wait(self._go)
        if self._over.is_set() or self._luggage is None:
            return
        parcel, self._luggage = self._luggage.parcel(), None
        namespace: dict[str, Any] = {"__name__": "__main__"}
        shell.install(namespace)
        try:
            self._work = work = Work(
                parcel,
                (),
                namespace,
                self.outbox.post,
                self._meta,
                display=shell.display,
                lines=shell.traceback_lines,
                wrap=self._as_task(),
            )
            del parcel
            self._pass_on()
            self._wait(work.job.over, lambda: work.job.kill(reason="its client is gone"))
            end, left = work.end()
            work.job.kill(children=False)  # end threads that it has left: the worker serves others
            self.outbox.post("end", end, sizes(left))
            for piece in cut(left):
                self.outbox.post("piece", piece)
        except Exception as error:
            self.outbox.post("lost", f"it failed there: {type(error).__name__}: {error}")
        self._wait(self._over)

    def _wait(self, latch: Latch, unwanted: Callable[[], object] | None = None) -> None:
        """Wait for `latch`; if Dask does not want the task any more, call `unwanted` or return.

        Dask does not want it when the client is gone.
        """
        while not latch.wait(_LOOK):
            task = self._worker.state.tasks.get(self.key)
            if task is None or task.state not in ("executing", "long-running"):
                if unwanted is None:
                    self._over.set()
                    return
                unwanted()

    def _as_task(self) -> Callable[[Callable[[], object]], object]:
        """Return a function that makes a call in another thread as if in this thread of Dask's."""
        task = dict(vars(state_of_task))

        @stack.machinery
        def wrap(call: Callable[[], object]) -> object:
            vars(state_of_task).update(task)
            state_of_pool.executor, state_of_pool.proceed = self._place, True
            return call()

        return wrap


class _Place:
    """Replaces Dask's thread pool in the job's thread, so that `secede` works there.

    `secede` removes the calling thread from the pool; here it removes the task's thread.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._thread = threading.current_thread()

    @property
    def _threads(self) -> _Place:
        return self

    def remove(self, thread: threading.Thread) -> None:
        """Remove the thread of the task from the pool."""
        self._pool._threads.remove(self._thread)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)
