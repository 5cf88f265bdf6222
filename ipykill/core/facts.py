"""The facts about a job that are stored, and the properties that follow from them."""

from __future__ import annotations

import logging
import math
import numbers
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import CodeType

from ..base import stack
from ..base.waiting import Latch
from ..processes import ProcessInfo
from .elsewhere import Elsewhere
from .failure import Failure
from .family import Family
from .host import Host, NoHost
from .info import Bar, JobState, Loop, Progress
from .log import JobLog
from .private import Private

__all__ = ["FOR_USERS", "SOON", "JobFacts"]

# What Tab offers; the other attributes are for the other parts of ipykill.
FOR_USERS = [
    *("id", "name", "source", "cell", "state", "requested", "reason", "started", "elapsed"),
    *("cpu_time", "progress", "log", "threads", "processes", "info", "where", "stop", "interrupt"),
    *("timeout", "kill", "wait", "done", "result", "exception", "add_done_callback"),
]

SOON = 0.5  # seconds in which a job that was killed, or is over, is expected to be dead

_logger = logging.getLogger("ipykill")


def check_timeout(seconds: float | None) -> None:
    """Raise `ValueError` if `seconds` cannot be the timeout of a job."""
    if seconds is not None and not (isinstance(seconds, numbers.Real) and seconds > 0):
        msg = f"a timeout is a number of seconds above 0, not {seconds!r}"
        raise ValueError(msg)


