"""Background cells for Jupyter and IPython that you can stop, and kill.

``%load_ext ipykill``, then ``%%bg`` on the first line of a cell runs it in the background,
in the same namespace. ``%bgkill`` ends it wherever it is. From Python: `submit`.
"""

from __future__ import annotations

from typing import Any

from . import kill as _kill
from .core import elsewhere as _elsewhere
from .core.current import checkpoint, current_job, every, sleep, stop_requested
from .core.info import JobInfo, JobState, Progress
from .core.job import Job
from .core.manager import JobManager, jobs
from .exceptions import JobAborted, JobError, JobKilled, JobStopped, JobTimeout, UnknownJobError
from .integrations.progress import track
from .kill import interrupters, shield
from .processes import ProcessInfo
from .threads import StoppableThread, ThreadWithExc, async_raise

__version__ = "0.2.0"

__all__ = [
    "Job",
    "JobAborted",
    "JobError",
    "JobInfo",
    "JobKilled",
    "JobManager",
    "JobState",
    "JobStopped",
    "JobTimeout",
    "ProcessInfo",
    "Progress",
    "StoppableThread",
    "ThreadWithExc",
    "UnknownJobError",
    "about",
    "async_raise",
    "checkpoint",
    "current_job",
    "every",
    "interrupters",
    "jobs",
    "shield",
    "sleep",
    "stop_requested",
    "submit",
    "track",
]

submit = jobs.submit


def __dir__() -> list[str]:
    return [*__all__, "__version__"]  # without the submodules


def _send(on: Any, call: Any, name: str) -> Any:
    # Imported only when a job is first sent to another process.
    from .remote.launch import function_call

    return function_call(on, call, name)


_elsewhere.sender = _send


def about() -> _kill.About:
    """Return what a Kill can do in this process, and why it cannot do the rest.

    Any thread may call this.
    """
    return _kill.about(__version__)


def load_ipython_extension(shell: Any) -> None:
    """Load the magics; called by ``%load_ext ipykill``.

    Raises
    ------
    JobError
        `shell` is None: this is no IPython.
    """
    if shell is None:
        msg = "the magics of ipykill need IPython; in plain Python use ipykill.submit()"
        raise JobError(msg)
    from .ipython import extension

    extension.load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take the magics away and end the jobs; called by ``%unload_ext ipykill``.

    ``%reload_ext ipykill`` calls this too; then the jobs go on.
    """
    from .ipython import extension

    extension.unload(shell)
