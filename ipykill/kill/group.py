"""The interfaces that a target uses: its group, and what ends its event loops."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ..processes import ChildProcess

if TYPE_CHECKING:
    from .target import Target

__all__ = ["Ending", "Group"]


class Group(Protocol):
    """The targets of one job, which are killed together; a `core.family.Family`."""

    kill_requested: bool
    interrupt_requested: bool
    """Whether a `KeyboardInterrupt` is to be raised once in the first thread."""
    struck: bool
    """Whether a Kill was raised in a thread of the group, or ended something it waited for."""
    keep_processes: bool
    """Whether a Kill leaves its processes alone."""

    def targets(self) -> list[Target]:
        """Return the threads of the group that have begun and not ended."""
        ...

    def threads(self) -> list[threading.Thread]:
        """Return the threads of the group that live."""
        ...

    def children(self) -> list[ChildProcess]:
        """Return the processes that the group has started."""
        ...

    def note_descendants(self, children: Sequence[ChildProcess]) -> None:
        """Note what these have started, before they are asked to end."""
        ...

    def child_of(self, handle: object) -> ChildProcess | None:
        """Return the process that `handle` stands for, if the group started it."""
        ...

    def interrupt_processes(self) -> None:
        """Interrupt the processes of the group."""
        ...

    def join_threads(self, timeout: float | None = None) -> bool:
        """Wait until no other thread of the group lives; return whether none does."""
        ...

    def let_go(self, target: Target) -> None:
        """Forget a thread that turned out to be needed by other jobs as well."""
        ...

    def shares(self, target: Target) -> bool:
        """Whether a thread that a library started is needed by other jobs as well."""
        ...


class Ending(Protocol):
    """What ends the tasks of an event loop, see `asyncio_runs`, `trio_runs`, `gevent_hubs`."""

    def strikes(self, kind: type[BaseException]) -> type[BaseException]:
        """Note that `kind` is about to be raised in the running task; return what to raise.

        Called in the loop's own thread.
        """
        ...

    def finish(self) -> None:
        """End what is left on a loop that does not run any more; own thread only."""
        ...
