"""What jobs print and display in a Jupyter kernel: messages for the launching cell."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from .. import locks, render
from ..info import JobState
from ..job import Job, current_job
from ..kill import shield
from .backlog import Backlog
from .budget import budget
from .errors import clean
from .job_output import JobOutput, Told, agent

__all__ = ["host"]

_TICK = 0.1  # seconds between two messages with text of one job
_PAUSE = 0.02  # seconds before the first, so that a line that is being written is whole

_logger = logging.getLogger("ipykill")


class _KernelOutput(JobOutput):
    """Output as messages of a Jupyter kernel."""

    def __init__(self, shell: Any, publisher: Any, job: Job) -> None:
        super().__init__(shell, publisher, job)
        outer = current_job()
        if outer is not None and isinstance(outer.host, _KernelOutput):
            self.parent: dict[str, Any] = outer.host.parent
        else:
            self.parent = dict(publisher.parent_header)
        self._sending = locks.RLock()
        self._backlog = Backlog(job.id)
        self._scheduled = False
        self._next = 0.0
        # Widgets of which a part of the state is to be sent: that part, and what sends it.
        self._updates: dict[Any, tuple[set[str], Callable[[set[str]], object]]] = {}

    @property
    def cell_message(self) -> str | None:
        number: str | None = self.parent.get("msg_id")
        return number

    def enter(self, job: Job) -> None:
        # The publisher's hooks are thread-local.
        self.publisher.register_hook(self._route)

    def leave(self, job: Job) -> None:
        """Let the calling thread display elsewhere."""
        self.publisher.unregister_hook(self._route)

    def _route(self, message: dict[str, Any]) -> None:
        """Take a message of the display publisher, on a thread of the job.

        It is sent from here, behind what was printed before, or when its turn comes.
        """
        if self._captures:
            self._catch(message, self._captures[-1])
            return
        message["parent_header"] = self.parent
        with shield():
            self._take_in(message["msg_type"], message)
            self._send(bounded=True)

    def _deal_with(self, name: str, what: Any) -> None:
        if isinstance(what, str):
            super()._deal_with(name, what)
        else:
            self._backlog.display(what)

    def _catch(self, message: dict[str, Any], displays: list[dict[str, Any]]) -> None:
        if message["msg_type"] == "clear_output":
            displays.clear()
            return
        content = message["content"]
        shown = {key: content.get(key) for key in ("data", "metadata", "transient")}
        displays.append(shown | {"update": message["msg_type"] == "update_display_data"})

    def deliver(self, name: str, text: str) -> None:
        self._backlog.write(name, text)
        self._schedule(max(self._next, time.monotonic() + _PAUSE))

    def update(self, widget: Any, keys: Iterable[str], send: Callable[[set[str]], object]) -> None:
        with self._lock:
            if widget in self._updates or not budget.messages.take(1):
                self._updates.setdefault(widget, (set(), send))[0].update(keys)
                self._schedule(time.monotonic() + _TICK)
                return
        send(set(keys))

    def _schedule(self, at: float) -> None:
        if not self._scheduled:
            self._scheduled = True
            agent.call(self._tick, at)

    def _tick(self) -> None:
        with self._lock:
            self._scheduled = False
        self._send(bounded=True)

    def flush(self) -> None:
        self._send(bounded=False)

    def _send(self, *, bounded: bool) -> None:
        """Send what waits; `bounded`: as much of it as the budget allows, the rest later."""
        with self._sending:
            with self._lock:
                if self._busy:
                    return
                self._busy = True
                try:
                    pieces = self._backlog.take(bounded=bounded)
                finally:
                    self._busy = False
                updates = self._take_updates(bounded=bounded)
                self._next = time.monotonic() + _TICK
                if self._backlog or self._updates:
                    self._schedule(self._next)
            for piece in pieces:
                if piece.message is None:
                    content = {"name": piece.name, "text": clean(piece.text)}
                    self._publish("stream", content, f"stream.{piece.name}")
                else:
                    self.publisher.session.send(
                        self.publisher.pub_socket, piece.message, ident=self.publisher.topic
                    )
            for keys, send in updates:
                try:
                    send(keys)
                except Exception:  # of the widget's own code
                    _logger.exception("the state of a widget of job %s was not sent", self.job.id)

    def _take_updates(self, *, bounded: bool) -> list[Any]:
        taken = []
        while self._updates and (not bounded or budget.messages.take(1)):
            taken.append(self._updates.pop(next(iter(self._updates))))
        return taken

    def show_error(self, kind: str, message: str, lines: list[str]) -> None:
        self.flush()
        self._keep("\n".join(lines) + "\n")
        content = {
            "ename": kind,
            "evalue": clean(message),
            "traceback": [clean(line) for line in lines],
        }
        self._publish("error", content, "error")

    def last_words(self) -> None:
        told = self.job.has_card or self.job.state in (JobState.DONE, JobState.FAILED)
        if not told:
            self.line(render.sentence(self.job.info()), Told)

    def _publish(self, kind: str, content: dict[str, Any], topic: str) -> None:
        self.publisher.session.send(
            self.publisher.pub_socket, kind, content, parent=self.parent, ident=topic.encode()
        )


def host(shell: Any, publisher: Any) -> Callable[[Job], _KernelOutput]:
    """Return what makes the output of a job in a kernel."""
    return functools.partial(_KernelOutput, shell, publisher)
