"""How far a job is: `track`, and the bars of tqdm.

A bar that is made in a job is added to the job, and a front end that shows the job looks at the
bar. When the bar moves, nothing is sent and no front end is called.
"""

from __future__ import annotations

import math
import numbers
import operator
import time
from collections.abc import Generator, Iterable, Iterator
from types import ModuleType
from typing import Any, TypeVar

from ..base.imports import when_imported
from ..base.tracebacks import below_us, hidden, set_traceback
from ..base.wrapping import wrap
from ..core.current import candidate, checkpoint, current_job
from ..core.info import Progress
from . import tqdm_groups

__all__ = ["install", "measure", "track"]

_T = TypeVar("_T")


class _Bar:
    """The state of a `track`; written by the thread that iterates."""

    __slots__ = ("begin", "closed", "description", "done", "total")

    def __init__(self, total: float | None, description: str) -> None:
        self.total = total
        self.description = description
        self.done = 0
        self.begin = time.monotonic()
        self.closed = False

    def look(self) -> Progress:
        elapsed = time.monotonic() - self.begin
        return measure(self.done, self.total, self.description, elapsed)


class _TqdmBar:
    """A bar of tqdm as a job sees it."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    @property
    def closed(self) -> bool:
        return bool(self._bar.disable)

    def look(self) -> Progress:
        bar = self._bar
        elapsed = bar._time() - bar.start_t
        description = str(bar.desc or "").removesuffix(": ")
        return measure(bar.n, bar.total, description, elapsed, bar.initial)


def measure(
    done: object, total: object, description: str, elapsed: float, before: object = 0
) -> Progress:
    """Return how far a bar is, and how long the rest takes at the same rate.

    Parameters
    ----------
    elapsed
        Seconds since its start.
    before
        How many steps were done before its start.
    """
    done, total, before = _number(done) or 0, _number(total), _number(before) or 0
    own = done - before  # the steps that took `elapsed` seconds
    left = elapsed / own * max(total - done, 0) if total and own > 0 else None
    rate = own / elapsed if own > 0 and elapsed > 0 else None
    return Progress(done, total, description, left, rate)


def _number(value: Any) -> float | None:
    """Return `value` as a finite Python number, None if it is not one.

    Users count with any objects: numpy's numbers, infinity, a tensor.
    """
    try:
        return operator.index(value)
    except Exception:
        pass
    try:
        number = float(value)
    except Exception:
        return None
    return number if math.isfinite(number) else None


@hidden
def track(
    iterable: Iterable[_T], total: float | str | None = None, description: str = ""
) -> Iterator[_T]:
    """Iterate over `iterable`, and let the job's card and the panel show the progress.

    Each step is a checkpoint: a job that was asked to stop ends there. Outside a job this
    only iterates.

    Parameters
    ----------
    iterable
        What to iterate over.
    total
        How many items there will be; by default what ``len()`` says, if anything. A string is
        taken for the description, which is the second argument of tqdm and of rich.
    description
        What is being done.

    Raises
    ------
    TypeError
        `total` is not a number.
    """
    if isinstance(total, str):
        description, total = total, None
    if total is not None and not isinstance(total, numbers.Real):
        msg = f"the total of track() is a number of items, not {total!r}"
        raise TypeError(msg)
    items = iter(iterable)
    job = current_job() or candidate()
    if job is None:
        return items
    if total is None:
        total = operator.length_hint(iterable) or None
    bar = _Bar(total, description)
    job.add_bar(bar)
    return _track(items, bar, job.asked)


def _track(items: Iterator[_T], bar: _Bar, asked: Any) -> Iterator[_T]:
    done = 0
    try:
        for item in items:
            if asked():
                checkpoint()
            yield item
            done += 1
            bar.done = done
    except BaseException as error:
        set_traceback(error, below_us(error.__traceback__))
        raise  # as hidden does
    finally:
        bar.closed = True


def install() -> None:
    """Add each bar of tqdm to the job that makes it, from the import of tqdm on."""
    when_imported("tqdm.std", _watch)


def _watch(std: ModuleType) -> None:
    tqdm_groups.separate(std.tqdm)
    wrap(std.tqdm, "__init__", _telling)
    wrap(std.tqdm, "update", _hearing)
    wrap(std.tqdm, "__iter__", _checking)


def _telling(init: Any) -> Any:
    def watched_init(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        job = current_job() or candidate()
        if job is not None and not self.disable:
            job.add_bar(_TqdmBar(self))

    return watched_init


def _hearing(update: Any) -> Any:
    def watched_update(self: Any, n: float | None = 1) -> Any:
        painted = update(self, n)
        checkpoint()
        return painted

    return watched_update


def _checking(iterate: Any) -> Any:
    def watched_iter(self: Any) -> Iterator[Any]:
        job = current_job() or candidate()
        return iterate(self) if job is None else _checked(iterate(self), job.asked)

    return watched_iter


def _checked(items: Generator[_T], asked: Any) -> Iterator[_T]:
    # A checkpoint for each item: a bar calls its own update() only now and then, which may be
    # seconds later when the steps become slow.
    try:
        for item in items:
            if asked():
                checkpoint()
            yield item
    finally:
        items.close()  # which closes the bar
