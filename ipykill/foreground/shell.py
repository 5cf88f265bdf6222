"""A thread that can be the kernel's main shell, and what stands for all that can be.

ipykernel has one thread that has to be the shell, and one lock that it holds while it deals with
a request. A request may have reached one shell in the moment in which another one begins to be it:
then it is to find the lock of its own thread, never that of another one's event loop, and it is
dropped when it is dealt with (`Shells.begin`), for the other one has got it too. So what
ipykernel finds answers by the thread that asks.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Sequence

from tornado.ioloop import IOLoop

__all__ = ["LockHere", "Shell", "ThreadHere", "shell_here"]

_OF_A_REQUEST = ("parent_header", "shell_parent", "shell_parent_ident")


class Shell:
    """A thread that can be the kernel's main shell."""

    def __init__(self, thread: threading.Thread, io_loop: IOLoop, lock: asyncio.Lock) -> None:
        self.thread = thread
        self.io_loop = io_loop
        self.lock = lock
        self.busy = False  # whether it runs a job, or has to finish its cell
        self.context = self.before = contextvars.copy_context()
        self.on_interrupt: Callable[[], object] | None = None  # of a cell that awaits

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Its event loop."""
        return self.io_loop.asyncio_loop  # type: ignore[attr-defined, no-any-return]

    def carry_over(self) -> None:
        """Set the context variables that its cells have set, in the context that calls."""
        for var, value in self.context.items():
            if var.name not in _OF_A_REQUEST and self.before.get(var, self) is not value:
                var.set(value)


def shell_here(shells: Sequence[Shell]) -> Shell | None:
    """Return which of the shells has the thread that calls."""
    me = threading.current_thread()
    return next((shell for shell in shells if shell.thread is me), None)


class ThreadHere:
    """Stands for the thread that has to be the shell: equals that of each of `shells`."""

    def __init__(self, shells: Sequence[Shell]) -> None:
        self._shells = shells

    def __eq__(self, thread: object) -> bool:
        return any(shell.thread is thread for shell in self._shells)

    def __hash__(self) -> int:
        return id(self)


class LockHere:
    """Stands for the lock of the shell: that of the shell whose thread asks."""

    def __init__(self, shells: Sequence[Shell]) -> None:
        self._shells = shells

    def _mine(self) -> asyncio.Lock:
        return (shell_here(self._shells) or self._shells[0]).lock

    def locked(self) -> bool:
        """Return whether a request is being dealt with in this thread."""
        return self._mine().locked()

    async def __aenter__(self) -> None:
        await self._mine().acquire()

    async def __aexit__(self, *error: object) -> None:
        self._mine().release()
