"""The magics: parse, call the manager, print.

Each message is one plain line. What the user got wrong ends in a `UsageError`, which
IPython shows as one line, and nothing has happened then.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import keyword
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, MappingProxyType
from typing import Any, TypeVar

from IPython.core.completer import SimpleCompletion, context_matcher
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments
from traitlets import Bool, Enum, Float, Int, default, observe

from . import cell as cells
from . import kill, output, panel, render
from .exceptions import JobError
from .job import Job
from .manager import JobManager
from .names import assigned

__all__ = ["BackgroundMagics"]

_Error = TypeVar("_Error", bound=BaseException)

_STOP_WAIT = 0.3  # seconds that %bgstop waits, to tell of a job that stops at once
_REPLACE_WAIT = 10.0  # seconds that --replace gives the earlier job to end
_RECENT = 10  # finished jobs that %bgjobs shows without -a
_LOG_LINES = 100
_LOG_CHARACTERS = 200_000  # that %bglog shows at once, with the last line if that is longer
_NAMES = 5  # variables that are listed


def _duration(text: str) -> float:
    try:
        return render.parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    return 0.0 if text.strip() in ("0", "0s") else _duration(text)


def _variable(text: str) -> str:
    if not text.isidentifier() or keyword.iskeyword(text):
        msg = f"{text!r} is not the name of a variable"
        raise argparse.ArgumentTypeError(msg)
    return text


def _file(text: str) -> Path:
    path = Path(text).expanduser()
    try:
        path.open("a").close()
    except OSError as error:
        msg = f"cannot write {text!r}: {error.strerror}"
        raise argparse.ArgumentTypeError(msg) from None
    return path


def _lines(text: str) -> int:
    if not text.isdecimal() or not int(text):
        msg = f"{text!r} is not a number of lines"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


_specs = argument(
    "specs",
    nargs="*",
    metavar="SPEC",
    help="a job: 3 or %%3, a name or the beginning of one, ?text in its source, %%+ the "
    "newest that runs, %%- the one before, all; without any, the newest that runs",
)
_spec = argument("specs", nargs="?", metavar="SPEC", default="", help="a job, as for %%bgkill")


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
        3.0,
        min=0,
        help="Seconds from SIGTERM to SIGKILL for the processes of a killed job.",
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
        self._told: set[frozenset[str]] = set()  # pairs of cells
        self._configure()

    @default("kill_level")
    def _kill_level(self) -> str:
        return kill.level()

    @observe("max_running", "grace", "process_grace", "kill_level")
    def _configure(self, change: object = None) -> None:
        if hasattr(self, "_manager"):
            self._manager.max_running = self.max_running
            self._manager.grace = self.grace
            self._manager.process_grace = self.process_grace
            kill.use(self.kill_level)

    # Starting

    @no_var_expand
    @magic_arguments()
    @argument("-n", "--name", help="what the job is called; its first line by default")
    @argument(
        "-t",
        "--timeout",
        type=_duration,
        metavar="DURATION",
        help="stop the job after 90, 30s, 10m, 1h30m, and kill it if it does not end",
    )
    @argument(
        "--after",
        nargs="+",
        action="extend",
        default=[],
        metavar="SPEC",
        help="start when these jobs are done; skip if one of them fails (%%bg: one SPEC each)",
    )
    @argument("--replace", action="store_true", help="end the job that this cell started before")
    @argument("-o", "--out", type=_variable, metavar="VAR", help="a variable for the cell's value")
    @argument("--wait", action="store_true", help="wait here for the end; an error fails the cell")
    @argument(
        "--log",
        type=_file,
        metavar="FILE",
        help="write all that the job prints to a file as well",
    )
    @argument("-q", "--quiet", action="store_true", help="do not return the job")
    @line_cell_magic
    def bg(self, line: str, cell: str | None = None) -> Job | None:
        """Run the cell (%%bg) or the statement (%bg) in the background.

        It shares the namespace with the other cells. What it prints appears below this
        cell, errors too; later cells run meanwhile. Ends by itself, with %bgstop or with
        %bgkill.

            %%bg -n train -t 2h
            model.fit(data)
        """
        if cell is None:
            args, source = self._split(line)
            how = "%bg needs a statement: %bg train(model)"
        else:
            args, source = self._parse(self.bg, line, "%%bg"), cell
            how = "the cell is empty; write its code below the line with %%bg"
        if not source.strip():
            raise UsageError(how)
        if args.name is not None and not args.name.strip():
            raise UsageError("%%bg: a name may not be empty")
        after = [job for spec in args.after for job in self._find(spec)]
        whole = cell is not None
        call = cells.compile_cell(self.shell, source, whole=whole, variable=args.out)
        origin = self._origin() if whole else ""
        told = self._make_room(args, origin, source if whole else "", after)
        self._refuse_shared_file(args.log)
        others = [job for job in self._manager.running() if job not in told]
        self._tell_races(call.codes, origin or source, others)
        wait = args.wait or self.wait
        card = (whole or self._is_whole_cell(line)) and not args.quiet
        job = self._manager.launch(
            call,
            name=args.name or cells.title(source) or "cell",
            source=source,
            cell=cells.cell_number(self.shell),
            origin=origin,
            timeout=args.timeout,
            after=after,
            log=args.log,
            report=not wait,
            codes=call.codes,
            present=self._present if card else None,
        )
        if wait:
            self._await_result(job)
        return None if args.quiet else job

    def _split(self, line: str) -> tuple[argparse.Namespace, str]:
        """Split the line of %bg into its options and the statement, which is left as it is."""
        parser = self.bg.parser
        takes_value = {
            option
            for action in parser._actions
            for option in action.option_strings
            if action.nargs != 0
        }
        stream = io.StringIO(line)
        words = shlex.shlex(stream, posix=True)
        words.whitespace_split = True
        words.commenters = ""
        options: list[str] = []
        start = 0
        try:
            while line[start:].lstrip().startswith("-"):
                word = words.get_token() or ""
                start = stream.tell()
                if word == "--":
                    break
                options.append(word)
                if word in takes_value and (value := words.get_token()) is not None:
                    options.append(value)
                    start = stream.tell()
        except ValueError as error:
            raise UsageError(f"%bg: {error}") from None
        return self._arguments(self.bg, options, "%bg"), line[start:].strip()

    def _is_whole_cell(self, line: str) -> bool:
        """Whether the cell that runs is nothing but this line of %bg, whose job it shows."""
        text: str = self.shell.history_manager.input_hist_parsed[-1]
        return text.strip() == f"get_ipython().run_line_magic('bg', {line!r})"

    def _origin(self) -> str:
        """Return what the front end says of the identity of the cell that is running."""
        try:
            metadata = self.shell.get_parent().get("metadata", {})
        except AttributeError:  # not in a kernel
            return ""
        return str(metadata.get("cellId", ""))

    def _make_room(
        self, args: argparse.Namespace, origin: str, source: str, after: Sequence[Job]
    ) -> list[Job]:
        """Deal with jobs that this cell, or a cell with this name, started before.

        Returns
        -------
        list of Job
            Those that run on, as was told.
        """
        earlier: dict[Job, str] = {}
        for job in self._manager.running():
            # Where the front end does not tell which cell it is, the same text is the same.
            if job.origin == origin if origin else source and job.source == source:
                earlier[job] = "which this cell started before"
            elif args.name and job.name == args.name:
                earlier[job] = "which has the same name"
        if not args.replace:
            for job, why in earlier.items():
                print(
                    f"{_name(job)}, {why}, runs on beside the new one; %bgkill {job.id} ends it, "
                    f"{'%%bg' if source else '%bg'} --replace does so next time"
                )
            return list(earlier)
        for job in earlier:
            for first in after:
                if way := first.way_to(job):
                    told = "".join(f"{_name(it)}, which waits for " for it in way[:-1])
                    raise UsageError(
                        f"nothing ended or started: this would wait for {told}{_name(job)}, which "
                        "--replace ends"
                    )
        for job in earlier:
            if not job.kill(_REPLACE_WAIT, reason="replaced"):
                raise UsageError(f"not started: {render.sentence(job.info())}")
        return []

    def _refuse_shared_file(self, log: Path | None) -> None:
        """Refuse to empty a file that a job is writing."""
        for job in self._manager.running():
            if log is not None and log.is_file() and job.log.path == log.resolve():
                msg = f"not started: {_name(job)} still writes to {str(log)!r}; name another file"
                raise UsageError(msg)

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
                    f"{_name(job)}, which still runs, assigns {listed} as well: each of the two "
                    "changes what the other works with"
                )

    def _present(self, job: Job) -> None:
        panel.present(self.shell, self._manager, job)

    def _await_result(self, job: Job) -> None:
        """Wait for `job` in its own cell, and fail as it failed."""
        try:
            error = job.exception()
        except KeyboardInterrupt as interrupt:
            raise self._interrupted(interrupt, [job]) from None
        if error is not None:
            raise _shown_as(error, output.format_error(self.shell, error))

    # Ending

    @magic_arguments()
    @_specs
    @argument("--all", action="store_true", help="all jobs that are not over")
    @line_magic
    def bgstop(self, line: str) -> None:
        """Ask jobs to stop. Their code has to look: ipykill.checkpoint(), stop_requested()."""
        args = self._parse(self.bgstop, line)
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
    @_specs
    @argument("--all", action="store_true", help="all jobs that are not over")
    @argument(
        "-w",
        "--wait",
        type=_seconds,
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
        args = self._parse(self.bgkill, line)
        jobs, children = self._to_end(args), not args.no_children
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
    @_specs
    @argument("-t", "--timeout", type=_seconds, metavar="DURATION", help="wait no longer")
    @argument("--any", action="store_true", help="wait until one of them is over")
    @line_magic
    def bgwait(self, line: str) -> None:
        """Wait for jobs. A kernel interrupt ends the waiting, not the jobs."""
        args = self._parse(self.bgwait, line)
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
        """End all jobs, and tell how."""
        jobs = self._manager.running()
        with _telling(jobs):
            self._manager.end_all(reason=reason)
        self._tell(jobs)

    # Looking

    @magic_arguments()
    @argument("-a", "--all", action="store_true", help="all finished jobs too, not the last ten")
    @argument(
        "-l", "--long", action="store_true", help="cell, last output, threads, processes of each"
    )
    @line_magic
    def bgjobs(self, line: str) -> None:
        """List the jobs."""
        args = self._parse(self.bgjobs, line)
        infos = self._manager.snapshot()
        over = [info for info in infos if info.state.final]
        hidden = 0 if args.all else max(len(over) - _RECENT, 0)
        left_out = {info.id for info in over[:hidden]}
        shown = [info for info in infos if info.id not in left_out]
        trees = {job.id: render.tree(job.where()) for job in self._manager} if args.long else {}
        print(render.table_text(shown, long=args.long, trees=trees))
        if hidden:
            print(f"({hidden} earlier finished jobs: %bgjobs -a)")

    @magic_arguments()
    @line_magic
    def bgpanel(self, line: str) -> None:
        """Show all jobs, live, with buttons that work while a cell runs."""
        self._parse(self.bgpanel, line)
        panel.show(self.shell, self._manager)

    @magic_arguments()
    @_spec
    @argument(
        "-n", "--lines", type=_lines, default=_LOG_LINES, help="how many lines; 100 if not said"
    )
    @line_magic
    def bglog(self, line: str) -> None:
        """Print the end of what a job printed."""
        args = self._parse(self.bglog, line)
        for job in self._find(args.specs):
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
            print(output.clean(text) or f"{_name(job)} has printed nothing")

    @magic_arguments()
    @_specs
    @line_magic
    def bgwhere(self, line: str) -> None:
        """Show where jobs are now: the stacks of all their threads, as far as they are yours.

        Of a job that was killed and lives, also what keeps it, and what ends that.
        """
        args = self._parse(self.bgwhere, line)
        for job in self._chosen(args) if args.specs else self._find("all"):
            print("\n".join([render.sentence(job.info()), *render.stacks(job.where())]))

    @magic_arguments()
    @_specs
    @line_magic
    def bgclear(self, line: str) -> None:
        """Forget finished jobs, all or those that are named."""
        args = self._parse(self.bgclear, line)
        jobs = self._chosen(args) if args.specs else None
        try:
            cleared = self._manager.clear(jobs)
        except JobError as error:
            raise UsageError(str(error)) from None
        print(f"{len(cleared)} finished job{'' if len(cleared) == 1 else 's'} forgotten")

    # Completion

    @context_matcher(identifier="ipykill")
    def complete(self, context: Any) -> dict[str, Any]:
        """Return what the last word of a line with one of these magics may become.

        A matcher of IPython's completer. What others find there, Python's names above all, is
        left out when this finds something.
        """
        *words, last = re.split(r"\s+", context.text_until_cursor.lstrip())
        command, *before = words or [""]
        automagic = self.shell.magics_manager.auto_magic and command not in self.shell.user_ns
        if automagic and not command.startswith("%"):
            command = f"%{command}"
        known = command in ("%%bg", *(f"%{name}" for name in self.magics["line"]))
        found = self._candidates(command, before, last) if known else []
        return {
            "completions": [SimpleCompletion(it) for it in found if it.startswith(context.token)],
            "suppress": True,
            "ordered": True,
        }

    def _candidates(self, command: str, before: Sequence[str], last: str) -> list[str]:
        """Return options or SPECs, whichever may stand where the word `last` is."""
        actions = getattr(self, command.lstrip("%")).parser._actions
        options = {option: action for action in actions for option in action.option_strings}
        taker = None  # the option of which this is a value
        for word in before:
            if word in options:
                taker = word if options[word].nargs != 0 else None
            elif command == "%bg" and taker is None:
                return []  # in the statement
            elif taker is not None and (command == "%bg" or options[taker].nargs is None):
                taker = None
        if taker not in (None, "--after"):
            return []  # a file, a number, a name
        takes_specs = taker is not None or any(action.dest == "specs" for action in actions)
        if last.startswith("-") or not takes_specs:
            return [] if command == "%bg" and not last else list(options)
        over = command in ("%bglog", "%bgclear")
        found = [job for job in self._manager if over or not job.done()]
        # A name that has to be quoted is no help to type; its number is.
        names = [job.name for job in found if job.name == shlex.quote(job.name)]
        return [*dict.fromkeys(names), *(str(job.id) for job in found), "all"]

    # Shared

    def _parse(self, magic: Any, line: str, name: str = "") -> argparse.Namespace:
        name = name or f"%{magic.__name__}"
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise UsageError(f"{name}: {error}: {line.strip()}") from None
        return self._arguments(magic, words, name)

    def _arguments(self, magic: Any, words: list[str], name: str) -> argparse.Namespace:
        try:
            args: argparse.Namespace = magic.parser.parse_args(words)
        except UsageError as error:
            # Words that are no option: a name, most likely.
            named = name == "%%bg" and re.search(r"unrecognized arguments: [^-]", str(error))
            how = "; a name is given with -n" if named else ""
            raise UsageError(f"{name}: {error}{how}; see {name}?") from None
        return args

    def _find(self, spec: str) -> list[Job]:
        try:
            return self._manager.find(spec)
        except JobError as error:
            raise UsageError(str(error)) from None

    def _chosen(self, args: argparse.Namespace) -> list[Job]:
        """Return the jobs that the SPECs mean, each once."""
        specs = args.specs
        if getattr(args, "all", False):
            specs = ["all"]
        return list(dict.fromkeys(job for spec in specs or [""] for job in self._find(spec)))

    def _to_end(self, args: argparse.Namespace) -> list[Job]:
        """Return the jobs that the SPECs mean; without any, the newest that can be ended."""
        if args.specs or args.all:
            return self._chosen(args)
        left = [] if self._manager.running() else [job for job in self._manager if _has_left(job)]
        return (left or self._find("all"))[-1:]

    def _tell(self, jobs: Iterable[Job], over: Mapping[Job, str] = MappingProxyType({})) -> None:
        """Say how jobs are; of those that were `over` before also that, and what follows it."""
        for job in jobs:
            print(render.sentence(job.info(), already=job in over) + over.get(job, ""))

    def _interrupted(self, error: KeyboardInterrupt, jobs: Iterable[Job]) -> KeyboardInterrupt:
        lines = [render.sentence(job.info()) for job in jobs]
        lines.append("KeyboardInterrupt: the waiting was interrupted, the jobs were not")
        return _shown_as(error, lines)


def _has_left(job: Job, processes: bool = True) -> bool:
    """Whether a job that is over has left threads, or processes, that run."""
    threads = [thread for thread in job.threads if thread is not job.thread]  # that just ends
    return bool(threads) or (processes and any(it.running for it in job.processes))


@contextlib.contextmanager
def _telling(jobs: Iterable[Job]) -> Iterator[None]:
    """Promise to tell afterwards how `jobs` ended, if they end within this block."""
    jobs = [job for job in jobs if not job.done()]
    for job in jobs:
        job.is_told = True
    try:
        yield
    finally:
        for job in jobs:  # before they are looked at: one that ends now may be told twice
            job.is_told = False


def _name(job: Job) -> str:
    return f"job {job.id} ({job.name})"


def _shown_as(error: _Error, lines: list[str]) -> _Error:
    """Let IPython show `lines` for `error`, instead of a traceback through ipykill."""
    error._render_traceback_ = lambda: lines  # type: ignore[attr-defined]
    return error
