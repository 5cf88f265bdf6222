"""How much all jobs of a kernel may send, which is what a server and a browser bear."""

from __future__ import annotations

import time

from ..base import locks

__all__ = ["Bucket", "Budget", "budget"]

# jupyter_server drops nearly everything of a connection above 1000 messages or 1 MB a second,
# taken over three seconds (`_limit_rate`), and a page needs a second for about 100 kB of text.
MESSAGES = (200.0, 100.0)  # at once, and per second
CHARACTERS = (200_000.0, 100_000.0)  # of text
BYTES = (800_000.0, 250_000.0)  # of displays; pictures are easier on a page than text


class Bucket:
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
        self._lock = locks.RLock()

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


class Budget:
    """The budget that all jobs of a kernel share.

    Attributes
    ----------
    messages, characters, bytes
        Of what is sent while jobs run: messages, text, and displays.
    ends
        Characters for the ends of jobs, which arrive however many end at once.
    lines
        Of a flood, that one cell shows before it points to the log; 0: as many as a page bears.
    """

    def __init__(self) -> None:
        self.messages = Bucket(*MESSAGES)
        self.characters = Bucket(*CHARACTERS)
        self.bytes = Bucket(*BYTES)
        self.ends = Bucket(*CHARACTERS)
        self.lines = 400


budget = Budget()