class JobFacts:
    """The facts about a job. See `Job`, which writes them and documents the attributes."""

    on_deadline: Callable[[], None] | None = None  # called when a running job gets a new deadline

    def __init__(
        self,
        id: int,
        *,
        name: str,
        source: str,
        cell: int | None,
        origin: str,
        timeout: float | None,
        report: bool,
        codes: Sequence[CodeType],
        log: JobLog | None,
    ) -> None:
        self.id = id
        self.name = name
        self.source = source
        self.cell = cell
        self.origin = origin
        self.report = report
        self.has_card = False
        self.is_told = False
        self._timeout = timeout
        self.again: Callable[[], JobFacts] | None = None
        self.codes = tuple(codes)
        self.labels: Mapping[str, str] = stack.NO_LABELS
        if cell is not None and codes:
            self.labels = {codes[0].co_filename: f"cell [{cell}]"}
        self.private: Private | None = None
        self.clashes: dict[str, int] = {}
        self.waits_for: Sequence[JobFacts] = ()
        self.loop: Loop | None = None
        self.elsewhere: Elsewhere | None = None
        self.host: Host = NoHost()
        self.log = JobLog() if log is None else log
        self.thread: threading.Thread
        self._family: Family
        self._created = time.time()
        self._started: float | None = None
        self._ended: float | None = None
        # By time.monotonic, which no change of the system clock moves:
        self._begin = 0.0
        self._end: float | None = None
        self._stop = Latch()
        self.over = Latch()
        self._asked: float | None = None
        self._interrupted: float | None = None  # when an interrupt was asked last, monotonic
        self._reason = ""
        self.overdue = False
        self._stop_asked = False  # whether a Stop was asked before it was over
        self._outcome: JobState | None = None
        self._size = 0  # of its value, in bytes, if that is large
        self._awaits = 0  # how many other jobs it awaits
        self.failure: Failure | None = None
        self._ended_at: tuple[CodeType, int] | None = None
        self._bars: list[Bar] = []
        self._progress: Progress | None = None  # how far it had come when it ended

    def __dir__(self) -> list[str]:
        return FOR_USERS

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.name!r}: {self.state.value}>"

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
    def requested(self) -> str | None:  # no Literal: Jedi completes nothing after one
        """What was asked of the job, or of threads that it left behind: "stop", "kill", None."""
        if self._family.kill_requested:
            return "kill"
        return "stop" if self._stop_asked else None

    @property
    def reason(self) -> str:
        """Why the job was asked to end, or was skipped; empty when a person asked."""
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
    def timeout(self) -> float | None:
        """Seconds after its start at which it is stopped, and killed `grace` later; or None.

        It may be set at any time; ``job.timeout = job.elapsed + 60`` stops it in a minute.
        """
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        check_timeout(seconds)
        # This writes the timeout and then reads `_started`; the thread that starts the job writes
        # `_started` and then reads the timeout. So at least one of the two sees both.
        self._timeout = seconds
        if self._started is not None and self.on_deadline is not None:
            self.on_deadline()

    @property
    def deadline(self) -> float:
        """When it is stopped, by `time.monotonic`; infinite if it has no timeout."""
        return math.inf if self._timeout is None else self._begin + self._timeout

    @property
    def threads(self) -> list[threading.Thread]:
        """The threads of the job that live."""
        return [] if self._started is None else self._family.threads()

    def lives(self) -> bool:
        """Whether the job is not over, or a thread or process that it left behind still runs."""
        left = self.left_threads() or any(it.running for it in self.processes)
        return not self.done() or bool(left)

    def left_threads(self) -> list[threading.Thread]:
        """Return the threads that live on although the job is over."""
        return [it for it in self.threads if it is not self.thread or self._frees_for_long()]

    def _frees_for_long(self) -> bool:
        # Just after the job's end its own thread is about to end too; if the thread still lives
        # later, a finalizer blocks it.
        return self._end is not None and time.monotonic() - self._end > SOON

    @property
    def processes(self) -> tuple[ProcessInfo, ...]:
        """The processes that the job started, and that have not ended.

        A process that has ended is among them until somebody waits for it, as in the output of
        ``ps``. A job that is over may have left processes running: a Kill of the job ends them.
        """
        return () if self._started is None else self._family.processes()

    def spared(self) -> list[str]:
        """Return a line about each thread that was let go because a library keeps it."""
        return [
            f"the thread {name} goes on: {library} keeps it for whoever uses it next"
            for name, library in self._family.spared.copy().items()
        ]

    @property
    def idents(self) -> set[int]:
        """The idents of its threads that have ended; other threads may have them by now."""
        return set(self._family.past_idents)

    @property
    def waits(self) -> bool:
        """Whether it waits for another job, without a timeout."""
        return bool(self.waits_for or self._awaits)

    @property
    def interrupt_pending(self) -> bool:
        """Whether `interrupt` was called, and nothing has been raised in the job yet."""
        return self._family.interrupt_requested

    def expect_interrupt(self) -> None:
        """Note that an earlier Ctrl-C may still land in the job, which then ends as stopped."""
        self._interrupted = time.monotonic()

    @property
    def progress(self) -> Progress | None:
        """How far the job is, by the outermost bar that is still open, or else the outermost."""
        bars = list(self._bars)
        if not bars:
            return self._progress
        try:
            outer = next((bar for bar in bars if not bar.closed), bars[0])
            shown = outer.look()
            # The newest bar counts as the inner one even at its end: the next round makes another.
            if bars[-1] is outer or outer.closed:
                return shown
            return replace(shown, inner=bars[-1].look())
        except Exception:  # raised by a bar, which is code of others
            self._bars.clear()
            _logger.exception("the bar of job %s does not tell how far it is", self.id)
            return None

    def let_go_of_bars(self) -> None:
        """Note how far it came, and forget its bars; may block, as bars are code of others."""
        self._progress = self.progress
        self._bars.clear()

    def add_bar(self, bar: Bar) -> None:
        """Add a bar that tells how far the job is, until the bar is at its end."""
        if not self.done():
            self._bars[:] = [it for it in self._bars if not it.closed] + [bar]

    def done(self) -> bool:
        """Whether the job is over."""
        return self.over.is_set()

    def asked(self) -> bool:
        """Whether the job was asked to end, by a Stop or a Kill; fast."""
        return self._stop.is_set()

    def wait_for_stop(self, timeout: float) -> bool:
        """Wait until the job is asked to end, or `timeout` seconds; return whether it was."""
        return self._stop.wait(timeout)
