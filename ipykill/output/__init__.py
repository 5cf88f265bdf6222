"""Where a job's output goes: to the cell that launched it, and into its log.

The kernel marks every output with the cell that it belongs to, but not in the same way in all
versions of ipykernel, and in no version for the threads that a job starts. So ipykill does not
rely on that. Each job knows the cell that launched it (`_KernelOutput.parent`), and

- the two standard streams are tapped: all text that code of a job writes to them (by print,
  logging, tqdm, or a handler that was made earlier) goes to the job's output;
- each thread of a job registers a hook with the display publisher, which sends the thread's
  displays to the launching cell instead of the newest one.

Output that does not pass through Python cannot be routed: bytes that C code or a child process
writes to file descriptors 1 and 2 go where the kernel puts them, below the newest cell.

`job_output`
    `JobOutput`: the parts that are the same in a kernel and in a terminal.
`streams`
    The taps of the standard streams.
`kernel`
    The output of a job as messages of a kernel.
`backlog`, `budget`
    How many of these messages are sent, and which are left out.
`region`
    What clears the output of a job below its cell.
`cells`
    Which cell launched a job.
`iopub`
    The one thread that sends messages.
`terminal`
    The output of a job above the prompt of a terminal.
`errors`
    Tracebacks as text.
`capture`, `widgets`
    Redirected streams, captured output, and widgets that a job changes.
`held_locks`
    Locks that a killed job has left locked.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from ..base.tracebacks import above_us, set_traceback
from ..base.wrapping import wrap
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
    """Set how many lines the cell of a job that prints very much shows; 0: no limit of lines."""
    budget.lines = number


def show_errors_of_jobs(shell: Any) -> None:
    """Change the shell's methods that show an error, for calls from code of a job.

    If the user's code calls one, the error is shown below the job's cell. If IPython's own code
    does, in ``%run`` or ``%%time``, the error is raised instead, so that the job fails: otherwise
    nobody would know. A Kill or a Stop is always raised.
    """

    def in_jobs_too(show: Any) -> Any:
        def shown(exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:
            ends = sys._getframe(1).f_code.co_name in ("run_code", "run_ast_nodes")
            cell = candidate() if ends else None
            with contextlib.nullcontext() if cell is None else cell.showing():
                output = of_job()
                error = exc_tuple[1] if isinstance(exc_tuple, tuple) else sys.exc_info()[1]
                if output is None:
                    if isinstance(error, KeyboardInterrupt):  # raised by us in a stand-in's cell
                        set_traceback(error, above_us(error.__traceback__))
                    show(exc_tuple, *args, **kwargs)
                    return
            # The error of a cell that went to the background is shown when the job has ended:
            # here, in an error handler of IPython, a Kill would have to wait for the formatting.
            if isinstance(error, JobKilled | JobStopped) or (ends and error is not None):
                raise error
            caller = sys._getframe(1).f_globals.get("__name__", "")
            if error is not None and caller.startswith("IPython."):
                raise error  # in the foreground, %run would show it and go on
            if error is not None:
                lines = format_error(output.shell, error)
                output.show_error(type(error).__name__, message(error), lines)

        return shown

    for name in ("showtraceback", "showsyntaxerror"):
        wrap(shell, name, in_jobs_too)


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
    """Route the output of later jobs no more; that of running jobs is still routed."""
    manager.host = None
    if not manager.running():
        kernel.forget_cells()
        untap("stdout")
        untap("stderr")
