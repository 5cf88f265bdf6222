"""The output that is on its way from a job to its cell: a queue with limits."""

from __future__ import annotations

import itertools
import math
import operator
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from .budget import Bucket, budget
from .errors import clean

__all__ = ["Backlog", "Piece"]

# A *flood* is output that comes faster than it can be sent, so that some of it is left out.

# How much output of one job may wait to be sent; if there is more, the oldest is left out.
KEEP = 50_000  # characters
DISPLAYS = 50
KEEP_BYTES = 2_000_000  # bytes of displays
# How many characters one job may put into its cell before its end. A page draws the whole text
# again with each part that is added, and needs 0.2 s for that when it has a million characters.
ROOM = 1_000_000
# How many lines it may add each second, once `budget.lines` are used up: a job that prints one line
# a second is never cut.
_LINES_A_SECOND = 1.0
_LAST_LINES = 100  # how many lines the end of a flood may have
_COLOUR = 40  # a page needs as long for one escape sequence as for so many characters
# How much of its end each job may always send, however many jobs end at once.
_END = 4_000  # characters
_END_DISPLAYS = 5
_UPDATES = 500  # how many updates of displays may wait, at most one for each display
_JOIN = 2_000  # characters; a shorter text that waits is joined with the next one
_LINE_END = re.compile(r"(\n|\x1b\[[0-9;]*[A-Hf])")
EBB = 1.0  # seconds without a loss after which a flood is over


class Piece:
    """Text of a stream, or a message of the display publisher, on its way to a cell."""

    __slots__ = ("message", "name", "number", "size", "text")

    def __init__(self, name: str, text: str = "", message: dict[str, Any] | None = None) -> None:
        self.name = name  # the name of the stream, or the type of the message
        self.text = text
        self.message = message
        self.size = len(text) if message is None else _size(message)
        self.number = 0  # counts the pieces in the order in which they came

    def is_text(self) -> bool:
        """Whether it is text of a stream."""
        return self.message is None

    def as_message(self) -> tuple[str, dict[str, Any]]:
        """Return the type and the content of the message that shows it."""
        if self.message is not None:
            return self.name, self.message["content"]
        return "stream", {"name": self.name, "text": clean(self.text)}


