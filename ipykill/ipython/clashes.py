"""A cell in the foreground that assigns a variable which a running job assigns as well.

``for i in ...`` here and there, and each destroys what the other works with. That is told in the
card of the job, once for each variable, and not in the way of whoever is at work in the cell.
"""

from __future__ import annotations

import ast
import logging
import weakref
from typing import Any

from ..base.names import assigned
from ..cells.cell import cell_number
from ..core.current import current_job
from ..core.job import Job
from ..core.manager import JobManager

__all__ = ["Clashes"]

_NAMES = 5  # variables that are told of one job

_logger = logging.getLogger("ipykill")


class Clashes:
    """Among the shell's transformers of syntax trees: sees each cell before it runs.

    Also what ``%time`` and its like are about to run. It changes nothing.
    """

    def __init__(self, shell: Any, manager: JobManager) -> None:
        self._shell = shell
        self._manager = manager
        self._assigned: weakref.WeakKeyDictionary[Job, frozenset[str]] = weakref.WeakKeyDictionary()

    def visit(self, tree: ast.Module) -> ast.Module:
        """Look at the names that `tree` assigns, if somebody else may assign them meanwhile."""
        here = current_job() is None and not hasattr(tree, "of_job")
        jobs = self._manager.running() if here else []
        if jobs := [job for job in jobs if not (job.private or job.elsewhere)]:
            try:
                self._compare(tree, jobs)
            except (SyntaxError, ValueError, RecursionError):  # which the shell shows
                pass
            except Exception:  # the shell would run this no more, and say so
                _logger.exception("the variables of a cell are not known")
        return tree

    def _compare(self, tree: ast.Module, jobs: list[Job]) -> None:
        flags = self._shell.compile.flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        names = assigned([compile(tree, "<cell>", "exec", flags, dont_inherit=True)])
        number = cell_number(self._shell)
        for job in jobs:
            if job not in self._assigned:
                self._assigned[job] = assigned(job.codes)
            if job.cell == number:  # the cell that is launching it
                continue
            for name in sorted(names & self._assigned[job]):
                if len(job.clashes) < _NAMES:
                    job.clashes.setdefault(name, number)
