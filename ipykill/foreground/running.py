"""A cell that runs in the foreground, and how it becomes a job.

The code stays in its thread, with its whole stack; the kernel's shell moves to another thread, see
`shells`. Before that the cell is not a job (`current_job` returns None), so streams, displays,
``input`` and ``Out`` are those of the foreground. But it runs inside `CellFamily.serve` from its
first line, so that later a Kill can land in it, threads and processes that it starts belong to its
family, and text that it has printed can be written to a log.

The thread that detaches the cell does these steps, while the code runs on:

1. It sets `_moving`, with `_gate` held. From now on the code waits when it calls `current_job`.
   All functions that `base.holding` marks call that first, so the code enters none of them.
2. It looks at the stack of the code, to see whether the code had entered such a function before.
3. It makes the job, which `current_job` returns from now on; the shell moves; it clears `_moving`.

The end of the code takes `_gate` as well. So the code ends either before (1), as a cell, or after
(3), as a job.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import time
import types
from ast import Module, PyCF_ALLOW_TOP_LEVEL_AWAIT, stmt
from collections import deque
from collections.abc import Callable, Generator, Iterator
from types import CodeType, FrameType, TracebackType
from typing import Any

from IPython.core.displaypub import CapturingDisplayPublisher

from .. import output
from ..base import locks, stack
from ..base.holding import why_held
from ..base.tracebacks import below_us, hidden, set_traceback
from ..cells.cell import cell_number
from ..core.current import act_as, acting
from ..core.family import acting_family
from ..core.host import Begun
from ..core.info import Bar
from ..core.job import Job
from ..exceptions import JobError, JobKilled
from ..integrations import figures
from ..kill import Target, contain, get_ready, look
from .family import CellFamily
from .shell import Shell

__all__ = ["RunningCell", "go_on"]

_KEPT = 1_000_000  # how many printed characters are kept for the log of a job
_SETTLED = 1.0  # seconds that code of the cell waits while another thread detaches it


class RunningCell:
    """A cell in the foreground: a `Candidate`.

    Attributes
    ----------
    thread
        The thread that runs it.
    moment
        When it began, by `time.monotonic`.
    job : Job or None
        The job that it has become.

    Threading
    ---------
    The thread of the cell calls `run` and `finish`. Other threads call `deciding`, `offer`,
    `become` and `interrupt`. Code of the cell calls the methods of `Candidate` in any thread.
    """

    def __init__(self, shell: Any, nodes: list[stmt], filename: str, here: Shell) -> None:
        self.shell = shell
        self._here = here
        self.thread = here.thread
        self.context = contextvars.copy_context()
        self.moment = time.monotonic()
        self.job: Job | None = None
        self._stopped: tuple[bool, Any] = True, False  # what `run` returns
        self._nodes = nodes
        self._filename = filename
        self._family = CellFamily(self.thread, self._enter, lambda error: None, serves=True)
        self._gate = locks.RLock()  # a Ctrl-C may come where the cell ends
        self._moving = self._over = self._shown = False
        self._printed: deque[str] = deque()
        self._size = 0
        self._bars: list[Bar] = []
        self._error: BaseException | None = None
        self._withdraw: Callable[[], None] | None = None

    @property
    def target(self) -> Target | None:
        """The record of its thread, while its code runs."""
        return self._family.target_of(self.thread)

    # In the code: a `Candidate`

    def settled(self) -> Job | None:
        """Return the job that the cell has become, if any; waits while that is being decided."""
        # Not for ever: a finalizer may call this while its thread holds a lock that others need.
        if self._moving and self._gate.acquire(timeout=_SETTLED):
            self._gate.release()
        return self.job

    @hidden
    def write(self, name: str, write: Callable[[str], int], text: str) -> int:
        """Write to the stream `name`, and keep the text for the log of a later job."""
        if self.settled() is not None and (job := output.of_job()) is not None:
            return job.write(name, text)
        written = write(text)
        if text and not self._over:
            self._printed.append(text)
            self._size += len(text)
            while self._size > _KEPT and len(self._printed) > 1:
                self._size -= len(self._printed.popleft())
        return written

    def add_bar(self, bar: Bar) -> None:
        """Let `bar` tell how far the cell, or its job, is."""
        job = self.settled()
        if job is not None:
            job.add_bar(bar)
        elif not self._over:
            self._bars[:] = [it for it in self._bars if not it.closed] + [bar]

    @contextlib.contextmanager
    def showing(self) -> Iterator[None]:
        """Surround the display of the error that ended the cell; does nothing if it is a job.

        In this block the cell cannot be detached or interrupted any more. IPython formats the
        error in an ``except`` block, where no interrupt is raised; but while one is pending, each
        instruction there is checked, and the formatting takes a minute.
        """
        with self._gate:
            self._shown = self.job is None
            if self._shown:
                self._family.interrupt_requested = False
        try:
            yield
        finally:
            self._shown = False

    def asked(self) -> bool:
        """Whether the job that it has become was asked to end."""
        return self.job is not None and self.job.asked()

    def _enter(self) -> None:
        # Called in each thread that the cell starts, before its first line.
        job = self.settled()
        if job is not None:
            job.enter()
        else:
            act_as(self, self._family)
            route_displays(self.shell)

    # In the thread of the cell

    @stack.machinery
    def run(self, coroutine: Any) -> tuple[bool, Any]:
        """Run the first step of the cell's coroutine, which is the whole cell if it awaits nothing.

        Returns
        -------
        bool, object
            Whether the coroutine has ended; its value if it has, else what it awaits.
        """
        self._coroutine = coroutine
        before, family_before = acting.set(self), acting_family.set(self._family)
        try:
            self._error, self._target = self._family.serve(self._step)
            if self._end() is None:
                self._family.dissolve()
                # The same Ctrl-C may have ended what the code waited for before it was raised here.
                if self._family.interrupt_requested:
                    raise KeyboardInterrupt
                # A JobKilled here stands for a Ctrl-C that came when the code had ended.
                if self._error is not None and not isinstance(self._error, JobKilled):
                    raise self._error
            return self._stopped
        finally:
            self._over = True
            acting.reset(before)
            acting_family.reset(family_before)

    @stack.machinery
    def _step(self) -> None:
        try:
            self._stopped = False, self._coroutine.send(None)
        except StopIteration as stop:
            self._stopped = True, stop.value

    def _end(self) -> Job | None:
        """Make detaching impossible from now on; return the job if the cell has become one."""
        interrupt: KeyboardInterrupt | None = None
        while True:
            try:
                with self._gate:
                    self._over = True
                break
            except KeyboardInterrupt as error:  # meant for a cell in the foreground
                interrupt = error
        self._printed.clear()
        if self._withdraw is not None:
            self.withdraw()
        if interrupt is not None and self.job is None:
            raise interrupt
        return self.job

    def finish(self) -> None:
        """End the job that it has become."""
        assert self.job is not None
        error, self._error = self._error, None
        if error is not None:
            error.__traceback__ = _below_ipython(error.__traceback__)
        try:
            self.job.finish(error)
        finally:
            error = None
            self._family.let_go(self._target)

    # In any other thread

    @contextlib.contextmanager
    def deciding(self) -> Iterator[Begun]:
        """Hold the cell in a state that allows detaching, while the block makes it a job.

        Raises
        ------
        JobError
            It cannot be detached now; the error says why.
        """
        with self._gate:
            try:
                self._moving = True
                codes = self._codes()
                if self.job is not None:
                    msg = "the cell is in the background already"
                    raise JobError(msg)
                if why := self._why_not(codes):
                    msg = f"the cell stays in the foreground: {why}"
                    raise JobError(msg)
                get_ready()
                yield Begun(self._family, self.thread, self.context, self.moment, codes)
            finally:
                self._moving = False

    def offer(self, show: Callable[[], Callable[[], None] | None]) -> None:
        """Show that the cell can be detached; `show` returns a function that hides that again."""
        with self._gate:
            if not self._over and self.job is None and not self._why_never():
                self._withdraw = self.context.copy().run(show)

    def withdraw(self) -> None:
        """Hide the offer."""
        withdraw, self._withdraw = self._withdraw, None
        if withdraw is not None:
            withdraw()

    def become(self, job: Job) -> None:
        """Note that the cell is this job from now on, and give the job what the cell had."""
        job.log.write("".join(self._printed))
        for bar in self._bars:
            job.add_bar(bar)
        figures.give(job)
        job.expect_interrupt()
        self._family.in_foreground = False
        self.job = job

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the cell, once."""
        with self._gate:
            if not (self._over or self._shown) and self.job is None:
                self._family.interrupt_requested = True
                self._family.interrupt()

    @property
    def number(self) -> int:
        """The number in its prompt."""
        return cell_number(self.shell)

    def _codes(self) -> tuple[CodeType, ...]:
        flags = self.shell.compile.flags
        if self.shell.autoawait:
            flags |= PyCF_ALLOW_TOP_LEVEL_AWAIT
        try:
            tree = Module(self._nodes, [])
            return (compile(tree, self._filename, "exec", flags, dont_inherit=True),)
        except (SyntaxError, ValueError, RecursionError):  # IPython will raise this as well
            return ()

    def _why_not(self, codes: tuple[CodeType, ...]) -> str:
        if why := self._why_never(codes):
            return why
        if self._family.interrupt_requested:
            return "it is being interrupted"
        target = self.target
        frame = None if target is None else look()(target)
        if self._over or self._shown or frame is None:
            return "it has just ended"
        return self._why_there(frame)

    def _why_never(self, codes: tuple[CodeType, ...] | None = None) -> str:
        codes = self._codes() if codes is None else codes
        if any(code.co_flags & inspect.CO_COROUTINE for code in codes):
            return "it awaits, on the event loop of the kernel; with %%bg it has a loop of its own"
        if self.shell.execution_count <= self.number:
            return "this version of IPython counts a cell when it ends"
        if output.captured() or isinstance(self.shell.display_pub, CapturingDisplayPublisher):
            return "its output is being captured"
        return ""

    def _why_there(self, frame: FrameType | None) -> str:
        loop = self._here.loop
        while frame is not None and frame.f_code is not contain.__code__:
            if why := why_held(frame):
                return why
            if frame.f_code.co_name == "run_forever" and frame.f_locals.get("self") is loop:
                return "it runs the event loop of the kernel itself"
            frame = frame.f_back
        return ""


def _below_ipython(tb: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that begins with the cell's own frame."""
    begin, here = tb, tb
    while here is not None:
        if here.tb_frame.f_code.co_name == "run_code" and here.tb_next is not None:
            begin = here.tb_next
        here = here.tb_next
    return begin


def route_displays(shell: Any) -> None:
    """Route what the calling thread displays to its job, as soon as its cell is one."""
    hooks = shell.display_pub
    if _route not in hooks._hooks:
        hooks.register_hook(_route)


def _route(message: dict[str, Any]) -> dict[str, Any] | None:
    job: Any = output.of_job()
    return message if job is None else job.route(message)


@types.coroutine
def go_on(coroutine: Any, awaited: Any) -> Generator[Any, Any, Any]:
    """Run the other steps of a coroutine that awaits, as ``await`` would have done."""
    while True:
        step = coroutine.send
        try:
            value = yield awaited
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:
            set_traceback(error, below_us(error.__traceback__))
            step, value = coroutine.throw, error
        try:
            awaited = step(value)
        except StopIteration as stop:
            return stop.value
