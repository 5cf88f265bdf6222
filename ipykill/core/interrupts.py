"""Steps that Ctrl-C and a Kill do not cut in two."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

from ..kill import current_target, set_handler, shield

__all__ = ["uninterrupted"]


class _Deferral(list[FrameType | None]):
    """A handler of SIGINT that keeps what came for later."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.append(frame)


class uninterrupted:
    """Let an interrupt, or a Kill, that comes in this block take effect at its end.

    Only the main thread is interrupted. Where a Kill may come, this is a `shield`, too.
    For what takes a moment: the kernel does not answer to an interrupt meanwhile. Blocks
    nest; the end that counts is that of the outermost.
    """

    # Not a generator, which is four times slower: every launch of a job comes by here.

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
            # An interrupt before this line or in it is none in the block; and when this has
            # returned, ours is called for it.
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
