"""What is raised inside a job, and what the API raises.

`JobStopped` and `JobKilled` are raised *in the job's code*. They derive from
`BaseException`, as `KeyboardInterrupt` does, so that ``except Exception`` does not
catch them, and they take no arguments, because an exception raised in a thread from
outside is constructed there by the interpreter, without any.

Everything else is raised *by the API*, in the caller, and derives from `JobError`.
"""

from __future__ import annotations


class JobStopped(BaseException):
    """Raised by a checkpoint of a job that was asked to stop."""


class JobKilled(BaseException):
    """Raised from outside in the threads of a job that is being killed."""


class JobError(Exception):
    """Base of the errors of ipykill's API."""


class UnknownJobError(JobError, LookupError):
    """No job, or more than one, fits what was asked for."""


class JobAborted(JobError):
    """The result of a job that ended without one: stopped, killed or skipped."""


class JobTimeout(JobAborted, TimeoutError):
    """The result of a job that its deadline ended."""
