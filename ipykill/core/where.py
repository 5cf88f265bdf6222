"""Where the threads of a family are, and why one that is being killed still lives."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from ..base import stack
from ..kill import Look, hindrance
from .family import ADOPTED, Family, nobody

__all__ = ["stacks", "tree", "why_alive"]


def tree(family: Family) -> Iterator[tuple[threading.Thread, int]]:
    """Yield each thread, after the one that started it, with its depth in the tree."""
    threads = family.threads()
    living = set(threads)
    children: dict[threading.Thread | None, list[threading.Thread]] = {}
    for thread in threads:
        parent = vars(thread).get(ADOPTED, nobody)()
        children.setdefault(parent if parent in living else None, []).append(thread)

    def below(parent: threading.Thread | None, depth: int) -> Iterator[tuple[Any, int]]:
        for thread in children.get(parent, ()):
            # A thread whose starter has ended stands on the first level, below the first thread.
            yield thread, depth if thread is family.first else max(depth, 1)
            yield from below(thread, depth + 1 if thread is family.first else max(depth, 1) + 1)

    return below(None, 0)


def stacks(family: Family, look: Look, labels: Mapping[str, str]) -> list[stack.Stack]:
    """Return where the threads are, in the order of `tree`."""
    found = []
    for thread, depth in tree(family):
        target = family.target_of(thread)
        frame = None if target is None else look(target)
        frames = stack.trim(stack.of_frame(frame, labels))
        why = ""
        if target is not None and family.kill_requested:
            why = hindrance(target, look, labels)
        found.append(stack.Stack(thread.name, depth, False, tuple(frames), why))
    return found


def why_alive(family: Family, look: Look, labels: Mapping[str, str]) -> str:
    """Return in words why the family, which is being killed, still lives; empty if unknown."""
    for child in family.children():
        if (due := child.due) is not None:
            what = f"process {child.pid} ({child.command[:40]})"
            return f"its {what} was asked to end and is killed in {due:.1f} s"
    for target in family.targets():
        if why := hindrance(target, look, labels):
            if target.thread is family.first:
                return why
            here = stack.here(look(target), labels)
            return f"{target.thread.name}{f' in {here}' if here else ''}: {why}"
    return ""
