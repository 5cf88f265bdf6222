"""The seam for jobs whose code runs in another process; see `ipykill.remote`, which fills it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..base.stack import Stack
from .info import JobInfo

__all__ = ["Elsewhere", "sender"]


class Elsewhere(Protocol):
    """The place where the code of a job runs, as the job sees it.

    Threading
    ---------
    Any thread may call any method, a signal handler too; only `where` waits, for a moment.
    """

    def stop(self) -> None:
        """Ask the code to stop."""

    def interrupt(self) -> None:
        """Interrupt the code once."""

    def kill(self) -> None:
        """End the code; the job's own thread learns of its end as of any other."""

    def view(self, info: JobInfo) -> JobInfo:
        """Return what is true of the job, given what its own thread shows."""

    def where(self) -> list[Stack]:
        """Return where the threads of the code are."""


def sender(on: Any, call: Callable[[], object], name: str) -> Callable[[], object]:
    """Return a call that makes `call` elsewhere; the package puts it here."""
    raise NotImplementedError
