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
import logging
import operator
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from . import figures, progress, questions, render, stack
from .agent import Agent
from .exceptions import JobError, JobKilled, JobStopped
from .info import JobState
from .job import Job, comes_from, current_job, message
from .kill import shield
from .leftovers import Locks
from .manager import JobManager

__all__ = ["clean", "format_error", "install", "of_job", "stand_in", "tap_again", "uninstall"]

# What a server and a browser bear. jupyter_server drops nearly everything of a connection
# above 1000 messages or 1 MB a second, taken over three seconds (`_limit_rate`), and a page
# needs a second for about 100 kB of text. All jobs of the kernel share this.
_TICK = 0.1  # seconds between two messages with text of one job
_PAUSE = 0.02  # seconds before the first, so that a line that is being written is whole
_MESSAGES = (200.0, 100.0)  # at once, and per second
_CHARACTERS = (200_000.0, 100_000.0)  # of text
_BYTES = (800_000.0, 250_000.0)  # of displays; pictures are easier on a page than text
# What of a job waits to be sent; beyond, the oldest is left out.
_KEEP = 50_000  # characters
_DISPLAYS = 50
_KEEP_BYTES = 2_000_000  # of displays
# What of a job stands in its cell. A page draws a text again with each part that comes to it,
# for which it needs a fifth of a second when it has a million characters.
_ROOM = 1_000_000  # characters, without the end
_COLOUR = 40  # characters that take as long as an escape sequence
# The end that each job has, however many end at once.
_END = 4_000  # characters
_END_DISPLAYS = 5
_JOIN = 2_000  # characters; shorter texts that wait are joined with the next

_MOMENT = 0.2  # seconds
_PATIENCE = 2.0  # seconds that a job waits for a terminal that takes nothing
_EBB = 1.0  # seconds without such a loss after which a flood is over

_logger = logging.getLogger("ipykill")
_agent = Agent("output")
_traceback_lock = threading.Lock()


class _Bucket:
    """A budget that fills up steadily.

    Threading
    ---------
    Any thread may take, a finalizer in the middle of a `take` too; so `_lock` is a C-level
    lock that its holder may take again.
    """

    def __init__(self, size: float, rate: float) -> None:
        self._size = self._level = size
        self._rate = rate
        self._time = time.monotonic()
        self._lock = threading.RLock()

    def take(self, most: int) -> int:
        """Take up to `most`; return how much there was."""
        with self._lock:
            now = time.monotonic()
            self._level = min(self._size, self._level + (now - self._time) * self._rate)
            self._time = now
            taken = max(min(most, int(self._level)), 0)
            self._level -= taken
            return taken

    def owe(self, amount: int) -> bool:
        """Take all of `amount` if there is anything, and stay in debt for the rest."""
        if not self.take(1):
            return False
        with self._lock:
            self._level -= amount - 1
        return True


_messages = _Bucket(*_MESSAGES)
_characters = _Bucket(*_CHARACTERS)
_bytes = _Bucket(*_BYTES)
_ends = _Bucket(*_CHARACTERS)  # for the ends of jobs


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


