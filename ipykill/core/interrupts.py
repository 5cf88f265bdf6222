"""Blocks of code that neither Ctrl-C nor a Kill interrupts."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

from ..kill import current_target, set_handler, shield

__all__ = ["uninterrupted"]


class _Deferral(list[FrameType | None]):
    """A handler of SIGINT that only notes the interrupts, for later."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.append(frame)


class uninterrupted:
    """Delay an interrupt, or a Kill, that comes in this block to the end of the block.

    Python interrupts only the main thread. In other threads, and where a Kill may come, this is a
    `shield`. Only for short blocks: the kernel does not react to an interrupt meanwhile. Blocks
    nest; the delay lasts to the end of the outermost.
    """

    # Not a generator, which is four times slower: every launch of a job uses this.

    def __init__(self) -> None:
        self._shield: shield | None = None
        self._came: _Deferral | None = None

    def __enter__(self) -> None:
        in_main = threading.get_ident() == threading.main_thread().ident
        if not in_main or current_target() is not None:
            self._shield = shield()
            self._shield.__enter__()
        if not in_main:
            return
        usual = signal.getsignal(signal.SIGINT)
        if callable(usual) and not isinstance(usual, _Deferral):
            self._came, self._usual = _Deferral(), usual
            # An interrupt that comes before the new handler is set counts as before the block;
            # one that comes later calls the new handler.
            set_handler(signal.SIGINT, self._came)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._came is not None:
                set_handler(signal.SIGINT, self._usual)
                if self._came:
                    self._usual(signal.SIGINT, self._came[0])
        finally:
            if self._shield is not None:
                self._shield.__exit__(kind, error, traceback)
