"""Keep an asyncio event loop running, and quiet, while its tasks are ended.

Methods that would stop the loop or log errors are replaced: the object gets an attribute of the
same name. The loop's own thread does this and undoes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from typing import Any

from . import policy

__all__ = ["Hold"]


class Hold:
    """Keeps `loop` running.

    Attributes
    ----------
    wanted
        Whether ``loop.stop`` was called meanwhile.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_stop: Callable[[], None]) -> None:
        self._loop = loop
        self._on_stop = on_stop
        self._held: list[tuple[Any, str]] = []
        self.wanted = False

    def __bool__(self) -> bool:
        return bool(self._held)

    def keep(self, main: asyncio.Future[Any] | None) -> None:
        """Let the loop run on when its main future has ended. A second call changes nothing."""
        self._stand_in(self._loop, "stop", self._note_stop)
        if main is not None and hasattr(self._loop, "_nest_patched"):
            # nest_asyncio does not call loop.stop(), but calls main.done() again and again.
            self._stand_in(main, "done", lambda: False)

    def hush(self) -> None:
        """From here on, log no cancellation in a callback, or in a task that nobody awaits."""
        # This is never undone, because asyncio logs a future that nobody awaits only when it is
        # freed. The function keeps nothing alive but the loop, to which it belongs.
        handle = functools.partial(_log_no_cancellation, self._loop)
        self._loop.call_exception_handler = handle  # type: ignore[method-assign]

    def let_go(self, *, stop: bool = True) -> None:
        """Undo `keep`; if ``loop.stop`` was called meanwhile and `stop` is true, stop the loop."""
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
def _log_no_cancellation(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if not isinstance(context.get("exception"), asyncio.CancelledError):
        type(loop).call_exception_handler(loop, context)
