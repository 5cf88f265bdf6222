"""The magics: parse the line, call the manager, print.

Each message is one plain line. A mistake of the user's raises `UsageError`, which IPython
shows as one line; then nothing else has happened.
"""

from __future__ import annotations

import argparse
import contextlib
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from IPython.core.error import UsageError
from IPython.core.magic import (
    Magics,
    line_cell_magic,
    line_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)
from IPython.core.magic_arguments import argument, magic_arguments
from traitlets import Bool, Enum, Float, Int, default, observe

from .. import kill, output, panel
from ..base import stacks
from ..core import render
from ..core.job import Job
from ..core.manager import JobManager
from ..exceptions import JobError
from . import options
from .bg_options import bg_options
from .completion import Completion
from .launcher import Launcher

__all__ = ["BackgroundMagics"]

_Error = TypeVar("_Error", bound=BaseException)

# Seconds that %bgstop and %bginterrupt wait, so that they can say how a job ended.
_STOP_WAIT = 0.3
_RECENT = 10  # finished jobs that %bgjobs shows without -a
_LOG_LINES = 100
_LOG_CHARACTERS = 200_000  # how many %bglog shows at most, but always the last line


@magics_class
class BackgroundMagics(Magics):
    """Cells that run in the background, and what to do with them."""

    wait = Bool(
        False,
        help="Let every %%bg wait for its job, as --wait does: for runs without a person, "
        "such as nbconvert and papermill.",
    ).tag(config=True)
    max_running = Int(
        0,
        min=0,
        help="How many jobs may run at once; later ones wait. One that waits for another job does "
        "not count. 0: any number.",
    ).tag(config=True)
    grace = Float(
        5.0, min=0, help="Seconds from the Stop of a job that is past its deadline to its Kill."
    ).tag(config=True)
    process_grace = Float(
        3.0, min=0, help="Seconds from SIGTERM to SIGKILL for the processes of a killed job."
    ).tag(config=True)
    offer = Float(
        3.0,
        min=0,
        help="Seconds that an ordinary cell has run when a card below it offers to continue it in "
        "the background. 0: never; the panel offers it all the same.",
    ).tag(config=True)

    max_lines = Int(
        400,
        min=0,
        help="Lines of a flood of output that a cell shows before it points to the log; one line a "
        "second is never cut. 0: as many as a page bears.",
    ).tag(config=True)

    kill_level = Enum(
        kill.LEVELS,
        help="How a Kill reaches a thread. full: all that works here; public: nothing that is "
        "private to CPython, so that a call that waits ends by itself before its job dies; plain: "
        "only PyThreadState_SetAsyncExc, which can leave locks held and cleanup undone.",
    ).tag(config=True)

    def __init__(self, shell: Any, manager: JobManager) -> None:
        super().__init__(shell)
        self._manager = manager
        self.completion = Completion(self, manager)
        self._launcher = Launcher(shell, manager)
        self._configure()

    @default("kill_level")
    def _kill_level(self) -> str:
        return kill.level()

    @observe("max_running", "grace", "process_grace", "offer", "max_lines", "kill_level")
    def _configure(self, change: object = None) -> None:
        if hasattr(self, "_manager"):
            self._manager.max_running = self.max_running
            self._manager.grace = self.grace
            self._manager.process_grace = self.process_grace
            kill.use(self.kill_level)
            self._manager.offer = self.offer
            output.set_lines(self.max_lines)

    # Starting

    @no_var_expand  # the options expand variables themselves; what follows them is code
    @needs_local_scope
    @magic_arguments()
    @bg_options
    @line_cell_magic
    def bg(
        self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] = MappingProxyType({})
    ) -> Job | None:
        """Run the cell (%%bg) or the statement (%bg) in the background.

        It shares the namespace with the other cells. What it prints appears below this
        cell, errors too; later cells run meanwhile. Ends by itself, with %bgstop or with
        %bgkill.

            %%bg -n train -t 2h
            model.fit(data)
        """
        namespace = ChainMap(dict(local_ns), self.shell.user_ns)
        if cell is None:
            args, source = options.split(self.bg, line, namespace)
            how = "%bg needs a statement: %bg train(model); a whole cell takes %%bg"
        else:
            args, source = options.parse(self.bg, line, "%%bg", namespace), cell
            how = "the cell is empty; write its code below the line with %%bg"
        if not source.strip():
            raise UsageError(how)
        if args.name is not None and not args.name.strip():
            raise UsageError("%%bg: the name after -n is empty; write one, or leave -n out")
        wait = args.wait or self.wait
        job = self._launcher.launch(
            args, source, line=line, whole=cell is not None, report=not wait
        )
        if wait:
            self._await_result(job)
        return None if args.quiet else job

    def _await_result(self, job: Job) -> None:
        """Wait for `job`, and raise its error."""
        try:
            error = job.exception()
        except KeyboardInterrupt as interrupt:
            raise self._interrupted(interrupt, [job]) from None
        if error is not None:
            raise _shown_as(error, output.format_error(self.shell, error))

    # Ending

    @magic_arguments()
    @options.SPECS
    @argument("--all", action="store_true", help="all jobs that are not over")
    @line_magic
    def bgstop(self, line: str) -> None:
        """Ask jobs to stop. Their code has to look: ipykill.checkpoint(), stop_requested()."""
        args = options.parse(self.bgstop, line)
        jobs = self._to_end(args)
        over = {
            job: f"; %bgkill {job.id} ends what it has left running" if _has_left(job) else ""
            for job in jobs
            if job.done()
        }
        with _telling(jobs):
            for job in jobs:
                job.stop()
            self._manager.wait(jobs, _STOP_WAIT)
        self._tell(jobs, over)

    @magic_arguments()
    @options.SPECS
    @argument("--all", action="store_true", help="all jobs that are not over")
    @line_magic
    def bginterrupt(self, line: str) -> None:
        """Raise KeyboardInterrupt in jobs, once, as the kernel's interrupt does in a cell.

        The code may catch it, and keep what it has reached; else the job ends as stopped.
        """
        args = options.parse(self.bginterrupt, line)
        jobs = self._to_end(args)
        over = [job for job in jobs if job.done()]
        with _telling(jobs):
            for job in jobs:
                job.interrupt()
            self._manager.wait(jobs, _STOP_WAIT)
        for job in jobs:
            effect = "not interrupted yet" if job.interrupt_pending else "interrupted, and goes on"
            then = "" if job.done() else f"; {effect}"
            print(render.sentence(job.info(), already=job in over) + then)

    @magic_arguments()
    @options.SPECS
    @argument("--all", action="store_true", help="all jobs, and what finished jobs have left")
    @argument(
        "-w",
        "--wait",
        type=options.seconds,
        default=2.0,
        metavar="SECONDS",
        help="how long to wait for the end; 2 by default, the Kill goes on after that",
    )
    @argument("--no-children", action="store_true", help="let the processes they started live on")
    @line_magic
    def bgkill(self, line: str) -> None:
        """Kill jobs: end their code wherever it is. Their finally: blocks run.

        The processes they started are ended with them: by SIGTERM, and after a while by
        SIGKILL. Of a job that is over, this ends what it has left running.
        """
        args = options.parse(self.bgkill, line)
        children = not args.no_children
        everything = args.all or args.specs == ["all"]
        jobs = (everything and self._manager.living()) or self._to_end(args)
        over = {
            job: "; what it had left running is being ended" if _has_left(job, children) else ""
            for job in jobs
            if job.done()
        }
        try:
            with _telling(jobs):
                self._manager.kill(jobs, children=children)
                self._manager.wait(jobs, args.wait)
        except KeyboardInterrupt as interrupt:
            raise self._interrupted(interrupt, jobs) from None
        self._tell(jobs, over)

    @magic_arguments()
    @options.SPECS
    @argument("-t", "--timeout", type=options.seconds, metavar="DURATION", help="wait no longer")
    @argument("--any", action="store_true", help="wait until one of them is over")
    @line_magic
    def bgwait(self, line: str) -> None:
        """Wait for jobs. A kernel interrupt ends the waiting, not the jobs."""
        args = options.parse(self.bgwait, line)
        jobs = self._chosen(args) if args.specs else self._manager.running()
        if not jobs:
            print("no job is running")
            return
        try:
            with _telling(jobs):
                self._manager.wait(jobs, args.timeout, any=args.any)
        except KeyboardInterrupt as interrupt:
            raise self._interrupted(interrupt, jobs) from None
        self._tell(jobs)

    def end_all(self, reason: str) -> None:
        """End all jobs, and print how they ended."""
        jobs = self._manager.running()
        with _telling(jobs):
            self._manager.end_all(reason=reason)
        self._tell(jobs)

    # Looking

    @magic_arguments()
    @argument("-a", "--all", action="store_true", help="all finished jobs, not only the last ten")
    @argument(
        "-l", "--long", action="store_true", help="cell, last output, threads and processes too"
    )
    @line_magic
    def bgjobs(self, line: str) -> None:
        """List the jobs."""
        args = options.parse(self.bgjobs, line)
        infos = self._manager.snapshot()
        over = [info for info in infos if info.state.final]
        hidden = 0 if args.all else max(len(over) - _RECENT, 0)
        left_out = {info.id for info in over[:hidden]}
        shown = [info for info in infos if info.id not in left_out]
        trees = {job.id: stacks.tree(job.where()) for job in self._manager} if args.long else {}
        print(render.table_text(shown, long=args.long, trees=trees))
        if hidden:
            print(f"({hidden} earlier finished jobs: %bgjobs -a)")

    @magic_arguments()
    @line_magic
    def bgpanel(self, line: str) -> None:
        """Show all jobs, live, with buttons that work while a cell runs."""
        options.parse(self.bgpanel, line)
        panel.show(self.shell, self._manager)

    @magic_arguments()
    @options.SPEC
    @argument(
        "-n",
        "--lines",
        type=options.lines,
        default=_LOG_LINES,
        help="how many lines; 100 by default",
    )
    @line_magic
    def bglog(self, line: str) -> None:
        """Print the end of what a job printed."""
        args = options.parse(self.bglog, line)
        for job in options.find(self._manager, args.specs):
            lines = job.log.tail()
            size, first = 0, len(lines)
            while first > max(len(lines) - args.lines, 0):
                size += len(lines[first - 1]) + 1
                if size > _LOG_CHARACTERS and first < len(lines):
                    break
                first -= 1
            if earlier := job.log.dropped + first:
                print(f"({earlier} earlier lines)")
            text = "\n".join(lines[first:])
            print(output.clean(text) or f"{render.named(job)} has printed nothing")

    @magic_arguments()
    @options.SPECS
    @line_magic
    def bgwhere(self, line: str) -> None:
        """Show where jobs are now: the stacks of all their threads, as far as they are yours.

        Of a job that was killed and lives, also what keeps it, and what ends that.
        """
        args = options.parse(self.bgwhere, line)
        for job in self._chosen(args) if args.specs else options.find(self._manager, "all"):
            print("\n".join([render.sentence(job.info()), *stacks.lines(job.where())]))

    @magic_arguments()
    @options.SPECS
    @argument("--all", action="store_true", help="all finished jobs, as without any SPEC")
    @line_magic
    def bgclear(self, line: str) -> None:
        """Forget finished jobs, all or those that are named."""
        args = options.parse(self.bgclear, line)
        jobs = self._chosen(args) if args.specs and not args.all else None
        try:
            cleared = self._manager.clear(jobs)
        except JobError as error:
            raise UsageError(str(error)) from None
        print(f"{len(cleared)} finished job{'' if len(cleared) == 1 else 's'} forgotten")
        for job in self._manager if jobs is None else ():
            if job.done():
                print(f"{render.sentence(job.info())}; %bgkill {job.id} ends that")

    # Shared

    def _chosen(self, args: argparse.Namespace) -> list[Job]:
        """Return the jobs that the SPECs mean, each once."""
        specs = args.specs
        if getattr(args, "all", False):
            specs = ["all"]
        return list(
            dict.fromkeys(
                job for spec in specs or [""] for job in options.find(self._manager, spec)
            )
        )

    def _to_end(self, args: argparse.Namespace) -> list[Job]:
        """Return the jobs that the SPECs mean; without any, the newest that can be ended."""
        if args.specs or args.all:
            return self._chosen(args)
        left = [] if self._manager.running() else [job for job in self._manager if _has_left(job)]
        return (left or options.find(self._manager, "all"))[-1:]

    def _tell(self, jobs: Iterable[Job], over: Mapping[Job, str] = MappingProxyType({})) -> None:
        """Print a line about each job; `over` has those that were over before, with more text."""
        for job in jobs:
            print(render.sentence(job.info(), already=job in over) + over.get(job, ""))

    def _interrupted(self, error: KeyboardInterrupt, jobs: Iterable[Job]) -> KeyboardInterrupt:
        lines = [render.sentence(job.info()) for job in jobs]
        lines.append("KeyboardInterrupt: the waiting was interrupted, the jobs were not")
        return _shown_as(error, lines)


def _has_left(job: Job, processes: bool = True) -> bool:
    """Whether a finished job has left threads, or processes, running."""
    return bool(job.left_threads()) or (processes and any(it.running for it in job.processes))


@contextlib.contextmanager
def _telling(jobs: Iterable[Job]) -> Iterator[None]:
    """Keep jobs that end in this block from printing how; the caller prints it afterwards."""
    jobs = [job for job in jobs if not job.done()]
    for job in jobs:
        job.is_told = True
    try:
        yield
    finally:
        for job in jobs:  # before the caller prints: one that ends just then may be told twice
            job.is_told = False


def _shown_as(error: _Error, lines: list[str]) -> _Error:
    """Make IPython show `lines` for `error`, instead of a traceback through ipykill."""
    error._render_traceback_ = lambda: lines  # type: ignore[attr-defined]
    return error
