"""The output of a job, wherever it goes: its log, redirections, the end."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from ..base import locks
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
    """What ipykill tells of a job: no part of what the job printed, and not in its log."""


class JobOutput:
    """The output of one job: its log, and the way to its cell. A `Host`.

    Threading
    ---------
    `write` is called on any thread of the job, where a Kill may come at any moment, and
    holds only `_lock`. Messages are sent with `_sending` held, so that they stay in order.

    The garbage collector may run a finalizer in the middle of all this, in the same thread,
    and what that prints comes here again. So `_lock` may be taken again by its holder, who
    then finds `_busy`, leaves what it has in `_incoming`, and changes nothing.
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
        # Where the streams lead instead, innermost last: an object that takes what is written,
        # None for nowhere, or the name of the stream that it is written to.
        self._redirections: dict[str, list[list[Any]]] = {"stdout": [], "stderr": []}
        self._captures: list[list[dict[str, Any]]] = []
        self._widgets: list[Any] = []
        self._of_thread = threading.local()

    @property
    def cell_message(self) -> str | None:
        """The message that ran the launching cell, None outside a kernel."""
        return None

    # In a block of a widget `Output`, the job's own thread sends all that the job shows there;
    # any other only what it shows itself: rich repaints a bar in such a block, in a thread of its
    # own, while the job prints.

    def widgets(self) -> list[Any]:
        """Return the widgets in whose blocks the calling thread is, innermost last."""
        if threading.current_thread() is self.job.thread:
            return self._widgets
        widgets: list[Any] = vars(self._of_thread).setdefault("widgets", [])
        return widgets

    @property
    def widget(self) -> Any:
        """The widget that takes what the calling thread shows, None for the cell."""
        return (self.widgets() or self._widgets or [None])[-1]

    def pin(self, show: Callable[[], Iterable[dict[str, Any]]]) -> None:
        """Let what was displayed below the launching cell stay there when that is cleared.

        Parameters
        ----------
        show
            Returns the contents of the displays that show it again.
        """

    def enter(self, job: Job) -> None:
        """Prepare a thread of the job."""

    def leave(self, job: Job) -> None:
        """Undo that."""

    def write(self, name: str, text: str) -> int:
        """Take what the job wrote to the stream `name`, ``stdout`` or ``stderr``."""
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
        """Deal with what was written to the stream `name`, or with a message of this type."""
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
        """Write to the log. That its file takes no more is no fault of the job's."""
        try:
            self.job.log.write(text)
        except OSError as error:
            self._tell_of_file(error)

    def _tell_of_file(self, error: OSError) -> None:
        why = error.strerror or type(error).__name__
        told = f"[{self.job.id}] the file of --log is not whole and gets no more: {why}\n"
        self._incoming.append((None, "stderr", told if self._at_line_start else f"\n{told}"))

    def _target(self, name: str) -> Any:
        inner = self._redirections[name][-1:]
        return inner[0][0] if inner else name

    def redirect(self, name: str, target: Any) -> Callable[[], None]:
        """Lead the stream `name` to `target`; return what ends that."""
        tapped = getattr(target, "_ipykill_name", None)
        if isinstance(tapped, str):  # where that leads now, or two could lead to each other
            target = self._target(tapped)
        entries, entry = self._redirections[name], [target]
        entries.append(entry)

        def end() -> None:
            entries[:] = [it for it in entries if it is not entry]

        return end

    def capture(self, displays: list[dict[str, Any]]) -> Callable[[], None]:
        """Put what is displayed into `displays`; return what ends that."""
        self._captures.append(displays)

        def end() -> None:
            self._captures[:] = [it for it in self._captures if it is not displays]

        return end

    def flush_stream(self, name: str) -> None:
        """Flush what the stream `name` leads to instead; all else is sent soon anyway."""
        target = self._target(name)
        if not isinstance(target, str) and hasattr(target, "flush"):
            target.flush()

    def deliver(self, widget: Any, name: str, text: str) -> None:
        """Pass `text` on to the user, to the cell or into a widget; `_lock` is held."""
        raise NotImplementedError

    def flush(self) -> None:
        """Send what waits."""

    def update(self, widget: Any, keys: Iterable[str], send: Callable[[set[str]], object]) -> None:
        """Send the parts `keys` of the state of a widget, now or soon."""
        send(set(keys))

    def show_error(self, kind: str, message: str, lines: list[str]) -> None:
        """Show the traceback that the job ended with."""
        self.write("stderr", "\n".join(lines) + "\n")

    def line(self, text: str, kind: type[str] = str) -> None:
        """Write a line of ipykill's own."""
        self.write("stdout", kind(("" if self._at_line_start else "\n") + text + "\n"))

    def finish(self, job: Job, error: BaseException | None) -> None:
        """Deliver what is left: figures, the error, the last words."""
        try:
            figures.show(job)
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
        """Say how the job ended, where that is worth a line."""


_pid = os.getpid()


def of_job() -> JobOutput | None:
    """Return the output of the job whose code is calling."""
    job = current_job()
    # A forked child has no thread that would send anything.
    if job is None or not isinstance(job.host, JobOutput) or os.getpid() != _pid:
        return None
    return job.host
