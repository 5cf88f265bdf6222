"""The panel and the cards: live views of the jobs, with buttons that end them.

`ipykill.panel.widget` imports ipywidgets and anywidget. It is imported in a kernel only, when the
first job is shown or a front end asks for the jobs.
"""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..base import locks
from ..base.wrapping import wrap
from ..core import render
from ..core.job import Job
from ..core.manager import JobManager
from .frontend import FrontEnd, welcome
from .service import detach

if TYPE_CHECKING:
    from .widget import Card, Panel

__all__ = ["go_on", "install", "offer", "present", "show", "uninstall"]

_REQUEST = "ipykill_request"

_logger = logging.getLogger("ipykill")

_panels: dict[JobManager, Panel] = {}
_making = locks.RLock()  # both the main thread and the control thread may make a panel
_front_ends: dict[JobManager, FrontEnd] = {}
_presented: tuple[Job, int] | None = None  # the job that was presented last, and in which cell


def install(shell: Any, manager: JobManager) -> None:
    """Let IPython display a job as a card, and make the buttons of the views work.

    In an IPython without a kernel there is nothing to install; without widgets there are no cards.
    """
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return

    def show_job(job: Job) -> None:
        if job not in manager or not _has_widgets(shell):
            raise NotImplementedError  # then IPython shows its repr
        if _presented != (job, shell.execution_count):
            card = _panel(manager).show_job(job)
            own = getattr(job.host, "cell_message", None)
            if own is not None and own == shell.display_pub.parent_header.get("msg_id"):
                _stays(job, card)

    def handle(stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        content = _answer(manager, parent["content"])
        kernel.session.send(stream, "ipykill_reply", content, parent, ident=ident)

    # Only looked for: to import them takes as long as all the rest of loading ipykill.
    widgets = all(importlib.util.find_spec(name) for name in ("anywidget", "ipywidgets"))
    if widgets:
        shell.display_formatter.ipython_display_formatter.for_type(Job, show_job)
    # Requests on the control channel are answered while the main thread runs a cell. Not every
    # kernel has that channel.
    getattr(kernel, "control_handlers", {})[_REQUEST] = handle
    _leave_status_alone(kernel)
    if widgets:
        _front_ends[manager] = front_end = FrontEnd()
        front_end.announce()  # now, because the answer to who asks looks whether it is there


def _leave_status_alone(kernel: Any) -> None:
    """Suppress the messages "busy" and "idle" for requests of views.

    ipykernel sends both for each message, also on the control channel. A front end takes the last
    one for the state of the kernel, and would show it as idle though a cell runs.
    """

    def but_for_ours(publish: Any) -> Any:
        def _publish_status(status: str, channel: str, parent: Any = None) -> None:
            if channel == "control":  # for each cell one comparison is enough
                about = parent or kernel.get_parent(channel)
                if about.get("header", {}).get("msg_type") == _REQUEST:
                    return
            publish(status, channel, parent)

        return _publish_status

    if hasattr(kernel, "_publish_status"):
        wrap(kernel, "_publish_status", but_for_ours)


def uninstall(shell: Any, manager: JobManager) -> None:
    """Undo `install`. Views that are open stay, and their buttons work while no cell runs."""
    kernel = getattr(shell, "kernel", None)
    if kernel is not None:
        shell.display_formatter.ipython_display_formatter.pop(Job, None)
        getattr(kernel, "control_handlers", {}).pop(_REQUEST, None)
        if manager in _front_ends:
            _front_ends.pop(manager).close()


def show(shell: Any, manager: JobManager) -> None:
    """Show all jobs: the panel in a notebook, a table in a terminal."""
    if not _has_widgets(shell):
        print(render.table_text(manager.snapshot()))
    else:
        _panel(manager).show()


def present(shell: Any, manager: JobManager, job: Job) -> None:
    """Show the card of a job that the cell is about to start, above the job's output.

    When the job is the value of the same cell, it is not shown again. Without widgets, this does
    nothing.
    """
    global _presented
    if not _has_widgets(shell):
        return
    try:
        card = _panel(manager).show_job(job)
    except Exception:
        _logger.exception("job %s has no card", job.id)
    else:
        _presented = job, shell.execution_count
        _stays(job, card)


def go_on(manager: JobManager, job: Job, new: Job) -> None:
    """Let the card of a finished job show `new`, which runs the same code again in its cell."""
    if manager in _panels and (card := _panels[manager].pass_on(job, new)) is not None:
        _stays(new, card)


def _stays(job: Job, card: Card) -> None:
    """Note that the cell of `job` has its card, and keep it there when the job clears output."""
    job.has_card = True
    pin = getattr(job.host, "pin", None)
    if pin is not None:
        pin(card)


def offer(shell: Any, manager: JobManager, cell: int, moment: float) -> Callable[[], None] | None:
    """Show a button below the running cell that continues it in the background.

    Parameters
    ----------
    cell, moment
        The number of the cell, and when it began, by `time.monotonic`.

    Returns
    -------
    callable or None
        Hides the button again; None if there are no widgets.
    """
    if not _has_widgets(shell):
        return None
    return _panel(manager).offer(cell, time.time() - (time.monotonic() - moment))


def _has_widgets(shell: Any) -> bool:
    """Whether there is a kernel, and the packages that it needs to show widgets."""
    return getattr(shell, "kernel", None) is not None and _widgets_load()


def _widgets_load() -> bool:
    try:
        from . import widget as widget
    except ImportError as error:
        # They cannot be installed everywhere (Pyodide). Then jobs are shown as text.
        _logger.debug("the jobs are shown as text: %s", error)
        return False
    return True


def _panel(manager: JobManager) -> Panel:
    from .widget import Panel

    with _making:
        if manager not in _panels:
            _panels[manager] = Panel(manager)
        return _panels[manager]


def _answer(manager: JobManager, request: dict[str, Any]) -> dict[str, Any]:
    if request.get("do") == "detach" and "model" not in request:
        return detach(manager)
    if request.get("do") == "hello" and manager in _front_ends and _widgets_load():
        shown = _panel(manager)
        return welcome(shown.model_id, shown.script, shown.style, request.get("known", []))
    panel = _panels.get(manager)
    if panel is None or request.get("model") != panel.model_id:
        # The page knows an earlier kernel process: its job 3 is not our job 3.
        return {"stranger": True}
    return panel.service.answer(request)