class _Told(str):
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
        self._lock = threading.RLock()
        self._busy = False
        self._incoming: deque[tuple[str, Any]] = deque()
        self._alone: int | None = None  # the only thread whose output is dealt with now
        self._moment = 0.0  # until then
        self._put_off: list[tuple[str, Any]] = []
        self._at_line_start = True
        self._locks = Locks(shell.user_ns, job)
        # Where the streams lead instead, innermost last: an object that takes what is written,
        # None for nowhere, or the name of the stream that it is written to.
        self._redirections: dict[str, list[list[Any]]] = {"stdout": [], "stderr": []}
        self._captures: list[list[dict[str, Any]]] = []

    @property
    def cell_message(self) -> str | None:
        """The message that ran the launching cell, None outside a kernel."""
        return None

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
            if self._alone is not None and self._alone != threading.get_ident():
                self._put_off.append((name, what))
                return
            self._incoming.append((name, what))
            if self._busy:
                _agent.call(self._work)
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

    def alone(self) -> None:
        """Put off what other threads write, for a moment at most."""
        with self._lock:
            self._alone = threading.get_ident()
            self._moment = time.monotonic() + _MOMENT
        _agent.call(self._end_moment, self._moment)

    def _end_moment(self) -> None:
        with self._lock:
            if time.monotonic() >= self._moment:  # else it is an earlier one
                self.together()

    def together(self) -> None:
        """End that, and deal with what was put off."""
        with self._lock:
            self._alone = None
            self._incoming.extend(self._put_off)
            self._put_off.clear()
            self._work()

    def _deal_with(self, name: str, what: Any) -> None:
        if not isinstance(what, _Told):
            self._keep(what)
        self._at_line_start = what.endswith("\n")
        self.deliver(name, what)

    def _keep(self, text: str) -> None:
        """Write to the log. That its file takes no more is no fault of the job's."""
        try:
            self.job.log.write(text)
        except OSError as error:
            self._tell_of_file(error)

    def _tell_of_file(self, error: OSError) -> None:
        why = error.strerror or type(error).__name__
        told = f"[{self.job.id}] the file of --log is not whole and gets no more: {why}\n"
        self._incoming.append(("stderr", told if self._at_line_start else f"\n{told}"))

    def _target(self, name: str) -> Any:
        inner = self._redirections[name][-1:]
        return inner[0][0] if inner else name

    def redirect(self, name: str, target: Any) -> Callable[[], None]:
        """Lead the stream `name` to `target`; return what ends that."""
        if isinstance(target, _Tap):  # where that leads now, or two could lead to each other
            target = self._target(target._ipykill_name)
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

    def deliver(self, name: str, text: str) -> None:
        """Pass `text` on to the user; `_lock` is held."""
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
                for line in self._locks.left():
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


class _Piece:
    """Text of a stream, or a message of the display publisher, on its way to a cell."""

    __slots__ = ("message", "name", "size", "text")

    def __init__(self, name: str, text: str = "", message: dict[str, Any] | None = None) -> None:
        self.name = name  # of the stream, or the type of the message
        self.text = text
        self.message = message
        self.size = len(text) if message is None else _size(message)

    def is_text(self) -> bool:
        return self.message is None

    def is_display(self) -> bool:
        return self.message is not None


