"""How a Kill reaches a thread.

`Target` is one thread that can be killed, `contain` runs its body so that a Kill stays
inside it, `pursue` hunts a group of targets until every one of them is dead, and
`shield` makes it wait.
"""

from __future__ import annotations

from .pursuit import pursue
from .target import Group, Target, contain, current_target, shield

__all__ = ["Group", "Target", "contain", "current_target", "pursue", "shield"]
