"""Where a job's output goes: to the cell that launched it, and into its log.

The kernel says of every output to which cell it belongs, but not in the same way in all
of its versions, and in none for the threads that a job starts. So ipykill does not ask
it: each job knows the cell that launched it (`JobOutput.parent`), and

- the two standard streams are tapped: what is written inside a job, by whatever holds the
  stream (print, logging, tqdm, a handler made long ago), goes to the job's output;
- each thread of a job registers a hook with the display publisher that puts the launching
  cell in place of the newest one.

What does not pass through Python cannot be routed: bytes that C code or a child process
writes to file descriptors 1 and 2 go where the kernel puts them, below the newest cell.
"""

from __future__ import annotations

import copy
import functools
import io
import itertools
import operator
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from . import figures, progress, render, stack
from .agent import Agent
from .exceptions import JobError
from .job import Job, JobState, comes_from, current_job, message
from .kill import shield
from .leftovers import Locks
from .manager import JobManager

__all__ = ["format_error", "install", "uninstall"]

# What a server and a browser bear. jupyter_server drops nearly everything of a connection
# above 1000 messages or 1 MB a second (`_limit_rate`), and a page needs a second for about
# 100 kB of text. All jobs of the kernel share this.
_TICK = 0.1  # seconds between two messages of one job
_PAUSE = 0.02  # seconds before the first, so that a line that is being written is whole
_MESSAGES = (200.0, 100.0)  # at once, and per second
_CHARACTERS = (400_000.0, 100_000.0)
_KEEP = 50_000  # characters of a job that wait to be sent; beyond, the oldest are left out

_EBB = 1.0  # seconds without such a loss after which a flood is over

_agent = Agent("output")
_traceback_lock = threading.Lock()


class _Bucket:
    """A budget that fills up steadily.

    Threading
    ---------
    Any thread may take; `_lock` is a C-level lock.
    """

    def __init__(self, size: float, rate: float) -> None:
        self._size = self._level = size
        self._rate = rate
        self._time = time.monotonic()
        self._lock = threading.Lock()

    def take(self, most: int) -> int:
        """Take up to `most`; return how much there was."""
        with self._lock:
            now = time.monotonic()
            self._level = min(self._size, self._level + (now - self._time) * self._rate)
            self._time = now
            taken = min(most, int(self._level))
            self._level -= taken
            return taken


_messages = _Bucket(*_MESSAGES)
_characters = _Bucket(*_CHARACTERS)


def format_error(shell: Any, error: BaseException) -> list[str]:
    """Return the traceback as the shell formats it, without ipykill's own frames."""
    tb = stack.without_machinery(error.__traceback__)
    if isinstance(error, JobError):
        return [f"{type(error).__name__}: {error}"]
    try:
        # IPython's formatter leaves out what is in a group, so IPython does this as well.
        if comes_from(error, BaseExceptionGroup):
            return "".join(traceback.format_exception(type(error), error, tb)).splitlines()
        if hasattr(error, "_render_traceback_"):
            return list(error._render_traceback_())
        # A copy, because the formatter remembers the error for %debug and %tb, which are
        # about the foreground.
        formatter = copy.copy(shell.InteractiveTB)
        with _traceback_lock:
            return list(formatter.structured_traceback(type(error), error, tb, tb_offset=0))
    except Exception:
        return "".join(traceback.format_exception(type(error), error, tb)).splitlines()


