"""There: the output of a job, which is sent to the kernel that launched it.

The code that runs next may keep the interpreter's lock for ever, and then be killed with its
process. So text is sent at once, by the thread that writes it, unless it writes all the time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ..base import locks
from ..core.agent import Agent
from ..core.job import Job
from ..kill import shield
from ..output.job_output import JobOutput

__all__ = ["Echo"]

_TICK = 0.05  # seconds in which so many messages with text are sent at once; what is written more
_AT_ONCE = 20  # in that time is sent together at its end
_MOST = 100_000  # how many characters may wait; if there are more, the oldest are left out

_agent = Agent("echo")


class Echo(JobOutput):
    """The output of a job: a display is sent at once, text too unless there is very much of it.

    Parameters
    ----------
    post
        Sends a message.
    lines
        Returns the traceback of an error.

    Attributes
    ----------
    error, lines
        The error that the job failed with, and its traceback.
    """

    def __init__(
        self,
        namespace: dict[str, Any],
        post: Callable[..., None],
        lines: Callable[[BaseException], list[str]],
        job: Job,
    ) -> None:
        super().__init__(SimpleNamespace(user_ns=namespace), None, job)
        self._post = post
        self._format = lines
        self.error: BaseException | None = None
        self.lines: tuple[str, ...] = ()
        self._waiting: deque[tuple[str, str]] = deque()
        self._size = self._left_out = 0
        self._scheduled = False
        self._begin = 0.0  # of the present tick, monotonic
        self._sent = 0  # messages in it
        self._sending = locks.RLock()

    def deliver(self, widget: Any, name: str, text: str) -> None:
        """Send `text` soon."""
        self._waiting.append((name, text))
        self._size += len(text)
        while self._size > _MOST and len(self._waiting) > 1:
            cut = len(self._waiting.popleft()[1])
            self._size -= cut
            self._left_out += cut
        if self._scheduled:
            return
        now = time.monotonic()
        if now >= self._begin + _TICK:
            self._begin, self._sent = now, 0
        if self._sent < _AT_ONCE:
            with shield():
                self.flush()
        else:
            self._scheduled = True
            _agent.call(self.flush, self._begin + _TICK)

    def flush(self) -> None:
        """Send the text that waits."""
        with self._sending:  # in the order in which it was written
            self._send_waiting()

    def _send_waiting(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
            left_out, self._left_out = self._left_out, 0
            self._size = 0
            self._scheduled = False
            self._sent += 1
        if left_out:
            told = f"\n... {left_out:,} characters left out: more than can be sent from there\n"
            waiting.appendleft(("stderr", told))
        while waiting:
            name, text = waiting.popleft()
            parts = [text]
            while waiting and waiting[0][0] == name:
                parts.append(waiting.popleft()[1])
            self._post("text", name, "".join(parts))

    def display(self, kind: str, content: dict[str, Any]) -> None:
        """Send a display, after the text that was printed before."""
        with shield():
            if self._captures:
                self._captures[-1].append(content | {"update": kind == "update_display_data"})
                return
            self.flush()
            self._post("display", kind, content)

    def finish(self, job: Job, error: BaseException | None) -> None:
        """Note the error, which `Work.end` sends, and send the text that is left."""
        try:
            if error is not None:
                self.error, self.lines = error, tuple(self._format(error))
        finally:
            super().finish(job, error)
