"""Calls that a job gives to a thread pool that it has not made.

While a thread of the pool makes such a call, an *errand*, the thread is a member of the job's
family: a Kill of the job ends the call, and the thread goes on with the next one.
"""

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
    """Return a function for a thread of others, which calls `work` as a member of `family`."""
    leader, late = current_target(), is_cleaning()

    @hidden
    def run(*args: Any, **kwargs: Any) -> Any:
        call = functools.partial(work, *args, **kwargs)
        target = current_target()
        if target is not None and target.group is not family:
            return call()  # the thread is another job's, and only that job's Kill ends it
        of_others = target is None
        if target is None:
            target = Target(family, threading.current_thread())
            target.follow(leader, late=late)
        # A call that waited in the pool is not begun after the Kill, unless cleanup may wait for
        # it: that of whom this thread follows (as for a call that has begun), or that of a thread
        # which whoever has given the call goes on to serve for now.
        killed = family.kill_requested and not late and target.has_turn
        if killed and (leader is None or leader.group is not family or leader.has_turn):
            raise TaskKilled
        if of_others:
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
            error = error.__context__  # the Kill was raised in another thread, not here
        if error is not None:
            raise error
        return values.pop()
    finally:
        error = None  # else it and this frame, in its traceback, are a cycle
        family.leave_thread()
        family.let_go(target)
        family.lead_no_longer(target)
