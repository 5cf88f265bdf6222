"""A job: code that runs in the background, what was asked of it, and how it ended.

A `Job` stores facts (when it started, what was asked, how its code ended); its `JobState`
is derived from them. Callers of `stop` and `kill` write what they ask. The job's own thread
writes how its code ended, when nothing can be raised in it any more.
"""

from __future__ import annotations

import contextvars
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from types import CodeType

from ..base import stack
from ..base.contexts import own_context
from ..base.sizes import large_size
from ..base.tracebacks import hidden
from ..exceptions import JobError
from ..threads import ThreadWithExc
from . import adoption
from .current import become, run_as
from .failure import Failure, is_only, outcome_of
from .family import Family
from .host import Begun
from .info import JobState, Loop
from .log import JobLog
from .result import JobResult

__all__ = ["Job"]

_logger = logging.getLogger("ipykill")


class Job(JobResult):
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
        Identifies that cell across its runs; may be empty.
    labels : mapping
        What its places call a file, by file name, if the shell would call it otherwise by now.
    codes : tuple of code
        The code objects that it was launched with: its cell's, or its function's.
    private : Private or None
        The namespace that its code has for itself until it is done, if it has one.
    clashes : dict
        The variables that both its code and a later cell in the foreground assign, with its number.
    waits_for : sequence of Job
        The jobs that must be over before this one can start, or go on.
    elsewhere : Elsewhere or None
        Where its code runs, if that is another process.
    loop : Loop or None
        The event loop that its code runs on, if it has one.
    report : bool
        Whether its cell shows the error that it fails with; False if a caller that waits there
        raises that error.
    has_card : bool
        Whether a card in its cell shows how it ends; no line of text says it then.
    is_told : bool
        Whether a magic waits for its end and prints it, so that the job itself need not.
    again : callable or None
        Launches the same code as a new job; any thread may call it.
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
    Any thread may call any method, a signal handler and a finalizer too. No lock protects a
    job, so no caller waits for another one here:

    1. `_start_claim` can be acquired once. Who gets it starts the job, or ends it unstarted.
    2. Only one thread writes how the job ended, and it writes `_outcome` last. A reader that
       reads `_outcome` first, and finds it set, finds the other facts as well.
    3. A caller puts its callback into a list, and then looks whether the job is over; the job
       sets `over`, and then empties the list. Whichever takes the callback out calls it.
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
        super().__init__(
            id,
            name=name,
            source=source,
            cell=cell,
            origin=origin,
            timeout=timeout,
            report=report,
            codes=codes,
            log=log,
        )
        self._call: Callable[[], object] | None = call
        self._on_end = on_end
        self._on_wait = on_wait
        self._start_claim = threading.Lock()  # never released
        if begun is None:
            self.thread = ThreadWithExc(target=self._body, name=f"ipykill-{id}", daemon=True)
            self._family = Family(self.thread, self.enter, self.finish, self._leave)
            self._family.given = call
            self._context = own_context()
        else:
            self.thread, self._family, self._context = begun.thread, begun.family, begun.context
            self._start_claim.acquire()
            self._begin = begun.moment
            self._started = self._created - (time.monotonic() - begun.moment)

    def settled(self) -> Job:
        """Return the job itself; a `Candidate` first has to find out whether it is one."""
        return self

    # Requests

    @hidden
    def stop(self, timeout: float | None = 0, *, reason: str = "") -> bool:
        """Ask the job to end at its next checkpoint.

        A job that has not started is skipped. The code of a job that has started has to
        ask `stop_requested` or pass a `checkpoint`; nothing is interrupted. On the event
        loop of a job, each ``await`` is a checkpoint (`ipykill.core.loop`). To stop a job
        again, or one that is over, changes nothing.

        Parameters
        ----------
        timeout
            How many seconds to wait for its end; None waits as long as it takes.
        reason
            Why it is asked, in words; empty if a person asks.

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
        self._end_unstarted(JobState.SKIPPED)
        self._family.stop_loop()
        if self.elsewhere is not None:
            self.elsewhere.stop()
        return self.done() if timeout == 0 else self.wait(timeout)

    def interrupt(self, timeout: float | None = 0) -> bool:
        """Raise `KeyboardInterrupt` once in the job's own thread, as ■ does in a cell that runs.

        It is raised only where a Kill may be, so no cleanup is cut short, and it ends a call that
        waits. On an event loop it does what Ctrl-C does to ``asyncio.run``. The job's code may
        catch it and go on: ``try: train() except KeyboardInterrupt:`` keeps what was reached. A
        job that does not catch it ends as *stopped*, not as failed, because somebody asked for
        that; its reason is ``"interrupted"``. A job that has not started is skipped, and one
        that is being killed, or is over, is left alone.

        Parameters
        ----------
        timeout
            How many seconds to wait for its end; None waits as long as it takes.

        Returns
        -------
        bool
            Whether the job is over.
        """
        self._end_unstarted(JobState.SKIPPED, "interrupted")
        over = self._outcome is not None or self._family.kill_requested
        self._interrupted = self._interrupted if over else time.monotonic()
        if not over and self.elsewhere is not None:
            self.elsewhere.interrupt()
        elif not over:
            self._family.interrupt_requested = True
            if self._outcome is not None:  # then `finish` may have cleared this already
                self._family.interrupt_requested = False
            self._family.interrupt()
        return self.done() if timeout == 0 else self.wait(timeout)

    def take_interrupt(self) -> bool:
        """Return whether an interrupt is pending, and take it back; the caller passes it on."""
        pending = self._family.interrupt_requested
        self._family.interrupt_requested = False
        return pending

    @hidden
    def kill(self, timeout: float | None = 0, *, reason: str = "", children: bool = True) -> bool:
        """End the job from outside: raise `JobKilled` in every thread of it.

        Its ``finally:`` blocks run. Then its processes are ended: with SIGTERM, and with
        SIGKILL those that have not ended some seconds later. To kill a job again changes
        nothing. Threads and processes that a job has left behind when it was over are ended.
        A job that calls this for itself gets `JobKilled` from the call, or at the end of
        the `ipykill.shield` around it.

        Parameters
        ----------
        timeout, reason
            See `stop`.
        children
            Whether its processes end with it. The last call decides.

        Returns
        -------
        bool
            Whether every thread and every process of the job is dead; with
            ``children=False``, every thread.
        """
        self._family.keep_processes = not children
        if self._outcome is None and not self._family.kill_requested:
            self._note(reason)
            self._family.kill_requested = True
            self._stop.set()  # ends a sleep() at once
        self._end_unstarted(JobState.KILLED)
        if self._outcome is not None:
            if not self.threads and not self._has_processes(children):
                return True
            self._stop.set()
            if children:
                # Else nobody would: the job's own thread, which does it after a Kill, is over.
                self._family.end_processes_soon()
        if self.elsewhere is not None:
            self.elsewhere.kill()
        self._family.kill(math.inf if timeout is None else timeout)
        dead = self._family.join(timeout) and threading.current_thread() not in self.threads
        return dead and not self._has_processes(children)

    def _has_processes(self, children: bool) -> bool:
        return children and self._family.processes_run()

    def kill_processes(self) -> None:
        """Kill its processes now, even those that its cleanup needs: the interpreter exits."""
        self._family.kill_processes()

    def attend(self, loop: Loop | None) -> None:
        """Note the event loop that the job's code runs on."""
        self.loop = loop
        # This writes the loop and then reads the request; stop() writes the request and then
        # reads the loop. So at least one of the two sees both.
        if loop is not None and self._stop.is_set() and self.requested == "stop":
            self._family.stop_loop()

    def _note(self, reason: str) -> None:
        self._asked = time.monotonic()
        self._reason = reason

    def skip(self, reason: str) -> None:
        """End a job that has not started; a started one is left alone."""
        self._end_unstarted(JobState.SKIPPED, reason)

    # Start and end

    def start(self) -> bool:
        """Start the job if it is still pending, and return whether it was; for the manager."""
        begin, started = time.monotonic(), time.time()
        if not self._start_claim.acquire(blocking=False):
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
        """Prepare the calling thread, a new member of the family, to run code of the job."""
        become(self)
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
        # Only in this part of the job's thread may an exception be raised from outside.
        assert self._call is not None
        self._value = self._context.run(run_as, self, self._family, self._call)

    def finish(self, error: BaseException | None) -> None:
        """Write down how the code ended; its own thread calls this, safe from Kills by now."""
        self._family.let_go_of_services()
        # These objects live until this returns: their finalizers, which may block for ever, must
        # not keep the job from its end.
        held = self._call, self._family.given, error
        self._call = self._family.given = None
        outcome = outcome_of(
            error,
            killed=self._family.kill_requested,
            stopped=self._stop.is_set(),
            interrupted=self._interrupted is not None,
        )
        interrupted = outcome is JobState.STOPPED and is_only(KeyboardInterrupt, error)
        if outcome is JobState.KILLED:
            self._family.join_threads()
            self._family.end_processes()
        end, ended = time.monotonic(), time.time()
        place = failure = None
        raised = error
        if outcome is not JobState.FAILED:
            error = None  # frees the frames of its traceback, with all their variables
        if error is not None:
            failure = Failure(error)
        try:
            if outcome is JobState.DONE and self.private is not None:
                _replaced = self.private.publish()
            self._family.forget_processes()
            if raised is not None:
                place = stack.end(raised.__traceback__)
            self._size = large_size(self._value)
        except BaseException:
            _logger.exception("the end of job %s could not be described", self.id)
        raised = self.private = None
        self._end, self._ended = end, ended
        self._ended_at = place
        self.failure = failure
        if interrupted:
            self._reason = "interrupted"
        self._outcome = outcome
        # kill() and interrupt() write their request before they look at the outcome.
        self._family.interrupt_requested = False
        killed_late = self._family.kill_requested and outcome is not JobState.KILLED
        if killed_late:
            self._family.end_processes_soon()
        self._settle(error)
        del held

    def _end_unstarted(self, outcome: JobState, reason: str = "") -> None:
        """End the job if it has not started."""
        if self._start_claim.acquire(blocking=False):
            self._reason = reason or self._reason
            self._end_now(outcome)
            self._family.disown(self.thread)  # a Kill at this moment may be waiting for its end
            self._settle()

    def _end_now(self, outcome: JobState) -> None:
        # For a job that has not run; only the thread that holds the claim calls this.
        self._call = self._family.given = None
        self._end, self._ended = time.monotonic(), time.time()
        self._outcome = outcome

    def _settle(self, error: BaseException | None = None) -> None:
        # The thread that has set the outcome calls this, once.
        try:
            self._context.run(self.host.finish, self, error)
        except BaseException:
            _logger.exception("the output of job %s could not be finished", self.id)
        finally:
            self.over.set()
            self._on_end(self)
        # Only now: those who wait for the job need not wait for the finalizers that this runs.
        self._context = contextvars.Context()
        if self.failure is not None:
            self.failure.settle()
        if self._outcome is not JobState.DONE:
            self._value = None