class JobOutput:
    """The output of one job: its log, and the way to its cell. A `Host`.

    Threading
    ---------
    `write` is called on any thread of the job, where a Kill may come at any moment, and
    holds only `_lock`. Messages are sent with `_sending` held, so that they stay in order.
    """

    def __init__(self, shell: Any, job: Job) -> None:
        self.shell = shell
        self.job = job
        self._lock = threading.Lock()
        self._at_line_start = True
        self._locks = Locks(shell.user_ns, job)

    def enter(self, job: Job) -> None:
        """Prepare a thread of the job."""

    def write(self, name: str, text: str) -> int:
        """Take what the job wrote to the stream `name`, ``stdout`` or ``stderr``."""
        if not isinstance(text, str):
            msg = f"write() argument must be str, not {type(text).__name__}"
            raise TypeError(msg)
        if text:
            with self._lock:
                self.job.log.write(text)
                self._at_line_start = text.endswith("\n")
                self.deliver(name, text)
        return len(text)

    def deliver(self, name: str, text: str) -> None:
        """Pass `text` on to the user; `_lock` is held."""
        raise NotImplementedError

    def flush(self) -> None:
        """Send what waits."""

    def show_error(self, kind: str, message: str, lines: list[str]) -> None:
        """Show the traceback that the job ended with."""
        self.write("stderr", "\n".join(lines) + "\n")

    def line(self, text: str) -> None:
        """Write a line of ipykill's own."""
        self.write("stdout", ("" if self._at_line_start else "\n") + text + "\n")

    def finish(self, job: Job, error: BaseException | None) -> None:
        """Deliver what is left: figures, the error, the last words."""
        try:
            figures.show(job)
            if error is not None and job.report:
                lines = format_error(self.shell, error)
                self.show_error(type(error).__name__, message(error), lines)
            self.last_words()
            if job.state is JobState.KILLED:
                for line in self._locks.left():
                    self.line(f"[{job.id}] {line}")
        finally:
            self.flush()
            job.log.close()

    def last_words(self) -> None:
        """Say how the job ended, where that is worth a line."""


class _Backlog:
    """Text on its way to a cell, of which only so much may wait.

    Of a flood the beginning, as far as the budget goes, and the end get through; what is
    between is left out and counted. Its lock is that of the `JobOutput`.
    """

    def __init__(self, job_id: int) -> None:
        self._job_id = job_id
        self._due: list[tuple[str, str]] = []  # paid for, to be sent next
        self._waiting: deque[tuple[str, str]] = deque()
        self._size = 0  # of what waits, in characters
        self._left_out = 0
        self._last_cut = 0.0

    def __bool__(self) -> bool:
        return bool(self._due or self._waiting)

    def put(self, name: str, text: str) -> None:
        """Append text of the stream `name`."""
        if _repaints(text) and self._waiting:
            # A progress bar paints over itself; only the last state of it matters.
            stream, last = self._waiting[-1]
            if stream == name and _repaints(last):
                self._waiting.pop()
                self._size -= len(last)
        self._waiting.append((name, text))
        self._size += len(text)
        excess = self._size - _KEEP
        if excess > 0 and not self._left_out:
            paid = _characters.take(excess)
            self._due += self._shift(paid)
            excess -= paid
        if excess > 0:
            self._shift(excess)
            self._left_out += excess
            self._last_cut = time.monotonic()

    def take(self, *, bounded: bool) -> list[tuple[str, str]]:
        """Take all that waits, or `bounded`, as much as the budget allows now."""
        if bounded and not _messages.take(1):
            return []
        parts, self._due = _joined(self._due), []
        most = self._size
        if bounded:
            # Within a flood nothing more is shown until it ebbs, so that what is left out
            # is one piece, told in one line.
            flood = self._left_out and time.monotonic() - self._last_cut < _EBB
            most = 0 if flood else _characters.take(most)
        if self._left_out and most:
            parts.append(("stderr", self._notice()))
        return parts + _joined(self._shift(most))

    def _shift(self, most: int) -> list[tuple[str, str]]:
        """Take up to `most` characters from the front."""
        taken: list[tuple[str, str]] = []
        while most > 0 and self._waiting:
            name, text = self._waiting.popleft()
            if len(text) > most:
                self._waiting.appendleft((name, text[most:]))
                text = text[:most]
            most -= len(text)
            self._size -= len(text)
            taken.append((name, text))
        return taken

    def _notice(self) -> str:
        """Say what was left out, and let what comes after it begin with a whole line."""
        part = 0
        for _, text in self._waiting:
            if "\n" in text:
                part += text.index("\n") + 1
                self._shift(part)
                self._left_out += part
                break
            part += len(text)
        count, self._left_out = self._left_out, 0
        return (
            f"\n... {count:,} characters left out here: this is more than a notebook bears. "
            f"%bglog {self._job_id} shows the last lines, and %%bg --log FILE keeps "
            "everything.\n"
        )


