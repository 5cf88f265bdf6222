"""Locks that a killed job has left locked.

``with lock:`` and ``try: ... finally: lock.release()`` are safe from a Kill. Code that takes
a lock and releases it some lines below, without ``try``, is not: the Kill ends the thread that
holds the lock, and the next thread that wants the lock waits for ever. So ipykill prints a
line about it below the job's cell.

A `threading.RLock` knows which thread holds it. A plain lock does not, and another thread may
have taken it as well. So a plain lock is named only if all of this is true: it was free when the
job was launched, code of the job uses it, and it is locked and stays locked.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..base.names import used
from ..core.job import Job

__all__ = ["Locks"]

_LOOKS, _PAUSE = 10, 0.005  # how often a lock is looked at, and the seconds in between

_Lock: Any = type(threading.Lock())
_RLock: Any = type(threading.RLock())
_OWNER = re.compile(r"<locked .* owner=(\d+) ")


class Locks:
    """The locks of a namespace; makes a note of those that are locked when `job` is launched."""

    def __init__(self, namespace: Mapping[str, object], job: Job) -> None:
        self._namespace = namespace
        self._job = job
        # Keeps the lock itself, so that no other lock gets its address.
        self._locked = {
            id(lock): lock for _, lock in _locks(namespace) if type(lock) is _Lock and lock.locked()
        }

    def left(self) -> list[str]:
        """Return a line about each lock that the job, which was killed, has left locked."""
        dead = self._job.idents - {thread.ident for thread in threading.enumerate()}
        dead.add(self._job.thread.ident or 0)  # the thread that calls this: its code has ended
        lines = []
        suspects = []
        for name, lock in _locks(self._namespace):
            if type(lock) is _Lock:
                if lock.locked() and id(lock) not in self._locked:
                    suspects.append((name, lock))
            elif (owner := _OWNER.match(repr(lock))) and int(owner[1]) in dead:
                lines.append(
                    f"{name} is still held by a thread of this job that is gone; nobody can "
                    "release it any more: make a new one"
                )
        if suspects:
            names = used(self._job.codes, self._namespace)
            suspects = [(name, lock) for name, lock in suspects if name.split(".")[0] in names]
        for _ in range(_LOOKS):  # a lock that others take again and again is free in between
            if not suspects:
                break
            time.sleep(_PAUSE)
            suspects = [(name, lock) for name, lock in suspects if lock.locked()]
        for name, _ in suspects:
            lines.append(
                f"{name} is still locked, and may be so for ever: this job used it; "
                f"{name}.release() frees it"
            )
        return lines


def _locks(namespace: Mapping[str, object]) -> Iterator[tuple[str, Any]]:
    """Yield the locks among the variables, and in the objects of classes that cells define."""
    for name, value in dict(namespace).items():
        if name.startswith("_"):
            continue
        yield from _lock_of(name, value)
        if type(value).__module__ == "__main__":
            try:
                attributes = vars(value).copy().items()
            except (TypeError, RuntimeError):
                continue
            for attribute, inner in attributes:
                yield from _lock_of(f"{name}.{attribute}", inner)


def _lock_of(name: str, value: object) -> Iterator[tuple[str, Any]]:
    if type(value) in (_Lock, _RLock):
        yield name, value
    elif type(value) is threading.Condition:
        inner = value._lock  # type: ignore[attr-defined]
        if type(inner) in (_Lock, _RLock):
            yield name, inner
