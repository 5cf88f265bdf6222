"""The interface of jobs whose code runs in another process; `ipykill.remote` implements it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..base.stack import Stack
from .info import JobInfo

__all__ = ["Elsewhere", "sender"]


class Elsewhere(Protocol):
    """The other process in which the code of a job runs, as the job sees it.

    Threading
    ---------
    Any thread may call any method, a signal handler too; only `where` blocks, for a moment.
    """

    def stop(self) -> None:
        """Ask the code to stop."""

    def interrupt(self) -> None:
        """Interrupt the code once."""

    def kill(self) -> None:
        """End the code; the job's own thread, which waits for it, then ends too."""

    def view(self, info: JobInfo) -> JobInfo:
        """Return the job's snapshot; `info` knows only its thread in this process, which waits."""

    def where(self) -> list[Stack]:
        """Return where the threads of the code are."""


def sender(on: Any, call: Callable[[], object], name: str) -> Callable[[], object]:
    """Return a function that makes `call` elsewhere; `import ipykill` replaces this one."""
    raise NotImplementedError
