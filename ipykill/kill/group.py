"""What a target is given: the group that it belongs to, and what ends its event loops."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from ..processes import ChildProcess

if TYPE_CHECKING:
    from .target import Target

__all__ = ["Ending", "Group"]


class Group(Protocol):
    """Targets that are killed together."""

    kill_requested: bool
    interrupt_requested: bool
    """Whether a `KeyboardInterrupt` shall be raised once in the first thread."""
    struck: bool
    """Whether a Kill was raised in a thread of the group."""
    spares: bool
    """Whether a Kill leaves its processes alone."""

    def targets(self) -> list[Target]:
        """Return the threads of the group that have begun and not ended."""
        ...

    def threads(self) -> list[threading.Thread]:
        """Return the threads of the group that live."""
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
        """Forget a thread that turned out to serve others as well."""
        ...

    def shares(self, target: Target) -> bool:
        """Whether a thread that a library started serves others as well."""
        ...


class Ending(Protocol):
    """What ends an event loop, see `ending`, `trio_runs`, `gevent_hubs`."""

    def strikes(self, kind: type[BaseException]) -> type[BaseException]:
        """Note what is being raised in what the loop runs now; return what is; own thread only."""
        ...

    def finish(self) -> None:
        """End what is left on a loop that does not run any more; own thread only."""
        ...
