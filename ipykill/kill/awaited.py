"""The processes for which cleanup, or a task of an event loop, waits: a Kill asks them to end.

If the task that waits for a process is being cancelled, the process is asked at once, so that the
task's cleanup finds it gone. If cleanup waits for it, it is asked after the grace period. (Ctrl-C
in a terminal tells all processes at once.) For the waits of threads outside of cleanup see `waits`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import FrameType
from typing import Any

from ..processes import timing
from .group import Group
from .target import Target
from .tasks import EXITS, in_handler, is_machinery, waiting

__all__ = ["end_after_grace", "end_awaited"]

# The last one is that of asyncio's transport: a process that was about to start has been killed.
_WAITS = {"wait", "communicate", "_wait"}


def end_awaited(tasks: Iterable[Any], group: Group) -> None:
    """Ask the processes to end for which tasks of asyncio or trio wait; to be called repeatedly."""
    if not group.kill_requested or group.keep_processes or not group.children():
        return
    for task in tasks:
        cleans_up = False
        for frame, inner in waiting(task.coro if hasattr(task, "coro") else task.get_coro()):
            if frame is None:
                cleans_up = True
                continue
            cleans_up |= frame.f_code.co_name in EXITS or in_handler(frame, inner, late=False)
            handle = _awaited(frame)
            child = None if handle is None else group.child_of(handle)
            if child is not None and not child.late and child.running:
                # If only those are left that it has started, they keep its pipes open. asyncio
                # waits for these, too.
                child.press(timing.grace if cleans_up and not child.ended else 0)


def end_after_grace(frame: FrameType, target: Target) -> None:
    """Ask the processes of the job to end, if its cleanup stands still for the grace period.

    The cleanup may wait for one of them in a way that does not show for which: a pipe,
    ``os.waitpid``. Called in the target's own thread, again and again while it waits at `frame`.
    """
    place, group = (id(frame), frame.f_lasti), target.group
    if place != target.cleanup_stands[0]:
        target.cleanup_stands = place, time.monotonic()
    elif time.monotonic() - target.cleanup_stands[1] > timing.grace and not group.keep_processes:
        children = group.children()
        left = [it for it in children if not (it.late or it.ended or it.is_daemon)]
        group.note_descendants([it for it in left if not it.asked])
        for child in left:
            child.press()
            group.struck = True  # the job is killed, whatever its code makes of this end


def _awaited(frame: FrameType) -> object:
    """Return the `Popen` that a frame of asyncio's or trio's waits for; None if there is none."""
    if frame.f_code.co_name not in _WAITS or not is_machinery(frame.f_code):
        return None
    process = frame.f_locals.get("self")
    return getattr(getattr(process, "_transport", process), "_proc", None)
