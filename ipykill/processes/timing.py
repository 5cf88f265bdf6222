"""How long processes have to end, and how often ipykill looks whether they have."""

from __future__ import annotations

import time
from collections.abc import Iterator

__all__ = ["GONE", "grace", "looks"]

grace = 3.0
"""Seconds from SIGTERM to SIGKILL; may be changed at any time."""

GONE = 0.5  # seconds that a process has to end after SIGKILL
_POLL, _POLL_MAX = 0.0005, 0.02  # seconds between two looks


def looks() -> Iterator[None]:
    """Yield for ever: at once, then after pauses that grow from 0.5 to 20 ms."""
    pause = _POLL
    while True:
        yield
        time.sleep(pause)
        pause = min(pause * 1.5, _POLL_MAX)
