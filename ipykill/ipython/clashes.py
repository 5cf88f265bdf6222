"""Finds cells in the foreground that assign a variable which a running job assigns as well.

If both have a ``for i in ...``, each changes the variable with which the other works. The card of
the job tells this, once for each variable; the cell itself is not disturbed.
"""

from __future__ import annotations

import ast
import logging
import weakref
from types import CodeType
from typing import Any

from ..base.names import assigned
from ..cells.cell import cell_number
from ..core.current import current_job
from ..core.job import Job
from ..core.manager import JobManager

__all__ = ["install", "uninstall"]

_NAMES = 5  # how many variables of one job are told

_logger = logging.getLogger("ipykill")


class Clashes:
    """An AST transformer of the shell: sees a cell before it runs, and changes nothing.

    It also sees code that ``%time`` and similar magics are about to run.
    """

    def __init__(self, shell: Any, manager: JobManager) -> None:
        self._shell = shell
        self._manager = manager
        self._assigned: weakref.WeakKeyDictionary[Job, frozenset[str]] = weakref.WeakKeyDictionary()
        self._looks = False  # whether it was added to the shell's transformers

    def watch(self, info: object = None) -> None:
        """Look at the cell that begins now if a job runs, else leave it alone.

        As long as there is a transformer, IPython goes through the tree of each cell once more.
        """
        # Of the transformers, a trait, nothing is asked for cells that no job runs beside.
        if self._manager and self._manager.running():
            self._looks = True
            if self not in self._shell.ast_transformers:
                self._shell.ast_transformers.append(self)
        elif self._looks:
            self.leave()

    def leave(self) -> None:
        """Look at no cell any more."""
        self._looks = False
        if self in self._shell.ast_transformers:
            self._shell.ast_transformers.remove(self)

    def visit(self, tree: ast.Module) -> ast.Module:
        """Note the names that `tree` assigns and that running jobs may assign as well."""
        here = current_job() is None and not hasattr(tree, "of_job")
        jobs = self._manager.running() if here else []
        if jobs := [job for job in jobs if not (job.private or job.elsewhere)]:
            try:
                self._compare(tree, jobs)
            except (SyntaxError, ValueError, RecursionError):  # the shell will show this
                pass
            except Exception:  # else the shell would remove this transformer, with a warning
                _logger.exception("the variables of a cell are not known")
        return tree

    def _compare(self, tree: ast.Module, jobs: list[Job]) -> None:
        flags = self._shell.compile.flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        names = assigned([compile(tree, "<cell>", "exec", flags, dont_inherit=True)])
        if not names:
            return
        number = cell_number(self._shell)
        known: dict[tuple[CodeType, ...], frozenset[str]] = {}  # hundreds of jobs may run one code
        for job in jobs:
            if job not in self._assigned:
                codes = tuple(job.codes)
                if codes not in known:
                    known[codes] = assigned(codes)
                self._assigned[job] = known[codes]
            if job.cell == number:  # this cell is launching the job
                continue
            for name in sorted(names & self._assigned[job]):
                if len(job.clashes) < _NAMES:
                    job.clashes.setdefault(name, number)


def install(shell: Any, manager: JobManager) -> None:
    """Begin to look at cells that run while jobs run."""
    shell.events.register("pre_run_cell", Clashes(shell, manager).watch)


def uninstall(shell: Any) -> None:
    """Undo `install`."""
    for watch in list(shell.events.callbacks["pre_run_cell"]):
        clashes = getattr(watch, "__self__", None)
        if isinstance(clashes, Clashes):
            shell.events.unregister("pre_run_cell", watch)
            clashes.leave()
