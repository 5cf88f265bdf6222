"""Ctrl-Z for notebooks: a running cell goes on in the background.

A person runs an ordinary cell and, while it runs, asks to continue it in the background, to
*detach* it: the cell gets its number, the next cells run, and the same computation goes on as a
job. Nothing has to be switched on before.

`running`
    The cell, and how it becomes a job.
`family`
    The threads and processes of such a cell.
`shells`, `shell`
    The interface to ipykernel: another thread is the kernel's shell meanwhile.
`signals`
    Passes interrupts from the main thread, the only one that Python lets handle signals, to the
    thread that runs the cells.

A cell is detached in this order: call `Shells.redirect` and find a free shell, which may fail; make
the job; show its card; send the reply for the cell; let the other shell begin.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

from .. import panel
from ..base.title import title
from ..core import adoption
from ..core.job import Job
from ..core.manager import JobManager
from ..exceptions import JobError
from ..kill import current_target
from .running import RunningCell, go_on, route_displays
from .shell import Shell
from .shells import Shells, why_not
from .signals import Signals

__all__ = ["Foreground", "install", "uninstall"]

_foregrounds: dict[JobManager, Foreground] = {}


class Foreground:
    """Knows the cell that runs in the foreground, and can detach it.

    Attributes
    ----------
    cell : RunningCell or None
        That cell; None while no cell runs that could be detached.
    why_not : str
        Why no cell can ever be detached in this kernel, empty if cells can.

    Threading
    ---------
    Any thread but the cell's may call `detach`, and any thread `runs`. The rest is for the thread
    that runs cells.
    """

    def __init__(self, shell: Any, manager: JobManager) -> None:
        self.shell = shell
        self.manager = manager
        self.cell: RunningCell | None = None
        self._watching = False  # whether `_watch` is scheduled
        kernel: Any = getattr(shell, "kernel", None)
        self.kernel = kernel
        self.why_not = why_not(kernel)
        if not self.why_not:
            self.shells = Shells(self.kernel)
            self.loop = kernel.control_thread.io_loop
            self.signals = Signals(self._interrupt, self._is_stand_in)

    def install(self) -> None:
        """Make later cells detachable."""
        if self.why_not or "run_ast_nodes" in vars(self.shell):
            return
        adoption.install()
        self.shells.install()
        route_displays(self.shell)
        _hide_from_debugger(self.kernel)
        run_all = self.shell.run_ast_nodes

        async def run_ast_nodes(nodes: Any, name: str, *args: Any, **kwargs: Any) -> Any:
            coroutine = run_all(nodes, name, *args, **kwargs)
            here = self.shells.dealing
            me = threading.get_ident()
            if not nodes or here is None or here.ident != me or current_target():
                return await coroutine
            cell = RunningCell(self.shell, nodes, name, here)
            self.cell = cell
            if self.manager.offer and not self._watching:
                self._watching = True
                self.loop.add_callback(self.loop.call_later, self.manager.offer, self._watch)
            try:
                over, value = cell.run(coroutine)
                if cell.job is not None:
                    self._finish(cell, here, kwargs.get("result"))
                return value if over else await go_on(coroutine, value)
            finally:
                if self.cell is cell:
                    self.cell = None

        self.shell.run_ast_nodes = run_ast_nodes

    def uninstall(self) -> None:
        """Make later cells undetachable again; cells that were detached go on as jobs."""
        if not self.why_not and self.shells.uninstall():
            vars(self.shell).pop("run_ast_nodes", None)

    # Detaching

    def detach(self) -> Job:
        """Let the cell that runs in the foreground go on as a job; for any thread but the cell's.

        Raises
        ------
        JobError
            No cell runs, or it cannot be detached; the error says why.
        """
        if self.why_not:
            raise JobError(self.why_not)
        running = self.cell
        if running is None or running.job is not None:
            msg = "there is nothing to continue in the background: no cell runs"
            raise JobError(msg)
        with running.deciding() as begun:
            was = self.shells.holder
            self.shells.redirect()
            after = self.shells.next()
            parent = begun.context.run(self.kernel.get_parent, "shell")
            source = parent["content"]["code"]
            job = self.manager.adopt(
                begun,
                name=title(source) or "cell",
                source=source,
                cell=running.number,
                origin=str(parent["metadata"].get("cellId", "")),
            )
            running.withdraw()
            begun.context.copy().run(panel.present, self.shell, self.manager, job)
            running.become(job)
            self._leave()
            if was is self.shells.main:
                self.signals.away()
                self.kernel.do_shutdown = self._shut_down
            self.shells.move(after, begun.context)
        return job

    def runs(self) -> tuple[int, float] | None:
        """Return the cell's number, and when it began, in seconds since the epoch; or None."""
        running = self.cell
        if running is None or running.job is not None:
            return None
        return running.number, time.time() - (time.monotonic() - running.moment)

    def _watch(self) -> None:
        # Runs in the event loop of the control thread, which exists anyway.
        self._watching = False
        running = self.cell
        if running is None or running.job is not None:
            return
        left = self.manager.offer - (time.monotonic() - running.moment)
        if left > 0:
            self._watching = True
            self.loop.call_later(left, self._watch)
        elif running.context.run(self.kernel.get_parent, "shell")["content"].get("allow_stdin"):
            # Without stdin nobody looks: nbconvert or papermill runs the notebook.
            running.offer(
                lambda: panel.offer(self.shell, self.manager, running.number, running.moment)
            )

    def _leave(self) -> None:
        """Undo what IPython and the kernel change while a cell runs, as its end would."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            getattr(stream, "__dict__", {}).pop(
                "write", None
            )  # IPython's, which remembers what the cell prints
        self.kernel._restore_input()
        sys.excepthook = self.shell.sys_excepthook

    def _finish(self, running: RunningCell, here: Shell, result: Any) -> None:
        """End the job of a detached cell; then IPython and the kernel end the cell, silently."""
        running.finish()
        if result is not None:
            result.error_in_exec = result.error_before_exec = None
        shell, events = self.shell, self.shell.events
        names = ("last_execution_result", "last_execution_succeeded")
        kept: dict[str, Any] = {}

        def trigger(event: str, *args: Any, **kwargs: Any) -> None:
            if threading.current_thread() is not here.thread:
                type(events).trigger(events, event, *args, **kwargs)

        def end() -> None:
            vars(events).pop("trigger", None)
            for name, value in kept.items():
                setattr(shell, name, value)
            self.shells.forget(running.context)
            if here is self.shells.main:
                self.signals.back()
                vars(self.kernel).pop("do_shutdown", None)

        self.shells.finish(here, end)
        kept |= {name: getattr(shell, name) for name in names}
        events.trigger = trigger

    def _shut_down(self, restart: bool) -> Any:
        """End the jobs before the kernel shuts down: one of them may occupy the main thread."""
        self.shells.close()
        self.manager.end_all(reason="the kernel shuts down")
        vars(self.kernel).pop("do_shutdown", None)
        return self.kernel.do_shutdown(restart)

    # Interrupts

    def _is_stand_in(self) -> bool:
        here = self.shells.here()
        return here is not None and here is not self.shells.main

    def _interrupt(self) -> None:
        dealing, running = self.shells.dealing, self.cell
        if dealing is None or dealing is self.shells.main:
            return
        if dealing.on_interrupt is not None:
            dealing.on_interrupt()
        elif running is not None and running.thread is dealing.thread:
            running.interrupt()


def _hide_from_debugger(kernel: Any) -> None:
    """Make JupyterLab's debugger leave out our frames, as it leaves out those of the kernel."""
    hidden = getattr(getattr(kernel, "debugger", None), "kernel_modules", None)
    ours = str(Path(__file__).parents[1] / "**")
    if isinstance(hidden, list) and ours not in hidden:
        hidden.append(ours)


def install(shell: Any, manager: JobManager) -> None:
    """Make cells detachable, if the kernel allows that."""
    kernel = getattr(shell, "kernel", None)
    if kernel is not None and not hasattr(kernel, "io_loop"):
        # The configuration loads ipykill before the kernel has begun.
        def begin() -> None:
            shell.events.unregister("pre_execute", begin)
            install(shell, manager)

        shell.events.register("pre_execute", begin)
        return
    foreground = _foregrounds.get(manager)
    if foreground is None or foreground.shell is not shell:
        foreground = _foregrounds[manager] = Foreground(shell, manager)
    foreground.install()
    manager.foreground = foreground


def uninstall(manager: JobManager) -> None:
    """Undo `install`."""
    foreground = _foregrounds.get(manager)
    if foreground is not None:
        foreground.uninstall()
        manager.foreground = None
