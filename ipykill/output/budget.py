"""How much output all jobs of a kernel may send, so that the server and the page keep up."""

from __future__ import annotations

import time

from ..base import locks

__all__ = ["Bucket", "Budget", "budget"]

# jupyter_server drops nearly all messages of a connection above 1000 messages or 1 MB a second,
# averaged over three seconds (`_limit_rate`), and a page needs a second for about 100 kB of text.
MESSAGES = (200.0, 100.0)  # at once, and per second
CHARACTERS = (200_000.0, 100_000.0)  # of text
BYTES = (800_000.0, 250_000.0)  # of displays; pictures are easier on a page than text


class Bucket:
    """A budget that fills up at a steady rate: a token bucket.

    Parameters
    ----------
    size
        How much it holds; it begins full.
    rate
        How much it gains a second.

    Threading
    ---------
    Any thread may take, even a finalizer in the middle of a `take`; so `_lock` is a reentrant
    C-level lock.
    """

    def __init__(self, size: float, rate: float) -> None:
        self._size = self._level = size
        self._rate = rate
        self._time = time.monotonic()
        self._lock = locks.RLock()

    def take(self, most: int) -> int:
        """Take up to `most`; return how much was taken."""
        with self._lock:
            now = time.monotonic()
            self._level = min(self._size, self._level + (now - self._time) * self._rate)
            self._time = now
            taken = max(min(most, int(self._level)), 0)
            self._level -= taken
            return taken

    def owe(self, amount: int) -> bool:
        """Take all of `amount` if the bucket is not empty, going into debt; return whether."""
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
        Messages, characters of text, and bytes of displays that are sent while jobs run.
    ends
        Characters that are sent when jobs end.
    lines
        How many lines one cell shows at once before it points to the log; 0: no limit of lines.
    """

    def __init__(self) -> None:
        self.messages = Bucket(*MESSAGES)
        self.characters = Bucket(*CHARACTERS)
        self.bytes = Bucket(*BYTES)
        self.ends = Bucket(*CHARACTERS)
        self.lines = 400


budget = Budget()