class Backlog:
    """The output that waits to be sent to a cell, or into a widget: a queue with limits.

    The beginning of a flood is sent, as far as the budget goes, and its end; the middle is
    left out, and a notice says how much that was. Output that would be overwritten at once is
    not sent: a line that is repainted, an old state of a display, output that is cleared. When
    the cell is full, only displays are sent, past the text that waits, and the end of the text
    when the job ends. Not thread-safe: the caller holds the `_lock` of the `JobOutput`.
    """

    # Text and displays wait in separate queues, because each has its own limits, and displays
    # overtake text when the cell is full. The numbers of the pieces keep their order.

    def __init__(self, job_id: int) -> None:
        self._job_id = job_id
        self._due: list[Piece] = []  # taken from the budget, and sent next
        self._texts: deque[Piece] = deque()
        self._displays: deque[Piece] = deque()  # also updates of displays, and clearings
        self._numbers = itertools.count()
        # How many characters, bytes of displays, and new displays wait.
        self._characters = self._bytes = self._new = 0
        self._shown: dict[object, Piece] = {}  # the displays that wait, by their ids
        self._left_out = [0, 0]  # how many characters and displays, since the last notice
        self._clearing: Piece | None = None  # a `clear_output(wait=True)`: waits for new output
        self._last_cut = 0.0
        self._begin_room()

    def _begin_room(self) -> None:
        self._room = ROOM
        self._lines = Bucket(budget.lines, _LINES_A_SECOND) if budget.lines else None

    def __bool__(self) -> bool:
        """Whether something waits that can be sent before the end."""
        return bool(self._due or self._front() or self._clearing)

    def _front(self) -> Piece | None:
        """Return the piece to be sent next; no text if the cell is full."""
        text = self._texts[0] if self._texts and self._room else None
        display = self._displays[0] if self._displays else None
        if text is None or (display is not None and display.number < text.number):
            return display
        return text

    def write(self, name: str, text: str) -> None:
        """Append text of the stream `name`."""
        for start in range(0, len(text), KEEP):  # so that a huge text is not copied as a whole
            self._write(name, text[start : start + KEEP])

    def _write(self, name: str, text: str) -> None:
        self._clear_now()
        last = self._texts[-1] if self._texts else None
        after = self._displays[-1].number if self._displays else -1
        if last is not None and last.name == name and last.size < _JOIN and last.number > after:
            self._texts.pop()
            self._characters -= last.size
            text = last.text + text
        if "\r" in text:
            text = _repainted(text)
        self._append(Piece(name, text))
        if self._characters > KEEP and not self._flooded:
            self._due += self._buy(lambda: self._characters <= KEEP)
        self._trim(KEEP)

    def _trim(self, most: int) -> None:
        """Leave out the oldest text that waits, so that at most `most` characters are left."""
        while (excess := self._characters - most) > 0:
            self._leave_out(self._take_text(excess))

    def display(self, message: dict[str, Any]) -> None:
        """Append a message: a display, an update of one, or the clearing of the output."""
        piece = Piece(message["msg_type"], message=message)
        content = message["content"]
        earlier = self._shown.get(_display_id(message))
        if earlier is not None and piece.name == "update_display_data":
            assert earlier.message is not None
            earlier.message["content"] |= {key: content[key] for key in ("data", "metadata")}
            self._bytes += piece.size - earlier.size
            earlier.size = piece.size
            return
        if piece.name == "clear_output":
            self._clearing = piece
            if not content["wait"]:
                self._clear_now()
            return
        if piece.name == "display_data":
            self._clear_now()
        self._append(piece)
        if self._too_many(DISPLAYS) and not self._flooded:
            self._due += self._buy(lambda: not self._too_many(DISPLAYS))
        self._thin(DISPLAYS)

    def _clear_now(self) -> None:
        """Carry out a clearing that has waited for new output: drop all that waits before it.

        Updates are kept, because the display that one updates may stand in another cell.
        """
        if self._clearing is None:
            return
        kept = [piece for piece in self._take_all() if piece.name == "update_display_data"]
        self._left_out = [0, 0]
        self._begin_room()
        for piece in [*kept, self._clearing]:
            self._append(piece)
        self._clearing = None

    def _thin(self, most: int) -> None:
        """Leave out the oldest displays that wait, so that at most `most` are left, at least one.

        Updates are kept, because each is the newest state of its display, as long as there are
        not too many. A clearing is kept, because the output before it has to go.
        """
        while self._too_many(most):
            self._leave_out(self._take_display("display_data"))
        while len(self._displays) - self._new > _UPDATES:
            self._leave_out(self._take_display("update_display_data"))

    def _too_many(self, most: int) -> bool:
        return self._new > 1 and (self._new > most or self._bytes > KEEP_BYTES)

    def take(self, *, bounded: bool) -> list[Piece]:
        """Take what to send now: `bounded`, what the budget allows; else the end, or all."""
        pieces = self._take_bounded() if bounded else self._take_end()
        if self._clearing is not None and not (self._texts or self._displays or self._due):
            pieces.append(self._clearing)
            self._clearing = None
        return _joined(pieces)

    def _take_bounded(self) -> list[Piece]:
        # In a flood nothing more is shown until the flood is over, so that one notice says how much
        # was left out; when the cell is full, the notice comes at the end of the job.
        full = not self._room
        flood = self._flooded and not full and time.monotonic() - self._last_cut < EBB
        first = self._due[0] if self._due else None if flood else self._front()
        if first is None or (first.is_text() and not budget.messages.take(1)):
            return []
        pieces, self._due = self._due, []
        if not flood:
            if self._flooded and not full:
                pieces.append(Piece("stderr", self._notice()))
            pieces += self._buy()
        return pieces

    def _take_end(self) -> list[Piece]:
        # The end of a job is always sent; if many jobs end at once, only a little of each.
        self._trim(max(_END, budget.ends.take(self._characters)))
        if self._lines is not None:
            # Takes no more lines than wait: the rest is for threads that outlive the job.
            waiting = sum(piece.text.count("\n") for piece in self._texts)
            self._trim(self._size_of_last(max(self._lines.take(waiting), _LAST_LINES)))
        self._thin(max(_END_DISPLAYS, budget.messages.take(self._new)))
        pieces, self._due = self._due, []
        if self._flooded:
            pieces.append(Piece("stderr", self._notice()))
        return pieces + self._take_all()

    def _size_of_last(self, lines: int) -> int:
        """Return the number of characters in the last `lines` lines that wait."""
        size = 0
        for piece in reversed(self._texts):
            start = piece.size
            while start > 0 and (start := piece.text.rfind("\n", 0, start)) >= 0:
                if not lines:
                    return size + piece.size - start - 1
                lines -= 1
            size += piece.size
        return size

    def _buy(self, enough: Callable[[], bool] = lambda: False) -> list[Piece]:
        """Take pieces from the front as long as the budget allows, or until `enough()`."""
        bought: list[Piece] = []
        while (front := self._front()) is not None and not enough():
            if front.is_text():
                paid = budget.characters.take(min(front.size, self._room))
                if paid:
                    paid = self._whole_lines(front.text, paid)
                    piece = self._take_text(paid)
                    bought.append(piece)
                    taken = paid + _COLOUR * piece.text.count("\x1b")
                    self._room = max(self._room - taken, 0)
                    if not self._room:
                        bought.append(Piece("stderr", self._last_notice()))
                if paid < front.size:
                    break
            elif budget.messages.take(1) and budget.bytes.owe(front.size):
                bought.append(self._take_display())
            else:
                break
        return bought

    def _whole_lines(self, text: str, most: int) -> int:
        """Return how many of `most` characters the line limit allows; if less, the cell is full."""
        wanted = text.count("\n", 0, most)
        if self._lines is None or (paid := self._lines.take(wanted)) == wanted:
            return most
        self._room = 0
        end = -1
        for _ in range(max(paid, 1)):
            end = text.index("\n", end + 1)
        return min(end + 1, most)

    @property
    def _flooded(self) -> bool:
        return any(self._left_out)

    def _append(self, piece: Piece) -> None:
        piece.number = next(self._numbers)
        if piece.message is None:
            self._texts.append(piece)
            self._characters += piece.size
        else:
            self._displays.append(piece)
            self._new += piece.name == "display_data"
            self._bytes += piece.size
            if (name := _display_id(piece.message)) is not None:
                self._shown[name] = piece

    def _take_text(self, most: int) -> Piece:
        """Take the oldest text, or only its first `most` characters."""
        piece = self._texts[0]
        if piece.size > most:
            part = Piece(piece.name, piece.text[:most])
            piece.text = piece.text[most:]
            piece.size -= most
            piece, part.number = part, piece.number
        else:
            self._texts.popleft()
        self._characters -= piece.size
        return piece

    def _take_display(self, kind: str = "") -> Piece:
        """Take the oldest message that waits, or the oldest of the type `kind`."""
        piece = next(piece for piece in self._displays if kind in ("", piece.name))
        assert piece.message is not None
        self._displays.remove(piece)
        self._new -= piece.name == "display_data"
        self._bytes -= piece.size
        name = _display_id(piece.message)
        if self._shown.get(name) is piece:
            del self._shown[name]
        return piece

    def _take_all(self) -> list[Piece]:
        pieces = sorted([*self._texts, *self._displays], key=operator.attrgetter("number"))
        self._texts.clear()
        self._displays.clear()
        self._shown.clear()
        self._characters = self._bytes = self._new = 0
        return pieces

    def _leave_out(self, piece: Piece) -> None:
        if piece.message is None:
            self._left_out[0] += piece.size
        elif piece.name == "display_data":
            self._left_out[1] += 1
        self._last_cut = time.monotonic()

    def _notice(self) -> str:
        """Return the notice of what was left out; the text that waits then begins a new line."""
        part = 0
        display = self._displays[0].number if self._displays else math.inf
        for piece in itertools.takewhile(lambda it: it.number < display, self._texts):
            if newline := piece.text.find("\n") + 1:
                if part + newline <= self._characters // 2:  # else too much would be lost
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
            f"\n... This cell is full. The log of job {self._job_id} has the rest; when the job "
            f"ends, the end of what it prints comes here. {self._where()}\n"
        )

    def _where(self) -> str:
        return (
            f"%bglog {self._job_id} shows the last lines, and %%bg --log FILE keeps everything "
            "that is printed."
        )


def _display_id(message: dict[str, Any]) -> object:
    return message["content"].get("transient", {}).get("display_id")


def _size(message: dict[str, Any]) -> int:
    """Return about how many bytes a message takes."""
    data = message["content"].get("data", {})
    return 500 + sum(
        len(value) if isinstance(value, str | bytes) else len(repr(value))
        for value in data.values()
    )


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Join texts of the same stream that follow each other."""
    joined: list[Piece] = []
    for is_text, group in itertools.groupby(pieces, key=Piece.is_text):
        if not is_text:
            joined += group
            continue
        for name, texts in itertools.groupby(group, key=operator.attrgetter("name")):
            joined.append(Piece(name, "".join(piece.text for piece in texts)))
    return joined


def _repainted(text: str) -> str:
    r"""Return `text` without the parts of its lines that a later part overwrites, after ``\r``.

    A part stays if every later part of its line is shorter. The first part stays, because its
    beginning may have been sent, and so does the last. A line also ends where an escape sequence
    moves the cursor, as between bars that stand below each other.
    """
    lines = _LINE_END.split(text)
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
    return "".join(lines)
