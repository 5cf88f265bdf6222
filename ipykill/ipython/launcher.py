"""What ``%%bg`` does after its line is parsed: compile, end earlier jobs, warn, launch."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from IPython.core.error import UsageError

from .. import panel
from ..base.names import assigned
from ..base.title import title
from ..cells import cell as cells
from ..core import render
from ..core.job import Job
from ..core.manager import JobManager
from ..core.private import Private, refusal
from ..exceptions import JobError
from . import options
from .again import Again

__all__ = ["Launcher", "refuse_below"]

_REPLACE_WAIT = 10.0  # seconds that the earlier job has to end after --replace
_NAMES = 5  # how many variables are listed


def refuse_below(lines: list[str]) -> list[str]:
    """Refuse ``%%bg`` below the first line of a cell; one of the shell's input transformers.

    There IPython takes it for a line magic called ``%bg``, and would run the lines above it
    before it says that there is no such magic.
    """
    for line in lines:
        if "'%bg'," in line and line.lstrip().startswith("get_ipython().run_line_magic('%bg',"):
            raise UsageError(
                "%%bg works on the first line of a cell only, above comments too: move it there; "
                "nothing of this cell has run"
            )
    return lines


@dataclass(frozen=True)
class _Cell:
    """The cell that is launching a job; `source` is empty for a statement of ``%bg``."""

    number: int
    origin: str
    source: str
    name: str

    def started(self, job: Job) -> bool:
        """Whether this cell started `job` in an earlier run.

        Jobs that a loop in the present run has just started do not count. If the front end does not
        identify its cells, so that there is no `origin`, a cell with the same text and the same
        job name counts as the same.
        """
        if job.cell == self.number:
            return False
        if self.origin:
            return job.origin == self.origin
        return bool(self.source) and (job.source, job.name) == (self.source, self.name)


class Launcher:
    """Launches cells and statements as jobs; only for the thread that runs cells."""

    def __init__(self, shell: Any, manager: JobManager) -> None:
        self._shell = shell
        self._manager = manager
        self._told: set[frozenset[str]] = set()  # pairs of cells that `_tell_races` named

    def launch(
        self, args: argparse.Namespace, source: str, *, line: str, whole: bool, report: bool
    ) -> Job:
        """Launch `source` as a job.

        Parameters
        ----------
        args
            The options of ``%%bg``.
        line
            The line of the magic as it was written.
        whole
            Whether `source` is a cell; if not, it is the statement of ``%bg``.
        report
            See `Job`.

        Raises
        ------
        UsageError
            It cannot be launched as the options say, and was not.
        """
        after = [job for spec in args.after for job in options.find(self._manager, spec)]
        call = cells.compile_cell(self._shell, source, whole=whole, variable=args.out)
        if args.private:
            self._own_names(source, call, args.on)  # refuses here if it is not possible
        name = render.one_line(args.name or title(source) or "cell")
        origin = self._origin() if whole else ""
        cell = _Cell(cells.cell_number(self._shell), origin, source if whole else "", name)
        earlier = self._earlier(cell, named=args.name is not None)
        if args.replace:
            self._replace(earlier, after)
        else:
            self._tell_earlier(earlier, "%%bg" if whole else "%bg")
        self._refuse_shared_file(args.log)
        told = () if args.replace else earlier
        if not args.private:
            others = [it for it in self._manager.running() if it not in told and not it.private]
            self._tell_races(call.codes, origin or source, others)
        for job in self._manager:
            if job.done() and cell.started(job):
                job.forget("its cell was run again")
        card = (whole or self._is_whole_cell(line)) and not args.quiet

        def launch(after: Sequence[Job], show: Callable[[Job], None] | None) -> Job:
            code = call
            names = self._own_names(source, call, args.on) if args.private else None
            if names is not None:
                code = names.within(call)
            run: Callable[[], object] = code
            if args.on:  # if it starts later, or again, the job's own thread copies the variables
                later = show is not None or any(not job.done() for job in after)
                run = self._elsewhere(args.on, code, name, cell.number, later)
            if show is not None:
                self._refuse_shared_file(args.log, tell=False)

            def present(job: Job) -> None:
                job.private = names
                job.again = Again(self._manager, launch, job, after)
                if show is not None:
                    show(job)
                elif card:
                    panel.present(self._shell, self._manager, job)

            return self._manager.launch(
                run,
                name=name,
                source=source,
                cell=cell.number,
                origin=origin,
                timeout=args.timeout,
                after=after,
                log=args.log,
                report=report or show is not None,  # when run again, no magic waits for it
                codes=code.codes,
                present=present,
            )

        return launch(after, None)

    def _own_names(self, source: str, cell: cells.Cell, on: str | None) -> Private:
        why = "a job in another process has copies of the names" if on else ""
        if why := why or refusal(source, cell.codes):
            raise UsageError(f"not started: {why}, or leave --private out")
        return Private(self._shell.user_ns, cell.codes)

    def _elsewhere(
        self, on: str, cell: cells.Cell, name: str, number: int, later: bool
    ) -> Callable[[], object]:
        from ..remote.launch import cell_call  # imported only if it is needed

        place = on if on == "process" else self._shell.user_ns.get(on, on)
        try:
            return cell_call(self._shell, cell, place, name=name, number=number, later=later)
        except JobError as error:
            raise UsageError(str(error)) from None

    def _earlier(self, cell: _Cell, *, named: bool) -> dict[Job, str]:
        """Return the running jobs that ``--replace`` would end, each with the reason.

        Those are the jobs that this cell started in an earlier run, and, if the user has `named`
        the new job, those with the same name.
        """
        found: dict[Job, str] = {}
        for job in self._manager.running():
            if named and job.name == cell.name:
                found[job] = "which has the same name"
            elif cell.started(job):
                found[job] = "which this cell started before"
        return found

    def _tell_earlier(self, earlier: dict[Job, str], command: str) -> None:
        for job, why in earlier.items():
            print(
                f"{render.named(job)}, {why}, runs on beside the new one; %bgkill {job.id} ends "
                f"it, {command} --replace does so next time"
            )

    def _replace(self, earlier: dict[Job, str], after: Sequence[Job]) -> None:
        for job in earlier:
            for first in after:
                if way := first.way_to(job):
                    told = "".join(f"{render.named(it)}, which waits for " for it in way[:-1])
                    raise UsageError(
                        f"nothing ended or started: this would wait for {told}{render.named(job)}, "
                        "which --replace ends"
                    )
        for job in earlier:
            if not job.kill(_REPLACE_WAIT, reason="replaced"):
                raise UsageError(f"not started: {render.sentence(job.info())}")

    def _is_whole_cell(self, line: str) -> bool:
        """Whether the running cell consists only of this line of ``%bg``."""
        text: str = self._shell.history_manager.input_hist_parsed[-1]
        return text.strip() == f"get_ipython().run_line_magic('bg', {line!r})"

    def _origin(self) -> str:
        """Return the id that the front end gives the running cell, empty if it gives none."""
        try:
            metadata = self._shell.get_parent().get("metadata", {})
        except AttributeError:  # not in a kernel
            return ""
        return str(metadata.get("cellId", ""))

    def _refuse_shared_file(self, log: Path | None, *, tell: bool = True) -> None:
        """Refuse a log file that a running job writes to; say if the file has text already."""
        for job in self._manager.running():
            if log is not None and log.is_file() and job.log.path == log.resolve():
                whose = f"{render.named(job)} still writes to {str(log)!r}"
                raise UsageError(f"not started: {whose}; name another file")
        if tell and log is not None and log.is_file() and (size := log.stat().st_size):
            print(
                f"{str(log)!r} has {size:,} bytes from before; what this job prints is added at "
                "its end. To begin anew, delete it or name another file"
            )

    def _tell_races(self, codes: Sequence[CodeType], cell: str, others: list[Job]) -> None:
        """Say which variables other jobs assign as well, once for each pair of cells."""
        names = assigned(codes)
        clashes: dict[Job, frozenset[str]] = {}
        for job in others:
            both = names & assigned(job.codes)
            pair = frozenset((cell, job.origin or job.source))
            if both and pair not in self._told:
                self._told.add(pair)
                clashes[job] = both
        if not clashes:
            return
        jobs = _listed([render.named(job) for job in clashes])
        listed = _listed(sorted(frozenset().union(*clashes.values())))
        s = "s" if len(clashes) == 1 else ""
        print(
            f"{jobs}, which still run{s}, assign{s} {listed} as well: each changes what the other "
            "works with; %%bg --private keeps the names of a job its own"
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_NAMES]) + (", ..." if len(names) > _NAMES else "")
