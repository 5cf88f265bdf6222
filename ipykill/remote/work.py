"""There: the job that does the work.

`Work` runs one parcel in a `Job` of this process. It calls `post` to send a message to the kernel,
and `Work.tell` handles the messages that come from there.
"""

from __future__ import annotations

import functools
import linecache
import pickle
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .. import output
from ..base import stack
from ..core.agent import Agent
from ..core.job import Job
from ..core.manager import JobManager
from ..exceptions import JobError
from ..integrations import progress
from .echo import Echo
from .marks import Marks
from .memory import Arrived
from .parcel import Parcel, Surroundings, culprits, pack, unpack
from .report import End, Report
from .shell import plain_lines

__all__ = ["Work"]


@stack.machinery
def _just(call: Callable[[], object]) -> object:
    return call()


_STATUS = 0.2  # seconds between two looks at the job

manager = JobManager()
_agent = Agent("report")
_starting = threading.local()  # `work`: the Work whose job this thread is launching
_labels: dict[str, str] = {}


class Work:
    """One job, which runs for a job of the kernel.

    Parameters
    ----------
    parcel, arrived
        The parcel that came, and its large buffers.
    namespace
        The namespace in which the code of a cell runs.
    post
        Sends a message; any thread may call it.
    meta
        The description of the job that `ipykill.remote.launch` makes.
    display, lines
        Functions that display a value, and that return the traceback of an error.
    wrap
        Makes the call that it is given, the job's code, in the job's thread.
    """

    def __init__(
        self,
        parcel: Parcel,
        arrived: Iterable[Arrived],
        namespace: dict[str, Any],
        post: Callable[..., None],
        meta: Mapping[str, Any],
        *,
        display: Callable[..., Any],
        lines: Callable[[BaseException], list[str]],
        wrap: Callable[[Callable[[], object]], object] = _just,
    ) -> None:
        _install()
        self._post = post
        self.value: object = None
        self.lines: Callable[[BaseException], list[str]] = plain_lines
        self._names: set[str] = set()
        self._marks: Marks | None = None
        self.namespace = namespace
        for filename, text in meta["sources"].items():
            linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
        _labels.update(meta["labels"])
        self._around = Surroundings(namespace)
        what, names, wanted = unpack(parcel, self._around)
        self._around.meet(meta["classes"])
        self._around.home = True
        call, codes = what, ()
        if names is not None:
            from ..cells.cell import Cell

            self._names, self.lines = wanted, lines
            namespace.update(names)
            self._marks = Marks(names, self._around, arrived)
            codes = tuple(code for code, _ in what)
            call = Cell(namespace, namespace, what, display)
        _starting.work = self
        self.job: Job = manager.launch(
            functools.partial(self._run, wrap, call),
            name=meta["name"],
            cell=meta["cell"],
            codes=codes,
            report=False,
        )
        self._last = Report()
        _agent.call(self._tell_how_it_is, time.monotonic() + _STATUS)

    @stack.machinery
    def _run(self, wrap: Callable[[Callable[[], object]], object], call: Any) -> None:
        self.value = wrap(call)

    def tell(self, what: str, argument: Any = "") -> None:
        """Handle a message from the kernel; any thread may call this."""
        if what == "stop":
            self.job.stop(reason=argument)
        elif what == "kill":
            self.job.kill(reason=argument)
        elif what == "interrupt":
            self.job.interrupt()
        elif what == "where":
            self._post("stacks", argument, self.job.where())

    def echo(self, job: Job) -> Echo:
        """Return the output of the job, which is being launched."""
        return Echo(self.namespace, self._post, self.lines, job)

    def _tell_how_it_is(self) -> None:
        if self.job.done():
            return
        report = Report.of(self.job.info())
        # During a Kill, reports show that this process still answers.
        if report != self._last or self.job.requested == "kill":
            self._last = report
            self._post("report", report)
        _agent.call(self._tell_how_it_is, time.monotonic() + _STATUS)

    def end(self) -> tuple[End, Parcel]:
        """Wait for the end of the job; return how it ended, and the variables that it leaves."""
        job = self.job
        job.over.wait()
        names = {name: self.namespace[name] for name in self._names if name in self.namespace}
        changed: set[str] = set()
        if self._marks is not None:
            sent = {name: thing for name, thing in self.namespace.items() if name not in names}
            changed = self._marks.changed(sent)
            names |= {name: sent[name] for name in changed}
        echo = job.host
        assert isinstance(echo, Echo)
        error, lines, value = _portable(echo.error), echo.lines, self.value
        left: dict[str, str] = {}
        value_stays = ""
        try:
            parcel = pack((names, value, error), self._around)
        except Exception:
            bad = culprits(names, self._around)
            left = {name: type(names.pop(name)).__name__ for name in bad}
            if culprits({"": value}, self._around):
                value_stays, value = type(value).__name__, None
            parcel = pack((names, value, error), self._around)
        info = job.info()
        end = End(
            job.state.value,
            job.reason,
            lines,
            tuple(sorted(left.items())),
            frozenset(changed),
            Report.of(info),
            value_stays,
        )
        if not job.lives():  # one that has left a thread or a process must not be forgotten
            manager.clear([job])
        return end, parcel


def _portable(error: BaseException | None) -> BaseException | None:
    """Return an error as it is sent: without its traceback, which is sent as text.

    Many classes of errors cannot be unpickled, because their `__init__` wants more than a message.
    Of these only the text is sent.
    """
    if error is None:
        return None
    import cloudpickle

    try:
        pickle.loads(cloudpickle.dumps(error.with_traceback(None)))
    except Exception:
        return JobError("".join(traceback.format_exception_only(error)).strip())
    return error


@functools.cache
def _install() -> None:
    """Lead the output of jobs to an `Echo`, which sends it to the kernel."""
    output.tap_again()
    progress.install()
    manager.host = lambda job: _starting.work.echo(job)
    before = stack.cell_label
    stack.cell_label = lambda filename: _labels.get(filename) or before(filename)
