"""The bars of `rich.progress` show how far their job is, as those of tqdm do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from ..base.imports import when_imported
from ..base.wrapping import wrap
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
        task = self._task  # None if it was removed
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
    except Exception:  # it is not valid markup
        return description


def install() -> None:
    """Add each bar of rich to the job that makes it, from the import of rich on."""
    when_imported("rich.progress", _watch)


def _watch(module: ModuleType) -> None:
    # No Stop is raised in the thread that track() starts to paint the bar.
    painter: Any = getattr(module, "_TrackThread", ())

    def checked(method: Any) -> Any:
        def moved(*args: Any, **kwargs: Any) -> Any:
            done = method(*args, **kwargs)
            if not isinstance(threading.current_thread(), painter):
                checkpoint()
            return done

        return moved

    wrap(module.Progress, "add_task", _adding)
    wrap(module.Progress, "track", _tracking)
    wrap(module.Progress, "advance", checked)
    wrap(module.Progress, "update", checked)


def _adding(add_task: Any) -> Any:
    def watched_add(self: Any, *args: Any, **kwargs: Any) -> Any:
        number = add_task(self, *args, **kwargs)
        job = current_job()
        if job is not None:
            job.add_bar(_RichBar(self, number))
        return number

    return watched_add


def _tracking(track: Any) -> Any:
    def watched_track(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        for item in track(self, *args, **kwargs):
            checkpoint()
            yield item

    return watched_track
