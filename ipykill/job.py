"""A job: code that runs in the background, what was asked of it, and how it ended.

A `Job` stores facts (when it started, what was asked, how its code ended); its `JobState`
is derived from them. The facts are written in two places only: by those who ask (`stop`,
`kill`), and by the job's own thread when its code has ended and nothing can be raised in
it any more.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import CodeType, FrameType
from typing import Any, Protocol

from . import adoption, locks, stack
from .contexts import own_context
from .elsewhere import Elsewhere
from .exceptions import JobAborted, JobError, JobKilled, JobStopped, JobTimeout
from .failure import Failure, comes_from, is_only
from .family import Family, asks
from .info import Bar, JobInfo, JobState, Loop, Progress
from .kill import Look, current_target, look
from .log import JobLog
from .processes import ProcessInfo
from .sizes import large_size
from .stacks import Stacks
from .threads import ThreadWithExc
from .tracebacks import below_us, hidden, set_traceback
from .waiting import Latch

__all__ = [
    "Begun",
    "Candidate",
    "Host",
    "Job",
    "act_for",
    "checkpoint",
    "current_job",
    "sleep",
    "stop_requested",
]

_SOON = 0.5  # seconds in which a killed job is expected to be dead
_NOT_INTERRUPTED = "the interrupt waits until it leaves C code, cleanup or a shield()"

_FREES = "the job is over; what its code has left is freed, by finalizers that nothing may break"

_HAS_CPU_CLOCKS = hasattr(time, "pthread_getcpuclockid")

# What Tab offers; all else is for the other parts of ipykill.
_FOR_USERS = [
    *("id", "name", "source", "cell", "state", "requested", "reason", "started", "elapsed"),
    *("cpu_time", "progress", "log", "threads", "processes", "info", "where", "stop", "interrupt"),
    *("kill", "wait", "done", "result", "exception", "add_done_callback"),
]

_logger = logging.getLogger("ipykill")


class Host(Protocol):
    """What surrounds a job: where its output goes. See `ipykill.output`."""

    def enter(self, job: Job) -> None:
        """Prepare the calling thread, a new one of the job, before its first line."""

    def leave(self, job: Job) -> None:
        """Undo that, in a thread that goes on to work for others."""

    def finish(self, job: Job, error: BaseException | None) -> None:
        """Deliver what is left of the job's output, and the error it failed with, if any.

        Called when the job's state is final, in its first thread, or in whatever thread
        ended a job that never started. `Job.wait` returns after it.
        """


class _NoHost:
    def enter(self, job: Job) -> None:
        pass

    def leave(self, job: Job) -> None:
        pass

    def finish(self, job: Job, error: BaseException | None) -> None:
        pass


class Candidate(Protocol):
    """Code that runs in the foreground and may become a job, see `ipykill.foreground`."""

    def settled(self) -> Job | None:
        """Return the job that it has become; waits while that is being decided."""

    def write(self, name: str, write: Callable[[str], int], text: str) -> int:
        """Write to the stream `name` with `write`, or as the job that it is now."""

    def add_bar(self, bar: Bar) -> None:
        """Let `bar` tell how far it is, see `Job.add_bar`."""

    def asked(self) -> bool:
        """Whether the job that it has become was asked to end."""


@dataclass(frozen=True)
class Begun:
    """What runs already when it becomes a job.

    Attributes
    ----------
    family
        Its threads and processes, of which the first is the `thread` that it began in.
    context
        What it began in.
    moment
        When it began, by `time.monotonic`.
    codes
        Its code.
    """

    family: Family
    thread: threading.Thread
    context: contextvars.Context
    moment: float
    codes: Sequence[CodeType]


_current: contextvars.ContextVar[Job | Candidate] = contextvars.ContextVar("ipykill_current_job")


class Job:
    """Code that runs in the background; made by `ipykill.submit` and ``%%bg``.

    Attributes
    ----------
    id : int
        1, 2, 3 ...; never reused.
    name, source : str
        What it is called, and its code.
    cell : int or None
        The number of the cell that launched it.
    origin : str
        Identifies that cell across its runs, empty where the front end tells no such thing.
    labels : mapping
        What files are called in its places, by their names, where that is not what the
        shell says now: a cell keeps its number when its text is run again.
    codes : tuple of code
        What it was launched with: its cell's code, or its function's.
    waits_for : sequence of Job
        The jobs that it cannot end before.
    elsewhere : Elsewhere or None
        Where its code runs, if that is another process.
    loop : Loop or None
        The event loop that its code runs on, if it has one.
    report : bool
        Whether the error it fails with is shown in its cell; not so where somebody waits
        there and raises it.
    has_card : bool
        Whether a card in its cell shows how it ends, which is not told in words then.
    is_told : bool
        Whether a magic waits for its end and tells it, as the job would on the same terminal.
    log : JobLog
        What it printed.
    overdue : bool
        Whether its deadline has passed.
    thread : threading.Thread
        The thread its code runs in; a `ThreadWithExc`, unless the job was a cell in the foreground.
    host : Host
        Where its output goes.
    over : Latch
        Set when the job is over.

    Threading
    ---------
    Any thread may call any method, a signal handler and a finalizer too. There is no lock,
    so nobody waits here for anybody else, and no code of others runs while one is held:

    1. Who gets `_claim`, which can be had once, starts the job, or ends it before it starts.
    2. Facts about the end are written by that one thread, `_outcome` last. Who reads
       `_outcome` first, and finds that there is one, finds the others as well.
    3. A callback is in a list when its owner looks whether the job is over, and `over` is set
       when the list is emptied. Whoever takes it out of the list calls it.
    """

    def __init__(
        self,
        id: int,
        call: Callable[[], object],
        *,
        name: str,
        source: str = "",
        cell: int | None = None,
        origin: str = "",
        timeout: float | None = None,
        report: bool = True,
        codes: Sequence[CodeType] = (),
        log: JobLog | None = None,
        on_end: Callable[[Job], None] = lambda job: None,
        on_wait: Callable[[], None] = lambda: None,
        begun: Begun | None = None,
    ) -> None:
        self.id = id
        self.name = name
        self.source = source
        self.cell = cell
        self.origin = origin
        self.report = report
        self.has_card = False
        self.is_told = False
        self.timeout = timeout
        self.codes = tuple(codes)
        self.labels: Mapping[str, str] = stack.NO_LABELS
        if cell is not None and codes:
            self.labels = {codes[0].co_filename: f"cell [{cell}]"}
        self.waits_for: Sequence[Job] = ()
        self.loop: Loop | None = None
        self.elsewhere: Elsewhere | None = None
        self.host: Host = _NoHost()
        self.log = JobLog() if log is None else log
        self.thread: threading.Thread
        self._call: Callable[[], object] | None = call
        self._on_end = on_end
        self._on_wait = on_wait
        self._awaits = 0  # other jobs
        self._claim = threading.Lock()  # never released
        self._created = time.time()
        self._started: float | None = None
        self._ended: float | None = None
        self._begin = 0.0  # on the monotonic clock,
        self._end: float | None = None  # which no change of the time of day moves
        if begun is None:
            self.thread = ThreadWithExc(target=self._body, name=f"ipykill-{id}", daemon=True)
            self._family = Family(self.thread, self.enter, self.finish, self._leave)
            self._family.given = call
            self._context = own_context()
        else:
            self.thread, self._family, self._context = begun.thread, begun.family, begun.context
            self._claim.acquire()
            self._begin = begun.moment
            self._started = self._created - (time.monotonic() - begun.moment)
        self._stop = Latch()
        self.over = Latch()
        self._asked: float | None = None
        self._interrupted: float | None = None  # when that was asked last, monotonic
        self._reason = ""
        self.overdue = False
        self._stop_asked = False  # before it was over
        self._outcome: JobState | None = None
        self._value: object = None
        self._size = 0  # of that, in bytes, where it is large
        self._forgotten = ""  # why it is not kept any more
        self.failure: Failure | None = None
        self._ended_at: tuple[CodeType, int] | None = None
        self._place: str | None = None  # that in words, when somebody has asked
        self._callbacks: list[Callable[[], None]] = []
        self._wakers: list[Callable[[], None]] = []
        self._bars: list[Bar] = []
        self._progress: Progress | None = None  # when it ended
        self._unsightly = False  # to look at it raised an error, which was told
        self._seen = -1.0, ""  # the CPU time, and then where it was
        self._last_info: JobInfo | None = None  # when nothing can change any more

    def __dir__(self) -> list[str]:
        return _FOR_USERS

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.name!r}: {self.state.value}>"

    # What is true

    @property
    def state(self) -> JobState:
        """What is true of the job now."""
        return self._outcome or self._state_until_end()

    def _state_until_end(self) -> JobState:
        if self._started is None:
            return JobState.PENDING
        if self._family.kill_requested:
            return JobState.KILLING
        return JobState.STOPPING if self._stop.is_set() else JobState.RUNNING

    @property
    def requested(self) -> str | None:  # no Literal: with that Jedi offers nothing at all
        """What was asked of the job, or of what it has left."""
        if self._family.kill_requested:
            return "kill"
        return "stop" if self._stop_asked else None

    @property
    def reason(self) -> str:
        """Why the job was asked to end or was skipped; empty when a person asked."""
        return self._reason

    @property
    def started(self) -> float | None:
        """When the job started, in seconds since the epoch."""
        return self._started

    @property
    def elapsed(self) -> float:
        """Seconds since the start of the job, or how long it ran."""
        if self._started is None:
            return 0.0
        end = self._end
        return (time.monotonic() if end is None else end) - self._begin

    @property
    def cpu_time(self) -> float:
        """CPU time that all threads of the job used so far, in seconds."""
        own = self._family.cpu_time()
        return own if self.elsewhere is None else self.info().cpu_time

    @property
    def threads(self) -> list[threading.Thread]:
        """The threads of the job that live."""
        return [] if self._started is None else self._family.threads()

    def lives(self) -> bool:
        """Whether it is not over, or has left a thread or a process that runs."""
        left = self._left_threads() or any(it.running for it in self.processes)
        return not self.done() or bool(left)

    def _left_threads(self) -> list[threading.Thread]:
        return [it for it in self.threads if it is not self.thread or self._frees_for_long()]

    def _frees_for_long(self) -> bool:
        # Its own thread ends just now, or meets a finalizer that waits.
        return self._end is not None and time.monotonic() - self._end > _SOON

    @property
    def processes(self) -> tuple[ProcessInfo, ...]:
        """The processes that the job started, and that have not ended.

        One that has ended is among them as long as nobody has waited for it, as ``ps`` shows
        it. A job that is over may have left some: they live on until it is killed.
        """
        return () if self._started is None else self._family.processes()

    def spared(self) -> list[str]:
        """Return a line about each thread that a Kill has let go, for libraries keep it."""
        return [
            f"the thread {name} goes on: {library} keeps it for whoever uses it next"
            for name, library in list(self._family.spared.items())
        ]

    @property
    def idents(self) -> set[int]:
        """The idents of its threads that have ended; by now, other threads may have them."""
        return set(self._family.past_idents)

    @property
    def waits(self) -> bool:
        """Whether it waits for another job, for however long that takes."""
        return bool(self.waits_for or self._awaits)

    @property
    def progress(self) -> Progress | None:
        """How far the job is: its outermost bar that is not at its end, else the outermost."""
        bars = list(self._bars)
        if not bars:
            return self._progress
        try:
            return next((bar for bar in bars if not bar.closed), bars[0]).look()
        except Exception:  # of a bar that somebody else has made
            self._bars.clear()
            _logger.exception("the bar of job %s does not tell how far it is", self.id)
            return None

    def let_go_of_bars(self) -> None:
        """Note how far it came, and forget its bars: others', which may take long to tell."""
        self._progress = self.progress
        self._bars.clear()

    def add_bar(self, bar: Bar) -> None:
        """Let `bar` tell how far the job is, until it is at its end."""
        if not self.done():
            self._bars[:] = [it for it in self._bars if not it.closed] + [bar]

    def done(self) -> bool:
        """Whether the job is over."""
        return self.over.is_set()

    def where(self) -> Stacks:
        """Return where the job's threads are: their stacks, and what keeps them from dying.

        The job's own thread comes first, after it the asyncio tasks that wait in it, then
        each thread below the one that started it. Of each stack only the user's frames are
        kept, and the innermost frame if it is a library's. Empty before the start and when
        no thread lives.
        """
        if self._started is None:
            return Stacks()
        if self.elsewhere is not None:
            return Stacks(self.elsewhere.where())
        try:
            return self._stacks()
        except Exception:
            self._tell_of_look()
            return Stacks()

    def _stacks(self) -> Stacks:
        stacks = Stacks(self._family.stacks(look(), self.labels))
        if self.done():  # and its own thread is about to end
            late = self._frees_for_long()
            stacks = Stacks(
                it if it.depth else replace(it, hindrance=_FREES)
                for it in stacks
                if (it.frames if it.depth else late)
            )
        loop = self.loop
        if loop is not None and stacks:
            own = stacks[0].depth + 1
            stacks[1:1] = [replace(task, depth=own) for task in loop.stacks(self.labels)]
        return stacks

    def frame(self, see: Look) -> FrameType | None:
        """Return where the job's own thread is, None when that is not known."""
        target = self._family.target_of(self.thread)
        return None if target is None else see(target)

    def _last_place(self) -> str:
        # Put in words only now: the killer waits for the end.
        if self._place is None:
            place = self._ended_at
            self._place = "" if place is None else str(stack.at(*place, self.labels))
        return self._place

    def _place_now(self, see: Look) -> str:
        here = stack.here(self.frame(see), self.labels)
        if here is not None:
            return str(here)
        loop = self.loop
        tasks = loop.stacks(self.labels) if loop is not None else []
        return next((task.place for task in tasks if task.place), "")

    def _seen_at(self, cpu_time: float, see: Look) -> str:
        # To look at a thread takes longer than all else in a snapshot. One whose CPU clock,
        # read before the last look, has not moved since, is where it was.
        if not _HAS_CPU_CLOCKS or self._seen[0] != cpu_time:
            self._seen = cpu_time, self._place_now(see)
        return self._seen[1]

    def info(self, see: Look | None = None) -> JobInfo:
        """Return what is true of the job now.

        Parameters
        ----------
        see
            What `ipykill.kill.look` has just returned; for who asks many jobs.
        """
        try:
            return self._last_info or self._look(see)
        except Exception:
            self._tell_of_look()
            return self._look(see, blind=True)

    def _tell_of_look(self) -> None:
        # Code of others that a look calls has failed, of a module's loader or of a thread.
        if not self._unsightly:
            self._unsightly = True
            _logger.exception("job %s cannot be looked at", self.id)

    def _look(self, see: Look | None, *, blind: bool = False) -> JobInfo:
        final = self.over.is_set()  # asked first: what is true then stays
        here = why = ""
        cpu_time = self._family.cpu_time()
        if self._started is not None and self._outcome is None and not blind:
            see = look() if see is None else see
            here = self._seen_at(cpu_time, see)
            asked = self._asked
            if self._family.kill_requested and asked and time.monotonic() - asked > _SOON:
                why = self._family.hindrance(see, self.labels)
            elif self.interrupt_pending and time.monotonic() - (self._interrupted or 0) > _SOON:
                why = _NOT_INTERRUPTED
        threads, processes = len(self.threads), () if blind else self.processes
        outcome = self._outcome
        place = here if outcome is None or blind else self._last_place()
        started = self._started
        end = None if outcome is None else self._end
        now = time.monotonic() if end is None else end
        info = JobInfo(
            id=self.id,
            name=self.name,
            source=self.source,
            cell=self.cell,
            state=outcome or self._state_until_end(),
            requested=self.requested,
            reason=self._reason,
            created=self._created,
            started=started,
            ended=None if outcome is None else self._ended,
            elapsed=0.0 if started is None else now - self._begin,
            cpu_time=cpu_time,
            asked=None if self._asked is None else now - self._asked,
            place=place,
            hindrance=why if outcome is None else "",
            error="" if outcome is None or self.failure is None else self.failure.line,
            last_line=self.log.last,
            progress=None if blind else self.progress,
            threads=threads,
            processes=processes,
            left=len(self._left_threads()) if final and threads else 0,
            size=self._size,
            waits=tuple(f"{it.name} (job {it.id})" for it in self.waits_for if not it.done())
            if started is None and outcome is None
            else (),
        )
        if self.elsewhere is not None:
            info = self.elsewhere.view(info)
        if final and not threads and not processes and not blind:
            self._last_info = info
            if info.size != self._size:  # it was forgotten just now
                self._last_info = None
        return info

    # What can be asked

    @hidden
    def stop(self, timeout: float | None = 0, *, reason: str = "") -> bool:
        """Ask the job to end at its next checkpoint.

        A job that has not started is skipped. The code of a job that has started has to
        ask `stop_requested` or pass a `checkpoint`; nothing is interrupted. On the event
        loop of a job, each ``await`` is a checkpoint (`ipykill.loop`). To stop a job
        again, or one that is over, changes nothing.

        Parameters
        ----------
        timeout
            How many seconds to wait for its end; None waits as long as it takes.

        Returns
        -------
        bool
            Whether the job is over.
        """
        over = self._outcome is not None
        if not over and self.requested is None:
            self._note(reason or ("stopped before it started" if self._started is None else ""))
        self._stop_asked |= not over
        if not over or self.threads:  # of a job that is over, threads may live on
            self._stop.set()
        if self._claim.acquire(blocking=False):
            self._end_now(JobState.SKIPPED)
            self._settle()
        self._family.stop_loop()
        if self.elsewhere is not None:
            self.elsewhere.stop()
        return self.done() if timeout == 0 else self.wait(timeout)

    def interrupt(self, timeout: float | None = 0) -> bool:
        """Raise `KeyboardInterrupt` once in the job's own thread, as ■ does in a cell that runs.

        It is raised where a Kill may be, so that what cleans up is not cut, and a call that waits
        is ended. On an event loop it is what Ctrl-C is to ``asyncio.run``. The job goes on as
        its code says: ``try: train() except KeyboardInterrupt:`` keeps what was reached. A job
        that lets it pass is *stopped* at this place, for that is what somebody asked for and no
        failure, with ``"interrupted"`` as its reason. One that has not started is skipped; one
        that is being killed, or is over, is left alone.

        Parameters
        ----------
        timeout
            How many seconds to wait for its end; None waits as long as it takes. By default
            this returns at once.

        Returns
        -------
        bool
            Whether the job is over.
        """
        if self._claim.acquire(blocking=False):
            self._reason = "interrupted"
            self._end_now(JobState.SKIPPED)
            self._settle()
        elif self._outcome is None and not self._family.kill_requested and self.elsewhere:
            self.elsewhere.interrupt()
        elif self._outcome is None and not self._family.kill_requested:
            self._interrupted = time.monotonic()
            self._family.interrupt_requested = True
            if self._outcome is not None:  # the end of its code may have taken this back before
                self._family.interrupt_requested = False
            self._family.interrupt()
        return self.done() if timeout == 0 else self.wait(timeout)

    @property
    def interrupt_pending(self) -> bool:
        """Whether `interrupt` was called, and has not been raised in the job yet."""
        return self._family.interrupt_requested

    def take_interrupt(self) -> bool:
        """Return whether an interrupt is pending, and take it back; for who passes it on."""
        pending = self._family.interrupt_requested
        self._family.interrupt_requested = False
        return pending

    @hidden
    def kill(self, timeout: float | None = 0, *, reason: str = "", children: bool = True) -> bool:
        """End the job from outside: raise `JobKilled` in every thread of it.

        Its ``finally:`` blocks run. Then its processes are ended: with SIGTERM, and with
        SIGKILL those that have not ended some seconds later. To kill a job again, or one that
        is over, changes nothing; of a job that is over, this ends the threads and processes
        that live on. In the job itself this raises `JobKilled` there, or after the
        `ipykill.shield` that it is in.

        Parameters
        ----------
        timeout
            How many seconds to wait for its end; None waits as long as it takes. By
            default this returns at once.
        children
            Whether its processes end with it. The last call decides.

        Returns
        -------
        bool
            Whether every thread and every process of the job is dead; with
            ``children=False``, every thread.
        """
        self._family.spares = not children
        if self._outcome is None and not self._family.kill_requested:
            self._note(reason)
            self._family.kill_requested = True
            self._stop.set()  # ends a sleep() at once
        if self._claim.acquire(blocking=False):
            self._end_now(JobState.KILLED)
            self._settle()
        over = self._outcome is not None
        if over:
            if self._dead(children):
                return True
            self._stop.set()
            if children:
                # Nobody else will: the job's own thread did, or did not, when it ended.
                self._family.end_processes_soon()
        if self.elsewhere is not None:
            self.elsewhere.kill()
        self._family.kill(math.inf if timeout is None else timeout)
        return self._family.join(timeout) and self._dead(children)

    def _dead(self, children: bool) -> bool:
        return not self.threads and not (children and self._family.processes_run())

    def kill_processes(self) -> None:
        """Kill its processes now, whoever may need them: the interpreter exits."""
        self._family.kill_processes()

    def attend(self, loop: Loop | None) -> None:
        """Note the event loop that the job's code runs on."""
        self.loop = loop
        # Here the loop runs first, in stop() the request comes first: one of the two sees both.
        if loop is not None and self.requested == "stop":
            self._family.stop_loop()

    def _note(self, reason: str) -> None:
        self._asked = time.monotonic()
        self._reason = reason

    def skip(self, reason: str) -> None:
        """End a job that has not started; a started one is left alone."""
        if self._claim.acquire(blocking=False):
            self._reason = reason
            self._end_now(JobState.SKIPPED)
            self._settle()

    # What it gives

    def asked(self) -> bool:
        """Whether the job was asked to end, by a Stop or a Kill; quick to ask."""
        return self._stop.is_set()

    @hidden
    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the job is over, or `timeout` seconds; return whether it is.

        Raises
        ------
        JobError
            In the job's own thread, or without a `timeout` in that of a job for which this
            one waits in turn: it would wait for itself for ever.
        """
        self.refuse_itself()
        waiter = _of_this_thread()
        if waiter is None or timeout is not None or self.done():
            return self.over.wait(timeout)
        with _waiting:
            # Of several that close a circle the last one to come here sees it.
            if circle := self.way_to(waiter):
                names = " waits for ".join(f"job {job.id} ({job.name})" for job in circle)
                msg = f"job {waiter.id} ({waiter.name}) would wait for itself: {names}"
                raise JobError(msg)
            waiter.waits_for = (self,)
        waiter._on_wait()
        try:
            return self.over.wait()
        finally:
            waiter.waits_for = ()

    def way_to(self, other: Job) -> list[Job]:
        """Return this job, those through which it waits for `other`, and that; else nothing."""
        ways = [[self]]
        seen = {self}
        for way in ways:
            if way[-1] is other:
                return way
            for job in way[-1].waits_for:
                if job not in seen:
                    seen.add(job)
                    ways.append([*way, job])
        return []

    def refuse_itself(self) -> None:
        """Raise `JobError` if the job's own thread, which is about to wait for it, calls."""
        if threading.get_ident() == self.thread.ident and not self.done():
            msg = f"job {self.id} ({self.name}) cannot wait for itself"
            raise JobError(msg)

    @hidden
    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end and return what `result` would raise, None if it would not.

        Raises
        ------
        TimeoutError
            The job is not over after `timeout` seconds.
        """
        if not self.wait(timeout):
            msg = f"job {self.id} ({self.name}) is still {self.state.value} after {timeout} s"
            raise TimeoutError(msg)
        if self._outcome is JobState.DONE:
            return None
        if self._outcome is JobState.FAILED:
            assert self.failure is not None
            return self.failure.error
        assert self._outcome is not None
        kind = JobTimeout if self.overdue and self._reason == "timeout" else JobAborted
        why = f": {self._reason}" if self._reason else ""
        return kind(f"job {self.id} ({self.name}) was {self._outcome.value}{why}")

    @hidden
    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end and return the value of the job's code.

        Raises
        ------
        JobAborted
            The job was stopped, killed or skipped; `JobTimeout` if its deadline did that.
        TimeoutError
            The job is not over after `timeout` seconds.
        JobError
            The value is not kept any more: the job was cleared, or its cell was run again.
        BaseException
            What the job's code raised. When another job has failed since, or this one was
            cleared, an error like it, whose cause is the traceback as text.
        """
        error = self.exception(timeout)
        if error is not None:
            raise error
        value = self._value
        if forgotten := self._forgotten:
            msg = f"job {self.id} ({self.name}) has no value any more: {forgotten}"
            raise JobError(msg)
        return value

    def forget(self, why: str) -> None:
        """Keep nothing any more of what the code of a job that is over gave: its value, frames.

        Parameters
        ----------
        why
            What is said to whoever asks for the value.
        """
        self._forgotten = self._forgotten or why  # first: who reads the value looks at this then
        self._value = None
        self._size = 0
        self._last_info = None
        if self.failure is not None:
            self.failure.let_go()

    def add_done_callback(self, fn: Callable[[Job], object]) -> None:
        """Call ``fn(job)`` when the job is over.

        Callbacks run one after another on a thread of ipykill, never on the job's; if the
        job is over already, at once in the calling thread. Their errors are logged.
        """
        call = functools.partial(self._call_back, fn)
        self._callbacks.append(call)
        if self.over.is_set() and _take(self._callbacks, call):
            call()

    def _call_back(self, fn: Callable[[Job], object]) -> None:
        try:
            fn(self)
        except Exception:
            _logger.exception("a done callback of job %s (%s) failed", self.id, self.name)

    def take_callbacks(self) -> tuple[list[Callable[[], None]], list[Callable[[], None]]]:
        """Hand over the calls that are due now that the job is over; for the manager.

        Returns
        -------
        wakers, callbacks
            Those that let a task go on that awaits the job, and the users'.
        """
        return list(_drain(self._wakers)), list(_drain(self._callbacks))

    def __await__(self) -> Generator[Any, None, Any]:
        self.refuse_itself()
        loop = asyncio.get_running_loop()
        over = loop.create_future()

        def wake() -> None:
            if not over.done():
                over.set_result(None)

        def notify() -> None:
            try:
                loop.call_soon_threadsafe(wake)
            except RuntimeError:  # the loop is closed, nobody waits any more
                pass

        self._wakers.append(notify)
        if self.over.is_set() and _take(self._wakers, notify):
            wake()
        waiter = _of_this_thread()
        if waiter is not None:
            waiter._awaits += 1
            waiter._on_wait()
        try:
            yield from over.__await__()
        finally:
            if waiter is not None:
                waiter._awaits -= 1
        try:
            return self.result(0)
        except BaseException as error:
            set_traceback(error, below_us(error.__traceback__))
            raise  # as hidden does

    # Its life

    def start(self) -> bool:
        """Start the job, if it is still pending; for the manager."""
        begin, started = time.monotonic(), time.time()
        if not self._claim.acquire(blocking=False):
            return False
        self._begin, self._started = begin, started
        try:
            adoption.install()
            self._family.start()
        except Exception as error:
            # The system has no thread left; or Thread.start was patched, and failed.
            if self.thread.ident is not None:
                raise
            if isinstance(error, RuntimeError):
                cause, error = error, JobError(f"no thread can be started for it: {error}")
                error.__cause__ = cause
            self.failure = Failure(error)
            self._end_now(JobState.FAILED)
            self._settle(error)
        return True

    def enter(self) -> None:
        """Make the calling thread, a new one of the family, the job's."""
        _current.set(self)
        try:
            self.host.enter(self)
        except BaseException:
            _logger.exception("the output of job %s could not be routed", self.id)

    def _leave(self) -> None:
        try:
            self.host.leave(self)
        except BaseException:
            _logger.exception("the output of job %s is still routed", self.id)

    def _body(self) -> None:
        # The only part of the job's thread in which anything may be raised from outside.
        assert self._call is not None
        self._value = self._context.run(_as, self, self._call)

    def finish(self, error: BaseException | None) -> None:
        """Write down how the code ended; in its thread, where nothing is raised any more."""
        # Whatever goes wrong here, the job ends.
        self._family.let_go_of_services()
        # Freed when this returns: the finalizers of others may wait for ever.
        held = self._call, self._family.given, error
        self._call = self._family.given = None
        outcome = self._classify(error)
        interrupted = outcome is JobState.STOPPED and is_only(KeyboardInterrupt, error)
        if outcome is JobState.KILLED:
            self._family.join_threads()
            self._family.end_processes()
        end, ended = time.monotonic(), time.time()
        place = failure = None
        raised = error
        if outcome is not JobState.FAILED:
            error = None  # with all that its traceback holds
        if error is not None:
            failure = Failure(error)
        try:
            self._family.forget_processes()
            if raised is not None:
                place = stack.end(raised.__traceback__)
            self._size = large_size(self._value)
        except BaseException:
            _logger.exception("the end of job %s could not be described", self.id)
        raised = None
        self._end, self._ended = end, ended
        self._ended_at = place
        self.failure = failure
        if interrupted:
            self._reason = "interrupted"
        self._outcome = outcome
        # Who kills or interrupts writes this before he looks at the outcome.
        self._family.interrupt_requested = False
        killed_late = self._family.kill_requested and outcome is not JobState.KILLED
        if killed_late:
            self._family.end_processes_soon()
        self._settle(error)
        del held

    def _classify(self, error: BaseException | None) -> JobState:
        if error is None or (
            isinstance(error, SystemExit)
            and (error.code is None or (isinstance(error.code, int) and error.code == 0))
        ):
            return JobState.DONE
        if self._family.kill_requested and comes_from(error, JobKilled):
            return JobState.KILLED
        if self._stop.is_set() and is_only((JobStopped, asyncio.CancelledError), error):
            return JobState.STOPPED
        if self._interrupted is not None and is_only(KeyboardInterrupt, error):
            return JobState.STOPPED
        return JobState.FAILED

    def _end_now(self, outcome: JobState) -> None:
        # Without having run, and by who got the claim.
        self._call = self._family.given = None
        self._end, self._ended = time.monotonic(), time.time()
        self._outcome = outcome

    def _settle(self, error: BaseException | None = None) -> None:
        # The outcome is set, and whoever set it, once, comes here.
        try:
            self._context.run(self.host.finish, self, error)
        except BaseException:
            _logger.exception("the output of job %s could not be finished", self.id)
        finally:
            self.over.set()
            self._on_end(self)
        # Not earlier: nobody is to wait for the finalizers of what is let go here.
        self._context = contextvars.Context()
        if self.failure is not None:
            self.failure.settle()
        if self._outcome is not JobState.DONE:
            self._value = None


