"""What a job looks like now: its snapshot, and where its threads are."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from types import FrameType

from ..base import stack
from ..base.stacks import Stacks
from ..kill import Look, Looking, look
from ..kill.switches import has_gil
from . import where
from .facts import SOON, JobFacts
from .info import JobInfo, JobState

__all__ = ["JobView"]

_NOT_INTERRUPTED = "the interrupt waits until it leaves C code, cleanup or a shield()"

_FREES = "the job is over; what it has left is being freed, by finalizers that may not be cut short"

_ENDED_EARLY = (JobState.FAILED, JobState.KILLED, JobState.STOPPED)

_HAS_CPU_CLOCKS = hasattr(time, "pthread_getcpuclockid")

_logger = logging.getLogger("ipykill")


class JobView(JobFacts):
    """The part of a `Job` that shows it; errors that foreign code raises here are logged.

    Threading
    ---------
    Any thread may call any method. Two threads that look at once may both do the work.
    """

    _place: str | None = None  # where it ended, in words, as soon as somebody has asked
    _look_failed = False  # whether a look at it has raised an error, which was logged
    _seen = -1.0, ""  # its CPU time at the last look, and where it was then
    _last_info: JobInfo | None = None  # the last snapshot, when nothing can change any more

    @property
    def cpu_time(self) -> float:
        """CPU time that all threads of the job used so far, in seconds."""
        with Looking():
            own = self._family.cpu_time()
        return own if self.elsewhere is None else self.info().cpu_time

    def where(self) -> Stacks:
        """Return where the job's threads are: their stacks, and what keeps them from dying.

        The job's own thread comes first, after it the asyncio tasks that wait in it, then
        each thread below the one that started it. Each stack shows only the user's frames,
        and the innermost frame if it is a library's. Empty before the start and when
        no thread lives.
        """
        if self._started is None:
            return Stacks()
        if self.elsewhere is not None:
            return Stacks(self.elsewhere.where())
        try:
            with Looking():
                return self._stacks()
        except Exception:
            self._log_failed_look()
            return Stacks()

    def _stacks(self) -> Stacks:
        stacks = Stacks(where.stacks(self._family, look(), self.labels))
        if self.done():  # then its own thread is about to end, unless a finalizer waits
            late = self._frees_for_long()
            stacks = Stacks(
                it if it.depth else replace(it, hindrance=_FREES)
                for it in stacks
                if (it.frames or not has_gil() if it.depth else late)
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
        # Put in words only when somebody asks: at the job's end that would delay who killed it.
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
        # The look at a thread is the slowest part of a snapshot. A thread whose CPU time is still
        # what it was before the last look is still at the same place.
        if not _HAS_CPU_CLOCKS or self._seen[0] != cpu_time:
            self._seen = cpu_time, self._place_now(see)
        return self._seen[1]

    def info(self, see: Look | None = None) -> JobInfo:
        """Return what is true of the job now.

        Parameters
        ----------
        see
            What `ipykill.kill.look` has just returned: one call serves many jobs.
        """
        if (last := self._last_info) is not None:
            return last
        with Looking():
            try:
                return self._look(see)
            except Exception:
                self._log_failed_look()
                return self._look(see, blind=True)

    def _log_failed_look(self) -> None:
        # A look calls foreign code, of a module's loader or a subclass of Thread; it has failed.
        if not self._look_failed:
            self._look_failed = True
            _logger.exception("job %s cannot be looked at", self.id)

    def _look(self, see: Look | None, *, blind: bool = False) -> JobInfo:
        final = self.over.is_set()  # read first: if it is over, what is read later is final
        here = why = ""
        cpu_time = self._family.cpu_time()
        if self._started is not None and self._outcome is None and not blind:
            see = look() if see is None else see
            here = self._seen_at(cpu_time, see)
            asked = self._asked
            if self._family.kill_requested and asked and time.monotonic() - asked > SOON:
                why = where.why_alive(self._family, see, self.labels)
            elif self.interrupt_pending and time.monotonic() - (self._interrupted or 0) > SOON:
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
            left=len(self.left_threads()) if final and threads else 0,
            size=self._size,
            again=self.again is not None and outcome in _ENDED_EARLY,
            clashes=tuple(f"{name} (cell [{it}])" for name, it in self.clashes.copy().items()),
            waits=tuple(f"{it.name} (job {it.id})" for it in self.waits_for if not it.done())
            if started is None and outcome is None
            else (),
        )
        if self.elsewhere is not None:
            info = self.elsewhere.view(info)
        if final and not threads and not processes and not blind:
            self._last_info = info
            if info.size != self._size:  # forget() was called just now
                self._last_info = None
        return info