class _Backlog:
    """What is on its way to a cell, of which only so much may wait.

    Of a flood the beginning, as far as the budget goes, and the end get through; what is
    between is left out and counted. What would be painted over at once is not sent: a line
    after whose beginning the text returns, a display that is updated, an output that is
    cleared. And when the cell is full, only displays and the end of the text get there. Its
    lock is that of the `JobOutput`.
    """

    def __init__(self, job_id: int) -> None:
        self._job_id = job_id
        self._due: list[_Piece] = []  # paid for, to be sent next
        self._waiting: deque[_Piece] = deque()
        self._characters = self._displays = self._bytes = 0  # of what waits
        self._shown: dict[object, _Piece] = {}  # displays that wait, by their id
        self._left_out = [0, 0]  # characters and displays
        self._last_cut = 0.0
        self._room = _ROOM

    def __bool__(self) -> bool:
        """Whether something waits that can be sent before the end."""
        return bool(self._due or self._displays or (self._waiting and self._room))

    def write(self, name: str, text: str) -> None:
        """Append text of the stream `name`."""
        for start in range(0, len(text), _KEEP):  # a huge text is never copied as a whole
            self._write(name, text[start : start + _KEEP])

    def _write(self, name: str, text: str) -> None:
        last = self._waiting[-1] if self._waiting else None
        if last is not None and last.name == name and last.size < _JOIN:
            self._waiting.pop()
            self._characters -= last.size
            text = last.text + text
        if "\r" in text:
            text = _repainted(text)
        self._append(_Piece(name, text))
        if self._characters > _KEEP and not self._flooded:
            self._due += self._buy(lambda: self._characters <= _KEEP)
        self._trim(_KEEP)

    def _trim(self, most: int) -> None:
        """Leave out the oldest text that waits, but for the last `most` characters."""
        while (excess := self._characters - most) > 0:
            piece = next(filter(_Piece.is_text, self._waiting))
            if piece.size <= excess:
                self._remove(piece)
                self._leave_out(piece)
            else:
                self._leave_out(_Piece(piece.name, piece.text[:excess]))
                self._characters -= excess
                piece.text = piece.text[excess:]
                piece.size -= excess

    def display(self, message: dict[str, Any]) -> None:
        """Append a message: a display, an update of one, or the clearing of the output."""
        piece = _Piece(message["msg_type"], message=message)
        content = message["content"]
        earlier = self._shown.get(_display_id(message))
        if earlier is not None and piece.name == "update_display_data":
            assert earlier.message is not None
            earlier.message["content"] |= {key: content[key] for key in ("data", "metadata")}
            self._bytes += piece.size - earlier.size
            earlier.size = piece.size
            return
        if piece.name == "clear_output":
            # All that waits would be cleared; but an update may be of a display elsewhere.
            kept = [it for it in self._shift_all() if it.name == "update_display_data"]
            self._left_out = [0, 0]
            self._room = _ROOM
            for it in kept:
                self._append(it)
        self._append(piece)
        if self._too_many(_DISPLAYS) and not self._flooded:
            self._due += self._buy(lambda: not self._too_many(_DISPLAYS))
        self._thin(_DISPLAYS)

    def _thin(self, most: int) -> None:
        """Leave out the oldest displays that wait, but for so many, and for the last."""
        while self._too_many(most):
            piece = next(filter(_Piece.is_display, self._waiting))
            self._remove(piece)
            self._leave_out(piece)

    def _too_many(self, most: int) -> bool:
        return self._displays > 1 and (self._displays > most or self._bytes > _KEEP_BYTES)

    def take(self, *, bounded: bool) -> list[_Piece]:
        """Take all that waits, or `bounded`, as much as the budget allows now."""
        if not bounded:
            # The end of a job arrives, but if many end at once, of each only a little.
            self._trim(max(_END, _ends.take(self._characters)))
            self._thin(max(_END_DISPLAYS, _messages.take(self._displays)))
        full = bounded and not self._room
        if full:
            self._leave_out_text_before_displays()
            if not self:
                return []
        # Within a flood nothing more is shown until it ebbs, so that what is left out is told
        # in one line; and when the cell is full, at the end.
        flood = bounded and self._flooded and time.monotonic() - self._last_cut < _EBB and not full
        first = self._due or ([] if flood else self._waiting)
        if not first or (bounded and first[0].is_text() and not _messages.take(1)):
            return []
        pieces, self._due = self._due, []
        if not flood:
            if self._flooded and not full:
                pieces.append(_Piece("stderr", self._notice()))
            pieces += self._buy() if bounded else self._shift_all()
        return _joined(pieces)

    def _buy(self, enough: Callable[[], bool] = lambda: False) -> list[_Piece]:
        """Take from the front as much as the budget allows, or until it is `enough`."""
        bought: list[_Piece] = []
        while self._waiting and not enough():
            front = self._waiting[0]
            if front.message is None:
                paid = _characters.take(min(front.size, self._room))
                if paid:
                    piece = self._shift(paid)
                    bought.append(piece)
                    taken = paid + _COLOUR * piece.text.count("\x1b")
                    self._room = max(self._room - taken, 0)
                    if not self._room:
                        bought.append(_Piece("stderr", self._last_notice()))
                if paid < front.size:
                    break
            elif _messages.take(1) and _bytes.owe(front.size):
                bought.append(self._shift(front.size))
            else:
                break
        return bought

    def _leave_out_text_before_displays(self) -> None:
        while self._displays and self._waiting[0].is_text():
            piece = self._waiting[0]
            self._remove(piece)
            self._leave_out(piece)

    @property
    def _flooded(self) -> bool:
        return any(self._left_out)

    def _append(self, piece: _Piece) -> None:
        self._waiting.append(piece)
        if piece.message is None:
            self._characters += piece.size
        else:
            self._displays += 1
            self._bytes += piece.size
            if (number := _display_id(piece.message)) is not None:
                self._shown[number] = piece

    def _remove(self, piece: _Piece) -> None:
        if self._waiting[0] is piece:
            self._waiting.popleft()
        else:
            self._waiting.remove(piece)
        if piece.message is None:
            self._characters -= piece.size
            return
        self._displays -= 1
        self._bytes -= piece.size
        number = _display_id(piece.message)
        if self._shown.get(number) is piece:
            del self._shown[number]

    def _shift(self, most: int) -> _Piece:
        """Take the piece at the front, or of a text only the first `most` characters."""
        piece = self._waiting[0]
        self._remove(piece)
        if piece.message is None and piece.size > most:
            rest = _Piece(piece.name, piece.text[most:])
            self._waiting.appendleft(rest)
            self._characters += rest.size
            return _Piece(piece.name, piece.text[:most])
        return piece

    def _shift_all(self) -> list[_Piece]:
        pieces = list(self._waiting)
        self._waiting.clear()
        self._shown.clear()
        self._characters = self._displays = self._bytes = 0
        return pieces

    def _leave_out(self, piece: _Piece) -> None:
        if piece.message is None:
            self._left_out[0] += piece.size
        elif piece.name == "display_data":
            self._left_out[1] += 1
        self._last_cut = time.monotonic()

    def _notice(self) -> str:
        """Say what was left out, and let what comes after it begin with a whole line."""
        part = 0
        for piece in itertools.takewhile(_Piece.is_text, self._waiting):
            if newline := piece.text.find("\n") + 1:
                if part + newline <= self._characters // 2:  # or there is no other
                    self._trim(self._characters - part - newline)
                break
            part += piece.size
        (characters, displays), self._left_out = self._left_out, [0, 0]
        counts = [f"{characters:,} characters"] if characters else []
        if displays:
            counts.append(f"{displays:,} display{'' if displays == 1 else 's'}")
        return (
            f"\n... {' and '.join(counts)} left out here: this is more than a notebook bears. "
            f"{self._where()}\n"
        )

    def _last_notice(self) -> str:
        return (
            f"\n... This cell is full: it has as much of job {self._job_id} as a page bears. When "
            f"the job ends, the end of what it prints comes here. {self._where()}\n"
        )

    def _where(self) -> str:
        return (
            f"%bglog {self._job_id} shows the last lines, and %%bg --log FILE keeps everything "
            "that is printed."
        )


