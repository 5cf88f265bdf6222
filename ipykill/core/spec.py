"""Which jobs a SPEC means, the text that a person types to name one job or several."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from ..exceptions import UnknownJobError
from .job import Job

__all__ = ["AmbiguousJobError", "ambiguous", "find"]


class AmbiguousJobError(UnknownJobError):
    """More than one job fits the spec."""


def find(jobs: Sequence[Job], spec: object, given: int) -> list[Job]:
    """Return those of `jobs` that `spec` means, never none; see `JobManager.find`.

    Parameters
    ----------
    given
        The last id that was given to a job. A number up to this one is always an id, even if
        the job that had it is forgotten and another job is *named* like the number.
    """
    if not isinstance(spec, str | bool) and hasattr(spec, "__index__"):
        number = operator.index(spec)
        return [_choose(str(number), [job for job in jobs if job.id == number], jobs)]
    text = str(spec).strip()
    if text == "all":
        if running := [job for job in jobs if not job.done()]:
            return running
        raise UnknownJobError("no job is running")
    if text in ("", "+", "%", "%+", "%%", "-", "%-"):
        back = 2 if text in ("-", "%-") else 1
        recent = sorted(jobs, key=lambda job: not job.done())
        if len(recent) < back:
            raise UnknownJobError(
                f"there is no job before job {recent[0].id} ({recent[0].name})"
                if recent
                else "there is no job yet; %%bg on the first line of a cell starts one"
            )
        return [recent[-back]]
    if text.startswith("?"):
        return [_choose(text, [job for job in jobs if text[1:].strip() in job.source], jobs)]
    name = text.removeprefix("%")
    is_number = name.isdecimal() and len(name) < 20
    if is_number and 0 < int(name) <= given:
        return [_choose(text, [job for job in jobs if job.id == int(name)], jobs)]
    fitting = [job for job in jobs if job.name == name]
    if not fitting and not is_number:  # a number is never the beginning of a name
        fitting = [job for job in jobs if job.name.startswith(name)]
    return [_choose(text, fitting, jobs)]


def _choose(spec: str, fitting: Sequence[Job], jobs: Sequence[Job]) -> Job:
    if not fitting:
        there = f"there are: {_names(jobs)}" if jobs else "there are none yet"
        raise UnknownJobError(f"no job {spec!r}; {there}")
    live = [job for job in fitting if not job.done()]
    candidates = live or fitting
    if len(candidates) == 1 or (not live and len({job.name for job in candidates}) == 1):
        return candidates[-1]
    raise ambiguous(spec, candidates)


def _names(jobs: Sequence[Job]) -> str:
    listed = ", ".join(f"{job.id} ({job.name})" for job in jobs[-8:])
    return f"..., {listed}" if len(jobs) > 8 else listed


def ambiguous(spec: str, candidates: Sequence[Job]) -> UnknownJobError:
    """Return the error that names the candidates."""
    return AmbiguousJobError(
        f"{spec!r} fits {len(candidates)} jobs, say which by its number: {_names(candidates)}"
    )
