"""The manager of all jobs of the process: it launches, stops, kills and lists them.

`JobManager` is a container of jobs. The magics, the panel and the Python API all call it;
it calls none of them. `jobs` is the manager that they share.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

from ..base import stack
from ..base.exits import before_threads_are_joined
from ..base.source import source_of
from ..base.tracebacks import hidden
from ..base.waiting import Deadline, wait_any
from ..exceptions import JobError
from ..kill import volley
from ..processes import timing
from . import elsewhere, loop, questions, render
from .current import current_job
from .facts import check_timeout
from .host import Begun, Foreground, Host
from .interrupts import uninterrupted
from .job import Job
from .log import JobLog
from .queue import JobQueue
from .table import Which

__all__ = ["JobManager", "jobs"]

_logger = logging.getLogger("ipykill")

# All in seconds, when the kernel shuts down. Jupyter gives it 2.5 s for that.
_END_STOP = 0.2  # that stopped jobs have before they are killed
_END_KILL = 1.0  # that killed jobs have for their cleanup
_END_MOST = 2.0  # the longest wait for killed jobs, as long as one after another of them ends
_EXIT_GRACE = 0.4  # that child processes have after SIGTERM


class JobManager(JobQueue):
    """All jobs, in the order in which they were made.

    ``len(jobs)``, iteration, ``jobs[3]``, ``jobs["train"]`` and ``3 in jobs`` work as one
    would expect; `find` says what may stand in the brackets.

    Attributes
    ----------
    host
        Gives each new job its `Host`; called on the thread that submits. None: the job's
        output goes where any thread's goes.
    foreground : Foreground or None
        Knows the cell that runs in the foreground, see `detach`.
    offer : float
        Seconds after which a button below a running cell offers to detach it; 0: never.
    process_grace : float
        Seconds from SIGTERM to SIGKILL for the processes of killed jobs, of any manager.

    Threading
    ---------
    Any thread may call any method, and so may a signal handler; see `JobQueue`.

    The child of an ``os.fork()`` begins without jobs, because none of their threads runs there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.host: Callable[[Job], Host] | None = None
        self.foreground: Foreground | None = None
        self.offer = 0.0
        before_threads_are_joined(self._at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    @property
    def process_grace(self) -> float:
        """Seconds from SIGTERM to SIGKILL for the processes of a killed job."""
        return timing.grace

    @process_grace.setter
    def process_grace(self, seconds: float) -> None:
        timing.grace = seconds

    # Launching

    @hidden
    def submit(
        self,
        fn: Callable[..., object],
        /,
        *args: Any,
        name: str | None = None,
        timeout: float | None = None,
        on: Any = None,
        **kwargs: Any,
    ) -> Job:
        """Call ``fn(*args, **kwargs)`` in the background.

        A coroutine function runs on an event loop of its own, as a cell that awaits does.

        Parameters
        ----------
        name
            What the job is called; the function's name by default.
        timeout
            After so many seconds the job is stopped, and killed `grace` seconds later.
        on
            Where else it runs, on copies of the arguments: ``"process"`` is a process of its
            own, a `distributed.Client` a worker of its cluster. By default in a thread here.

        Raises
        ------
        TypeError, ValueError
            `fn` cannot be called, or as for `launch`.
        """
        if not callable(fn):
            msg = f"submit() needs a function to call, not {fn!r}"
            raise TypeError(msg)
        title = name or getattr(fn, "__name__", None) or type(fn).__name__
        call = functools.partial(fn, *args, **kwargs)
        inner = inspect.unwrap(fn)
        if inspect.iscoroutinefunction(inner):
            call = functools.partial(_run, call)
        run: Callable[[], object] = call
        if on is not None:
            run = elsewhere.sender(on, call, title)
        code = getattr(inner, "__code__", None)
        return self.launch(
            run,
            name=title,
            source=source_of(inner),
            timeout=timeout,
            codes=() if code is None else (code,),
        )

    def launch(
        self,
        call: Callable[[], object],
        *,
        name: str,
        source: str = "",
        cell: int | None = None,
        origin: str = "",
        timeout: float | None = None,
        after: Sequence[Job] = (),
        log: str | Path | None = None,
        report: bool = True,
        codes: Sequence[CodeType] = (),
        present: Callable[[Job], None] | None = None,
    ) -> Job:
        """Make a job of `call` and start it, when the jobs in `after` are done.

        Parameters
        ----------
        name, source, cell, origin, timeout, report, codes
            See `Job`.
        log
            A file to which all that the job prints is appended.
        present
            Called with the job in the calling thread before the job starts, to show it before
            its output. If it raises, the job is skipped and the error passes to the caller.

        Raises
        ------
        TypeError
            The name is not a string.
        ValueError
            The timeout is not a number of seconds above zero.
        OSError
            The file cannot be written.
        """
        if not isinstance(name, str):
            msg = f"the name of a job is a string, not {name!r}"
            raise TypeError(msg)
        check_timeout(timeout)
        questions.install()
        file = JobLog()
        if log is not None:
            file.copy_to(log, append=True)
        job = self._make(
            call,
            name,
            source=source,
            cell=cell,
            origin=origin,
            timeout=timeout,
            report=report,
            codes=codes,
            log=file,
        )
        self._route(job)
        with uninterrupted():  # so that no job in the table is left unstarted
            with self._lock:
                self._jobs[job.id] = job
            if present is not None:
                try:
                    present(job)
                except BaseException as error:
                    job.skip(f"it could not be shown: {type(error).__name__}")
                    raise
            with self._lock:
                job.waits_for = self._pending[job] = tuple(after)
            self._advance()
        return job

    @hidden
    def detach(self) -> Job:
        """Let the cell that runs in the foreground go on in the background, as a job.

        Call it from another thread than the cell's, or from a subshell. Then the next cells run.

        Raises
        ------
        JobError
            No cell runs, or it cannot go on as a job; the error says why.
        """
        if self.foreground is None:
            msg = "no cell can go on in the background here: run %load_ext ipykill in a notebook"
            raise JobError(msg)
        return self.foreground.detach()

    def adopt(self, begun: Begun, *, name: str, source: str, cell: int, origin: str) -> Job:
        """Make a job of a cell that runs already in the foreground."""
        known = {"source": source, "cell": cell, "origin": origin}
        job = self._make(lambda: None, name, codes=begun.codes, begun=begun, **known)
        begun.context.copy().run(self._route, job)
        with self._lock:
            self._jobs[job.id] = job
        return job

    def _make(self, call: Callable[[], object], name: str, **known: Any) -> Job:
        with self._lock:
            job = Job(
                self._next_id,
                call,
                name=render.one_line(name),
                on_end=self._ended,
                on_wait=self._advance_soon,
                **known,
            )
            self._next_id += 1
        job.on_deadline = functools.partial(self._wait_for_deadline, weakref.ref(job))
        return job

    def _route(self, job: Job) -> None:
        if self.host is not None:
            try:
                job.host = self.host(job)
            except Exception:
                _logger.exception("the output of job %s cannot be routed", job.id)

    # Ending

    @hidden
    def stop_all(self, timeout: float | None = 0, *, reason: str = "") -> bool:
        """Stop every job; wait `timeout` seconds, and return whether all are over."""
        jobs = self.running()
        for job in jobs:
            job.stop(reason=reason)
        return not self.wait(jobs, timeout)

    @hidden
    def kill_all(self, timeout: float | None = 0, *, reason: str = "") -> bool:
        """Kill every job, and what finished jobs have left running; return whether all are dead.

        Parameters
        ----------
        timeout
            How many seconds to wait for the end; None waits as long as it takes.
        """
        return self.kill(self.living(), timeout, reason=reason)

    @hidden
    def kill(
        self, jobs: Which, timeout: float | None = 0, *, reason: str = "", children: bool = True
    ) -> bool:
        """Kill `jobs` (or what `find` takes) as `Job.kill` does; return whether all died in time.

        Many busy jobs die much sooner this way than if each is killed by itself.
        """
        deadline = Deadline(timeout)
        me = current_job()
        # The caller comes last: kill() may raise there.
        chosen = sorted(self._given(jobs), key=lambda job: job is me)
        busy = [job for job in chosen if job.started is not None and not job.done()]
        for job in chosen:
            if job not in busy:  # outside of volley(), as these may take a moment
                job.kill(reason=reason, children=children)
        with volley() if len(busy) > 1 else contextlib.nullcontext():
            for job in busy:
                job.kill(reason=reason, children=children)
        if self.wait([job for job in chosen if job is not me], deadline.left()):
            return False
        # A second kill() changes nothing, and waits for the threads and processes that are left.
        return all(job.kill(deadline.left(), children=children) for job in chosen)

    def end_all(self, *, reason: str = "") -> bool:
        """Stop every job, and kill those that have not ended a moment later.

        Threads that finished jobs have left running are killed as well, their processes are not.

        Returns
        -------
        bool
            Whether all are dead. If not, the Kill goes on.
        """
        self.stop_all(_END_STOP, reason=reason)
        deadline, most = Deadline(_END_KILL), Deadline(_END_MOST)
        left = [job for job in self if job.done() and job.threads]
        dead = self.kill(running := self.running(), deadline.left(), reason=reason)
        while not dead and most.left() and (now := self.running()) != running:
            dead = self.kill(running := now, _END_KILL / 4)  # hundreds take longer
        return self.kill(left, deadline.left(), children=False) and dead

    @hidden
    def wait(
        self, jobs: Which | None = None, timeout: float | None = None, *, any: bool = False
    ) -> list[Job]:
        """Wait until all of `jobs`, or with `any` one of them, are over; by default all others.

        Returns
        -------
        list of Job
            Those that are not over then.

        Raises
        ------
        JobError
            The caller is the own thread of one of `jobs`, or of a job for which one of them
            waits: it would wait for itself.
        """
        others = (job for job in self.running() if job is not current_job())
        jobs = self._given(others if jobs is None else jobs)
        deadline = Deadline(timeout)
        while left := [job for job in jobs if not job.done()]:
            if (any and len(left) < len(jobs)) or deadline.left() == 0:
                break
            for job in left:
                job.refuse_itself()
            seconds = deadline.left()
            if any:
                wait_any([job.over for job in left], seconds)
            else:
                left[0].wait(seconds)
        return left

    @hidden
    def clear(self, jobs: Which | None = None) -> list[Job]:
        """Forget finished jobs, and let go of their values; return those that were forgotten.

        Parameters
        ----------
        jobs
            Which; by default all finished jobs that have left no thread or process running.

        Raises
        ------
        JobError
            One of `jobs` is not over, or has left a thread or process running, which nobody
            could end any more. None is forgotten then.
        """
        chosen = [job for job in self if not job.lives()] if jobs is None else self._given(jobs)
        for job in chosen:
            if not job.done():
                msg = f"job {job.id} ({job.name}) is not over; stop it or wait for it first"
                raise JobError(msg)
            if job.lives() and (left := render.left(job.info())):
                msg = f"job {job.id} ({job.name}) is over, but {left}; kill it first"
                raise JobError(msg)
        with self._lock:
            for job in chosen:
                self._jobs.pop(job.id, None)
        for job in chosen:
            job.forget("it was cleared")
        return chosen

    def _at_exit(self) -> None:
        # Let finally: blocks run, but do not delay the exit of the interpreter for long.
        timing.grace = min(timing.grace, _EXIT_GRACE)
        if not self.end_all(reason="the interpreter exits"):
            for job in self.running():  # their code is in cleanup, or in C
                job.kill_processes()


@stack.machinery
def _run(call: Callable[[], Any]) -> object:
    return loop.run(call())


jobs = JobManager()
