"""``exit`` in a terminal while jobs run asks the user first, because they end with IPython."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ..base.wrapping import wrap
from ..core import render
from ..core.current import current_job
from ..core.manager import JobManager

__all__ = ["install"]

_NAMED = 5  # how many jobs the question names
_YES = {"y", "yes", "exit", "exit()", "quit", "quit()"}


def install(shell: Any, manager: JobManager) -> None:
    """Make ``exit`` ask in a terminal.

    In a notebook the front end asks, and when a script runs nobody could answer.
    """

    def asking(ask_exit: Callable[[], object]) -> Callable[[], object]:
        def ask() -> object:
            if current_job() is None and not _may_leave(manager):
                return None
            return ask_exit()

        return ask

    if getattr(shell, "kernel", None) is None and hasattr(shell, "ask_exit"):
        wrap(shell, "ask_exit", asking)


def _may_leave(manager: JobManager) -> bool:
    jobs = manager.running()
    if not jobs or sys.stdin is None or not sys.stdin.isatty():
        return True
    names = ", ".join(render.named(job) for job in jobs[:_NAMED])
    more = f" and {len(jobs) - _NAMED} more" if len(jobs) > _NAMED else ""
    verb = "runs, and ends" if len(jobs) == 1 else "run, and end"
    try:
        answer = input(f"{names}{more} still {verb} with IPython. Exit all the same? (y/[n]) ")
    except EOFError:  # Ctrl-D once more
        return True
    except KeyboardInterrupt:
        return False
    return answer.strip().lower() in _YES
