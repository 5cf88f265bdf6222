"""The part of a cell's output that comes from a job, and how it is cleared.

A front end can only clear all output of a cell. But the job's card stands there too, with its
buttons, and below some cells the output of other code. So where anything else than the job's own
output may stand, a `clear_output` of the job is not sent. Instead, what the job shows next replaces
what it showed before, piece by piece: each display has an id by which it can be replaced, and
text, which has no id, is shown as displays too. So a plot that is drawn again and again does not
flicker. A *picture* below is the output between two clearings, a *slot* the place of one display.
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

# Seconds after a clearing until old output that nothing has replaced is removed: twice as long as
# the last picture took, but at least _GRACE and at most _LONGEST.
_GRACE = 0.3
_LONGEST = 10.0
_TEXT = 4_000  # characters of text in one display, which is sent anew as it grows
_EMPTY = {"text/plain": ""}


@dataclass
class _Slot:
    """The place of one display in the cell."""

    id: str = field(default_factory=lambda: f"job-{uuid.uuid4().hex}")
    name: str | None = None  # the display id that the job uses for it
    empty: bool = False
    log: JobLog | None = None  # the text that it shows, if more may be added
    size: int = 0  # how many characters were written there

    def message(self, kind: str, data: Any, metadata: Any = None) -> Message:
        """Return the message that shows `data` in this slot."""
        transient = {"display_id": self.id}
        return kind, {"data": data, "metadata": metadata or {}, "transient": transient}


class Region:
    """Turns what a job writes, displays and clears into messages for its cell.

    Attributes
    ----------
    alone
        Whether only output of the job, and what is pinned, stands below the cell.
    pinned
        What the job cannot clear, such as its card: functions that return the contents of the
        messages that show it again.
    due
        When `overdue` has something to remove, by `time.monotonic`; None if it has nothing.

    Threading
    ---------
    Not thread-safe; the `JobOutput` holds a lock around it.
    """

    def __init__(self) -> None:
        self.alone = False
        self.pinned: list[Callable[[], Iterable[dict[str, Any]]]] = []
        self.due: float | None = None
        self._slots: list[_Slot] = []
        self._next = 0  # the index of the slot that the next output takes
        self._names: dict[str | None, str] = {}  # the job's display ids, each with its slot's id
        self._fixed = False  # whether output without an id stands there
        self._in_slots = False  # whether text is shown in slots, too
        self._clearing = False  # whether the next output clears what stands there
        self._begun = self._last = 0.0  # when the newest picture began, and its last output came

    def take(self, piece: Piece) -> list[Message]:
        """Return the messages that show a piece of output."""
        if piece.message is None:
            return [*self._begin(), *self._text(piece)]
        content = piece.message["content"]
        if piece.name == "display_data":
            return [*self._begin(), *self._display(content)]
        if piece.name == "update_display_data":  # adds no output, so it clears nothing
            return [(piece.name, self._renamed(content))]
        if content["wait"]:
            self._clearing = True
            return []
        self._clearing = False
        return self._clear(now=True)

    def error(self, content: dict[str, Any]) -> list[Message]:
        """Return the message that shows an error; an error clears nothing."""
        self._fixed = True
        self._clearing = False
        return [("error", content)]

    def settle(self, *, whole: bool) -> list[Message]:
        """Return the messages that end the last picture, which stays.

        If it is not `whole`, because the job has not ended by itself, the rest of the picture
        before stays too.
        """
        self._clearing, self.due = False, None
        return self._empty(self._next) if whole else []

    def overdue(self) -> list[Message]:
        """Return the messages that remove old output which nothing has replaced for a while."""
        if self.due is None or time.monotonic() < self.due:
            return []
        return self._empty(self._next)

    def _begin(self) -> list[Message]:
        if not self._clearing:
            return []
        self._clearing = False
        return self._clear(now=False)

    def _clear(self, *, now: bool) -> list[Message]:
        """Clear what the job shows, `now` or piece by piece as it is replaced."""
        if self.alone and not self._fixed and not self._slots and (now or not self.pinned):
            return []  # nothing to clear; text stays plain text, which is best
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
        messages += self._empty(0 if now else self._next)  # the rest of an earlier picture
        self._next = 0
        if not now:
            took = self._last - self._begun
            self._begun = self._last = time.monotonic()
            self.due = self._begun + min(max(_GRACE, 2 * took), _LONGEST)
        return messages

    def _forget_twins(self) -> list[Message]:
        """Empty and forget displays that share an id: none of them can be replaced alone."""
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
        """Return the type of the message that shows the next slot, and the slot.

        The job uses `name` as the display id of what it shows there.
        """
        kind = "update_display_data"
        if self._next == len(self._slots):
            kind = "display_data"
            # Code elsewhere may know the job's display id, so the slot takes it at first. A slot
            # that may be used for several displays needs an id of its own.
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
    """Return about `most` characters from the beginning of a text, whole lines if possible."""
    if len(text) <= most:
        return text
    end = text.find("\n", most, most + _TEXT) + 1
    return text[: end or most + _TEXT]
