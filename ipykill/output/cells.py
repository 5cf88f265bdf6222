"""To which cell a job belongs, and whether it has that to itself."""

from __future__ import annotations

import threading
from typing import Any

from ..core.job import Job

__all__ = ["Cells", "Header", "blocks"]

Header = dict[str, Any]
"""The header of the message that ran a cell, which is the parent of all that belongs there."""


class _Blocks(threading.local):
    """The blocks of widgets `Output` in which code of the foreground is, for each thread."""

    def __init__(self) -> None:
        self.widgets: list[Any] = []


blocks = _Blocks()


class Cells:
    """The cells of a notebook, as far as they matter here.

    Threading
    ---------
    Any thread may ask.
    """

    def __init__(self, shell: Any, publisher: Any) -> None:
        self._shell = shell
        self._publisher = publisher
        self.newest = self._now()
        shell.events.register("pre_run_cell", self._begins)

    def forget(self) -> None:
        """Follow the cells no more."""
        self._shell.events.unregister("pre_run_cell", self._begins)

    def _now(self) -> Header:
        return dict(self._publisher.parent_header)

    def _begins(self, info: Any) -> None:
        # What a front end asks for itself has no place where anything could be shown.
        if info.store_history:
            self.newest = self._now()

    def launching(self) -> Header | None:
        """Return the cell that runs, None in the callback of a widget.

        A button's or a slider's callback is run by a message that belongs to no cell, so that
        what it prints is shown nowhere but in the front end's log.
        """
        header = self._now()
        return header if header.get("msg_type") == "execute_request" else None

    def is_alone(self, job: Job) -> bool:
        """Whether the cell that launches `job` now is nothing but its code."""
        if job.cell is None:
            return False
        text = self._shell.history_manager.input_hist_raw[-1].strip()
        return text.startswith("%%bg") or (text.startswith("%bg ") and "\n" not in text)
