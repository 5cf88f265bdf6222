"""What a job has put below its cell, as far as it can be cleared.

A front end clears all that stands below a cell, or nothing. A job's card stands there too, with
its buttons, and below some cells the output of others. So where more than the job's own output
may stand, `clear_output` is not passed on. What the job shows after it takes the place of what it
showed before, piece by piece: each display has an id by which it can be replaced, and text, which
has none, is shown as displays too. A picture that is drawn again and again then does not flicker.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..core.log import JobLog
from .backlog import Piece
from .errors import clean

__all__ = ["Message", "Region"]

Message = tuple[str, dict[str, Any]]
"""The type of a message, and its content."""

# Seconds in which what was not yet replaced stays, since a picture takes a while: at least, and
# at most; between them, twice as long as the last picture took.
_GRACE = 0.3
_LONGEST = 10.0
_TEXT = 4_000  # characters of text in one display, which is sent anew as it grows
_EMPTY = {"text/plain": ""}


@dataclass
class _Slot:
    """A display that stands in the cell."""

    id: str = field(default_factory=lambda: f"job-{uuid.uuid4().hex}")
    name: str | None = None  # what the job calls it
    empty: bool = False
    log: JobLog | None = None  # of text that may grow
    size: int = 0  # characters that were written there

    def message(self, kind: str, data: Any, metadata: Any = None) -> Message:
        """Return the message that shows something here."""
        transient = {"display_id": self.id}
        return kind, {"data": data, "metadata": metadata or {}, "transient": transient}


class Region:
    """Turns what a job writes, displays and clears into messages for its cell.

    Attributes
    ----------
    alone
        Whether nothing stands below the cell but what the job shows and what is pinned.
    pinned
        What stands there and is not cleared: each returns the contents of its displays.
    due
        When `overdue` has something to do, None if it has nothing.

    Threading
    ---------
    Not thread-safe; the `JobOutput` holds a lock around it.
    """

    def __init__(self) -> None:
        self.alone = False
        self.pinned: list[Callable[[], Iterable[dict[str, Any]]]] = []
        self.due: float | None = None
        self._slots: list[_Slot] = []
        self._next = 0  # the slot that the next output takes
        self._names: dict[str | None, str] = {}  # slots that the job calls otherwise
        self._fixed = False  # whether something stands there that has no id
        self._in_slots = False
        self._clearing = False  # when something comes
        self._begun = self._last = 0.0  # when the first output of a picture came, and the last

    def take(self, piece: Piece) -> list[Message]:
        """Return the messages that show a piece of output."""
        if piece.message is None:
            return [*self._begin(), *self._text(piece)]
        content = piece.message["content"]
        if piece.name == "display_data":
            return [*self._begin(), *self._display(content)]
        if piece.name == "update_display_data":  # which is no output of its own
            return [(piece.name, self._renamed(content))]
        if content["wait"]:
            self._clearing = True
            return []
        self._clearing = False
        return self._clear(now=True)

    def error(self, content: dict[str, Any]) -> list[Message]:
        """Return the message that shows an error, which clears nothing."""
        self._fixed = True
        self._clearing = False
        return [("error", content)]

    def settle(self, *, whole: bool) -> list[Message]:
        """Return the messages that end the last picture, which stays.

        If it is not `whole`, because the job was killed, what it has not replaced stays too.
        """
        self._clearing, self.due = False, None
        return self._empty(self._next) if whole else []

    def overdue(self) -> list[Message]:
        """Return the messages that take away what nothing has replaced for a while."""
        if self.due is None or time.monotonic() < self.due:
            return []
        return self._empty(self._next)

    def _begin(self) -> list[Message]:
        if not self._clearing:
            return []
        self._clearing = False
        return self._clear(now=False)

    def _clear(self, *, now: bool) -> list[Message]:
        """Clear what the job shows, `now` or as it is replaced."""
        if self.alone and not self._fixed and not self._slots and (now or not self.pinned):
            return []  # and text goes on as text, which is best if nothing more is cleared
        self._in_slots = not self.alone or bool(self.pinned)
        if self.alone and (self._fixed or not self.pinned):
            self._fixed = False
            self._slots.clear()
            self._names.clear()
            self._next = 0
            again = [content for show in self.pinned for content in show()]
            messages: list[Message] = [("clear_output", {"wait": not now})]
            return messages + [("display_data", content) for content in again]
        messages = self._forget_twins()
        messages += self._empty(0 if now else self._next)  # those are from an earlier picture
        self._next = 0
        if not now:
            took = self._last - self._begun
            self._begun = self._last = time.monotonic()
            self.due = self._begun + min(max(_GRACE, 2 * took), _LONGEST)
        return messages

    def _forget_twins(self) -> list[Message]:
        """Empty the displays that have a name in common: none of them can be replaced alone."""
        counts = Counter(slot.id for slot in self._slots)
        if len(counts) == len(self._slots):
            return []
        twins = [slot for slot in self._slots if counts[slot.id] > 1]
        self._slots = [slot for slot in self._slots if counts[slot.id] == 1]
        self._next = len(self._slots)
        return [slot.message("update_display_data", _EMPTY) for slot in twins]

    def _empty(self, first: int) -> list[Message]:
        self.due = None
        messages = []
        for slot in self._slots[first:]:
            if not slot.empty:
                slot.empty, slot.log = True, None
                messages.append(slot.message("update_display_data", _EMPTY))
        return messages

    def _text(self, piece: Piece) -> list[Message]:
        if not self._in_slots:
            self._fixed = True
            return [piece.as_message()]
        text = clean(piece.text)
        messages = []
        while text:
            kind, slot = "update_display_data", self._slots[self._next - 1] if self._next else None
            if slot is None or slot.log is None:
                kind, slot = self._advance()
                slot.log = JobLog()
            part = _beginning(text, _TEXT - slot.size)
            text = text[len(part) :]
            slot.log.write(part)
            slot.size += len(part)
            messages.append(slot.message(kind, {"text/plain": str(slot.log)}))
            if slot.size >= _TEXT:
                slot.log = None
        return messages

    def _display(self, content: dict[str, Any]) -> list[Message]:
        if self.alone and not self.pinned:
            self._fixed = True
            return [("display_data", content)]
        kind, slot = self._advance(content.get("transient", {}).get("display_id"))
        return [slot.message(kind, content["data"], content["metadata"])]

    def _advance(self, name: str | None = None) -> tuple[str, _Slot]:
        """Return the slot that comes next, which the job calls `name`, and what shows it."""
        kind = "update_display_data"
        if self._next == len(self._slots):
            kind = "display_data"
            # The name is known to others too, but later another display may have it.
            self._slots.append(_Slot() if name is None or self._in_slots else _Slot(name))
        slot = self._slots[self._next]
        self._next += 1
        self._last = time.monotonic()
        self._names.pop(slot.name, None)
        slot.empty, slot.log, slot.size, slot.name = False, None, 0, name
        if name is not None:
            self._names[name] = slot.id
        return kind, slot

    def _renamed(self, content: dict[str, Any]) -> dict[str, Any]:
        number = self._names.get(content.get("transient", {}).get("display_id"))
        return content if number is None else content | {"transient": {"display_id": number}}


def _beginning(text: str, most: int) -> str:
    """Return the beginning of a text, of about so many characters, if it can be whole lines."""
    if len(text) <= most:
        return text
    end = text.find("\n", most, most + _TEXT) + 1
    return text[: end or most + _TEXT]