class _KernelOutput(JobOutput):
    """Output as messages of a Jupyter kernel."""

    def __init__(self, shell: Any, publisher: Any, job: Job) -> None:
        super().__init__(shell, job)
        self._publisher = publisher
        outer = current_job()
        if outer is not None and isinstance(outer.host, _KernelOutput):
            self.parent: dict[str, Any] = outer.host.parent
        else:
            self.parent = dict(publisher.parent_header)
        self._sending = threading.RLock()
        self._backlog = _Backlog(job.id)
        self._scheduled = False
        self._next = 0.0

    def enter(self, job: Job) -> None:
        # The publisher's hooks are thread-local.
        self._publisher.register_hook(self._route)

    def _route(self, message: dict[str, Any]) -> dict[str, Any]:
        with shield():
            self.flush()  # what was printed before comes before
        message["parent_header"] = self.parent
        return message

    def deliver(self, name: str, text: str) -> None:
        self._backlog.put(name, text)
        if not self._scheduled:
            self._scheduled = True
            _agent.call(self._tick, max(self._next, time.monotonic() + _PAUSE))

    def _tick(self) -> None:
        self._send(bounded=True)

    def flush(self) -> None:
        self._send(bounded=False)

    def _send(self, *, bounded: bool) -> None:
        """Send what waits; `bounded`: as much of it as the budget allows, the rest later."""
        with self._sending:
            with self._lock:
                parts = self._backlog.take(bounded=bounded)
                self._next = time.monotonic() + _TICK
                self._scheduled = bool(self._backlog)
                if self._scheduled:
                    _agent.call(self._tick, self._next)
            for name, text in parts:
                self._publish("stream", {"name": name, "text": _clean(text)}, f"stream.{name}")

    def show_error(self, kind: str, message: str, lines: list[str]) -> None:
        self.flush()
        self.job.log.write("\n".join(lines) + "\n")
        clean = [_clean(line) for line in lines]
        content = {"ename": kind, "evalue": _clean(message), "traceback": clean}
        self._publish("error", content, "error")

    def last_words(self) -> None:
        told = self.job.has_card or self.job.state in (JobState.DONE, JobState.FAILED)
        if not told:
            self.line(render.sentence(self.job.info()))

    def _publish(self, kind: str, content: dict[str, Any], topic: str) -> None:
        self._publisher.session.send(
            self._publisher.pub_socket, kind, content, parent=self.parent, ident=topic.encode()
        )


def _clean(text: str) -> str:
    """Return `text` as it can be sent: without lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def _joined(parts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Join the texts that follow each other on the same stream."""
    groups = itertools.groupby(parts, key=operator.itemgetter(0))
    return [(name, "".join(text for _, text in group)) for name, group in groups]


def _repaints(text: str) -> bool:
    return text.startswith("\r") and "\n" not in text


class _Terminal:
    """Writes to the terminal from outside the prompt, above it while it waits.

    prompt_toolkit's own stand-in for the streams (`StdoutProxy`) loses what reaches it
    when the prompt is just ending. Here text leaves the queue only when it is written, and
    writing is tried again until then.

    Threading
    ---------
    Any thread may call `put` and `flush`. `_lock` is held while text is written.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, str]] = deque()

    def put(self, name: str, text: str) -> None:
        """Write `text` to the stream `name` soon."""
        self._waiting.append((name, text))
        _agent.call(self.flush)

    def flush(self) -> None:
        """Write the whole lines that wait, and later the rest, as far as can be."""
        app = self._prompt()
        if app is None:
            self._write(whole_lines=True)
            if self._waiting:  # a progress bar, or a line of which the end is on its way
                _agent.call(self._flush_rest, time.monotonic() + _TICK)
            return
        try:
            app.loop.call_soon_threadsafe(self._write_above, app)
        except RuntimeError:  # the prompt has ended meanwhile
            pass
        if self._has_line():
            _agent.call(self.flush, time.monotonic() + _TICK)

    def _flush_rest(self) -> None:
        # Nothing unfinished is written where a prompt waits: it would be painted over.
        self._write(whole_lines=self._prompt() is not None)

    def _write_above(self, app: Any) -> None:
        from prompt_toolkit.application import run_in_terminal

        if app.is_running and self._has_line():
            run_in_terminal(functools.partial(self._write, whole_lines=True))

    def _prompt(self) -> Any:
        """Return prompt_toolkit's application while it waits for input."""
        app = getattr(getattr(self._shell, "pt_app", None), "app", None)
        return app if app is not None and app.is_running and app.loop is not None else None

    def _has_line(self) -> bool:
        return any("\n" in text for _, text in list(self._waiting))

    def _write(self, *, whole_lines: bool) -> None:
        with self._lock:
            parts = _joined(self._waiting.popleft() for _ in range(len(self._waiting)))
            kept: list[tuple[str, str]] = []
            while whole_lines and parts:
                name, last = parts.pop()
                finished, newline, rest = last.rpartition("\n")
                if rest:
                    kept.append((name, rest))
                if newline:
                    parts.append((name, finished + newline))
                    break
            self._waiting.extendleft(kept)
            for name, text in parts:
                stream = getattr(sys, f"__{name}__")
                stream.write(text)
                stream.flush()


