"""What a job printed: a bounded text that behaves as a terminal does."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from pathlib import Path
from typing import TextIO

__all__ = ["JobLog"]


class JobLog:
    r"""The last lines that a job printed.

    ``\r`` returns to the start of the line, so that a progress bar that repaints itself
    takes one line, and ``\b`` steps back. Escape sequences are kept as they are.

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

    Threading
    ---------
    Any thread may call any method. `_lock` is a C-level lock, and one that its holder may
    take again: the garbage collector may run in the middle of `write`, and what it
    finalizes may print.
    """

    def __init__(
        self, max_lines: int = 10_000, max_line: int = 100_000, max_chars: int = 10_000_000
    ) -> None:
        self._lock = threading.RLock()
        self._max_lines = max_lines
        self._lines: deque[str] = deque()
        self._max_line = max_line
        self._max_chars = max_chars
        self._chars = 0
        self._line = ""  # the line being written,
        self._column = 0  # and where in it
        self._total = 0
        self.path: Path | None = None
        self._file: TextIO | None = None

    def copy_to(self, path: str | Path) -> None:
        """Copy all that is written from now on to a new file at `path`.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        self.path = Path(path).expanduser().resolve()
        self.path.write_text("")

    def close(self) -> None:
        """Close the file; what is written later opens it again."""
        with self._lock:
            file, self._file = self._file, None
        if file is not None:
            file.close()

    def write(self, text: str) -> None:
        """Append `text`."""
        with self._lock:
            if self.path is not None:
                if self._file is None:
                    self._file = self.path.open(
                        "a", buffering=1, encoding="utf-8", errors="backslashreplace"
                    )
                self._file.write(text)
            *complete, rest = text.split("\n")
            for part in complete:
                self._put(part)
                self._end_line()
            self._put(rest)

    def _end_line(self) -> None:
        self._lines.append(self._line)
        self._total += 1
        self._chars += len(self._line)
        self._line, self._column = "", 0
        while len(self._lines) > self._max_lines or self._chars > self._max_chars:
            self._chars -= len(self._lines.popleft())

    def _put(self, text: str) -> None:
        first, *repaints = text.split("\r")
        self._overwrite(first)
        for part in repaints:
            self._column = 0
            self._overwrite(part)

    def _overwrite(self, text: str) -> None:
        first, *steps = text.split("\b")
        self._type(first)
        for part in steps:
            self._column = max(self._column - 1, 0)
            self._type(part)

    def _type(self, text: str) -> None:
        text = text[: self._max_line - self._column]
        if text:
            end = self._column + len(text)
            self._line = self._line[: self._column] + text + self._line[end:]
            self._column = end

    def tail(self, lines: int | None = None) -> list[str]:
        """Return the last `lines` lines, all that are kept by default."""
        with self._lock:
            kept = [self._line] if self._line and lines != 0 else []
            more = None if lines is None else max(lines - len(kept), 0)
            kept += itertools.islice(reversed(self._lines), more)
        return kept[::-1]

    @property
    def last(self) -> str:
        """The last line, empty if there is none; as `tail` would say, without a lock."""
        try:
            return self._line or self._lines[-1]
        except IndexError:
            return ""

    def read(self, start: int) -> tuple[int, list[str]]:
        """Return the lines from number `start` on, and the number of the first of them.

        Lines count from 0 and keep their number when earlier ones are dropped. A line that
        is being written is the last, and has the number `end`.
        """
        with self._lock:
            start = max(start, self.dropped)
            complete = itertools.islice(reversed(self._lines), max(self._total - start, 0))
            return start, [*list(complete)[::-1], *([self._line] if self._line else [])]

    @property
    def end(self) -> int:
        """How many lines are complete."""
        return self._total

    @property
    def dropped(self) -> int:
        """How many lines came before the first that is kept."""
        return self._total - len(self._lines)

    def __str__(self) -> str:
        return "\n".join(self.tail())
