"""Here: the engine that runs jobs on a Dask cluster; a job is one task, on one of its workers.

Only documented functions of Dask are used: `Client.submit` finds a worker, and an event says
which; `Client.run` carries messages there, and fetches those that the job has for us; and
`Client.restart_workers` ends a worker that nothing else can end. All of this runs in the event
loop of the client, in an empty context, so that the job's thread waits for no worker, and threads
that Dask starts are not the job's. `ipykill.remote.task` is the other side.

How it is made sure that the code runs at most once, and that its end is known:

1. The code begins when the client says "go". The client says it once, to the first worker that
   asks. A worker that asks later, because Dask runs a task of a dead worker again, gets "bye".
2. If the job is killed before "go", the client never says it, and the code never runs.
3. If the job is killed later, the client sends a message, as every engine does. Then the end
   comes with the variables that the job leaves; or the worker is gone, and Dask says so.
4. If the client is gone, Dask notices, and releases its tasks; the task on the worker sees that
   and ends the job.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
import uuid
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

from ..exceptions import JobError
from . import task
from .bring import workers_for
from .parcel import Parcel
from .pieces import Joined, cut, sizes
from .report import Report

__all__ = ["ClusterEngine"]

_AGAIN = 0.2  # seconds until a message that has failed is sent again
_LOOK = 1.0  # seconds between two looks whether any worker that can run the job is left
_BUSY = 2.0  # seconds that a worker has to say how many other tasks it runs
_GONE = 3.0  # seconds between two looks whether a worker that says nothing is still there
_HANGS = 10.0  # seconds without an answer after which a worker, with all its tasks, counts as hung

_running: set[asyncio.Task[Any]] = set()
_topics: weakref.WeakKeyDictionary[Any, dict[str, ClusterLink]] = weakref.WeakKeyDictionary()


class ClusterEngine:
    """Runs jobs on the workers of a `distributed.Client`."""

    def __init__(self, client: Any) -> None:
        self._client = client
        if client.status != "running":
            msg = f"not started: this Client is {client.status}"
            raise JobError(msg)

    def copy(self, parcel: Parcel) -> tuple[list[int], list[bytes]]:
        """Copy the parcel into pieces."""
        return sizes(parcel), list(cut(parcel))

    def open(self, call: Any, cargo: Any, meta: dict[str, Any]) -> ClusterLink:
        """Begin to look for a worker."""
        return ClusterLink(self._client, call, cargo, meta)


class ClusterLink:
    """The connection to one job, which is one task of a cluster.

    Threading
    ---------
    The job's thread calls the public methods. The private ones run in the client's event loop.
    """

    def __init__(self, client: Any, call: Any, cargo: Any, meta: dict[str, Any]) -> None:
        self._client = client
        self._call = call
        self._number = uuid.uuid4().hex
        self._topic = f"ipykill-{client.id}"
        self._address = self._attempt = ""
        self._found = asyncio.Event()  # a worker has asked whether it may begin
        self._may_begin = True
        self._answered = time.monotonic()
        self._outlook = self._ended_by = ""
        self._restarting = False
        self._asked: list[tuple[Any, ...]] = []  # messages from before it began
        self._driver: asyncio.Task[Any] | None = None
        self._in_loop(lambda: self._begin(cargo, meta))

    # For the job's thread

    def tell(self, *message: object) -> None:
        """Send a message."""
        self._in_loop(lambda: self._tell(*message))

    def abandon(self, report: Report) -> None:
        """Have the worker restarted, unless it runs other tasks."""
        self._in_loop(lambda: _start(self._restart(report)))

    def outlook(self, seconds: float) -> str:
        """Return in words what is done in `seconds`."""
        return self._outlook or f"its worker is to be restarted in {seconds:.0f} s"

    def close(self) -> None:
        """Let go of the task."""
        self._in_loop(self._close)

    def _in_loop(self, call: Callable[[], object]) -> None:
        if self._client.status != "running":  # its loop may not run any more
            self._call.post("lost", "its client was closed")
        # Not in the context of the job, to which threads that Dask starts would belong then.
        contextvars.Context().run(self._client.loop.add_callback, call)

    # In the event loop

    def _begin(self, cargo: Any, meta: dict[str, Any]) -> None:
        self._driver = _start(self._drive(cargo, meta))

    def _tell(self, *message: Any) -> None:
        if self._attempt:
            _start(self._send(*message))
        elif message[0] == "kill":
            self._close()
            self._call.post("lost", "it was ended before it began")
        else:
            self._asked.append(message)

    def _close(self) -> None:
        self._may_begin = False
        if self._driver is not None:
            self._driver.cancel()

    async def _run(self, function: Any, *args: Any) -> Any:
        """Call a function on the worker."""
        found = await self._client.run(function, *args, workers=[self._address])
        self._answered = time.monotonic()
        return found[self._address]

    async def _send(self, *message: Any) -> None:
        """Send a message, and try again if that fails; no message does harm if it comes twice."""
        while self._may_begin:
            try:
                await self._run(task.tell, self._number, self._attempt, *message)
                return
            except Exception:
                await asyncio.sleep(_AGAIN)
                if not await self._lives():
                    return

    async def _lives(self) -> bool:
        return self._address in await self._client.nthreads()

    async def _drive(self, cargo: Any, meta: dict[str, Any]) -> None:
        """Run the job from its start to its end, and post what happens."""
        future = None
        try:
            workers = await workers_for(self._client)
            self._listen()
            future = self._client.submit(
                task.perform,
                self._number,
                self._topic,
                key=f"ipykill-{self._number}",
                workers=workers,
                pure=False,
            )
            await self._wait_for_worker(future, workers)
            self._call.post("begun", f"worker {self._address}")
            await self._go(cargo, meta)
            del cargo
            await self._follow()
        except asyncio.CancelledError:  # `_close` was called, or the loop ends
            self._call.post("lost", "its client was closed")
        except Exception as error:
            if self._ended_by:
                self._call.post("told", self._ended_by)
            if self._client.status != "running":
                self._call.post("lost", "its client was closed")
            else:
                told = str(error) if isinstance(error, JobError) else f"{error!r}"
                self._call.post("lost", told)
        finally:
            self._may_begin = False
            _topics.get(self._client, {}).pop(self._number, None)
            if future is not None:
                _start(_let_go(self._client, self._number, self._attempt, self._address, future))

    def _listen(self) -> None:
        """Subscribe to the events by which workers say that a task has begun."""
        if (links := _topics.get(self._client)) is None:
            links = _topics[self._client] = {}
            here = weakref.ref(self._client)

            def heard(event: Any) -> None:
                number, attempt, address = event[1]
                link, client = links.get(number), here()
                if link is not None and link._may_begin and not link._attempt:
                    link._attempt, link._address = attempt, address
                    link._found.set()
                elif client is not None:
                    _start(_bye(client, number, attempt, address))

            self._client.subscribe_topic(self._topic, heard)
        links[self._number] = self

    async def _wait_for_worker(self, future: Any, workers: list[str]) -> None:
        found = _start(self._found.wait())
        ended = asyncio.ensure_future(_end_of(future))
        try:
            await self._look_for_worker(found, ended, workers)
        finally:
            found.cancel()
            ended.cancel()

    async def _look_for_worker(
        self, found: asyncio.Future[Any], ended: asyncio.Future[Any], workers: list[str]
    ) -> None:
        while not found.done():
            first = asyncio.FIRST_COMPLETED
            await asyncio.wait({found, ended}, timeout=_LOOK, return_when=first)
            if ended.done() and not found.done():
                msg = f"its task did not begin: {ended.result()}"
                raise JobError(msg)
            if not found.done() and not {*workers} & {*await self._client.nthreads()}:
                msg = "not started, as the workers that could run it are gone"
                raise JobError(msg)

    async def _go(self, cargo: Any, meta: dict[str, Any]) -> None:
        lengths, pieces = cargo
        tell = (task.tell, self._number, self._attempt)
        try:
            await self._run(*tell, "luggage", lengths)
            for piece in pieces:
                await self._run(*tell, "piece", piece)
            await self._run(*tell, "go", meta)
        except Exception as error:
            raise JobError(await self._why(error)) from error
        for message in self._asked:
            await self._send(*message)

    async def _why(self, error: Exception) -> str:
        if self._client.status == "running" and not await self._lives():
            return (
                f"its worker {self._address} is gone: it has crashed, or was ended; "
                "what the job had computed is gone with it, and it is not started again"
            )
        return f"its worker {self._address} cannot be reached: {error!r}"

    async def _follow(self) -> None:
        """Fetch the messages of the job, and post them, until its end."""
        seen, failures = 0, 0
        end, left = None, None
        while True:
            try:
                news = await self._collect(seen)
            except Exception as error:
                failures += 1
                if failures < 3 and self._client.status == "running" and await self._lives():
                    await asyncio.sleep(_AGAIN)
                    continue
                raise JobError(await self._why(error)) from error
            failures = 0
            if news is None:
                msg = f"its worker {self._address} has let go of it"
                raise JobError(msg)
            for message in news:
                seen += 1
                if message[0] == "end":
                    end, left = message[1], Joined(message[2])
                elif message[0] == "piece":
                    assert left is not None
                    left.add(message[1])
                else:
                    self._call.post(*message)
            self._call.heard()
            if left is not None and left.whole:
                self._call.post("end", end, left.parcel())
                return

    async def _collect(self, seen: int) -> Any:
        """Fetch the messages after the first `seen`, or raise as soon as the worker is gone."""
        news = _start(self._run(task.collect, self._number, self._attempt, seen))
        try:
            await self._unless_gone(news)
            return news.result()
        finally:
            news.cancel()

    async def _unless_gone(self, answer: asyncio.Task[Any]) -> None:
        while not (await asyncio.wait({answer}, timeout=_GONE))[0]:
            if not await self._lives():
                # Dask goes on for half a minute to connect to a worker that was just closed.
                raise ConnectionError(self._address)

    async def _restart(self, report: Report) -> None:
        """Have the worker restarted, unless it runs other tasks."""
        if self._restarting or self._ended_by or not self._attempt:
            return
        self._restarting = True
        try:
            try:
                asked = self._run(task.others, self._attempt)
                others = await asyncio.wait_for(asked, _BUSY)
            except Exception:
                if time.monotonic() - self._answered < _HANGS:
                    self._outlook = "its worker is restarted if it goes on to say nothing"
                    return
                others = 0
            if others:
                tasks = "1 other task there is" if others == 1 else f"{others} tasks there are"
                self._outlook = f"its worker is restarted when {tasks} over"
                return
            self._outlook = "its worker is being restarted"
            why = f": {report.hindrance}" if report.hindrance else ""
            # Set before the call below returns: by then `_drive`, which posts this text, has
            # noticed that the worker is gone.
            self._ended_by = (
                f"its worker was restarted{why}; what the job had computed is gone with it"
            )
            try:
                await self._client.restart_workers([self._address], raise_for_error=False)
            except ValueError:
                self._outlook, self._ended_by = "its worker has no nanny to restart it", ""
        except Exception as error:
            self._outlook, self._ended_by = f"its worker cannot be restarted: {error!r}", ""
        finally:
            self._restarting = False


def _start(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Run `work` as a task of the event loop, and keep a reference to it until it is done."""
    running = asyncio.ensure_future(work)
    _running.add(running)
    running.add_done_callback(_running.discard)
    return running


async def _bye(client: Any, number: str, attempt: str, address: str) -> None:
    """Tell a worker that nothing more comes from here; before "go", that it must not begin."""
    try:
        await client.run(task.tell, number, attempt, "bye", workers=[address])
    except Exception:
        pass  # it is gone, and so is the task


async def _let_go(client: Any, number: str, attempt: str, address: str, future: Any) -> None:
    if attempt:
        await _bye(client, number, attempt, address)
    try:
        await future.cancel()
    except Exception:
        pass  # the client was closed, which has cancelled it


async def _end_of(future: Any) -> str:
    """Wait for a task that should not end, and return how it ended."""
    try:
        await future
    except asyncio.CancelledError:
        return "it was cancelled"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "it ended at once"
