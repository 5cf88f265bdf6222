"""What a Kill can do in this process: which parts work, and why others do not."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from . import running, switches, wake

__all__ = ["About", "about", "shortcomings"]

_NO_LOCK = (
    "this CPython has no global interpreter lock, and ipykill does not look at the stack of a "
    "thread that runs: where a job is, and why it does not die, is not shown"
)


@dataclass(frozen=True)
class About:
    """What a Kill can do in this process.

    Attributes
    ----------
    version, python, system
        The version of ipykill, that of Python, and the operating system.
    level
        What may be used, see `ipykill.kill.switches.use`.
    safe, safe_why
        Whether a Kill lands at safe points of running code, and by what means or why not.
    limits
        Which running code a Kill does not reach here, and why, in words; empty if it reaches all.
    wakes, wakes_why
        Whether a Kill ends a call that waits, and by what means or why not.
    """

    version: str
    python: str
    system: str
    level: switches.Level
    safe: bool
    safe_why: str
    limits: str
    wakes: bool
    wakes_why: str

    def __str__(self) -> str:
        running = f"at safe points ({self.safe_why})"
        if self.limits:
            running = "where it can break nothing: " + self.limits
        elif not self.safe:
            running = f"anywhere, also where it may break something ({self.safe_why})"
        looking = "" if switches.has_gil() else f"\nBut {_NO_LOCK}"
        waiting = "woken" if self.wakes else "not woken, a job dies when they return"
        return (
            f"ipykill {self.version}, {self.python} on {self.system}\n"
            f"Kill in running code: {running}\n"
            f"Kill in waiting calls: {waiting} ({self.wakes_why}){looking}"
        )

    __repr__ = __str__


def about(version: str) -> About:
    """Return what a Kill can do in this process now; any thread may call this."""
    wake.install()
    why_not_safe = running.why_not()
    why_not_wake = wake.why_not()
    return About(
        version=version,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.machine()}",
        level=switches.level(),
        limits=running.limits(),
        safe=not why_not_safe,
        safe_why=why_not_safe or running.by_what(),
        wakes=not why_not_wake,
        wakes_why=why_not_wake or wake.by_what(),
    )


def shortcomings() -> list[str]:
    """Return in words what a Kill does not reach here, unless the user has chosen so."""
    wake.install()
    lines = [running.limits()]
    if switches.level() == "full" and (why := wake.why_not()):
        lines.append(f"a call that waits is not woken here ({why}); a job dies when that returns")
    if not switches.has_gil():
        lines.append(_NO_LOCK)
    return [line for line in lines if line]
