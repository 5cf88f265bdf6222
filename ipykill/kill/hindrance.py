"""Why a thread that is being killed still lives, and what ends it."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from ..base import stack
from . import loops, policy, running, wake
from .looking import Look
from .switches import has_gil
from .target import Target

__all__ = ["hindrance"]

_OFTEN = 3  # times that a Kill was raised in vain before the code is said to swallow it
_SOON = 0.1  # seconds within which a thread that runs Python code gets its turn, as a rule
_LOOKS = 5  # at most, for a reason during which the thread stands still


def hindrance(target: Target, look: Look, labels: Mapping[str, str] = stack.NO_LABELS) -> str:
    """Return in words what keeps a killed thread alive, and what ends that; empty if not known.

    Any thread may ask. The answer describes one moment, and is used for messages only.

    Parameters
    ----------
    look
        Tells where the thread is.
    labels
        See `stack.here`.
    """
    for _ in range(_LOOKS):
        frame = look(target)
        place = None if frame is None else frame.f_lasti
        why = _hindrance(target, frame, labels)
        # If the thread ran on meanwhile, its callers may be other ones than those of the frame.
        if look(target) is frame and (frame is None or frame.f_lasti == place):
            break
    return why


def _hindrance(target: Target, frame: FrameType | None, labels: Mapping[str, str]) -> str:
    if not target.open:
        return ""
    if target.depth and (shield := target.shielded_by) is not None:
        return f"it is in a shield() block ({stack.at(*shield, labels).place}) and dies at its end"
    if not target.has_turn and (leader := target.dies_after) is not None:
        return f"the cleanup of {leader.thread.name} may need it, and it dies after that"
    while frame is not None and policy.is_ours(frame.f_code):
        frame = frame.f_back  # the thread is in ipykill's code, asking itself whether it may die
    if why := loops.hindrance(target, labels):
        return why
    calling = frame is not None and stack.is_calling(frame)
    limits = running.limits()
    if limits and (not calling or target.busy or not wake.works()):
        return limits
    sheltered = policy.shelter(frame, calling=calling, foreign=True, **target.resorts)
    if sheltered is not None:
        place, why = sheltered
        at = stack.here(place, labels)
        where = f" ({at.place})" if at is not None else ""
        if limits and why == "in cleanup":
            return f"it is in code that may be cleanup{where}, and {limits}"
        return f"it is {why}{where} and dies when that has ended"
    if has_gil() and target.parked:  # else nobody looks at the frames of another thread
        return "a generator of its cleans up, step by step, and it dies after that"
    if target.dropped >= _OFTEN:
        return "C code calls it back and drops the Kill each time; it dies when that call returns"
    if target.struck >= _OFTEN:
        return (
            f"its code caught the Kill {target.struck} times; an except: there has to let "
            "JobKilled pass"
        )
    if target.traced:
        return "a debugger or another tool traces it; on Python 3.11 it may take long to hit a loop"
    if frame is not None and not calling:
        if policy.reaches(frame, libraries=target.libraries):
            if not target.busy and target.sought_for < _SOON:
                return ""  # it waits for its turn to run, and then it dies
            # Python code would reach a safe point within microseconds, so the thread is in C code,
            # even if its instruction is no call: `A @ A`.
            return "it is in C code that is busy and dies when that is done"
        if policy.reaches(frame, libraries=True):
            return "it runs code of a library, which is given a while to come back"
        at = stack.at(frame.f_code, frame.f_lasti, labels)
        return f"it is in {at.place}, which must not be broken, and dies after that"
    if target.busy:
        return "it is in C code that is busy and dies when that call returns"
    if not wake.works():
        return f"a call that waits is not woken here ({wake.why_not()}); it dies when that returns"
    if _blocks_signals(target):
        return "it has blocked signals (pthread_sigmask), so its call that waits is not woken"
    return "it waits in C code that does not look for signals and dies when that call returns"


def _blocks_signals(target: Target) -> bool:
    """Whether a thread has blocked the signal that would wake it; only Linux tells."""
    try:
        status = Path(f"/proc/self/task/{target.thread.native_id}/status").read_text("utf-8")
    except OSError:
        return False
    mask = status.partition("SigBlk:")[2].split()[:1]
    return bool(mask) and bool(int(mask[0], 16) >> (signal.SIGURG - 1) & 1)
