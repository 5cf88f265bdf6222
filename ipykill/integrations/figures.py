"""pyplot in a job: figures of its own.

pyplot keeps its figures in one table for the whole process, and the inline backend shows
all of them at the end of *any* cell. So the figure that a job is drawing would appear,
half done, below whatever cell the user runs meanwhile. Here that table is replaced by one
that is looked up per job.
"""

from __future__ import annotations

import functools
import sys
from collections import OrderedDict
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from ..base.imports import when_imported
from ..core.current import current_job
from ..core.job import Job

__all__ = ["give", "install", "show"]

_HELPERS = "matplotlib._pylab_helpers"
_SHOWN = "_ipykill_shown"


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
    when_imported("ipympl.backend_nbagg", _watch_canvases)


def _watch_canvases(module: ModuleType) -> None:
    """Note which figures of ``%matplotlib widget`` are shown, by whatever shows them."""
    canvas: Any = module.Canvas
    bundle = canvas._repr_mimebundle_
    if hasattr(bundle, "__wrapped__"):
        return

    @functools.wraps(bundle)
    def _repr_mimebundle_(self: Any, **kwargs: Any) -> Any:
        vars(self)[_SHOWN] = True
        return bundle(self, **kwargs)

    canvas._repr_mimebundle_ = _repr_mimebundle_


def _backend() -> str:
    import matplotlib

    return str(matplotlib.get_backend()).lower()


def give(job: Job) -> None:
    """Let the figures of the foreground be those of `job`, whose cell made them."""
    helpers = sys.modules.get(_HELPERS)
    # Other backends keep the figures of earlier cells open.
    if helpers is not None and isinstance(helpers.Gcf.figs, _Figures) and "inline" in _backend():
        figures = helpers.Gcf.figs
        figures.of_jobs[job], figures.foreground = figures.foreground, OrderedDict()


def show(job: Job) -> None:
    """Display and close the figures that `job` left open; in the job's own thread."""
    helpers = sys.modules.get(_HELPERS)
    if helpers is None or not isinstance(helpers.Gcf.figs, _Figures):
        return
    figures = helpers.Gcf.figs.of_jobs.get(job)
    if figures:
        import matplotlib
        from IPython.display import display

        # Others show a figure when it is made, and it stays open. That of ipympl would show it at
        # the end of the cell, to which it does not belong.
        backend = _backend()
        if ("ipympl" in backend or backend == "widget") and matplotlib.is_interactive():
            for manager in list(figures.values()):
                if _SHOWN not in vars(manager.canvas):
                    display(manager.canvas)
        if "inline" in backend:
            for manager in list(figures.values()):
                display(manager.canvas.figure)
            helpers.Gcf.destroy_all()
    helpers.Gcf.figs.of_jobs.pop(job, None)