class _KernelOutput(JobOutput):
    """Output as messages of a Jupyter kernel."""

    def __init__(self, shell: Any, publisher: Any, job: Job) -> None:
        super().__init__(shell, publisher, job)
        outer = current_job()
        if outer is not None and isinstance(outer.host, _KernelOutput):
            self.parent: dict[str, Any] = outer.host.parent
        else:
            self.parent = dict(publisher.parent_header)
        self._sending = threading.RLock()
        self._backlog = _Backlog(job.id)
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
            if widget in self._updates or not _messages.take(1):
                self._updates.setdefault(widget, (set(), send))[0].update(keys)
                self._schedule(time.monotonic() + _TICK)
                return
        send(set(keys))

    def _schedule(self, at: float) -> None:
        if not self._scheduled:
            self._scheduled = True
            _agent.call(self._tick, at)

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
        while self._updates and (not bounded or _messages.take(1)):
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
            self.line(render.sentence(self.job.info()), _Told)

    def _publish(self, kind: str, content: dict[str, Any], topic: str) -> None:
        self.publisher.session.send(
            self.publisher.pub_socket, kind, content, parent=self.parent, ident=topic.encode()
        )


def clean(text: str) -> str:
    """Return `text` as it can be sent: without lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def _display_id(message: dict[str, Any]) -> object:
    return message["content"].get("transient", {}).get("display_id")


def _size(message: dict[str, Any]) -> int:
    """Return how many bytes a message takes, about."""
    data = message["content"].get("data", {})
    return 500 + sum(
        len(value) if isinstance(value, str | bytes) else len(repr(value))
        for value in data.values()
    )


def _joined(pieces: Iterable[_Piece]) -> list[_Piece]:
    """Join the texts that follow each other on the same stream."""
    joined: list[_Piece] = []
    for is_text, group in itertools.groupby(pieces, key=lambda piece: piece.message is None):
        if not is_text:
            joined += group
            continue
        for name, texts in itertools.groupby(group, key=operator.attrgetter("name")):
            joined.append(_Piece(name, "".join(piece.text for piece in texts)))
    return joined


def _repainted(text: str) -> str:
    r"""Return `text` without what its lines paint over: what is between two ``\r``.

    A part stays if no later one of its line is as long. So do the first, of which the
    beginning may have been sent, and the last.
    """
    lines = text.split("\n")
    for number, line in enumerate(lines):
        first, *parts = line.split("\r")
        if len(parts) < 2:
            continue
        kept: list[str] = []
        covered = -1
        for part in reversed(parts):
            if len(part) > covered:
                kept.append(part)
                covered = len(part)
        lines[number] = "\r".join([first, *reversed(kept)])
    return "\n".join(lines)


def _take_unfinished(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Take what comes after the last end of a line from `parts`, and return it backwards."""
    kept = []
    while parts:
        name, last = parts.pop()
        finished, newline, rest = last.rpartition("\n")
        if rest:
            kept.append((name, rest))
        if newline:
            parts.append((name, finished + newline))
            break
    return kept


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
        self._size = 0  # about, since no lock guards it

    def put(self, name: str, text: str) -> None:
        """Write `text` to the stream `name` soon."""
        self._waiting.append((name, text))
        self._size += len(text)
        _agent.call(self.flush)

    def wait_for_room(self) -> None:
        """Wait while more waits than a terminal shows in a moment, so that it stays bounded."""
        end = time.monotonic() + _PATIENCE
        while self._size > _KEEP and time.monotonic() < end:
            time.sleep(_PAUSE)

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
            waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
            self._size = 0
            groups = itertools.groupby(waiting, key=operator.itemgetter(0))
            parts = [(name, "".join(text for _, text in group)) for name, group in groups]
            if whole_lines:
                self._waiting.extendleft(_take_unfinished(parts))
            for name, text in parts:
                stream = getattr(sys, f"__{name}__")
                stream.write(text)
                stream.flush()


