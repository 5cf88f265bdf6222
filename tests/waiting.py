"""Wait for facts, never for guesses."""

import os
import time
from collections.abc import Callable
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
