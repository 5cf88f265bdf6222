"""``exit`` in a terminal while jobs run: asked once, for they end with IPython."""

from __future__ import annotations

import functools
import sys
from typing import Any

from ..core import render
from ..core.current import current_job
from ..core.manager import JobManager

__all__ = ["install"]

_NAMED = 5  # jobs
_YES = {"y", "yes", "exit", "exit()", "quit", "quit()"}


def install(shell: Any, manager: JobManager) -> None:
    """Let a person who leaves the terminal decide about the jobs that run.

    A notebook has its own question, and a script has nobody to answer.
    """
    ask_exit = getattr(shell, "ask_exit", None)
    if getattr(shell, "kernel", None) is not None or ask_exit is None:
        return
    if hasattr(ask_exit, "_ipykill_asks"):
        return

    @functools.wraps(ask_exit)
    def ask() -> object:
        if current_job() is None and not _may_leave(manager):
            return None
        return ask_exit()

    ask._ipykill_asks = True  # type: ignore[attr-defined]
    shell.ask_exit = ask


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
