"""*Run again*: launches the same code with the same options as a new job, from a button.

The cell is not compiled again, so this needs neither the main thread nor the front end. The output
goes to the cell that launched the first job, and the card there shows the new job.
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
    """Launches the code of a job once more; the job holds this as its attribute `again`.

    Parameters
    ----------
    launch
        Launches a job; its arguments are the jobs for which the new one waits, and a function that
        shows the new job before it starts.
    job
        The first job.
    after
        The jobs that the first job waited for.

    Threading
    ---------
    Any thread may call it.
    """

    def __init__(self, manager: JobManager, launch: Launch, job: Job, after: Sequence[Job]) -> None:
        self._manager = manager
        self._launch = launch
        self._job = weakref.ref(job)  # weak, as the job refers to this object
        self._after = [weakref.ref(it) for it in after]

    def __call__(self) -> Job:
        """Launch the new job and return it.

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
            # In the name of the first job, so that the output finds the same cell.
            made = contextvars.copy_context().run(act_for, job, launch)
        except UsageError as error:
            raise JobError(str(error)) from None
        assert isinstance(made, Job)
        return made
