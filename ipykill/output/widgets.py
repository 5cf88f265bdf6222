"""Widgets that a job changes all the time: of many states on the way, only the last is sent.

A loop that sets the value of a progress bar sends a message each time, thousands a second,
more than a server passes on. In a job they share the budget of what the jobs show; a change
that is too many waits until its turn comes, and what is sent then is what is true then.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from .. import output
from ..base.imports import when_imported

__all__ = ["install"]


def install() -> None:
    """Govern the widgets of jobs, from now, or from the import of ipywidgets, on."""
    when_imported("ipywidgets.widgets.widget", _watch)


def _watch(module: ModuleType) -> None:
    kind: Any = module.Widget
    send = kind.send_state
    if hasattr(send, "__wrapped__"):
        return

    @functools.wraps(send)
    def send_state(self: Any, key: str | Iterable[str] | None = None) -> None:
        job = output.of_job()
        # From when on a widget `Output` takes what is shown is no state that may come late.
        if job is None or key == "msg_id":
            send(self, key)
        else:
            keys = self.keys if key is None else [key] if isinstance(key, str) else key
            job.update(self, keys, functools.partial(send, self))

    kind.send_state = send_state
