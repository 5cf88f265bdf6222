"""Here: the code of a job that runs elsewhere. Its thread follows what happens there.

The job's thread is shielded all the time, so that nothing is raised in it from outside: a Kill
is a message to the other side, and its effect is reported by a message too. So the job counts
as killed only when that is known:

1. `Job.kill` notes that it was asked, and calls `RemoteCall.kill`, which wakes the job's thread.
2. The job's thread tells the other side, where the job that does the work is killed as any job
   is. The end comes back, with the variables that the job leaves.
3. If no end comes within `process_grace`, the engine ends the process itself: it may be in C code
   that never returns, with or without the interpreter's lock.
4. When the end is known, the thread leaves its shield, and raises the error that was raised there.

A request that comes before the thread is in `_run` is not lost: the thread first sets
`Job.elsewhere`, and then reads what was asked; a caller first notes what it asks, and then reads
`Job.elsewhere`.
"""

from __future__ import annotations

import itertools
import queue
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from ..base import stack
from ..base.waiting import Latch
from ..core.agent import Agent
from ..core.current import current_job
from ..core.info import JobInfo
from ..core.job import Job
from ..exceptions import JobError, JobKilled
from ..kill import shield
from ..processes import timing
from .parcel import Parcel
from .report import End, Report
from .taking import Luggage

__all__ = ["Engine", "Link", "RemoteCall"]

_EARLY = 0.1  # seconds that a process has to begin if its job is killed before it has begun
_AGAIN = 5.0  # seconds between two attempts to end a process
_SILENT = 1.0  # seconds without a message after which the user is told so
_STACKS = 1.0  # seconds that the other side has to send its stacks
_KEPT = 50  # how many messages may wait before the sender of text has to wait

_teller = Agent("remote")
_numbers = itertools.count(1)


class Link(Protocol):
    """The connection to one job that runs elsewhere."""

    def tell(self, *message: object) -> None:
        """Send a message; it is lost if the other side is gone."""

    def abandon(self, report: Report) -> None:
        """End the process, as nothing else helps, and post in words what was done."""

    def outlook(self, seconds: float) -> str:
        """Return in words what is done in `seconds`, if the job does not end before."""

    def close(self) -> None:
        """Close the connection: the end has arrived, with all that belongs to it."""


class Engine(Protocol):
    """Runs jobs somewhere."""

    def copy(self, parcel: Parcel) -> Any:
        """Return a copy of the parcel, ready to be sent, that later changes do not affect."""

    def open(self, call: RemoteCall, cargo: Any, meta: dict[str, Any]) -> Link:
        """Begin to run a job, and `post` its messages to `call`; for the job's own thread."""


