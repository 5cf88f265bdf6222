"""Steps that Ctrl-C and a Kill do not cut in two."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .kill import shield

__all__ = ["uninterrupted"]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let an interrupt, or a Kill, that comes in this block take effect at its end.

    Only the main thread is interrupted, so elsewhere this is a `shield`. For what takes a
    moment: the kernel does not answer to an interrupt meanwhile.
    """
    with shield():
        usual = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not callable(usual):
            yield
            return
        came: list[FrameType | None] = []
        # An interrupt before this line or in it is none in the block; and when this has
        # returned, ours is called for it.
        signal.signal(signal.SIGINT, lambda number, frame: came.append(frame))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, usual)
            if came:
                usual(signal.SIGINT, came[0])
