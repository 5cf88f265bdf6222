"""pyplot in a job: figures of its own.

pyplot keeps its figures in one table for the whole process, and the inline backend shows
all of them at the end of *any* cell. So the figure that a job is drawing would appear,
half done, below whatever cell the user runs meanwhile. Here that table is replaced by one
that is looked up per job.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from .imports import when_imported
from .job import Job, current_job

__all__ = ["install", "show"]

_HELPERS = "matplotlib._pylab_helpers"


class _Figures:
    """Stands in for ``Gcf.figs`` of matplotlib, an ordered dict of figure managers."""

    def __init__(self, foreground: OrderedDict[int, Any]) -> None:
        self.foreground = foreground
        self.of_jobs: dict[Job, OrderedDict[int, Any]] = {}

    def _mine(self) -> Any:
        job = current_job()
        return self.foreground if job is None else self.of_jobs.setdefault(job, OrderedDict())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mine(), name)

    # Operators look these up on the class.

    def __getitem__(self, num: int) -> Any:
        return self._mine()[num]

    def __setitem__(self, num: int, manager: Any) -> None:
        self._mine()[num] = manager

    def __delitem__(self, num: int) -> None:
        del self._mine()[num]

    def __contains__(self, num: object) -> bool:
        return num in self._mine()

    def __iter__(self) -> Iterator[int]:
        numbers: Iterator[int] = iter(self._mine())
        return numbers

    def __reversed__(self) -> Iterator[int]:
        numbers: Iterator[int] = reversed(self._mine())
        return numbers

    def __len__(self) -> int:
        return len(self._mine())


def _replace(helpers: ModuleType) -> None:
    if not isinstance(helpers.Gcf.figs, _Figures):
        helpers.Gcf.figs = _Figures(helpers.Gcf.figs)


def install() -> None:
    """Give each job its own figures, from now or from the import of matplotlib on.

    It stays so until the process ends; without jobs it changes nothing.
    """
    when_imported(_HELPERS, _replace)


def show(job: Job) -> None:
    """Display and close the figures that `job` left open; in the job's own thread."""
    helpers = sys.modules.get(_HELPERS)
    if helpers is None or not isinstance(helpers.Gcf.figs, _Figures):
        return
    figures = helpers.Gcf.figs.of_jobs.get(job)
    if figures:
        import matplotlib
        from IPython.display import display

        # Other backends show a figure when it is made, and it stays open.
        if "inline" in str(matplotlib.get_backend()).lower():
            for manager in list(figures.values()):
                display(manager.canvas.figure)
            helpers.Gcf.destroy_all()
    helpers.Gcf.figs.of_jobs.pop(job, None)
