"""Which cell a job belongs to, and whether other code of that cell has output there too."""

from __future__ import annotations

import threading
from typing import Any

from ..core.job import Job

__all__ = ["Cells", "Header", "blocks"]

Header = dict[str, Any]
"""The header of the message that ran a cell: the parent of all messages of that cell's output."""


class _Blocks(threading.local):
    """The `Output` widgets in whose ``with`` blocks each thread of the foreground is."""

    def __init__(self) -> None:
        self.widgets: list[Any] = []


blocks = _Blocks()


class Cells:
    """Knows which cell of the notebook runs, and which was run last.

    Attributes
    ----------
    newest
        The cell that was run last.

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
        """Stop following which cells are run."""
        self._shell.events.unregister("pre_run_cell", self._begins)

    def _now(self) -> Header:
        return dict(self._publisher.parent_header)

    def _begins(self, info: Any) -> None:
        # Code that a front end runs for itself, silently, has no cell that could show output.
        if info.store_history:
            self.newest = self._publisher.parent_header

    def launching(self) -> Header | None:
        """Return the cell that runs, None in the callback of a widget.

        A message that belongs to no cell runs the callback of a button or a slider, so a front
        end shows output of the callback only in its own log.
        """
        header = self._now()
        return header if header.get("msg_type") == "execute_request" else None

    def is_alone(self, job: Job) -> bool:
        """Whether the cell that launches `job` now consists only of the job's code."""
        if job.cell is None:
            return False
        text = self._shell.history_manager.input_hist_raw[-1].strip()
        return text.startswith("%%bg") or (text.startswith("%bg ") and "\n" not in text)
