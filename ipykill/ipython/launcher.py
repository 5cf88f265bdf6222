"""What ``%%bg`` does when its line is understood: make room, warn, compile, launch."""

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

_REPLACE_WAIT = 10.0  # seconds that --replace gives the earlier job to end
_NAMES = 5  # variables that are listed


def refuse_below(lines: list[str]) -> list[str]:
    """Refuse ``%%bg`` below the first line of a cell; a transformer for the shell's list.

    IPython takes it for a line magic called ``%bg`` there, and would run the lines above it
    before it says that there is none.
    """
    if any(line.lstrip().startswith("get_ipython().run_line_magic('%bg',") for line in lines):
        raise UsageError(
            "%%bg works on the first line of a cell only, above comments too: move it there; "
            "nothing of this cell has run"
        )
    return lines


@dataclass(frozen=True)
class _Cell:
    """The cell that is being launched; `source` is empty for a statement of ``%bg``."""

    number: int
    origin: str
    source: str
    name: str

    def started(self, job: Job) -> bool:
        """Whether this cell started `job`, in an earlier run.

        Not what a loop in this run has just started. Where the front end does not tell which
        cell it is, and so there is no `origin`, the same text under the same name is the same.
        """
        if job.cell == self.number:
            return False
        if self.origin:
            return job.origin == self.origin
        return bool(self.source) and (job.source, job.name) == (self.source, self.name)


class Launcher:
    """Launches cells and statements as jobs; for the thread that runs a cell."""

    def __init__(self, shell: Any, manager: JobManager) -> None:
        self._shell = shell
        self._manager = manager
        self._told: set[frozenset[str]] = set()  # pairs of cells

    def launch(
        self, args: argparse.Namespace, source: str, *, line: str, whole: bool, report: bool
    ) -> Job:
        """Launch `source`.

        Parameters
        ----------
        args
            The options of ``%%bg``.
        line
            The line of the magic as it was written.
        whole
            Whether `source` is a cell, and not the statement of ``%bg``.
        report
            See `Job`.

        Raises
        ------
        UsageError
            It cannot be launched as the options say; nothing has happened then.
        """
        after = [job for spec in args.after for job in options.find(self._manager, spec)]
        call = cells.compile_cell(self._shell, source, whole=whole, variable=args.out)
        if args.private:
            self._own_names(source, call, args.on)  # or refuse now
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
            if args.on:  # a later start packs in the job's own thread, and so does one more
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
                report=report or show is not None,  # nobody waits any more
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
        from ..remote.launch import cell_call  # not before somebody asks for it

        place = on if on == "process" else self._shell.user_ns.get(on, on)
        try:
            return cell_call(self._shell, cell, place, name=name, number=number, later=later)
        except JobError as error:
            raise UsageError(str(error)) from None

    def _earlier(self, cell: _Cell, *, named: bool) -> dict[Job, str]:
        """Return the running jobs whose place the new one takes, and why.

        Those are the jobs that this cell started in an earlier run, and those with its name
        if the user has `named` it.
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
        """Whether the cell that runs is nothing but this line of %bg, whose job it shows."""
        text: str = self._shell.history_manager.input_hist_parsed[-1]
        return text.strip() == f"get_ipython().run_line_magic('bg', {line!r})"

    def _origin(self) -> str:
        """Return what the front end says of the identity of the cell that is running."""
        try:
            metadata = self._shell.get_parent().get("metadata", {})
        except AttributeError:  # not in a kernel
            return ""
        return str(metadata.get("cellId", ""))

    def _refuse_shared_file(self, log: Path | None, *, tell: bool = True) -> None:
        """Refuse to mix what two jobs print, and say what a file has from before."""
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
        """Say which variables other jobs assign as well; once for two cells."""
        names = assigned(codes)
        for job in others:
            both = sorted(names & assigned(job.codes))
            pair = frozenset((cell, job.origin or job.source))
            if both and pair not in self._told:
                self._told.add(pair)
                listed = ", ".join(both[:_NAMES]) + (", ..." if len(both) > _NAMES else "")
                print(
                    f"{render.named(job)}, which still runs, assigns {listed} as well: each of "
                    "the two changes what the other works with; %%bg --private keeps the names of "
                    "a job its own"
                )
