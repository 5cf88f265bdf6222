"""pyplot in a job: figures of its own.

pyplot keeps its figures in one table for the whole process, and the inline backend shows
all of them at the end of *any* cell. So the figure that a job is drawing would appear,
half done, below the next cell that the user runs. Here that table is replaced by an object that
has one table for each job, and one for the foreground.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from ..base.imports import when_imported
from ..base.wrapping import replace, wrap
from ..core.current import current_job
from ..core.job import Job

__all__ = ["give", "install", "show"]

_HELPERS = "matplotlib._pylab_helpers"
_SHOWN = "_ipykill_shown"


class _Figures:
    """Replaces ``Gcf.figs`` of matplotlib, an ordered dict of figure managers."""

    def __init__(self, foreground: OrderedDict[int, Any]) -> None:
        self.foreground = foreground
        self.of_jobs: dict[Job, OrderedDict[int, Any]] = {}

    def _mine(self) -> Any:
        job = current_job()
        return self.foreground if job is None else self.of_jobs.setdefault(job, OrderedDict())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mine(), name)

    # Operators look these up on the class, not by `__getattr__`.

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
        figures = _Figures(helpers.Gcf.figs)
        replace(helpers.Gcf, "figs", figures, lambda: figures.foreground)


def install() -> None:
    """Give each job its own figures, from now or from the import of matplotlib on."""
    when_imported(_HELPERS, _replace)
    when_imported("ipympl.backend_nbagg", _watch_canvases)


def _watch_canvases(module: ModuleType) -> None:
    """Note which figures of ``%matplotlib widget`` have been shown, by whatever code."""
    wrap(module.Canvas, "_repr_mimebundle_", _noting)


def _noting(bundle: Any) -> Any:
    def _repr_mimebundle_(self: Any, **kwargs: Any) -> Any:
        vars(self)[_SHOWN] = True
        return bundle(self, **kwargs)

    return _repr_mimebundle_


def _backend() -> str:
    import matplotlib

    return str(matplotlib.get_backend()).lower()


def give(job: Job) -> None:
    """Give the figures of the foreground to `job`, which was the cell that made them."""
    helpers = sys.modules.get(_HELPERS)
    # Only with the inline backend: others keep the figures of earlier cells open.
    if helpers is not None and isinstance(helpers.Gcf.figs, _Figures) and "inline" in _backend():
        figures = helpers.Gcf.figs
        figures.of_jobs[job], figures.foreground = figures.foreground, OrderedDict()


def show(job: Job) -> None:
    """Display and close the figures that `job` has left open; call it in the job's own thread."""
    helpers = sys.modules.get(_HELPERS)
    if helpers is None or not isinstance(helpers.Gcf.figs, _Figures):
        return
    try:
        if managers := helpers.Gcf.figs.of_jobs.get(job):
            _display(list(managers.values()), helpers)
    finally:
        helpers.Gcf.figs.of_jobs.pop(job, None)


def _display(managers: list[Any], helpers: Any) -> None:
    import matplotlib
    from IPython.display import display

    # ipympl would show a figure at the end of the cell that runs, to which it does not belong. The
    # inline backend closes the figures too. Other backends show a figure when it is made.
    backend = _backend()
    if ("ipympl" in backend or backend == "widget") and matplotlib.is_interactive():
        for manager in managers:
            if _SHOWN not in vars(manager.canvas):
                display(manager.canvas)
    if "inline" in backend:
        for manager in managers:
            display(manager.canvas.figure)
        helpers.Gcf.destroy_all()
