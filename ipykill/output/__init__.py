"""Where a job's output goes: to the cell that launched it, and into its log.

The kernel says of every output to which cell it belongs, but not in the same way in all
of its versions, and in none for the threads that a job starts. So ipykill does not ask
it: each job knows the cell that launched it (`JobOutput.parent`), and

- the two standard streams are tapped: what is written inside a job, by whatever holds the
  stream (print, logging, tqdm, a handler made long ago), goes to the job's output;
- each thread of a job registers a hook with the display publisher that puts the launching
  cell in place of the newest one.

What does not pass through Python cannot be routed: bytes that C code or a child process
writes to file descriptors 1 and 2 go where the kernel puts them, below the newest cell.

`job_output`
    What is the same everywhere: `JobOutput`, which knows where what is written leads.
`streams`
    The taps.
`kernel`
    In a kernel: messages.
`backlog`, `budget`
    Of which only so many are sent.
`region`
    What clears them.
`cells`
    To which cell they belong.
`iopub`
    The one thread that sends them.
`terminal`
    In a terminal.
`errors`
    Tracebacks.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import Any

from ..core import questions
from ..core.current import candidate
from ..core.failure import message
from ..core.manager import JobManager
from ..exceptions import JobKilled, JobStopped
from ..integrations import figures, progress, rich_bars
from . import kernel, terminal
from .budget import budget
from .cells import blocks
from .errors import clean, format_error
from .job_output import of_job
from .streams import captured, stand_in, tap_again, untap

__all__ = [
    "blocks",
    "captured",
    "clean",
    "format_error",
    "install",
    "of_job",
    "set_lines",
    "show_errors_of_jobs",
    "stand_in",
    "tap_again",
    "uninstall",
]


def set_lines(number: int) -> None:
    """Let the cell of a flood show so many lines; 0: as many as a page bears."""
    budget.lines = number


def show_errors_of_jobs(shell: Any) -> None:
    """Let what shows an error in a job show it in its cell, if it is the user's code.

    Where IPython's own code does so, ``%run`` or ``%%time``, the job fails: nobody else would
    know. A job that is to end ends.
    """

    def in_jobs_too(show: Any) -> Any:
        @functools.wraps(show)
        def shown(exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:
            ends = sys._getframe(1).f_code.co_name in ("run_code", "run_ast_nodes")
            cell = candidate() if ends else None
            with contextlib.nullcontext() if cell is None else cell.showing():
                output = of_job()
                if output is None:
                    show(exc_tuple, *args, **kwargs)
                    return
            error = exc_tuple[1] if isinstance(exc_tuple, tuple) else sys.exc_info()[1]
            # A cell that went to the background is shown when it has ended: here, in the handler
            # of IPython, a Kill would have to wait until all is formatted.
            if isinstance(error, JobKilled | JobStopped) or (ends and error is not None):
                raise error
            caller = sys._getframe(1).f_globals.get("__name__", "")
            if error is not None and caller.startswith("IPython."):
                raise error  # of a %run, which in the foreground shows it and goes on
            if error is not None:
                lines = format_error(output.shell, error)
                output.show_error(type(error).__name__, message(error), lines)

        return shown

    for name in ("showtraceback", "showsyntaxerror"):
        if name not in vars(shell):
            setattr(shell, name, in_jobs_too(getattr(shell, name)))


def install(shell: Any, manager: JobManager) -> None:
    """Route the output of the jobs that `manager` launches from now on."""
    tap_again()
    publisher = shell.display_pub
    if hasattr(publisher, "pub_socket"):
        manager.host = kernel.host(shell, publisher)
    else:
        manager.host = terminal.host(shell, publisher)
    show_errors_of_jobs(shell)
    figures.install()
    progress.install()
    rich_bars.install()
    questions.install(shell)


def uninstall(manager: JobManager) -> None:
    """Route no more jobs; the output of those that run still finds its way."""
    manager.host = None
    if not manager.running():
        kernel.forget_cells()
        untap("stdout")
        untap("stderr")