class _TerminalOutput(JobOutput):
    """Output in a terminal: above the prompt."""

    def __init__(self, shell: Any, publisher: Any, terminal: _Terminal, job: Job) -> None:
        super().__init__(shell, publisher, job)
        self._terminal = terminal

    def write(self, name: str, text: str) -> int:
        self._terminal.wait_for_room()  # before the lock is taken
        return super().write(name, text)

    def deliver(self, name: str, text: str) -> None:
        self._terminal.put(name, text)

    def flush(self) -> None:
        self._terminal.flush()

    def last_words(self) -> None:
        if not self.job.is_told:
            self.line(render.sentence(self.job.info()), _Told)


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
        output = of_job()
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
        output = of_job()
        if output is None:
            super().flush()  # type: ignore[misc]
        else:
            output.flush_stream(self._ipykill_name)


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


def of_job() -> JobOutput | None:
    """Return the output of the job whose code is calling."""
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
    if isinstance(stream, io.TextIOWrapper | io.StringIO):
        setattr(sys, name, stand_in(name, stream))
    else:
        _tap_object(name, stream)


def _tap_object(name: str, stream: Any) -> None:
    kind = type(stream)
    if kind not in _tapped:
        _tapped[kind] = type(kind.__name__, (_Tap, kind), {})
    stream._ipykill_name = name
    stream.__class__ = _tapped[kind]


def stand_in(name: str, stream: Any) -> Any:
    """Return what may take the place of `stream` as ``sys.stdout`` or ``sys.stderr``."""
    substitute = _Stream(stream)
    _tap_object(name, substitute)
    return substitute


def tap_again() -> None:
    """Tap the streams that have just taken the place of others."""
    _tap("stdout")
    _tap("stderr")


def captured() -> bool:
    """Whether what stands for the streams now is there for a while only."""
    streams = [getattr(it, "stream", it) for it in (sys.stdout, sys.stderr)]
    return any(isinstance(stream, io.StringIO) for stream in streams)


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
        output = of_job()
        if output is not None:
            return output.write("stdout", text)
        written: int = original(self, text)
        return written

    proxy.write = write


def _show_errors_of_jobs(shell: Any) -> None:
    """Let what shows an error in a job, ``%run`` or the user's code, show it in its cell.

    IPython catches everything there; a job that is to end ends.
    """

    def in_jobs_too(show: Any) -> Any:
        @functools.wraps(show)
        def shown(exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:
            output = of_job()
            if output is None:
                show(exc_tuple, *args, **kwargs)
                return
            error = exc_tuple[1] if isinstance(exc_tuple, tuple) else sys.exc_info()[1]
            if isinstance(error, JobKilled | JobStopped):
                raise error
            if error is not None:
                lines = format_error(output.shell, error)
                output.show_error(type(error).__name__, message(error), lines)

        return shown

    for name in ("showtraceback", "showsyntaxerror"):
        if name not in vars(shell):
            setattr(shell, name, in_jobs_too(getattr(shell, name)))


def install(shell: Any, manager: JobManager) -> None:
    """Route the output of the jobs that `manager` launches from now on."""
    tap_again()
    publisher = shell.display_pub
    if hasattr(publisher, "pub_socket"):
        manager.host = functools.partial(_KernelOutput, shell, publisher)
    else:
        _tap_prompt()
        manager.host = functools.partial(_TerminalOutput, shell, publisher, _Terminal(shell))
    _show_errors_of_jobs(shell)
    figures.install()
    progress.install()
    questions.install(shell)


def uninstall(manager: JobManager) -> None:
    """Route no more jobs; the output of those that run still finds its way."""
    manager.host = None
    if not manager.running():
        _untap("stdout")
        _untap("stderr")
