"""The output of a job, in a kernel and in a terminal: its log, its redirections, its end."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from ..base import locks
from ..base.tracebacks import hidden
from ..core.agent import Agent
from ..core.current import current_job
from ..core.failure import message
from ..core.info import JobState
from ..core.job import Job
from ..integrations import figures
from .errors import format_error
from .held_locks import Locks

__all__ = ["JobOutput", "Told", "agent", "of_job"]

agent = Agent("output")


class Told(str):
    """Text in which ipykill says something about a job; it is shown, but not put into the log."""


class JobOutput:
    """The output of one job: its log, and the way to its cell. A `Host`.

    Threading
    ---------
    Any thread of the job calls `write`, which holds only `_lock`; a Kill may come there at any
    moment. Messages are sent with `_sending` held, so that they stay in order.

    The garbage collector may run a finalizer in the middle of all this, in the same thread,
    and the finalizer may print, which calls `write` again. So `_lock` is reentrant. The inner
    call finds `_busy` set, appends its text to `_incoming`, and changes nothing else.
    """

    def __init__(self, shell: Any, publisher: Any, job: Job) -> None:
        self.shell = shell
        self.publisher = publisher
        self.job = job
        self._lock = locks.RLock()
        self._busy = False
        self._incoming: deque[tuple[Any, str, Any]] = deque()
        self._at_line_start = True
        self._locks = Locks(shell.user_ns, job)
        # What the streams are redirected to, the innermost last: an object with a `write`, None
        # for nowhere, or the name of a stream.
        self._redirections: dict[str, list[list[Any]]] = {"stdout": [], "stderr": []}
        self._captures: list[list[dict[str, Any]]] = []
        self._widgets: list[Any] = []
        self._of_thread = threading.local()

    @property
    def cell_message(self) -> str | None:
        """The id of the message that ran the launching cell, None outside a kernel."""
        return None

    # If the job's own thread enters the block of an `Output` widget, the widget takes the output
    # of all its threads; if another thread does, only the output of that thread: a thread of rich
    # repaints a bar in such a block while the job prints.

    def widgets(self) -> list[Any]:
        """Return the widgets in whose blocks the calling thread is, innermost last."""
        if threading.current_thread() is self.job.thread:
            return self._widgets
        widgets: list[Any] = vars(self._of_thread).setdefault("widgets", [])
        return widgets

    @property
    def widget(self) -> Any:
        """The widget that takes the output of the calling thread, None for the cell."""
        return (self.widgets() or self._widgets or [None])[-1]

    def pin(self, show: Callable[[], Iterable[dict[str, Any]]]) -> None:
        """Keep a display, such as a card, below the launching cell when the job clears its output.

        Parameters
        ----------
        show
            Returns the contents of the messages that show it again.
        """

    def enter(self, job: Job) -> None:
        """Route the displays of the calling thread, a new one of the job."""

    def leave(self, job: Job) -> None:
        """Undo `enter` in the calling thread."""

    def write(self, name: str, text: str) -> int:
        """Take text that the job wrote to the stream `name`, ``stdout`` or ``stderr``."""
        if not isinstance(text, str):
            msg = f"write() argument must be str, not {type(text).__name__}"
            raise TypeError(msg)
        target = self._target(name)
        if target is None:
            return len(text)
        if not isinstance(target, str):
            written: int = target.write(text)
            return written
        if text:
            self._take_in(target, text)
        return len(text)

    def _take_in(self, name: str, what: Any) -> None:
        """Handle text that was written to the stream `name`, or a message of the type `name`."""
        with self._lock:
            self._incoming.append((self.widget, name, what))
            if self._busy:
                agent.call(self._work)
            else:
                self._work()

    def _work(self) -> None:
        with self._lock:
            self._busy = True
            try:
                self._deal_with_all()
            finally:
                self._busy = False

    def _deal_with_all(self) -> None:
        while self._incoming:
            self._deal_with(*self._incoming.popleft())

    def _deal_with(self, widget: Any, name: str, what: Any) -> None:
        if not isinstance(what, Told):
            self._keep(what)
        self._at_line_start = what.endswith("\n")
        self.deliver(widget, name, what)

    def _keep(self, text: str) -> None:
        """Write to the log; an error of its file is told, not raised in the job."""
        try:
            self.job.log.write(text)
        except OSError as error:
            self._tell_of_file(error)

    def _tell_of_file(self, error: OSError) -> None:
        why = error.strerror or type(error).__name__
        told = f"[{self.job.id}] the file of --log lacks what follows: {why}\n"
        self._incoming.append((None, "stderr", told if self._at_line_start else f"\n{told}"))

    def _target(self, name: str) -> Any:
        inner = self._redirections[name][-1:]
        return inner[0][0] if inner else name

    def redirect(self, name: str, target: Any) -> Callable[[], None]:
        """Redirect the stream `name` to `target`; return a function that ends this."""
        tapped = getattr(target, "_ipykill_name", None)
        # A standard stream is replaced by what it leads to now, so that no two lead to each other.
        if isinstance(tapped, str):
            target = self._target(tapped)
        entries, entry = self._redirections[name], [target]
        entries.append(entry)

        def end() -> None:
            entries[:] = [it for it in entries if it is not entry]

        return end

    def capture(self, displays: list[dict[str, Any]]) -> Callable[[], None]:
        """Append the job's displays to `displays`; return a function that ends this."""
        self._captures.append(displays)

        def end() -> None:
            self._captures[:] = [it for it in self._captures if it is not displays]

        return end

    @hidden
    def flush_stream(self, name: str) -> None:
        """Flush what the stream `name` is redirected to; other output is sent soon anyway."""
        target = self._target(name)
        if not isinstance(target, str) and hasattr(target, "flush"):
            target.flush()

    def deliver(self, widget: Any, name: str, text: str) -> None:
        """Pass `text` on to the cell, the widget or the terminal; called with `_lock` held."""
        raise NotImplementedError

    def flush(self) -> None:
        """Send all output that waits."""

    def update(self, widget: Any, keys: Iterable[str], send: Callable[[set[str]], object]) -> None:
        """Call ``send(keys)``, which sends those parts of a widget's state, now or soon."""
        send(set(keys))

    def show_error(self, kind: str, message: str, lines: list[str]) -> None:
        """Show the traceback of an error."""
        self.write("stderr", "\n".join(lines) + "\n")

    def line(self, text: str, kind: type[str] = str) -> None:
        """Write a line of ipykill's own, which begins on a new line."""
        self.write("stdout", kind(("" if self._at_line_start else "\n") + text + "\n"))

    def finish(self, job: Job, error: BaseException | None) -> None:
        """Deliver the job's open figures, its error, and a line about its end; see `Host`."""
        try:
            try:
                figures.show(job)
            except Exception:
                _logger.exception("the figures of job %s could not be shown", job.id)
            if error is not None and job.report:
                lines = format_error(self.shell, error)
                self.show_error(type(error).__name__, message(error), lines)
            self.last_words()
            if job.state is JobState.KILLED:
                for line in [*job.spared(), *self._locks.left()]:
                    self.line(f"[{job.id}] {line}")
        finally:
            try:
                job.log.close()
            except OSError as failure:
                self._tell_of_file(failure)
            self._work()
            self.flush()

    def last_words(self) -> None:
        """Write a line that says how the job ended, unless that is shown anyway."""


_logger = logging.getLogger("ipykill")
_pid = os.getpid()


def of_job() -> JobOutput | None:
    """Return the output of the job whose code is calling, None outside jobs."""
    job = current_job()
    # The child of a fork has no thread that would send anything.
    if job is None or not isinstance(job.host, JobOutput) or os.getpid() != _pid:
        return None
    return job.host