@stack.machinery
def _as(job: Job, call: Callable[[], object]) -> object:
    _current.set(job)
    job._family.claim()
    return call()


def _take(calls: list[Callable[[], None]], call: Callable[[], None]) -> bool:
    """Take a call out of a list, unless somebody else has."""
    try:
        calls.remove(call)  # atomic
    except ValueError:
        return False
    return True


def _drain(calls: list[Callable[[], None]]) -> Iterator[Callable[[], None]]:
    while calls:
        try:
            yield calls.pop(0)
        except IndexError:  # its owner took it
            return


_waiting = locks.RLock()  # held while somebody looks who waits for whom


def _of_this_thread() -> Job | None:
    """Return the job whose own thread, without which it cannot end, is calling."""
    job = current_job()
    return job if job is not None and job.thread.ident == threading.get_ident() else None


def act_for(job: Job, call: Callable[[], object]) -> object:
    """Make a call in the name of `job`, in a context of the caller's own."""
    _current.set(job)
    return call()


def current_job() -> Job | None:
    """Return the job whose code is calling, None outside any job."""
    job = _current.get(None)
    return job if job is None or isinstance(job, Job) else job.settled()


def act_as(candidate: Candidate, family: Family) -> Callable[[], None]:
    """Let the code that calls be a candidate's, until what is returned is called."""
    tokens = _current.set(candidate), asks.set(family)

    def undo() -> None:
        _current.reset(tokens[0])
        asks.reset(tokens[1])

    return undo


