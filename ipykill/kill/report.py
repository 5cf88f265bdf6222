"""What a Kill can do here: which parts of the machinery are on, and why others are not."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from . import running, switches, wake

__all__ = ["About", "about"]


@dataclass(frozen=True)
class About:
    """What a Kill can do in this process.

    Attributes
    ----------
    version, python, system
        Of ipykill, of Python, of the operating system.
    level
        What may be used, see `ipykill.kill.switches.use`.
    safe, safe_why
        Whether a Kill lands at safe points of running code, and by what means or why not.
    limits
        What of running code it does not reach here, and why, in words; empty if it reaches all.
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
        running = "at safe points"
        if self.limits:
            running = "where it can break nothing: " + self.limits
        elif not self.safe:
            running = "anywhere, also where it may break something"
        waiting = "woken" if self.wakes else "not woken, a job dies when they return"
        return (
            f"ipykill {self.version}, {self.python} on {self.system}\n"
            f"Kill in running code: {running} ({self.safe_why})\n"
            f"Kill in waiting calls: {waiting} ({self.wakes_why})"
        )

    __repr__ = __str__


def about(version: str) -> About:
    """Return what a Kill can do in this process, now."""
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
        wakes_why=why_not_wake or "by SIGURG, the way of Ctrl-C",
    )
