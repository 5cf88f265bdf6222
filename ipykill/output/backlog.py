"""What is on its way from a job to its cell, of which only so much may wait."""

from __future__ import annotations

import itertools
import operator
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from .budget import budget

__all__ = ["Backlog", "Piece"]

# What of a job waits to be sent; beyond, the oldest is left out.
KEEP = 50_000  # characters
DISPLAYS = 50
KEEP_BYTES = 2_000_000  # of displays
# What of a job stands in its cell. A page draws a text again with each part that comes to it,
# for which it needs a fifth of a second when it has a million characters.
ROOM = 1_000_000  # characters, without the end
_COLOUR = 40  # characters that take as long as an escape sequence
# The end that each job has, however many end at once.
_END = 4_000  # characters
_END_DISPLAYS = 5
_JOIN = 2_000  # characters; shorter texts that wait are joined with the next
EBB = 1.0  # seconds without a loss after which a flood is over


class Piece:
    """Text of a stream, or a message of the display publisher, on its way to a cell."""

    __slots__ = ("message", "name", "size", "text")

    def __init__(self, name: str, text: str = "", message: dict[str, Any] | None = None) -> None:
        self.name = name  # of the stream, or the type of the message
        self.text = text
        self.message = message
        self.size = len(text) if message is None else _size(message)

    def is_text(self) -> bool:
        """Whether it is text of a stream."""
        return self.message is None

    def is_display(self) -> bool:
        """Whether it is a message of the display publisher."""
        return self.message is not None


