"""The reaper: pursues every Kill until all threads of its group are dead."""

from __future__ import annotations

import threading
import time

from ..threads import ServiceThread
from .target import Group

_INTERVAL = 0.1  # seconds between two attempts on the same group
_lock = threading.Lock()
_hunted: list[Group] = []
_reaper: ServiceThread | None = None


def pursue(group: Group) -> None:
    """Kill every target of `group`, those that start later too; returns at once."""
    global _reaper
    for target in group.targets():
        target.throw()
    with _lock:
        if group not in _hunted:
            _hunted.append(group)
        if _reaper is None:
            _reaper = ServiceThread(_reap, "reaper")
            _reaper.start()


def _reap() -> None:
    global _reaper
    while True:
        time.sleep(_INTERVAL)
        with _lock:
            _hunted[:] = [group for group in _hunted if group.threads()]
            if not _hunted:
                _reaper = None
                return
            targets = [target for group in _hunted for target in group.targets()]
        for target in targets:
            target.throw()
