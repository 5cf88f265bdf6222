"""The output of jobs in a Jupyter kernel: messages for the launching cell."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from ..base import locks
from ..core import render
from ..core.current import current_job
from ..core.info import JobState
from ..core.job import Job
from ..kill import shield
from .backlog import Backlog, Piece
from .budget import budget
from .cells import Cells, Header, blocks
from .errors import clean
from .iopub import open_no_sockets, send_together
from .job_output import JobOutput, Told, agent
from .region import Message, Region

__all__ = ["host"]

_TICK = 0.1  # seconds between two messages with text of one job
_PAUSE = 0.02  # seconds before the first, so that a line is sent whole and not in parts

_logger = logging.getLogger("ipykill")


class _KernelOutput(JobOutput):
    """Output as messages of a Jupyter kernel."""

    def __init__(self, cells: Cells, shell: Any, publisher: Any, job: Job) -> None:
        super().__init__(shell, publisher, job)
        self._cells = cells
        self._region = Region()
        outer = current_job()
        if outer is not None and isinstance(outer.host, _KernelOutput):
            self.parent: Header = outer.host.parent
            self._follows: bool = outer.host._follows
            outer.host._region.alone = False
            around = outer.host.widget
        else:
            launching = cells.launching()
            self.parent = launching or cells.newest
            # A job that a widget's callback launches has no cell of its own: what it shows in a
            # widget is sent as output of the newest cell, which the front end surely still has.
            self._follows = launching is None
            self._region.alone = cells.is_alone(job)
            around = blocks.widgets[-1] if blocks.widgets else None
        if around is not None:
            self._widgets.append(around)
        self._sending = locks.RLock()
        self._in_sending = False
        # The output that waits for the cell (None), and for each `Output` widget.
        self._backlogs: dict[Any, Backlog] = {None: Backlog(job.id)}
        self._scheduled = False
        self._next = 0.0
        # For each widget whose state waits to be sent: the keys, and the function that sends them.
        self._updates: dict[Any, tuple[set[str], Callable[[set[str]], object]]] = {}

    @property
    def cell_message(self) -> str | None:
        number: str | None = self.parent.get("msg_id")
        return number

    def pin(self, show: Callable[[], Iterable[dict[str, Any]]]) -> None:
        self._region.pinned.append(show)

    def enter(self, job: Job) -> None:
        # The publisher's hooks are thread-local.
        self.publisher.register_hook(self.route)

    def leave(self, job: Job) -> None:
        """Take the hook of the calling thread away."""
        self.publisher.unregister_hook(self.route)

    def route(self, message: dict[str, Any]) -> None:
        """Take a message of the display publisher; a hook that a thread of the job calls.

        This sends the message at once, after what was printed before, or leaves it in the backlog
        if the budget is used up.
        """
        if self._captures:
            self._catch(message, self._captures[-1])
            return
        with shield():
            self._take_in(message["msg_type"], message)
            self._send(bounded=True)

    def _deal_with(self, widget: Any, name: str, what: Any) -> None:
        if isinstance(what, str):
            super()._deal_with(widget, name, what)
        else:
            self._backlog(widget).display(what)

    def _backlog(self, widget: Any) -> Backlog:
        if widget not in self._backlogs:
            self._backlogs[widget] = Backlog(self.job.id)
        return self._backlogs[widget]

    def _catch(self, message: dict[str, Any], displays: list[dict[str, Any]]) -> None:
        if message["msg_type"] == "clear_output":
            displays.clear()
            return
        content = message["content"]
        shown = {key: content.get(key) for key in ("data", "metadata", "transient")}
        displays.append(shown | {"update": message["msg_type"] == "update_display_data"})

    def deliver(self, widget: Any, name: str, text: str) -> None:
        self._backlog(widget).write(name, text)
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
        """Send what waits; if `bounded`, only what the budget allows, and the rest later."""
        with self._sending:
            with self._lock:
                if self._busy or self._in_sending:  # a finalizer calls this within such a call
                    self._schedule(time.monotonic())
                    return
                self._busy = True
                try:
                    taken = {it: log.take(bounded=bounded) for it, log in self._backlogs.items()}
                    if not bounded:  # nothing waits any more; keep no widget alive
                        self._backlogs = {None: self._backlog(None)}
                finally:
                    self._busy = False
                updates = self._take_updates(bounded=bounded)
                self._next = time.monotonic() + _TICK
                if any(self._backlogs.values()) or self._updates:
                    self._schedule(self._next)
            self._in_sending = True
            try:
                self._send_taken(taken, updates)
            finally:
                self._in_sending = False

    def _send_taken(self, taken: dict[Any, list[Piece]], updates: list[Any]) -> None:
        for widget, pieces in taken.items():
            if widget is None:
                self._send_to_cell(pieces)
            elif pieces:
                self._send_into(widget, [it.as_message() for it in pieces])
        for keys, send in updates:
            try:
                send(keys)
            except Exception:  # raised by the widget's own code
                _logger.exception("the state of a widget of job %s was not sent", self.job.id)

    def _send_to_cell(self, pieces: Iterable[Piece]) -> None:
        region = self._region
        was_due = region.due
        messages = region.overdue()
        for piece in pieces:
            messages += region.take(piece)
        self._send_all(messages)
        if region.due is not None and region.due != was_due:
            agent.call(functools.partial(self._send, bounded=True), region.due)

    def _send_into(self, widget: Any, messages: list[Message]) -> None:
        """Send messages into an `Output` widget.

        A front end moves the output of the cell that the widget names (`msg_id`) into the widget.
        The widget names the cell of these messages only while they are sent.
        """
        comm = widget.comm
        if comm is None:  # it is closed
            self._send_all(messages)
            return
        cell = self._cells.newest if self._follows else self.parent

        def name(number: str) -> Message:
            update = {"method": "update", "state": {"msg_id": number}, "buffer_paths": []}
            return "comm_msg", {"comm_id": comm.comm_id, "data": update}

        def send(socket: Any) -> None:
            self._send_message(socket, name(cell["msg_id"]), cell)
            for message in messages:
                self._send_message(socket, message, cell)
            # Back to what it was: the foreground may be in a block of the same widget.
            self._send_message(socket, name(widget.msg_id), cell)

        send_together(self.publisher.pub_socket, send)

    def _send_all(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._send_message(self.publisher.pub_socket, message, self.parent)

    def _send_message(self, socket: Any, message: Message, parent: Header) -> None:
        kind, content = message
        self.publisher.session.send(socket, kind, content, parent=parent, ident=kind.encode())

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
        widget = self.widget
        with self._sending:
            if widget is not None:
                self._send_into(widget, [("error", content)])
            else:
                self._send_all(self._region.error(content))

    def last_words(self) -> None:
        self.flush()
        with self._sending:
            self._send_all(self._region.settle(whole=self.job.state is JobState.DONE))
        told = self.job.has_card or self.job.state in (JobState.DONE, JobState.FAILED)
        if not told:
            self.line(render.sentence(self.job.info()), Told)


_cells: Cells | None = None


def host(shell: Any, publisher: Any) -> Callable[[Job], _KernelOutput]:
    """Return a function that makes the `Host` of a job in a kernel."""
    global _cells
    open_no_sockets(publisher.pub_socket)
    _cells = _cells or Cells(shell, publisher)
    return functools.partial(_KernelOutput, _cells, shell, publisher)


def forget_cells() -> None:
    """Stop following which cells are run; call this when no job runs."""
    global _cells
    if _cells is not None:
        _cells.forget()
        _cells = None