class Backlog:
    """What is on its way to a cell, of which only so much may wait.

    Of a flood the beginning, as far as the budget goes, and the end get through; what is
    between is left out and counted. What would be painted over at once is not sent: a line
    after whose beginning the text returns, a display that is updated, an output that is
    cleared. And when the cell is full, only displays and the end of the text get there. Its
    lock is that of the `JobOutput`.
    """

    def __init__(self, job_id: int) -> None:
        self._job_id = job_id
        self._due: list[Piece] = []  # paid for, to be sent next
        self._waiting: deque[Piece] = deque()
        self._characters = self._displays = self._bytes = 0  # of what waits
        self._shown: dict[object, Piece] = {}  # displays that wait, by their id
        self._left_out = [0, 0]  # characters and displays
        self._last_cut = 0.0
        self._room = ROOM

    def __bool__(self) -> bool:
        """Whether something waits that can be sent before the end."""
        return bool(self._due or self._displays or (self._waiting and self._room))

    def write(self, name: str, text: str) -> None:
        """Append text of the stream `name`."""
        for start in range(0, len(text), KEEP):  # a huge text is never copied as a whole
            self._write(name, text[start : start + KEEP])

    def _write(self, name: str, text: str) -> None:
        last = self._waiting[-1] if self._waiting else None
        if last is not None and last.name == name and last.size < _JOIN:
            self._waiting.pop()
            self._characters -= last.size
            text = last.text + text
        if "\r" in text:
            text = _repainted(text)
        self._append(Piece(name, text))
        if self._characters > KEEP and not self._flooded:
            self._due += self._buy(lambda: self._characters <= KEEP)
        self._trim(KEEP)

    def _trim(self, most: int) -> None:
        """Leave out the oldest text that waits, but for the last `most` characters."""
        while (excess := self._characters - most) > 0:
            piece = next(filter(Piece.is_text, self._waiting))
            if piece.size <= excess:
                self._remove(piece)
                self._leave_out(piece)
            else:
                self._leave_out(Piece(piece.name, piece.text[:excess]))
                self._characters -= excess
                piece.text = piece.text[excess:]
                piece.size -= excess

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
            # All that waits would be cleared; but an update may be of a display elsewhere.
            kept = [it for it in self._shift_all() if it.name == "update_display_data"]
            self._left_out = [0, 0]
            self._room = ROOM
            for it in kept:
                self._append(it)
        self._append(piece)
        if self._too_many(DISPLAYS) and not self._flooded:
            self._due += self._buy(lambda: not self._too_many(DISPLAYS))
        self._thin(DISPLAYS)

    def _thin(self, most: int) -> None:
        """Leave out the oldest displays that wait, but for so many, and for the last."""
        while self._too_many(most):
            piece = next(filter(Piece.is_display, self._waiting))
            self._remove(piece)
            self._leave_out(piece)

    def _too_many(self, most: int) -> bool:
        return self._displays > 1 and (self._displays > most or self._bytes > KEEP_BYTES)

    def take(self, *, bounded: bool) -> list[Piece]:
        """Take all that waits, or `bounded`, as much as the budget allows now."""
        if not bounded:
            # The end of a job arrives, but if many end at once, of each only a little.
            self._trim(max(_END, budget.ends.take(self._characters)))
            self._thin(max(_END_DISPLAYS, budget.messages.take(self._displays)))
        full = bounded and not self._room
        if full:
            self._leave_out_text_before_displays()
            if not self:
                return []
        # Within a flood nothing more is shown until it ebbs, so that what is left out is told
        # in one line; and when the cell is full, at the end.
        flood = bounded and self._flooded and time.monotonic() - self._last_cut < EBB and not full
        first = self._due or ([] if flood else self._waiting)
        if not first or (bounded and first[0].is_text() and not budget.messages.take(1)):
            return []
        pieces, self._due = self._due, []
        if not flood:
            if self._flooded and not full:
                pieces.append(Piece("stderr", self._notice()))
            pieces += self._buy() if bounded else self._shift_all()
        return _joined(pieces)

    def _buy(self, enough: Callable[[], bool] = lambda: False) -> list[Piece]:
        """Take from the front as much as the budget allows, or until it is `enough`."""
        bought: list[Piece] = []
        while self._waiting and not enough():
            front = self._waiting[0]
            if front.message is None:
                paid = budget.characters.take(min(front.size, self._room))
                if paid:
                    piece = self._shift(paid)
                    bought.append(piece)
                    taken = paid + _COLOUR * piece.text.count("\x1b")
                    self._room = max(self._room - taken, 0)
                    if not self._room:
                        bought.append(Piece("stderr", self._last_notice()))
                if paid < front.size:
                    break
            elif budget.messages.take(1) and budget.bytes.owe(front.size):
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

    def _append(self, piece: Piece) -> None:
        self._waiting.append(piece)
        if piece.message is None:
            self._characters += piece.size
        else:
            self._displays += 1
            self._bytes += piece.size
            if (number := _display_id(piece.message)) is not None:
                self._shown[number] = piece

    def _remove(self, piece: Piece) -> None:
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

    def _shift(self, most: int) -> Piece:
        """Take the piece at the front, or of a text only the first `most` characters."""
        piece = self._waiting[0]
        self._remove(piece)
        if piece.message is None and piece.size > most:
            rest = Piece(piece.name, piece.text[most:])
            self._waiting.appendleft(rest)
            self._characters += rest.size
            return Piece(piece.name, piece.text[:most])
        return piece

    def _shift_all(self) -> list[Piece]:
        pieces = list(self._waiting)
        self._waiting.clear()
        self._shown.clear()
        self._characters = self._displays = self._bytes = 0
        return pieces

    def _leave_out(self, piece: Piece) -> None:
        if piece.message is None:
            self._left_out[0] += piece.size
        elif piece.name == "display_data":
            self._left_out[1] += 1
        self._last_cut = time.monotonic()

    def _notice(self) -> str:
        """Say what was left out, and let what comes after it begin with a whole line."""
        part = 0
        for piece in itertools.takewhile(Piece.is_text, self._waiting):
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


def _display_id(message: dict[str, Any]) -> object:
    return message["content"].get("transient", {}).get("display_id")


def _size(message: dict[str, Any]) -> int:
    """Return how many bytes a message takes, about."""
    data = message["content"].get("data", {})
    return 500 + sum(
        len(value) if isinstance(value, str | bytes) else len(repr(value))
        for value in data.values()
    )


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Join the texts that follow each other on the same stream."""
    joined: list[Piece] = []
    for is_text, group in itertools.groupby(pieces, key=lambda piece: piece.message is None):
        if not is_text:
            joined += group
            continue
        for name, texts in itertools.groupby(group, key=operator.attrgetter("name")):
            joined.append(Piece(name, "".join(piece.text for piece in texts)))
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
