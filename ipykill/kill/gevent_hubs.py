"""How what runs on gevent is ended: the main greenlet of a thread first, then the others.

gevent's loop waits in C code that looks for signals in the main thread only. So a thread that
waits there cannot be woken by a signal; its hub is told instead.

1. The thread that kills asks the hub to look (``run_callback_threadsafe``).
2. While the hub looks, no greenlet runs. If the main greenlet, which called the hub, does not
   wait in cleanup, a `JobKilled` is thrown into it, as gevent does with a Ctrl-C.
3. A greenlet that computes keeps the hub from looking, and is killed like any running code. If it
   is not the main one, the exception is a `JobKilled` that is also a ``GreenletExit``, which ends
   the greenlet without an error.
4. When the main greenlet has ended, whose cleanup may have needed the others, these are killed
   and waited for, unless they clean up (`GeventHub.finish`).
"""

from __future__ import annotations

import contextlib
import functools
import gc
import sys
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

from ..base import stack
from ..base.instances import instances
from ..exceptions import JobKilled, JobStopped
from . import policy
from . import target as targets
from .target import Target

__all__ = ["GeventHub", "hub_here", "hub_of", "hub_of_thread"]

# All in seconds.
_BLOCKED = 0.002  # after which a hub that has not looked counts as blocked
_LOST = 1.0  # after which it is told again
_AGAIN, _AGAIN_MAX = 0.001, 0.05  # after which it looks again by itself


def hub_here() -> Any:
    """Return the hub of the calling thread, None if it has none."""
    local: Any = sys.modules.get("gevent._hub_local")
    return None if local is None else local.get_hub_if_exists()


def hub_of(frame: FrameType) -> Any:
    """Return the hub that `frame` drives, None if it drives none; any thread may ask."""
    inner: Any = sys.modules.get("gevent.hub")
    if inner is None or frame.f_code is not inner.Hub.run.__code__:
        return None
    return frame.f_locals.get("self")


def hub_of_thread(ident: int) -> Any:
    """Return the hub of a thread, None if it has none; slow. Any thread may ask."""
    inner: Any = sys.modules.get("gevent.hub")
    hubs = [] if inner is None else instances(inner.Hub)
    return next((hub for hub in hubs if hub.thread_ident == ident), None)


@functools.cache
def _greenlet_killed() -> type[JobKilled]:
    exits: Any = sys.modules["gevent"].GreenletExit
    return type("GreenletKilled", (JobKilled, exits), {"__module__": JobKilled.__module__})


class GeventHub:
    """Ends what runs on a hub of gevent in the thread of `target`; see the module's docstring.

    Threading
    ---------
    Any thread, or a signal handler, may call `ring`, `stop`, `hindrance` and the properties; none
    of them blocks. All else is called in the hub's thread.
    """

    def __init__(self, target: Target, hub: Any) -> None:
        self.loop = hub
        self._target = target
        self._stop = False
        self._rung: float | None = None  # when the hub was told to look, if it has not, monotonic
        self._looked = False
        self._timer: Any = None

    def ring(self) -> None:
        """Tell the hub to look at what is asked of its thread, unless it was told just now."""
        loop = self.loop.loop
        if (self._rung is None or self._is_lost(_LOST)) and loop is not None:
            self._rung = time.monotonic()
            loop.run_callback_threadsafe(self._look)

    def stop(self) -> None:
        """End what runs here, for a Stop."""
        self._stop = True
        self.ring()

    @property
    def runs(self) -> bool:
        """Whether the hub has a loop that can be told to look."""
        return self.loop.loop is not None

    @property
    def is_blocked(self) -> bool:
        """Whether a greenlet keeps the hub from looking: it was told and has not looked."""
        return self._is_lost(_BLOCKED)

    @property
    def needs_no_exception(self) -> bool:
        """Whether the hub ends its greenlets by itself, so that nothing is raised in them."""
        return not self.is_blocked

    def _is_lost(self, seconds: float) -> bool:
        rung = self._rung  # read once, because any thread may ask, and a look sets it to None
        return rung is not None and time.monotonic() - rung > seconds

    def may_strike(self) -> bool:
        """Whether something may be raised in the code that runs now; own thread only."""
        return self.is_blocked and sys.modules["greenlet"].getcurrent() is not self.loop

    def strikes(self, kind: type[BaseException]) -> type[BaseException]:
        """Return the exception to raise in the running greenlet for `kind`; own thread only."""
        main = sys.modules["greenlet"].getcurrent() is self.loop.parent
        return _greenlet_killed() if issubclass(kind, JobKilled) and not main else kind

    def hindrance(self, labels: Mapping[str, str]) -> str:
        """Return in words what the hub waits for before it ends its greenlets; empty if nothing."""
        if self.is_blocked or not self._looked:
            return ""
        frame = self.loop.parent.gr_frame
        where = "" if (at := stack.here(frame, labels)) is None else f" ({at.place})"
        return f"its main greenlet cleans up{where}; it dies after that"

    # In the thread of the hub

    @policy.unbroken
    def _look(self) -> None:
        self._rung, self._looked = None, True
        self._timer = None
        target, main = self._target, self.loop.parent
        kill = target.group.kill_requested
        if not target.open or target.depth or not (target.sought or self._stop):
            return
        if main.gr_frame is None or policy.shelter(main.gr_frame, waiting=True) is not None:
            if not target.sought:  # it is a Stop, which no reaper repeats
                self._timer = self.loop.loop.timer(_AGAIN_MAX)
                self._timer.start(self._look)
            return
        kind: type[BaseException] = JobStopped
        if target.sought:
            kind = JobKilled if kill else KeyboardInterrupt
            target.note()
        self._stop = False
        main.throw(kind)

    @policy.unbroken
    def finish(self) -> None:
        """End the greenlets that are left, when the main one has ended; own thread only."""
        with contextlib.suppress(JobKilled):
            self._end_others()

    @policy.unbroken
    def _end_others(self) -> None:
        pause = _AGAIN
        while others := self._others() if self.runs else []:
            for greenlet in others:
                self.loop.loop.run_callback(self._end, greenlet)
                if (frame := greenlet.gr_frame) is not None:  # it may swallow the exception
                    targets.arm_here(self._target, frame)
            sys.modules["gevent"].sleep(pause)
            pause = min(pause * 2, _AGAIN_MAX)

    @policy.unbroken
    def _end(self, greenlet: Any) -> None:
        """Kill a greenlet, unless it cleans up; called in the hub, where no greenlet runs."""
        if greenlet.gr_frame is None:  # it has not begun, or has ended
            greenlet.kill(block=False)
        elif policy.shelter(greenlet.gr_frame, waiting=True) is None:
            greenlet.throw(sys.modules["gevent"].GreenletExit)

    def _others(self) -> list[Any]:
        kind = sys.modules["gevent"].Greenlet
        return [
            each
            for each in gc.get_referrers(self.loop)
            if issubclass(type(each), kind) and each.parent is self.loop and not each.dead
        ]
