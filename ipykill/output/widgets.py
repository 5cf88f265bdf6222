"""Widgets that a job changes very often: only some of their states are sent, and the last one.

A loop that sets the value of a progress bar sends a message each time, thousands a second,
more than a server passes on. In a job these messages share the budget of the job's output. A
change beyond the budget waits, and the state that is sent later is the state at that time.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from .. import output
from ..base.imports import when_imported
from ..base.wrapping import wrap

__all__ = ["install"]


def install() -> None:
    """Limit the messages of widgets in jobs, from now on, or from the import of ipywidgets on."""
    when_imported("ipywidgets.widgets.widget", _watch)


def _watch(module: ModuleType) -> None:
    wrap(module.Widget, "send_state", _with_the_output)


def _with_the_output(send: Any) -> Any:
    def send_state(self: Any, key: str | Iterable[str] | None = None) -> None:
        job = output.of_job()
        # Not `msg_id`, by which an `Output` widget begins to take output: it must not come late.
        if job is None or key == "msg_id":
            send(self, key)
        else:
            keys = self.keys if key is None else [key] if isinstance(key, str) else key
            job.update(self, keys, functools.partial(send, self))

    return send_state
