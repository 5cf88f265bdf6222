"""A job: code that runs in the background, what was asked of it, and how it ended.

A `Job` stores facts (when it started, what was asked, how its code ended); its `JobState`
is derived from them. The facts are written in two places only: by those who ask (`stop`,
`kill`), and by the job's own thread when its code has ended and nothing can be raised in
it any more.
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
        What files are called in its places where that is not what the shell says now.
    codes : tuple of code
        What it was launched with: its cell's code, or its function's.
    private : Private or None
        The names that its code has for itself until it is done, if it has any.
    clashes : dict
        What cells in the foreground have assigned meanwhile and its code too; with their numbers.
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
    again : callable or None
        Launches the same once more; any thread may call it.
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
        self._claim = threading.Lock()  # never released
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

    def settled(self) -> Job:
        """Return the job itself: unlike a `Candidate` it is decided what it is."""
        return self

    # What can be asked

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
        self._end_unstarted(JobState.SKIPPED, "interrupted")
        over = self._outcome is not None or self._family.kill_requested
        self._interrupted = self._interrupted if over else time.monotonic()
        if not over and self.elsewhere is not None:
            self.elsewhere.interrupt()
        elif not over:
            self._family.interrupt_requested = True
            if self._outcome is not None:  # the end of its code may have taken this back before
                self._family.interrupt_requested = False
            self._family.interrupt()
        return self.done() if timeout == 0 else self.wait(timeout)

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
        self._end_unstarted(JobState.KILLED)
        if self._outcome is not None:
            if not self.threads and not self._has_processes(children):
                return True
            self._stop.set()
            if children:
                # Nobody else will: the job's own thread did, or did not, when it ended.
                self._family.end_processes_soon()
        if self.elsewhere is not None:
            self.elsewhere.kill()
        self._family.kill(math.inf if timeout is None else timeout)
        dead = self._family.join(timeout) and threading.current_thread() not in self.threads
        return dead and not self._has_processes(children)

    def _has_processes(self, children: bool) -> bool:
        return children and self._family.processes_run()

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
        self._end_unstarted(JobState.SKIPPED, reason)

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
        # The only part of the job's thread in which anything may be raised from outside.
        assert self._call is not None
        self._value = self._context.run(run_as, self, self._family, self._call)

    def finish(self, error: BaseException | None) -> None:
        """Write down how the code ended; in its thread, where nothing is raised any more."""
        # Whatever goes wrong here, the job ends.
        self._family.let_go_of_services()
        # Freed when this returns: the finalizers of others may wait for ever.
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
            error = None  # with all that its traceback holds
        if error is not None:
            failure = Failure(error)
        try:
            if outcome is JobState.DONE and self.private is not None:
                # No Kill can come between this and the outcome.
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
        # Who kills or interrupts writes this before he looks at the outcome.
        self._family.interrupt_requested = False
        killed_late = self._family.kill_requested and outcome is not JobState.KILLED
        if killed_late:
            self._family.end_processes_soon()
        self._settle(error)
        del held

    def _end_unstarted(self, outcome: JobState, reason: str = "") -> None:
        """End the job if it has not started."""
        if self._claim.acquire(blocking=False):
            self._reason = reason or self._reason
            self._end_now(outcome)
            self._settle()

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
