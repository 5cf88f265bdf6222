"""What is raised inside a job, and what the API raises.

`JobStopped` and `JobKilled` are raised *in the job's code*. They do not derive from `Exception`,
so that ``except Exception`` does not catch them, and they take no arguments, because the
interpreter constructs an exception that is raised in a thread from outside without any.

Everything else is raised *by the API*, in the caller, and derives from `JobError`.
"""

from __future__ import annotations

import asyncio


class JobStopped(BaseException):
    """Raised by a checkpoint of a job that was asked to stop."""


class JobKilled(KeyboardInterrupt):
    """Raised from outside in the threads of a job that is being killed.

    It derives from `KeyboardInterrupt` because libraries prepare for Ctrl-C under that name:
    asyncio lets a `KeyboardInterrupt` leave the loop but keeps any other `BaseException` as the
    result of a task, psycopg cancels the query on the server, pexpect ends its process, training
    loops save what they have reached. With a class that did not derive from it, jobs in which
    another asyncio task went on lived for ever (2 of 2 on CPython 3.13); with this one they died
    (101 of 101). An ``except KeyboardInterrupt`` block of the job runs to its end; if the code goes
    on after it, the Kill is raised again.

    A real Ctrl-C, which is for the foreground only, is a `KeyboardInterrupt` but no `JobKilled`.
    """


class TaskKilled(JobKilled, asyncio.CancelledError):
    """A `JobKilled` that asyncio takes for a cancellation, so that it ends one task.

    Any other `KeyboardInterrupt` would leave the event loop, and the loop's other tasks could
    not clean up.
    """


class TaskInterrupted(KeyboardInterrupt, asyncio.CancelledError):
    """What an interrupt raises in an asyncio task that computes; see `TaskKilled` for why."""


class JobError(Exception):
    """Base of the errors of ipykill's API."""


class UnknownJobError(JobError, LookupError):
    """No job, or more than one, fits what was asked for."""


class JobAborted(JobError):
    """The result was asked of a job that has none: it was stopped, killed or skipped."""


class JobTimeout(JobAborted, TimeoutError):
    """The result was asked of a job that has none: its deadline ended it."""
