"""The data that the panel shows: rows, changes of rows, and the details of a job.

All of it can be encoded as JSON. Escape sequences and control characters are removed from texts
of the user's.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..base import stack
from ..base.text import printable
from ..core import render
from ..core.info import JobInfo, JobState, Progress
from ..core.job import Job
from ..core.log import JobLog
from ..core.manager import JobManager
from ..kill import Look, look

Row = dict[str, Any]

# How much of a job is sent at most:
_TEXT = 240  # characters of one text in a row,
_LINE = 2_000  # characters of one line of a log,
_LOG = 1_000  # lines of a log,
_PROCESSES = 100  # processes,
_THREADS = 100  # and threads and tasks

_logger = logging.getLogger("ipykill")

_OWN_THREAD = "the job's own thread"


def plain(text: str, width: int) -> str:
    """Return `text` without escape sequences and control characters, cut at `width`."""
    # A line of a log may have 100 000 characters; the rest of them would be cut anyway.
    text = printable(text[: 4 * width], keep="\t").rstrip()
    return text if len(text) <= width else text[: width - 1] + "…"


def row(info: JobInfo, now: float) -> Row:
    """Return the row of a job for a front end; empty facts are left out.

    Times are seconds since the epoch, so that the browser can count durations by itself, and a
    row changes only when a fact does.
    """
    cpu, final = info.cpu_time, info.state.final
    facts: Row = {
        "id": info.id,
        "name": plain(info.name, _TEXT) or "(no name)",
        "state": info.state.value,
        "cell": info.cell,
        "requested": info.requested,
        "reason": plain(info.reason, _TEXT),
        "started": None if info.started is None else round(info.started, 2),
        "detached": round(info.created, 2) if info.created > (info.started or math.inf) else None,
        "elapsed": round(info.elapsed, 3) if final and info.started else None,
        "cpu": (round(cpu, 1) if cpu < 60 else round(cpu)) or None,
        "asked": None if final or info.asked is None else round(now - info.asked, 1),
        "place": plain(info.place, _TEXT),
        "waits": plain(", ".join(info.waits), _TEXT),
        "hindrance": plain(info.hindrance, _TEXT),
        "error": plain(info.error, _TEXT),
        "note": _note(info),
        "last": plain(info.last_line, _TEXT),
        "threads": info.left or (info.threads if info.threads > 1 and not final else None),
        "progress": _progress(info.progress),
        "again": True if info.again else None,
    }
    return {key: value for key, value in facts.items() if value is not None and value != ""}


def _note(info: JobInfo) -> str:
    return plain(render.note(info), 2 * _TEXT)


def _progress(progress: Progress | None) -> dict[str, Any] | None:
    if progress is None:
        return None
    return {
        "done": progress.done,
        "total": progress.total,
        "description": plain(progress.description, _TEXT),
        "left": None if progress.left is None else round(progress.left),
        "rate": None if progress.rate is None else float(f"{progress.rate:.3g}"),
        "inner": _progress(progress.inner),
    }


class Feed:
    """The rows of all jobs, from the last look at them, with a revision number.

    Threading
    ---------
    Not thread-safe; `ipykill.panel.service` holds a lock around it.
    """

    def __init__(self, manager: JobManager) -> None:
        self._manager = manager
        self._rows: dict[int, Row] = {}
        self._settled: set[int] = set()
        self._marks: dict[int, object] = {}
        self._shown_early: set[int] = set()
        self._strange: set[int] = set()  # jobs whose rows could not be made, which was logged
        self.revision = 0

    @property
    def live(self) -> bool:
        """Whether a row may still change by itself."""
        return len(self._settled) < len(self._rows)

    @property
    def states(self) -> dict[int, str]:
        """The state of each job, by its id."""
        return {number: row["state"] for number, row in self._rows.items()}

    def __len__(self) -> int:
        return len(self._rows)

    def full(self) -> dict[str, Any]:
        """Return all rows, from the last look at the jobs."""
        return {"rev": self.revision, "now": time.time(), "rows": list(self._rows.values())}

    def look(self, job: Job) -> Row:
        """Return the present row of one job, for one view; the next `refresh` tells the others."""
        self._shown_early.add(job.id)
        return row(job.info(), time.time())

    def refresh(self) -> dict[str, Any] | None:
        """Look at the jobs; return what changed since the last look, None if nothing did."""
        now = time.time()
        see = look()
        present: set[int] = set()
        changes: dict[int, Row] = {}
        for job in self._manager:
            present.add(job.id)
            if job.id in self._settled and not self._lets_go(job):
                continue
            settled = job.done()  # read first: if it is over, what is read later is final
            old = self._rows.get(job.id)
            try:
                mark = _mark(job, see)
                if not settled and mark == self._marks.get(job.id):
                    continue
                new = row(job.info(see), now)
            except Exception:  # one job must not hide the others
                self._tell_of(job)
                continue
            self._marks[job.id] = mark
            if old is not None and "asked" in old and old.get("requested") == new.get("requested"):
                new["asked"] = old["asked"]  # it differs only by the jitter of two clocks
            if settled:
                self._settled.add(job.id)
                self._marks.pop(job.id, None)
            if new != old:
                self._rows[job.id] = new
                # A view that got this row early, by `look`, cannot apply a difference to it.
                early = job.id in self._shown_early
                self._shown_early.discard(job.id)
                changes[job.id] = new if old is None or early else _difference(old, new)
        gone = [number for number in self._rows if number not in present]
        for number in gone:
            del self._rows[number]
            self._settled.discard(number)
            self._marks.pop(number, None)
        if not changes and not gone:
            return None
        self.revision += 1
        return {
            "base": self.revision - 1,
            "rev": self.revision,
            "now": now,
            "rows": changes,
            "gone": gone,
        }

    def _lets_go(self, job: Job) -> bool:
        """Whether a job that is over has let go of its value since its row was made."""
        return "note" in self._rows[job.id] and self._rows[job.id]["note"] != _note(job.info())

    def _tell_of(self, job: Job) -> None:
        if job.id not in self._strange:
            self._strange.add(job.id)
            _logger.exception("the row of job %s cannot be made", job.id)


def _mark(job: Job, see: Look) -> object:
    """Return a mark that equals the last one if the job's row cannot have changed.

    To make a row takes a walk through the stack of a thread, and most jobs wait in one place most
    of the time. In two cases a row may change though nothing moves in its thread, and each mark
    differs: the hindrance of a Kill may change, and the place of a job on an event loop.
    """
    if job.state is JobState.KILLING or job.loop is not None:
        return object()
    frame = job.frame(see)
    place = None if frame is None else (id(frame), id(frame.f_code), frame.f_lasti)
    progress = job.progress
    inner = progress and progress.inner and (progress.inner.done, progress.inner.description)
    return (
        job.state,
        job.requested,
        job.reason,
        len(job.clashes),
        [it.done() for it in job.waits_for],
        place,
        job.log.tail(1),
        len(job.threads),
        round(job.cpu_time, 1),
        progress and (progress.done, progress.total, progress.description, inner),
    )


def _difference(old: Row, new: Row) -> Row:
    changed: Row = {key: value for key, value in new.items() if old.get(key) != value}
    return changed | dict.fromkeys(old.keys() - new.keys())


@dataclass
class _Sent:
    number: int = 0
    line: int = 0
    rewinds: int = 0
    tail: list[str] = field(default_factory=list)
    error: dict[str, Any] | None = None
    threads: list[Any] = field(default_factory=list)
    processes: list[Any] = field(default_factory=list)


class Details:
    """The log, the stacks and the processes of the jobs whose details are open in a view.

    Answers (`full`) and changes (`refresh`) go to a page on different channels, and may overtake
    each other. So each has a ``number``, by which the page puts them in order. Changes also have a
    ``base``, the number of the job's changes before them, by which the page sees that some
    are missing. Numbers never start anew, even if a job was forgotten meanwhile.

    Threading
    ---------
    Not thread-safe; `ipykill.panel.service` holds a lock around it.
    """

    def __init__(self) -> None:
        self._sent: dict[int, _Sent] = {}
        self._numbers = itertools.count(1)

    def full(self, job: Job) -> dict[str, Any]:
        """Return all details of a job, the answer to a view that opens them."""
        number = next(self._numbers)
        sent = _Sent(number, line=max(job.log.end - _LOG, 0), rewinds=job.log.rewinds)
        source = job.source.encode("utf-8", "backslashreplace").decode()
        facts: dict[str, Any] = {"number": number, "source": source}
        facts |= {"error": None, "processes": []}
        facts |= _changes(job, sent)
        # If other views follow this job already, their next changes must include what is new in
        # this answer; it does no harm if a view gets the same lines twice.
        self._sent.setdefault(job.id, sent)
        return facts

    def refresh(self, job: Job) -> dict[str, Any] | None:
        """Return what changed since the last call, None if nothing did."""
        sent = self._sent.setdefault(job.id, _Sent())
        changes = _changes(job, sent)
        if not changes:
            return None
        base, sent.number = sent.number, next(self._numbers)
        return changes | {"base": base, "number": sent.number}

    def keep(self, ids: set[int]) -> None:
        """Forget all jobs but these."""
        for number in self._sent.keys() - ids:
            del self._sent[number]


def _changes(job: Job, sent: _Sent) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    first = sent.line
    if (rewinds := job.log.rewinds) != sent.rewinds:  # complete lines may have changed
        sent.rewinds, first = rewinds, max(min(first, job.log.end) - JobLog.HEIGHT, 0)
    start, lines = job.log.read(max(first, job.log.end - _LOG))
    if lines != sent.tail or start != sent.line:
        changes["log"] = {"start": start, "lines": [plain(line, _LINE) for line in lines]}
        sent.line = job.log.end
        # A line that is being written has no number yet; it is sent again when it grows.
        sent.tail = lines[sent.line - start :]
    if sent.error is None and (error := _error(job)) is not None:
        changes["error"] = sent.error = error
    threads = _threads(job)
    if threads != sent.threads:
        changes["threads"] = sent.threads = threads
    processes = _processes(job)
    if processes != sent.processes:
        changes["processes"] = sent.processes = processes
    return changes


def _frames(frames: Iterable[stack.Frame]) -> list[dict[str, str]]:
    return [
        {"place": str(frame), "function": frame.function, "source": plain(frame.source, _TEXT)}
        for frame in frames
    ]


def _threads(job: Job) -> list[dict[str, Any]]:
    found = []
    for one in job.where()[:_THREADS]:
        title = f"task {one.name}" if one.task else one.name if one.depth else _OWN_THREAD
        facts = {"name": plain(title, _TEXT), "depth": one.depth, "stack": _frames(one.frames)}
        found.append(facts | {"hindrance": plain(one.hindrance, _TEXT)})
    return found


def _processes(job: Job) -> list[dict[str, Any]]:
    return [
        {"pid": info.pid, "command": plain(info.command, _TEXT), "running": info.running}
        for info in job.processes[:_PROCESSES]
    ]


def _error(job: Job) -> dict[str, Any] | None:
    failure = job.failure
    if not job.done() or failure is None:
        return None
    lines = [plain(line, _LINE) for line in failure.text.splitlines()[:_LOG]]
    return {
        "type": plain(failure.kind.__name__, _TEXT),
        "message": "\n".join(lines),
        "stack": _frames(failure.frames),
    }
