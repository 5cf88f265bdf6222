"""What a job printed: a bounded text that behaves as a terminal does."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from ..base import locks
from ..base.text import printable

__all__ = ["JobLog"]

_CONTROL = re.compile(
    r"\x1b\[([0-?]*)[ -/]*([@-~])"  # colours, movements of the cursor
    r"|\x1b(?:[\]PX^_][^\x07\x1b]{0,2000}(?:\x07|\x1b\\)?|[ -/]*[0-Z\\^-~])"  # links, titles
    r"|([\r\b])"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]{0,60})?\Z")  # a sequence whose rest comes later
_SHOWN = 30  # how many lines the repr shows
_WIDTH = 2_000  # the cursor does not move up from, or to, a line that is longer than this

# For the colours and styles of text: what each code sets, and what it resets.
_STYLES = {
    **dict.fromkeys([*range(30, 40), *range(90, 98)], "foreground"),
    **dict.fromkeys([*range(40, 50), *range(100, 108)], "background"),
    **dict.fromkeys([1, 2, 22], "intensity"),
    **{code: str(code % 20) for code in (3, 4, 5, 7, 8, 9, 23, 24, 25, 27, 28, 29)},
}
_RESETS = {22, 23, 24, 25, 27, 28, 29, 39, 49}


class JobLog:
    r"""The last lines that a job printed, as a terminal would show them.

    ``\r`` returns to the start of the line, so that a progress bar that repaints itself
    takes one line, and ``\b`` steps back. Escape sequences move the cursor up and down, for
    nested bars, and erase. Those that set colours are kept, so that each line keeps its
    colours; all others are left out.

    Parameters
    ----------
    max_lines
        How many complete lines are kept.
    max_line
        How many characters of one line are kept.
    max_chars
        How many characters of complete lines are kept.

    Attributes
    ----------
    path : pathlib.Path or None
        A file that gets all that is written, as it is written; set by `copy_to`.
    rewinds : int
        How often the cursor went up, where it may have changed lines that were complete.
    HEIGHT : int
        How many lines the cursor can go up.

    Threading
    ---------
    Any thread may call any method. `_lock` is a C-level lock and reentrant, because the garbage
    collector may run in the middle of `write`, and a finalizer that it calls may print.
    """

    HEIGHT = 100

    def __init__(
        self, max_lines: int = 10_000, max_line: int = 100_000, max_chars: int = 10_000_000
    ) -> None:
        self._lock = locks.RLock()
        self._max_lines = max_lines
        self._lines: deque[str] = deque()
        self._max_line = max_line
        self._max_chars = max_chars
        self._chars = 0
        # The line with the cursor: a str while it is plain text that only grows at its end; after
        # that a list with one item for each column, a character with its colour codes before it.
        self._cells: str | list[str] = ""
        self._column = 0
        self._below: list[str] = []  # the lines below it, the nearest last
        self._styles: dict[str, str] = {}
        self._style = ""
        self._unfinished = ""
        self._total = 0
        self.rewinds = 0
        self.path: Path | None = None
        self._file: TextIO | None = None

    def copy_to(self, path: str | Path, *, append: bool = False) -> None:
        """Copy all that is written from now on to a file at `path`.

        Parameters
        ----------
        append
            Whether to keep what is in the file already.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        path = Path(path).expanduser().resolve()
        path.open("a" if append else "w").close()
        self.close()  # the previous file
        self.path = path

    def close(self) -> None:
        """Close the file; what is written later opens it again.

        Raises
        ------
        OSError
            The end of the text could not be written.
        """
        with self._lock:
            file, self._file = self._file, None
        if file is not None:
            file.close()

    def write(self, text: str) -> None:
        """Append `text`.

        Raises
        ------
        OSError
            The text is in this log, but could not be written to the file. The file gets nothing
            more.
        """
        with self._lock:
            whole, self._unfinished = (self._unfinished + text) if self._unfinished else text, ""
            *complete, rest = whole.split("\n")
            for part in complete:
                self._put(part)
                self._end_line()
            if unfinished := _UNFINISHED.search(rest[-80:]):
                self._unfinished = unfinished[0]
                rest = rest[: -len(self._unfinished)]
            self._put(rest)
            if self.path is not None:
                self._copy(self.path, text)

    def _copy(self, path: Path, text: str) -> None:
        try:
            if self._file is None:
                self._file = path.open(
                    "a", buffering=1, encoding="utf-8", errors="backslashreplace"
                )
            self._file.write(text)
        except OSError:
            self.path = None
            with contextlib.suppress(OSError):
                self.close()
            raise

    def _end_line(self) -> None:
        line = _text(self._cells)
        self._lines.append(line)
        self._total += 1
        self._chars += len(line)
        self._cells, self._column = "", 0
        if self._below:
            self._restore(self._below.pop())
        while len(self._lines) > self._max_lines or self._chars > self._max_chars:
            self._chars -= len(self._lines.popleft())

    def _put(self, text: str) -> None:
        if not ("\x1b" in text or "\r" in text or "\b" in text):  # a fast path for plain text
            self._type(text)
            return
        start = 0
        for found in _CONTROL.finditer(text):
            self._type(text[start : found.start()])
            start = found.end()
            codes, kind, char = found.groups()
            if char == "\r":
                self._column = 0
            elif char == "\b":
                self._column = max(self._column - 1, 0)
            elif kind == "m":
                self._colour(codes)
            elif kind is not None and (act := _ACTS.get(kind)) is not None:
                act(self, _number(codes))
        self._type(text[start:])

    def _type(self, text: str) -> None:
        text = text[: self._max_line - self._column]
        if not text:
            return
        column, style = self._column, self._style
        self._column += len(text)
        if isinstance(self._cells, str) and column == len(self._cells) and not style:
            self._cells += text
            return
        cells = self._editable()
        cells.extend(" " * (column - len(cells)))
        cells[column : self._column] = [style + char for char in text] if style else text

    def _editable(self) -> list[str]:
        if isinstance(self._cells, str):
            self._cells = list(self._cells)
        return self._cells

    def _restore(self, line: str) -> None:
        """Make `line` the line with the cursor."""
        kept = self._column, self._styles, self._style
        self._cells, self._column, self._styles, self._style = "", 0, {}, ""
        self._put(line)
        self._column, self._styles, self._style = kept

    def _colour(self, codes: str) -> None:
        numbers = [int(it) if it.isdecimal() else 0 for it in codes[:100].split(";")]
        styles = dict(self._styles)
        while numbers:
            code = numbers.pop(0)
            if code == 0:
                styles.clear()
            elif code in _RESETS:
                styles.pop(_STYLES[code], None)
            elif code in (38, 48):  # 5;n or 2;r;g;b
                count = 4 if numbers[:1] == [2] else 2
                if len(numbers) >= count:
                    styles[_STYLES[code]] = ";".join(map(str, [code, *numbers[:count]]))
                del numbers[:count]
            elif code in _STYLES:
                styles[_STYLES[code]] = str(code)
        self._styles = styles
        self._style = f"\x1b[{';'.join(styles.values())}m" if styles else ""

    def _up(self, count: int) -> None:
        self.rewinds += 1
        for _ in range(min(count or 1, self.HEIGHT - len(self._below), len(self._lines))):
            if max(len(self._cells), len(self._lines[-1])) > _WIDTH:
                return
            self._below.append(_text(self._cells))
            line = self._lines.pop()
            self._total -= 1
            self._chars -= len(line)
            self._restore(line)

    def _down(self, count: int) -> None:
        column = self._column
        for _ in range(min(count or 1, len(self._below))):
            self._end_line()
        self._column = column

    def _right(self, count: int) -> None:
        self._column = min(self._column + (count or 1), self._max_line)

    def _left(self, count: int) -> None:
        self._column = max(self._column - (count or 1), 0)

    def _to_column(self, count: int) -> None:
        self._column = min(max(count - 1, 0), self._max_line)

    def _erase(self, part: int) -> None:
        cells = self._editable()
        if part == 2:
            cells.clear()
        elif part == 1:
            end = min(self._column + 1, len(cells))
            cells[:end] = " " * end
        else:
            del cells[self._column :]

    def _erase_below(self, part: int) -> None:
        if part == 0:  # other parts clear the screen; a log keeps what was printed
            self._erase(0)
            self._below.clear()

    def tail(self, lines: int | None = None) -> list[str]:
        """Return the last `lines` lines, by default all lines that are kept."""
        with self._lock:
            kept = self._open()[::-1][:lines]
            more = None if lines is None else lines - len(kept)
            kept += itertools.islice(reversed(self._lines), more)
        return kept[::-1]

    @property
    def last(self) -> str:
        """The last line, as `tail` returns it, empty if there is none; mostly takes no lock."""
        if self._cells or self._below:
            return next(iter(self.tail(1)), "")
        try:
            return self._lines[-1] if self._lines else ""
        except IndexError:  # another thread took it just now
            return ""

    def _open(self) -> list[str]:
        """Return the line with the cursor and those below it, without blank lines at the end."""
        found = [_text(self._cells), *self._below[::-1]]
        while found and not found[-1].strip():
            found.pop()
        return found

    def read(self, start: int) -> tuple[int, list[str]]:
        """Return the lines from number `start` on, and the number of the first of them.

        Lines count from 0 and keep their numbers when earlier lines are dropped. The line that
        is being written has the number `end`.
        """
        with self._lock:
            start = max(start, self.dropped)
            complete = itertools.islice(reversed(self._lines), max(self._total - start, 0))
            return start, [*list(complete)[::-1], *self._open()]

    @property
    def end(self) -> int:
        """How many lines are complete: those above the cursor."""
        return self._total

    @property
    def dropped(self) -> int:
        """How many lines came before the first that is kept."""
        return self._total - len(self._lines)

    def __dir__(self) -> list[str]:
        return ["path", "tail"]

    def __repr__(self) -> str:
        lines = self.tail()
        earlier = self.dropped + len(lines[:-_SHOWN])
        shown = [f"({earlier} earlier lines)"] if earlier else []
        shown += [printable(line).rstrip() for line in lines[-_SHOWN:]]
        return "\n".join(shown) or "Nothing was printed."

    def __str__(self) -> str:
        return "\n".join(self.tail())


def _number(codes: str) -> int:
    return int(codes) if codes.isdecimal() and len(codes) < 7 else 0


def _text(cells: str | list[str]) -> str:
    if isinstance(cells, str):
        return cells
    text = "".join(cells)
    if len(text) == len(cells):
        return text
    parts: list[str] = []
    now = ""
    for style, group in itertools.groupby(cells, key=_style_of):
        if now:
            parts.append("\x1b[0m")
        parts += (style, *(cell[-1] for cell in group))
        now = style
    return "".join(parts) + ("\x1b[0m" if now else "")


def _style_of(cell: str) -> str:
    return cell[:-1]


_ACTS: dict[str, Callable[[JobLog, int], None]] = {
    "A": JobLog._up,
    "B": JobLog._down,
    "C": JobLog._right,
    "D": JobLog._left,
    "G": JobLog._to_column,
    "J": JobLog._erase_below,
    "K": JobLog._erase,
}
