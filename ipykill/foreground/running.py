"""A cell that runs in the foreground, and what it takes to go on as a job.

The code stays where it is, and so does all that is on its stack; what goes away is the kernel's
shell, see `shells`. Until then the cell is nobody's job (`current_job` says None), so streams,
displays, ``input`` and ``Out`` are those of the foreground. But it runs inside `Family.serve`
from its first line, so that a Kill can land in it later, what it starts is known as its own, and
what it printed can be written to a log.

Detaching is decided by whoever asks for it, while the code runs on:

1. `_moving` is set, with `_gate` held. From here on the code, when it asks `current_job`, waits
   for the end of this. So it enters nothing that is named in `holding`: all that is asks first.
2. Its stack is looked at. What it had entered before is there.
3. The job is made, and known to whoever asks from now on; the shell goes; `_moving` ends.

The end of the code takes `_gate` as well, so it comes either before (1) or after (3), as the end
of a job.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import threading
import time
import types
from ast import Module, PyCF_ALLOW_TOP_LEVEL_AWAIT, stmt
from collections import deque
from collections.abc import Callable, Generator, Iterator
from types import CodeType, FrameType, TracebackType
from typing import Any

from IPython.core.displaypub import CapturingDisplayPublisher

from .. import output
from ..base import stack
from ..base.holding import why_held
from ..cells.cell import cell_number
from ..core.current import act_as
from ..core.family import Family
from ..core.host import Begun
from ..core.info import Bar
from ..core.job import Job
from ..exceptions import JobError, JobKilled
from ..integrations import figures
from ..kill import Target, contain, get_ready, look

__all__ = ["RunningCell", "go_on"]

_KEPT = 1_000_000  # characters that it printed, for the log of a job
_SETTLED = 1.0  # seconds in which it is decided whether it becomes a job


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
    `run` and what it calls belong to the thread of the cell; `detach` may be called by any other.
    """

    def __init__(self, shell: Any, nodes: list[stmt], filename: str, loop: object) -> None:
        self.shell = shell
        self._loop = loop
        self.thread = threading.current_thread()
        self.context = contextvars.copy_context()
        self.moment = time.monotonic()
        self.job: Job | None = None
        self._nodes = nodes
        self._filename = filename
        self._family = Family(self.thread, self._enter, lambda error: None, serves=True)
        self._gate = threading.RLock()
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
        """Return the job that the cell has become; waits while that is being decided."""
        # Not for ever: a finalizer may ask in the middle of something that others wait for.
        if self._moving and self._gate.acquire(timeout=_SETTLED):
            self._gate.release()
        return self.job

    def write(self, name: str, write: Callable[[str], int], text: str) -> int:
        """Write to the stream `name`; keep the text for the log of a job."""
        job = output.of_job()
        if job is not None:
            return job.write(name, text)
        written = write(text)
        if text and not self._over:
            self._printed.append(text)
            self._size += len(text)
            while self._size > _KEPT and len(self._printed) > 1:
                self._size -= len(self._printed.popleft())
        return written

    def add_bar(self, bar: Bar) -> None:
        """Let `bar` tell how far it is."""
        job = self.settled()
        if job is not None:
            job.add_bar(bar)
        elif not self._over:
            self._bars[:] = [it for it in self._bars if not it.closed] + [bar]

    @contextlib.contextmanager
    def showing(self) -> Iterator[None]:
        """Within, the error is shown with which it has ended, unless it is a job by now.

        Then there is nothing to interrupt any more. IPython formats the error in a handler of its
        own, where nothing is raised; and with an interrupt pending, before each instruction of
        which somebody would ask whether it may be, that takes a minute.
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
        # In each thread that the cell starts, before its first line.
        job = self.settled()
        if job is not None:
            job.enter()
        else:
            act_as(self, self._family)
            route_displays(self.shell)

    # In the thread of the cell

    @stack.machinery
    def run(self, step: Callable[[], Any]) -> tuple[bool, Any]:
        """Take the first step of a coroutine, which is the whole cell unless that awaits.

        Returns
        -------
        bool, object
            Whether the coroutine has ended, and its value, or else what it awaits.
        """
        ends: list[tuple[bool, Any]] = [(True, False)]

        @stack.machinery
        def body() -> None:
            try:
                ends.append((False, step()))
            except StopIteration as stop:
                ends.append((True, stop.value))

        undo = act_as(self, self._family)
        try:
            self._error, self._target = self._family.serve(body)
            if self._end() is None:
                self._family.dissolve()
                if self._family.interrupt_requested:  # what it waited for ended of the same Ctrl-C
                    raise KeyboardInterrupt
                # Instead of a Ctrl-C that came at the very end, and comes again.
                if self._error is not None and not isinstance(self._error, JobKilled):
                    raise self._error
            return ends[-1]
        finally:
            self._over = True
            undo()

    def _end(self) -> Job | None:
        """Let nobody make a job of it any more; return the one that was made."""
        interrupt: KeyboardInterrupt | None = None
        while True:
            try:
                with self._gate:
                    self._over = True
                break
            except KeyboardInterrupt as error:  # of a cell in the foreground
                interrupt = error
        self._printed.clear()
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
        """Let nothing of the cell change what is decided in the block: that it becomes a job.

        Raises
        ------
        JobError
            It cannot.
        """
        with self._gate:
            try:
                self._moving = True
                codes = self._codes()
                if why := self._why_not(codes):
                    msg = f"the cell stays in the foreground: {why}"
                    raise JobError(msg)
                get_ready()
                yield Begun(self._family, self.thread, self.context, self.moment, codes)
            finally:
                self._moving = False

    def offer(self, show: Callable[[], Callable[[], None] | None]) -> None:
        """Show that it can go on in the background; `show` returns what takes that away."""
        with self._gate:
            if not self._over and self.job is None and not self._why_never():
                self._withdraw = self.context.copy().run(show)

    def withdraw(self) -> None:
        """Take the offer away."""
        withdraw, self._withdraw = self._withdraw, None
        if withdraw is not None:
            withdraw()

    def become(self, job: Job) -> None:
        """Be that job from now on."""
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
        except (SyntaxError, ValueError, RecursionError):  # IPython finds it when it comes there
            return ()

    def _why_not(self, codes: tuple[CodeType, ...]) -> str:
        if self.job is not None:
            return "it is there already"
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
        loop = self._loop
        while frame is not None and frame.f_code is not contain.__code__:
            if why := why_held(frame):
                return why
            if frame.f_code.co_name == "run_forever" and frame.f_locals.get("self") is loop:
                return "it runs the event loop of the kernel itself"
            frame = frame.f_back
        return ""


def _below_ipython(tb: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that begins in the cell."""
    begin, here = tb, tb
    while here is not None:
        if here.tb_frame.f_code.co_name == "run_code" and here.tb_next is not None:
            begin = here.tb_next
        here = here.tb_next
    return begin


def route_displays(shell: Any) -> None:
    """Let what the calling thread displays go the way of its job, when its cell is one."""
    hooks = shell.display_pub
    if _route not in hooks._hooks:
        hooks.register_hook(_route)


def _route(message: dict[str, Any]) -> dict[str, Any] | None:
    job: Any = output.of_job()
    return message if job is None else job.route(message)


@types.coroutine
def go_on(coroutine: Any, awaited: Any) -> Generator[Any, Any, Any]:
    """Take the other steps of a coroutine that awaits, as ``await`` would have done."""
    while True:
        step = coroutine.send
        try:
            value = yield awaited
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:
            step, value = coroutine.throw, error
        try:
            awaited = step(value)
        except StopIteration as stop:
            return stop.value