class _TerminalOutput(JobOutput):
    """Output in a terminal: above the prompt."""

    def __init__(self, shell: Any, terminal: _Terminal, job: Job) -> None:
        super().__init__(shell, job)
        self._terminal = terminal

    def deliver(self, name: str, text: str) -> None:
        self._terminal.put(name, text)

    def flush(self) -> None:
        self._terminal.flush()

    def last_words(self) -> None:
        self.line(render.sentence(self.job.info()))


class _Tap:
    """Mixed into the class of a stream: leads what a job writes into the job's output.

    It acts on the stream itself and not on `sys.stdout`, since a logging handler or a
    library may hold on to the stream. And `write` is a property, because IPython 9 sets it
    on the stream during each cell, to remember what the cell printed; so does no job see
    that.
    """

    _ipykill_name: str

    @property
    def write(self) -> Callable[[str], int]:
        output = _output_of_job()
        if output is not None:
            return functools.partial(output.write, self._ipykill_name)
        method: Callable[[str], int] = vars(self).get("write") or super().write  # type: ignore[misc]
        return method

    @write.setter
    def write(self, method: Callable[[str], int]) -> None:
        vars(self)["write"] = method

    @write.deleter
    def write(self) -> None:
        del vars(self)["write"]

    def flush(self) -> None:
        # A job's output is sent soon anyway; a message for each flush would be too many.
        if _output_of_job() is None:
            super().flush()  # type: ignore[misc]


class _Stream:
    """Stands for a stream of C, to whose class nothing can be added."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __iter__(self) -> Any:
        return iter(self.stream)

    def write(self, text: str) -> int:
        written: int = self.stream.write(text)
        return written

    def flush(self) -> None:
        self.stream.flush()


def _output_of_job() -> JobOutput | None:
    job = current_job()
    # A forked child has no thread that would send anything.
    if job is None or not isinstance(job.host, JobOutput) or os.getpid() != _pid:
        return None
    return job.host


_pid = os.getpid()
_tapped: dict[type, type] = {}


def _tap(name: str) -> None:
    stream = getattr(sys, name)
    if isinstance(stream, _Tap):
        return
    if isinstance(stream, io.TextIOWrapper):
        stream = _Stream(stream)
        setattr(sys, name, stream)
    kind = type(stream)
    if kind not in _tapped:
        _tapped[kind] = type(kind.__name__, (_Tap, kind), {})
    stream._ipykill_name = name
    stream.__class__ = _tapped[kind]


def _untap(name: str) -> None:
    stream = getattr(sys, name)
    if isinstance(stream, _Tap):
        stream.__class__ = type(stream).__mro__[2]
        if isinstance(stream, _Stream):
            setattr(sys, name, stream.stream)


def _tap_prompt() -> None:
    """Let prompt_toolkit's stand-in for the streams lead into the job's output as well."""
    try:
        from prompt_toolkit.patch_stdout import StdoutProxy
    except ImportError:
        return
    proxy: Any = StdoutProxy
    if hasattr(proxy.write, "__wrapped__"):
        return
    original = proxy.write

    @functools.wraps(original)
    def write(self: Any, text: str) -> int:
        output = _output_of_job()
        if output is not None:
            return output.write("stdout", text)
        written: int = original(self, text)
        return written

    proxy.write = write


def install(shell: Any, manager: JobManager) -> None:
    """Route the output of the jobs that `manager` launches from now on."""
    _tap("stdout")
    _tap("stderr")
    publisher = shell.display_pub
    if hasattr(publisher, "pub_socket"):
        manager.host = functools.partial(_KernelOutput, shell, publisher)
    else:
        _tap_prompt()
        manager.host = functools.partial(_TerminalOutput, shell, _Terminal(shell))
    figures.install()
    progress.install()


def uninstall(manager: JobManager) -> None:
    """Route no more jobs; the output of those that run still finds its way."""
    manager.host = None
    if not manager.running():
        _untap("stdout")
        _untap("stderr")
