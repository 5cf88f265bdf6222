"""The jobs of a manager as a container of jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..base import locks
from ..base.tracebacks import hidden
from ..exceptions import UnknownJobError
from ..kill import look
from . import render
from . import spec as specs
from .info import JobInfo
from .job import Job

__all__ = ["JobTable", "Which"]

# What stands for jobs: some of them, or what `JobTable.find` takes.
Which = Job | int | str | Iterable[Job | int | str]

# What Tab offers; the other attributes are for the other parts of ipykill.
_FOR_USERS = [
    *("clear", "find", "grace", "kill", "kill_all", "max_running", "process_grace", "running"),
    *("snapshot", "stop_all", "submit", "wait"),
]


class JobTable:
    """All jobs, in the order in which they were made.

    Threading
    ---------
    Any thread may call any method. `_lock` guards the table.
    """

    def __init__(self) -> None:
        self._next_id = 1
        self._begin()

    def _begin(self) -> None:
        self._lock = locks.RLock()
        self._jobs: dict[int, Job] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        # `sorted` first makes a copy, so that another thread may launch a job meanwhile.
        return iter(sorted(self._jobs.values(), key=lambda job: job.id))

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
        """Return the jobs that are not over, or have left a thread or a process running."""
        return [job for job in self if job.lives()]

    def snapshot(self) -> list[JobInfo]:
        """Return what is true now of every job, oldest first."""
        see = look()
        return [job.info(see) for job in self]

    def _given(self, which: Which) -> list[Job]:
        """Return the jobs that stand for `which`, each once."""
        if isinstance(which, Job | int | str):
            which = [which]
        found = ([it] if isinstance(it, Job) else self.find(it) for it in which)
        return list(dict.fromkeys(job for some in found for job in some))

    @hidden
    def find(self, spec: object = "") -> list[Job]:
        """Return the jobs that `spec` means; the list is never empty.

        Parameters
        ----------
        spec
            ``3`` or ``%3`` (an id), a name, the unique beginning of a name, ``?text``
            (in the source), ``%+`` or nothing (the newest job that is not over, else the
            newest), ``%-`` (the one before that), ``all`` (all that are not over). If
            several jobs fit, it means the one that is not over; if all are over and have the
            same name, the newest. An int is always an id.

        Raises
        ------
        UnknownJobError
            No job fits, or more than one; the candidates are named.
        """
        return specs.find(list(self), spec, self._next_id - 1)