def candidate() -> Candidate | None:
    """Return what is calling if it is code in the foreground that may become a job."""
    found = _current.get(None)
    if found is None or isinstance(found, Job) or found.settled() is not None:
        return None
    return found


def stop_requested() -> bool:
    """Whether the job whose code is calling was asked to stop, or is being killed."""
    job = current_job()
    return job is not None and job.asked()


def checkpoint() -> None:
    """Let a Stop take effect here.

    Does nothing outside a job, inside `shield`, or in a thread that the cleanup of the one that
    started it may need.

    Raises
    ------
    JobStopped
        The job was asked to stop. Every later checkpoint raises it again.
    JobKilled
        The job is being killed.
    """
    job = current_job()
    if job is None or not job.asked():
        return
    if _is_excused(job):
        return
    if job.requested == "kill":
        target = current_target()
        raise target.strike() if target is not None and target.wanted else JobKilled
    raise JobStopped


def _is_excused(job: Job) -> bool:
    target = current_target()
    return target is not None and (
        target.depth > 0 or (job.requested == "kill" and not target.has_turn)
    )


@hidden
def sleep(seconds: float) -> None:
    """Sleep like `time.sleep`, and end at once when the job is asked to stop.

    Outside a job, and inside `shield`, it sleeps for the whole time.

    Raises
    ------
    JobStopped, JobKilled
        As `checkpoint` does, before and after the sleep.
    """
    checkpoint()
    job = current_job()
    if job is None or _is_excused(job):
        time.sleep(seconds)
    else:
        if seconds < 0:
            msg = "sleep length must be non-negative"
            raise ValueError(msg)
        job._stop.wait(seconds)
        checkpoint()
