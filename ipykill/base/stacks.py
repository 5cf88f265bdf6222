"""The stacks of a job's threads and tasks, as text."""

from __future__ import annotations

from collections.abc import Sequence

from .stack import Stack
from .text import one_line

__all__ = ["Stacks", "lines", "tree"]

_MOST = 20  # threads and tasks of one job that are listed, at most


class Stacks(list[Stack]):
    """Where a job is: a list of stacks whose `repr` is readable text."""

    def __repr__(self) -> str:
        if not self:
            return "No thread of this job runs."
        why = [f"  {one_line(self[0].hindrance, 300)}"] if self[0].hindrance else []
        return "\n".join(why + lines(self))

    __str__ = __repr__


def tree(stacks: Sequence[Stack]) -> list[str]:
    """Return one line for each thread and task of a job, except the job's own thread."""
    found = []
    for one in stacks[1:]:
        kind = "task " if one.task else ""
        place = f": {one_line(one.place, 60)}" if one.place else ""
        found.append("  " * (one.depth - 1) + f"└ {kind}{one_line(one.name, 40)}{place}")
    left_out = len(found) - _MOST
    return [*found[:_MOST], f"... and {left_out} more"] if left_out > 0 else found


def lines(stacks: Sequence[Stack]) -> list[str]:
    """Return the stacks of a job's threads and tasks as lines, with the source of each frame."""
    found: list[str] = []
    for number, one in enumerate(stacks[: _MOST + 1]):
        margin = "  "
        if number:
            kind = "task" if one.task else "thread"
            why = f": {one_line(one.hindrance, 300)}" if one.hindrance else ""
            found.append("  " * one.depth + f"{kind} {one_line(one.name, 60)}{why}")
            margin += "  " * one.depth
        for frame in one.frames:
            found.append(f"{margin}{one_line(frame.place)}, in {one_line(frame.function)}")
            if frame.source:
                found.append(f"{margin}  {one_line(frame.source)}")
    if stacks and not found and not stacks[0].hindrance:
        found.append("  there is no line of Python to show")
    left_out = len(stacks) - _MOST - 1
    return [*found, f"  ... and {left_out} more"] if left_out > 0 else found
