"""The one control core: every job of the process, and what may be done with them.

`JobManager` is a container of jobs. The magics, the panel and the Python API all call it;
it calls none of them. `jobs` is the manager that they share.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import numbers
import os
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import CodeType
from typing import Any, Protocol

from . import elsewhere, locks, loop, processes, questions, render, stack
from . import spec as specs
from .agent import Agent
from .exceptions import JobError, UnknownJobError
from .exits import before_threads_are_joined
from .info import JobInfo, JobState
from .interrupts import uninterrupted
from .job import Begun, Host, Job, current_job
from .kill import look, volley
from .log import JobLog
from .source import source_of
from .tracebacks import hidden
from .waiting import Deadline, wait_any

__all__ = ["JobManager", "jobs"]

_logger = logging.getLogger("ipykill")

# What Tab offers; all else is for the other parts of ipykill.
_FOR_USERS = [
    *("clear", "find", "grace", "kill", "kill_all", "max_running", "process_grace", "running"),
    *("snapshot", "stop_all", "submit", "wait"),
]

_END_STOP = 0.2  # seconds that stopped jobs have at the end before they are killed,
_END_KILL = 1.0  # that killed jobs have for their cleanup,
_EXIT_GRACE = 0.4  # and that their processes have to end when asked, if the process exits


class Foreground(Protocol):
    """What can make a job of the cell that runs. See `ipykill.foreground`."""

    def detach(self) -> Job:
        """Let that cell go on as a job, or raise `JobError`."""

    def runs(self) -> tuple[int, float] | None:
        """Return the number of that cell and when it began, in seconds since the epoch."""


class JobManager:
    """All jobs, in the order in which they were made.

    ``len(jobs)``, iteration, ``jobs[3]``, ``jobs["train"]`` and ``3 in jobs`` work as one
    would expect; what may stand in the brackets is said in `find`.

    Attributes
    ----------
    host
        Gives each new job its `Host`; called on the thread that submits. None: the job's
        output goes where any thread's goes.
    foreground : Foreground or None
        Knows the cell that runs in the foreground, see `detach`.
    offer : float
        Seconds that a cell has run when it is offered below it to detach it; 0: never.
    grace : float
        Seconds from the Stop of a job that passed its deadline until it is killed.
    process_grace : float
        Seconds from SIGTERM to SIGKILL for the processes of killed jobs, of any manager.

    Threading
    ---------
    Any thread may call any method, and so may a signal handler. `_lock` guards the table
    and the queue of pending jobs; it is not held while a job is started, stopped or killed.

    The child of a fork begins with an empty table: no job lives there.
    """

    def __init__(self) -> None:
        self.host: Callable[[Job], Host] | None = None
        self.foreground: Foreground | None = None
        self.offer = 0.0
        self.grace = 5.0
        self._max_running = 0
        self._next_id = 1
        self._begin()
        before_threads_are_joined(self._at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock = locks.RLock()
        self._jobs: dict[int, Job] = {}
        self._pending: dict[Job, tuple[Job, ...]] = {}
        self._clock = Agent("manager")
        self._callbacks = Agent("callbacks")

    @property
    def max_running(self) -> int:
        """How many jobs may run at once; later ones wait. 0: no limit.

        One that waits for another job does not count: that may be one of those that wait here.
        """
        return self._max_running

    @max_running.setter
    def max_running(self, number: int) -> None:
        self._max_running = number
        with uninterrupted():
            self._advance()

    @property
    def process_grace(self) -> float:
        """Seconds from SIGTERM to SIGKILL for the processes of a killed job."""
        return processes.grace

    @process_grace.setter
    def process_grace(self, seconds: float) -> None:
        processes.grace = seconds

    # The container

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(sorted(self._jobs.values(), key=lambda job: job.id))  # it copies them first

    def __contains__(self, spec: object) -> bool:
        if isinstance(spec, Job):
            return self._jobs.get(spec.id) is spec
        try:
            return bool(self.find(spec))
        except UnknownJobError as error:
            return isinstance(error, specs.AmbiguousJobError)

    @hidden
    def __getitem__(self, spec: int | str) -> Job:
        found = self.find(spec)
        if len(found) > 1:
            raise specs.ambiguous(str(spec), found)
        return found[0]

    def __dir__(self) -> list[str]:
        return _FOR_USERS

    def _ipython_key_completions_(self) -> list[str | int]:
        """Return what Tab offers in ``jobs[...]``."""
        jobs = list(self)
        return [*dict.fromkeys(job.name for job in jobs), *(job.id for job in jobs)]

    def __repr__(self) -> str:
        return render.table_text(self.snapshot())

    def _repr_html_(self) -> str:
        return render.table_html(self.snapshot())

    def running(self) -> list[Job]:
        """Return the jobs that are not over, oldest first."""
        return [job for job in self if not job.done()]

    def living(self) -> list[Job]:
        """Return the jobs that are not over, and those that have left something that lives."""
        return [job for job in self if job.lives()]

    def snapshot(self) -> list[JobInfo]:
        """Return what is true now of every job, oldest first."""
        see = look()
        return [job.info(see) for job in self]

    @hidden
    def find(self, spec: object = "") -> list[Job]:
        """Return the jobs that `spec` means, never none.

        Parameters
        ----------
        spec
            ``3`` or ``%3`` (an id), a name, the unique beginning of a name, ``?text``
            (in the source), ``%+`` or nothing (the newest that is not over, else the
            newest), ``%-`` (the next best after that), ``all`` (all that are not over).
            Of several that fit, the one that is not over is meant; of several with the
            same name that all are over, the newest. An int is an id and nothing else.

        Raises
        ------
        UnknownJobError
            No job fits, or more than one; the candidates are named.
        """
        return specs.find(list(self), spec, self._next_id - 1)

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
            Where it runs: ``"process"`` is a process of its own, which gets copies of the
            arguments.
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
            source=source_of(code),
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
            A file that gets all that the job prints, after what is in it.
        present
            Called in this thread with the job before it starts, to show it before its
            output; what it raises skips the job.

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
        if timeout is not None and not (isinstance(timeout, numbers.Real) and timeout > 0):
            msg = f"a timeout is a number of seconds above 0, not {timeout!r}"
            raise ValueError(msg)
        questions.install()
        file = JobLog()
        if log is not None:
            file.copy_to(log, append=True)
        with self._lock:
            job = Job(
                self._next_id,
                call,
                name=render.one_line(name),
                source=source,
                cell=cell,
                origin=origin,
                timeout=timeout,
                report=report,
                codes=codes,
                log=file,
                on_end=self._ended,
                on_wait=self._advance_soon,
            )
            self._next_id += 1
        self._route(job)
        with uninterrupted():  # from the moment when it can be found
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

    def detach(self) -> Job:
        """Let the cell that runs in the foreground go on in the background, as a job.

        For another thread than the cell's, or a subshell. The next cells run then.

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
        """Make a job of a cell that runs already."""
        with self._lock:
            job = Job(
                self._next_id,
                lambda: None,
                name=render.one_line(name),
                source=source,
                cell=cell,
                origin=origin,
                codes=begun.codes,
                on_end=self._ended,
                on_wait=self._advance_soon,
                begun=begun,
            )
            self._next_id += 1
        begun.context.copy().run(self._route, job)
        with self._lock:
            self._jobs[job.id] = job
        return job

    def _route(self, job: Job) -> None:
        if self.host is not None:
            try:
                job.host = self.host(job)
            except Exception:
                _logger.exception("the output of job %s cannot be routed", job.id)

    def _advance(self) -> None:
        """Start, or skip, the pending jobs whose turn it is; to be called uninterrupted."""
        while self._pending:
            with self._lock:
                job, failed = self._take_ready()
            if job is None:
                return
            if failed is not None:
                state = failed.state.value
                job.skip(f"{render.named(failed)} had to be done first, and is {state}")
            elif job.start() and job.timeout is not None:
                expire = functools.partial(self._expire, weakref.ref(job))
                self._clock.call(expire, time.monotonic() + job.timeout)

    def _take_ready(self) -> tuple[Job | None, Job | None]:
        full = False
        if self.max_running:
            started = (job for job in self._jobs.values() if job not in self._pending)
            full = sum(not (job.done() or job.waits) for job in started) >= self.max_running
        for job, after in self._pending.items():
            failed = next((it for it in after if it.done() and it.state is not JobState.DONE), None)
            ready = not full and all(it.done() for it in after)
            if ready or failed is not None or job.done():
                del self._pending[job]
                job.waits_for = ()
                return job, failed
        return None, None

    # Both have a weak reference: a job that ended long before its deadline can be forgotten.

    def _expire(self, ref: weakref.ref[Job]) -> None:
        job = ref()
        if job is not None and not job.done():
            job.overdue = True
            job.stop(reason="timeout")
            self._clock.call(functools.partial(self._overdue, ref), time.monotonic() + self.grace)

    def _overdue(self, ref: weakref.ref[Job]) -> None:
        job = ref()
        if job is not None and not job.done():
            job.kill(reason="timeout")

    def _ended(self, job: Job) -> None:
        # On the job's own thread, or on the one that ended a pending job.
        wakers, callbacks = job.take_callbacks()
        for waker in wakers:  # not behind a callback of the user's that takes its time
            self._clock.call(waker)
        for callback in [*callbacks, job.let_go_of_bars]:
            self._callbacks.call(callback)
        self._advance_soon()

    def _advance_soon(self) -> None:
        if self._pending:
            self._clock.call(self._advance)

    # Ending

    @hidden
    def stop_all(self, timeout: float | None = 0, *, reason: str = "") -> bool:
        """Stop every job; return whether all are over within `timeout` seconds."""
        jobs = self.running()
        for job in jobs:
            job.stop(reason=reason)
        return not self.wait(jobs, timeout)

    @hidden
    def kill_all(self, timeout: float | None = 0, *, reason: str = "") -> bool:
        """Kill every job, and what finished jobs have left; return whether all is dead.

        Parameters
        ----------
        timeout
            How many seconds to wait for that; None waits as long as it takes.
        """
        return self.kill(self.living(), timeout, reason=reason)

    @hidden
    def kill(
        self,
        jobs: Iterable[Job],
        timeout: float | None = 0,
        *,
        reason: str = "",
        children: bool = True,
    ) -> bool:
        """Kill `jobs` together, as `Job.kill` does; return whether all are dead in time.

        Many jobs that are busy die much sooner so than one after another.
        """
        deadline = Deadline(timeout)
        me = current_job()
        jobs = sorted(jobs, key=lambda job: job is me)  # that kill may not return
        busy = [job for job in jobs if job.started is not None and not job.done()]
        for job in jobs:
            if job not in busy:  # what has to be done for it takes a moment
                job.kill(reason=reason, children=children)
        with volley() if len(busy) > 1 else contextlib.nullcontext():
            for job in busy:
                job.kill(reason=reason, children=children)
        if self.wait((job for job in jobs if job is not me), deadline.left()):
            return False
        # To kill again changes nothing, and waits for what the code of a job has left.
        return all(job.kill(deadline.left(), children=children) for job in jobs)

    def end_all(self, *, reason: str = "") -> bool:
        """Stop every job, and kill those that have not ended a moment later.

        The threads that finished jobs have left end as well, their processes do not.

        Returns
        -------
        bool
            Whether all are dead. If not, the Kill goes on.
        """
        self.stop_all(_END_STOP, reason=reason)
        deadline = Deadline(_END_KILL)
        left = [job for job in self if job.done() and job.threads]
        dead = self.kill(self.running(), deadline.left(), reason=reason)
        return self.kill(left, deadline.left(), children=False) and dead

    @hidden
    def wait(
        self, jobs: Iterable[Job], timeout: float | None = None, *, any: bool = False
    ) -> list[Job]:
        """Wait until all of `jobs`, or one of them, are over.

        Returns
        -------
        list of Job
            Those that are not over after `timeout` seconds, or when one is.

        Raises
        ------
        JobError
            In the own thread of one of `jobs`, or of a job that one of them waits for: it
            would wait for itself.
        """
        jobs = list(jobs)
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
    def clear(self, jobs: Iterable[Job] | None = None) -> list[Job]:
        """Forget finished jobs; return those that were forgotten.

        Parameters
        ----------
        jobs
            Which; by default all of which no thread and no process lives any more.

        What they gave goes as well: who still has such a job gets no value from it any more.

        Raises
        ------
        JobError
            One of `jobs` is not over, or has left something that lives and that nobody could
            end any more. None is forgotten then.
        """
        chosen = [job for job in self if not job.lives()] if jobs is None else list(jobs)
        for job in chosen:
            if not job.done():
                msg = f"job {job.id} ({job.name}) is not over; stop it or wait for it first"
                raise JobError(msg)
            if job.lives():
                left = render.left(job.info())
                msg = f"job {job.id} ({job.name}) is over, but {left}; kill it first"
                raise JobError(msg)
        with self._lock:
            for job in chosen:
                self._jobs.pop(job.id, None)
        for job in chosen:
            job.forget("it was cleared")
        return chosen

    def _at_exit(self) -> None:
        # The interpreter exits: let finally: blocks run, but do not keep it for long.
        processes.grace = min(processes.grace, _EXIT_GRACE)
        if not self.end_all(reason="the interpreter exits"):
            for job in self.running():  # its code is in cleanup, or in C
                job.kill_processes()


@stack.machinery
def _run(call: Callable[[], Any]) -> object:
    return loop.run(call())


jobs = JobManager()
