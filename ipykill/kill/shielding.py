"""`shield`: a block in which no Kill is raised."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Literal

from . import policy
from .target import Target, current_target

__all__ = ["shield"]


class shield:
    """A context manager that delays a Kill, or an interrupt, to the end of its block.

    Outside of a job it does nothing. Shields nest; a Kill is raised at the end of the outermost.
    A shield also keeps `ipykill.checkpoint` from raising.

    Threading
    ---------
    A shield protects the thread that enters it, which may enter it again.
    """

    # No Kill is raised in __enter__ or __exit__, because of their names, nor between them,
    # because of `Target.depth`, except by the `raise` in __exit__.

    def __init__(self) -> None:
        self._entered: list[Target | None] = []

    def __enter__(self) -> None:
        target = current_target()
        self._entered.append(target)
        if target is not None:
            if not target.depth:
                frame = sys._getframe(1)
                target.shielded_by = frame.f_code, frame.f_lasti
            target.depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        target = self._entered.pop()
        if target is not None:
            target.depth -= 1
            if not target.depth:
                target.shielded_by = None
            # If the shield is inside a `finally:` block, the Kill is not raised yet.
            if target.wanted and policy.shelter(sys._getframe(1)) is None:
                raise target.strike()
        return False
