"""*Run again*: the same text with the same options as a new job, for who presses a button.

The cell is not compiled anew, so it needs neither the main thread nor the front end: what it prints
goes to the cell that launched the first, and the card there goes on with the new job.
"""

from __future__ import annotations

import contextvars
import weakref
from collections.abc import Callable, Sequence

from IPython.core.error import UsageError

from .. import panel
from ..core.current import act_for
from ..core.job import Job
from ..core.manager import JobManager
from ..exceptions import JobError
from ..output.job_output import JobOutput, Told

__all__ = ["Again"]

Launch = Callable[[Sequence[Job], Callable[[Job], None] | None], Job]


class Again:
    """Launches a job once more; kept by that job.

    Parameters
    ----------
    launch
        Launches it, after other jobs; it is given what shows the job before it starts.
    after
        The jobs that the first one waited for.

    Threading
    ---------
    Any thread may call it.
    """

    def __init__(self, manager: JobManager, launch: Launch, job: Job, after: Sequence[Job]) -> None:
        self._manager = manager
        self._launch = launch
        self._job = weakref.ref(job)  # which has this
        self._after = [weakref.ref(it) for it in after]

    def __call__(self) -> Job:
        """Launch it.

        Raises
        ------
        JobError
            The options do not allow that now.
        """
        job = self._job()
        assert job is not None
        after = [it for ref in self._after if (it := ref()) is not None]

        def present(new: Job) -> None:
            if isinstance(new.host, JobOutput):
                new.host.line(f"[{new.id}] runs again what was job {job.id}", Told)
            panel.go_on(self._manager, job, new)

        def launch() -> Job:
            return self._launch(after, present)

        try:
            # In the name of the first one, for so its output finds the same cell.
            made = contextvars.copy_context().run(act_for, job, launch)
        except UsageError as error:
            raise JobError(str(error)) from None
        assert isinstance(made, Job)
        return made
