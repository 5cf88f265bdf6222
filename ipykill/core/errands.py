"""What a job gives to a pool of others: it is the job's while a thread of the pool does it."""

from __future__ import annotations

import contextvars
import functools
import threading
from collections.abc import Callable
from typing import Any

from ..base.tracebacks import hidden
from ..exceptions import JobKilled, TaskKilled
from ..kill import Target, contain, current_target, is_cleaning
from .family import Family

__all__ = ["errand"]


def errand(family: Family, work: Callable[..., Any]) -> Callable[..., Any]:
    """Return `work` as a call that is a member while a thread of others makes it."""
    leader, late = current_target(), is_cleaning()

    @hidden
    def run(*args: Any, **kwargs: Any) -> Any:
        call = functools.partial(work, *args, **kwargs)
        target = current_target()
        if target is not None and target.group is not family:
            return call()  # in a thread of another job: nobody else ends what that does
        if family.kill_requested and not late:
            raise TaskKilled  # what waits in a pool for its turn is not begun any more
        if target is None:
            target = Target(family, threading.current_thread())
            target.follow(leader, late=late)
            return contextvars.copy_context().run(_run, family, target, call)
        before, target.late = target.late, late
        try:
            return call()
        finally:
            target.late = before

    return run


def _run(family: Family, target: Target, work: Callable[[], Any]) -> Any:
    values: list[Any] = []
    family.register(target)
    family.claim()
    family.enter()
    error: BaseException | None = None
    try:
        error = contain(target, lambda: values.append(work()))
        if isinstance(error, JobKilled) and not (target.struck or target.asked):
            error = error.__context__  # others were killed, this was not
        if error is not None:
            raise error
        return values.pop()
    finally:
        error = None  # else it and this frame, in its traceback, are a cycle
        family.leave_thread()
        family.let_go(target)
        family.lead_no_longer(target)
