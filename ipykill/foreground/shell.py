"""A thread that can be the kernel's main shell, and objects that stand for all such threads.

ipykernel stores which thread is the shell, and a lock that the shell holds while it handles a
request. A request may reach one thread at the moment when another one becomes the shell. Then both
threads have the request, and the first drops it (`Shells.begin`); but before that it has to find
its own lock, not one that belongs to the event loop of the other thread. So the objects that
ipykernel finds here act according to the calling thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop

__all__ = ["LockHere", "Shell", "ThreadHere", "shell_here"]

_OF_A_REQUEST = ("parent_header", "shell_parent", "shell_parent_ident")


class Shell:
    """A thread that can be the kernel's main shell."""

    def __init__(self, thread: threading.Thread, io_loop: IOLoop, lock: asyncio.Lock) -> None:
        self.thread = thread
        self.ident = thread.ident
        self.io_loop = io_loop
        self.lock = lock
        self.busy = False  # whether it runs a job, or has to finish its cell
        self.context = self.before = contextvars.copy_context()
        self.on_interrupt: Callable[[], object] | None = None  # interrupts a cell that awaits

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Its event loop."""
        return self.io_loop.asyncio_loop  # type: ignore[attr-defined, no-any-return]

    def carry_over(self) -> None:
        """Set in the calling context, too, the context variables that its cells have set."""
        for var, value in self.context.items():
            if var.name not in _OF_A_REQUEST and self.before.get(var, self) is not value:
                var.set(value)


def shell_here(shells: Sequence[Shell]) -> Shell | None:
    """Return the shell whose thread is calling, None if it is none of them."""
    me = threading.get_ident()
    for shell in shells:
        if shell.ident == me:
            return shell
    return None


class ThreadHere:
    """Replaces the thread that has to be the shell; equals the thread of each of `shells`."""

    def __init__(self, shells: Sequence[Shell]) -> None:
        self._shells = shells

    def __eq__(self, thread: object) -> bool:
        return any(shell.thread is thread for shell in self._shells)

    def __hash__(self) -> int:
        return id(self)


class LockHere:
    """Replaces the lock of the shell; acts as the lock of the shell whose thread is calling."""

    def __init__(self, shells: Sequence[Shell]) -> None:
        self._shells = shells

    def _mine(self) -> asyncio.Lock:
        return (shell_here(self._shells) or self._shells[0]).lock

    def locked(self) -> bool:
        """Return whether this thread is handling a request."""
        return self._mine().locked()

    async def __aenter__(self) -> None:
        await self._mine().acquire()

    async def __aexit__(self, *error: object) -> None:
        self._mine().release()
