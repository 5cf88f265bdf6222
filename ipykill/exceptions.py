"""What is raised inside a job, and what the API raises.

`JobStopped` and `JobKilled` are raised *in the job's code*. They are no `Exception`, so that
``except Exception`` does not catch them, and they take no arguments, because an exception
raised in a thread from outside is constructed there by the interpreter, without any.

Everything else is raised *by the API*, in the caller, and derives from `JobError`.
"""

from __future__ import annotations

import asyncio


class JobStopped(BaseException):
    """Raised by a checkpoint of a job that was asked to stop."""


class JobKilled(KeyboardInterrupt):
    """Raised from outside in the threads of a job that is being killed.

    Libraries make ready for Ctrl-C by its name: asyncio lets `KeyboardInterrupt` out of the loop
    and keeps any other `BaseException` as the result of a task, psycopg cancels the query of the
    server, pexpect ends its process, training loops save what was reached. To them a Kill is a
    Ctrl-C. With a class beside `KeyboardInterrupt`, jobs in which another task went on lived for
    ever (2 of 2 on CPython 3.13); with this one they died (101 of 101), and the laws held as
    before. What a handler of `KeyboardInterrupt` does is done; when it has ended, the Kill is
    raised again.

    It is no Ctrl-C where that is the question: a real one, which is the foreground's, is a
    `KeyboardInterrupt` and no `JobKilled`.
    """


class TaskKilled(JobKilled, asyncio.CancelledError):
    """A `JobKilled` in a task of asyncio: to asyncio it is a cancellation, which ends the task.

    Any other `KeyboardInterrupt` would leave the event loop, and with it the tasks that have not
    cleaned up.
    """


class TaskInterrupted(KeyboardInterrupt, asyncio.CancelledError):
    """What an interrupt raises in a task of asyncio that computes, for the same reason."""


class JobError(Exception):
    """Base of the errors of ipykill's API."""


class UnknownJobError(JobError, LookupError):
    """No job, or more than one, fits what was asked for."""


class JobAborted(JobError):
    """The result of a job that ended without one: stopped, killed or skipped."""


class JobTimeout(JobAborted, TimeoutError):
    """The result of a job that its deadline ended."""