class RemoteCall:
    """The code of a job that runs elsewhere; a call of it follows the job to its end.

    Parameters
    ----------
    engine
        Runs the job.
    luggage
        Packs what goes there, and takes over what comes back.
    describe
        Takes the names of the files of the code; returns what the other side has to know of the
        job, and of these files.
    publish
        Shows a message that displays something.

    Threading
    ---------
    The job's own thread calls the object itself. The threads of the engine call `post`, `heard`
    and `wait_for_room`. Any thread may call the methods of `Elsewhere`.
    """

    def __init__(
        self,
        engine: Engine,
        luggage: Luggage,
        *,
        describe: Callable[[Iterable[str]], dict[str, Any]],
        publish: Callable[[str, dict[str, Any]], None] = lambda kind, content: None,
    ) -> None:
        self._engine = engine
        self._luggage = luggage
        self._describe = describe
        self._meta: dict[str, Any] = {}
        self._publish = publish
        self._cargo: Any = None
        self._link: Link | None = None
        self._over = False  # whether the job's thread handles messages no more
        self._inbox: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._replies: dict[int, tuple[Latch, list[list[stack.Stack]]]] = {}
        self._job: Job | None = None
        self._report = Report()
        self._heard = 0.0  # when the last message came, monotonic
        self._dies_at: float | None = None  # when its process is ended if no end comes
        self._early = False  # whether it was killed before it had begun
        self.begun = False
        self.place = "its process"  # where it runs, in words

    def pack(self) -> None:
        """Copy the variables and the code that go there.

        Raises
        ------
        JobError
            Something cannot be sent.
        """
        luggage = self._luggage
        self._cargo = self._engine.copy(luggage.pack())
        self._meta = self._describe(luggage.around.files) | {"classes": [*luggage.around.classes]}

    # What the engine calls

    def post(self, *message: Any) -> None:
        """Take a message from the other side."""
        self.heard()
        kind, *rest = message
        if kind == "report":
            self._report = rest[0]
        elif kind == "stacks":
            if (reply := self._replies.pop(rest[0], None)) is not None:
                reply[1].append(rest[1])
                reply[0].set()
        elif kind == "begun":
            self.begun = True
            self.place = rest[0]
        elif not self._over:  # later text, of a process that it has left, is dropped
            self._inbox.put(message)

    def heard(self) -> None:
        """Note that the other side has just answered."""
        self._heard = time.monotonic()

    def wait_for_room(self) -> None:
        """Wait until the job's thread has handled most of the messages; for senders of text."""
        while self._inbox.qsize() > _KEPT and not self._over:
            time.sleep(0.01)

    # `Elsewhere`

    def stop(self) -> None:
        """Ask the code to stop."""
        self._tell("stop")

    def interrupt(self) -> None:
        """Interrupt the code once."""
        self._tell("interrupt")

    def kill(self) -> None:
        """Wake the job's thread, which kills the code there."""
        self._inbox.put(("look",))

    def _tell(self, what: str, *args: object) -> None:
        reason = "" if self._job is None else self._job.reason

        def tell() -> None:
            if (link := self._link) is not None:
                link.tell(what, *(args or (reason,)))

        _teller.call(tell)

    def view(self, info: JobInfo) -> JobInfo:
        """Return `info` with the facts of the process where the code runs."""
        report = self._report
        return info._replace(
            place=report.place or ("" if self.begun or info.state.final else "starting"),
            hindrance="" if info.state.final else self._hindrance(report),
            cpu_time=info.cpu_time + report.cpu_time,
            progress=report.progress,
            threads=0 if info.state.final else max(report.threads, 1),
            processes=() if info.state.final else report.processes,
            left=0,
        )

    def _hindrance(self, report: Report) -> str:
        due = self._dies_at
        if due is None:
            return report.hindrance
        now = time.monotonic()
        why = report.hindrance
        if now - self._heard > _SILENT:
            why = (
                f"{self.place} has not answered for {now - self._heard:.0f} s, as it does in C "
                "code that keeps the interpreter's lock"
            )
        link = self._link
        outlook = "" if link is None else link.outlook(max(due - now, 0.0))
        return "; ".join(filter(None, (why, outlook)))

    def where(self) -> list[stack.Stack]:
        """Ask the other side where its threads are; waits at most a second."""
        if self._link is None or not self.begun:
            return []
        number = next(_numbers)
        latch, box = self._replies[number] = Latch(), []
        self._tell("where", number)
        latch.wait(_STACKS)
        self._replies.pop(number, None)
        return box[0] if box else []

    # The job's code

    @stack.machinery
    def __call__(self) -> object:
        """Run the code there, and return its value or raise its error."""
        job = current_job()
        assert job is not None
        self._job = job
        with shield():
            job.elsewhere = self
            outcome = self._run(job)
        if outcome is None:
            raise JobKilled
        end, parcel, error = outcome
        return self._luggage.end_as(end, parcel, error)

    def _run(self, job: Job) -> Any:
        if self._cargo is None:
            self.pack()
        if job.requested == "kill":
            return None
        link = self._engine.open(self, self._cargo, self._meta)
        self._cargo = None
        try:
            self._link = link
            if job.requested == "stop":
                self.stop()
            if job.take_interrupt():
                self.interrupt()
            end, parcel = self._follow(job, link)
        finally:
            self._link = None
            link.close()
            self._over = True
            self._deal_with_rest(job)
        if end is None or parcel is None:
            return None
        self._report = end.report
        error = self._luggage.take(end, parcel, job)
        requested: str | None = job.requested  # read again: it may have changed
        if requested == "kill" or end.state == "killed":
            job.kill()  # if it was killed there, and not from here
            return None
        if end.state == "stopped" and end.reason != "interrupted" and not job.requested:
            job.stop(reason=end.reason)  # if it was stopped there, and not from here
        return end, parcel, error

    def _follow(self, job: Job, link: Link) -> tuple[End | None, Parcel | None]:
        """Handle messages until the end, and return it; None if the process was killed."""
        while True:
            if job.requested == "kill":
                self._press(job, link)
            due = self._dies_at
            try:
                left = None if due is None else max(due - time.monotonic(), 0.0)
                message = self._inbox.get(timeout=left)
            except queue.Empty:
                continue
            if message[0] == "end":
                return message[1], message[2]
            if message[0] == "lost":
                if job.requested == "kill":
                    return None, None
                raise JobError(message[1])
            self._deal_with(message)

    def _press(self, job: Job, link: Link) -> None:
        """Take the next step of a Kill if it is due: ask, then end the process."""
        now = time.monotonic()
        if self._dies_at is None:
            link.tell("kill", job.reason)
            self._early = not self.begun
            self._dies_at = now + (_EARLY if self._early else timing.grace)
        elif now >= self._dies_at and self._early and self.begun:
            self._early = False
            self._dies_at = now + timing.grace
        elif now >= self._dies_at:
            self._dies_at = now + _AGAIN
            link.abandon(self._report)

    def _deal_with(self, message: tuple[Any, ...]) -> None:
        if message[0] == "told":
            assert self._job is not None  # only the job's own thread deals with messages
            self._job.host.line(f"[{self._job.id}] {message[1]}")
        elif message[0] == "text":
            getattr(sys, message[1]).write(message[2])
        elif message[0] == "display":
            self._publish(message[1], message[2])

    def _deal_with_rest(self, job: Job) -> None:
        """Handle the messages that were still in the queue when the end came."""
        try:
            while True:
                self._deal_with(self._inbox.get_nowait())
        except queue.Empty:
            pass
