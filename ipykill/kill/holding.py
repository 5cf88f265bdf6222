"""What would stop an event loop too early, while its tasks are ended, and what would complain.

Each is a method that gets a stand-in: an attribute of the object that has it. That is done in the
loop's own thread, and undone there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from . import policy

__all__ = ["Hold"]


class Hold:
    """Keeps `loop` running.

    Attributes
    ----------
    wanted
        Whether somebody has wanted to stop it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_stop: Callable[[], None]) -> None:
        self._loop = loop
        self._on_stop = on_stop
        self._held: list[tuple[Any, str]] = []
        self.wanted = False

    def __bool__(self) -> bool:
        return bool(self._held)

    def keep(self, main: asyncio.Future[Any] | None) -> None:
        """Let the loop run on when `main`, for which it runs, has ended; also to do so again."""
        self._stand_in(self._loop, "stop", self._note_stop)
        if main is not None and hasattr(self._loop, "_nest_patched"):
            # nest_asyncio stops no loop, but asks again and again whether its future is done.
            self._stand_in(main, "done", lambda: False)

    def hush(self) -> None:
        """From here on, tell nobody of a Kill in a callback, or in what nobody awaits any more."""
        self._loop.call_exception_handler = self._handle  # type: ignore[method-assign]

    def let_go(self, *, stop: bool = True) -> None:
        """Let the loop stop, which it does if that was wanted, unless it is not to."""
        for owner, name in self._held:
            with contextlib.suppress(AttributeError):
                delattr(owner, name)
        self._held.clear()
        wanted, self.wanted = self.wanted, False
        if wanted and stop:
            self._loop.stop()

    def _stand_in(self, owner: Any, name: str, fn: Callable[..., object]) -> None:
        if not any(owner is held and name == its for held, its in self._held):
            self._held.append((owner, name))
            setattr(owner, name, fn)

    @policy.unbroken
    def _note_stop(self) -> None:
        self.wanted = True
        self._on_stop()

    @policy.unbroken
    def _handle(self, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), asyncio.CancelledError):
            type(self._loop).call_exception_handler(self._loop, context)
