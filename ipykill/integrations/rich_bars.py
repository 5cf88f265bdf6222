"""The bars of `rich.progress`, which tell their job how far it is, as those of tqdm do."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from ..base.imports import when_imported
from ..core.current import checkpoint, current_job
from ..core.info import Progress
from .progress import measure

__all__ = ["install"]


class _RichBar:
    """A task of rich as a job sees it."""

    def __init__(self, progress: Any, number: Any) -> None:
        self._progress = progress
        self._number = number

    @property
    def _task(self) -> Any:
        return self._progress._tasks.get(self._number)

    @property
    def closed(self) -> bool:
        task = self._task  # None: it was removed
        return task is None or task.finished

    def look(self) -> Progress:
        task = self._task
        if task is None:
            return Progress(0, None, "", None)
        elapsed = task.finished_time if task.finished else task.elapsed
        return measure(task.completed, task.total, _plain(task.description), elapsed or 0)


def _plain(description: str) -> str:
    from rich.text import Text

    try:
        return Text.from_markup(description).plain
    except Exception:  # it is no markup
        return description


def install() -> None:
    """Let the bars of rich tell their job how far it is, from its import on."""
    when_imported("rich.progress", _watch)


def _watch(module: ModuleType) -> None:
    progress: Any = module.Progress
    if hasattr(progress.add_task, "__wrapped__"):
        return
    add_task, track = progress.add_task, progress.track

    @functools.wraps(add_task)
    def watched_add(self: Any, *args: Any, **kwargs: Any) -> Any:
        number = add_task(self, *args, **kwargs)
        job = current_job()
        if job is not None:
            job.add_bar(_RichBar(self, number))
        return number

    @functools.wraps(track)
    def watched_track(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        for item in track(self, *args, **kwargs):
            checkpoint()
            yield item

    progress.add_task, progress.track = watched_add, watched_track
    for name in ("advance", "update"):
        setattr(progress, name, _checked(getattr(progress, name), module))


def _checked(method: Any, module: ModuleType) -> Any:
    # The thread that track() starts to paint the bar is not where a Stop is raised.
    painter: Any = getattr(module, "_TrackThread", ())

    @functools.wraps(method)
    def moved(*args: Any, **kwargs: Any) -> Any:
        done = method(*args, **kwargs)
        if not isinstance(threading.current_thread(), painter):
            checkpoint()
        return done

    return moved
