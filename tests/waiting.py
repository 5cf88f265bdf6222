"""Wait for facts, never for guesses."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

HANG_GUARD = 60.0 if os.environ.get("CI") == "true" else 30.0
"""Seconds after which a fact that never comes fails the test. Not a measure of speed."""

POLL = 0.01
"""Seconds between two looks."""


def wait_for(predicate: Callable[[], T], what: str, timeout: float = HANG_GUARD) -> T:
    """Return the first true value of `predicate()`; fail, naming `what`, after `timeout` seconds.

    `what` completes the sentence "waited in vain for ...".
    """
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}; last seen: {value!r}")
        time.sleep(POLL)
    return value


def settle(pid: int) -> None:
    """Return when the main thread of a process waits, or has been busy for half a second.

    A signal that comes in the moment when a ``time.sleep`` begins ends no sleep: CPython has
    looked for signals, and does not look again before the sleep is over.
    """
    status = Path(f"/proc/{pid}/status")
    deadline = time.monotonic() + 0.5
    before: list[str] = []
    # Linux alone tells what a thread of another process does.
    while status.exists() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):  # it ends just now
            text = status.read_text().splitlines()
            now = [line for line in text if line.startswith(("State:", "voluntary_ctxt_switches:"))]
            if now == before and "sleeping" in now[0]:
                return
            before = now
        time.sleep(POLL)
