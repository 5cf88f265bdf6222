"""`shield`: a block that a Kill does not break."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Literal

from . import policy
from .target import Target, current_target

__all__ = ["shield"]


class shield:
    """A context manager in whose block a Kill waits for the end of the block.

    Outside a job this does nothing. Shields nest; a Kill is raised at the end of the
    outermost. It also keeps `ipykill.checkpoint` from raising.
    """

    # No Kill is raised in __enter__ or __exit__, because of their names, nor between them,
    # because of the depth, except by the last line here.

    def __init__(self) -> None:
        self._target: Target | None = None

    def __enter__(self) -> None:
        self._target = target = current_target()
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
        target, self._target = self._target, None
        if target is not None:
            target.depth -= 1
            # In a shield within a finally: block the Kill goes on waiting.
            if target.wanted and policy.shelter(sys._getframe(1)) is None:
                raise target.strike()
        return False
