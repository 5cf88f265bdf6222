"""How running code is reached: one `Engine` for each way that a CPython version offers.

========== =============== ==============================================================
CPython    engine          what it does
========== =============== ==============================================================
3.12+      `monitoring`    the thread looks, at each instruction of the user's code, whether
                           a Kill may land there: ``sys.monitoring``
3.11       `tracing`       the same with opcode tracing, begun by the thread itself when it
                           is woken (`wake`)
any        `plain`         ``PyThreadState_SetAsyncExc``, which may land anywhere: only if
                           the user chose it (`switches.use`)
any        `Unreached`     nothing, yet: where no monitoring tool is free, 3.11 without the wake-up
========== =============== ==============================================================

An engine is in use from the first pending Kill to the end of the last. At all other times no event
and no trace function of ipykill's is on in any thread.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Protocol

from . import claims, plain, wake
from .switches import has_gil, level
from .target import Target

__all__ = ["Engine", "by_what", "choose", "limits", "why_not"]


class Engine(Protocol):
    """A way to raise a Kill in running code.

    Threading
    ---------
    `arm_here` is called by the target's own thread. All other methods are called by the reaper or
    by the thread that kills, one at a time.
    """

    def arm(self, target: Target) -> None:
        """Make `target` ask itself, in whatever it runs now, whether it dies; called repeatedly."""
        ...

    def arm_here(self, target: Target, frame: FrameType) -> None:
        """Do the same in the calling thread, which is `target`'s own and is at `frame`."""
        ...

    def rest(self) -> None:
        """Switch everything off until something is armed again."""
        ...

    def end(self) -> None:
        """Switch everything off for good, and leave nothing behind."""
        ...


if sys.version_info >= (3, 12):
    from .monitoring import Monitoring

    _BY = "by sys.monitoring"
    _monitoring = Monitoring()
    if sys.version_info >= (3, 13) and not has_gil():
        from .free_threaded import FreeThreaded

        _monitoring = FreeThreaded()

    def _special() -> Engine | None:
        return _monitoring.begin()

    def _why_not_special() -> str:
        return "" if Monitoring.available() else "all tool ids of sys.monitoring are in use"

else:
    from .tracing import Tracing

    _BY = "by opcode tracing"

    def _special() -> Engine | None:
        return Tracing() if wake.works() else None

    def _why_not_special() -> str:
        return "" if wake.works() else "CPython 3.11 needs the wake-up for that"


class Unreached:
    """The engine where neither monitoring nor tracing works yet: it does nothing until one does."""

    def __init__(self) -> None:
        self._engine: Engine | None = None

    def arm(self, target: Target) -> None:
        """Take the engine of this CPython version, if it works by now, and arm with it."""
        if self._engine is None and not _not_here():
            self._engine = _special()
        if self._engine is not None:
            self._engine.arm(target)

    def arm_here(self, target: Target, frame: FrameType) -> None:
        """Do the same in the calling thread."""
        if self._engine is not None:
            self._engine.arm_here(target, frame)

    def rest(self) -> None:
        """Let that engine rest."""
        if self._engine is not None:
            self._engine.rest()

    def end(self) -> None:
        """End that engine."""
        if self._engine is not None:
            self._engine.end()


def choose() -> Engine:
    """Return a new engine: the best that is safe here, or the plain one if the user chose it."""
    if level() == "plain":
        return plain.Plain()
    claims.failed()  # makes the maps cautious if this Python's bytecode is not as expected
    engine = None if _not_here() else _special()
    return Unreached() if engine is None else engine


def why_not() -> str:
    """Return why a Kill would not be raised at safe points; empty if it would."""
    return _not_here() or _why_not_special() if level() != "plain" else "switched off"


def _not_here() -> str:
    if sys.implementation.name != "cpython":
        return "this is not CPython"
    return ""


def limits() -> str:
    """Return in words which running code a Kill does not reach here, and why; empty if none."""
    if level() == "plain":
        return ""
    if reason := why_not():
        dies = "waits or ends" if wake.works() else "ends"
        return f"code that runs is not reached here ({reason}); a job dies when it {dies}"
    if claims.failed():
        return (
            f"code that runs is reached only where nothing is guarded ({claims.why_not()}); a "
            "job dies when it waits, enters a function or loops outside of try: and with:"
        )
    return ""


def by_what() -> str:
    """Return in words how this version of CPython is made to ask at safe points."""
    return _BY
