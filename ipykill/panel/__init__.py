"""The panel and the cards: live views of the jobs, with buttons that end them.

`ipykill.panel.widget` imports ipywidgets and anywidget, and is imported in a kernel only.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..base import locks
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
_making = locks.RLock()  # the main thread and the one of the control channel make panels
_front_ends: dict[JobManager, FrontEnd] = {}
_presented: tuple[Job, int] | None = None  # the last one, and in which cell


def install(shell: Any, manager: JobManager) -> None:
    """Let a job be displayed as its card, and let the buttons of the views work.

    In an IPython without a kernel there is nothing to install, and without widgets no card.
    """
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return

    def show_job(job: Job) -> None:
        if job not in manager:
            raise NotImplementedError  # IPython then shows its text
        if _presented != (job, shell.execution_count):
            card = _panel(manager).show_job(job)
            own = getattr(job.host, "cell_message", None)
            if own is not None and own == shell.display_pub.parent_header.get("msg_id"):
                _stays(job, card)

    def handle(stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        content = _answer(manager, parent["content"])
        kernel.session.send(stream, "ipykill_reply", content, parent, ident=ident)

    widgets = _has_widgets(shell)
    if widgets:
        shell.display_formatter.ipython_display_formatter.for_type(Job, show_job)
    # On the control channel a request is answered while the main thread runs a cell. Both
    # exist in ipykernel, but not in every kernel.
    getattr(kernel, "control_handlers", {})[_REQUEST] = handle
    _leave_status_alone(kernel)
    if widgets:
        _front_ends[manager] = FrontEnd()


def _leave_status_alone(kernel: Any) -> None:
    """Let the answer to a request of a view not say that the kernel is idle.

    ipykernel says busy and idle for each message, on the control channel too, and a front end
    takes the last word for the state of the kernel, though a cell runs.
    """
    publish = getattr(kernel, "_publish_status", None)
    if publish is None or hasattr(publish, "__wrapped__"):
        return

    @functools.wraps(publish)
    def _publish_status(status: str, channel: str, parent: Any = None) -> None:
        about = parent or kernel.get_parent(channel)
        if about.get("header", {}).get("msg_type") != _REQUEST:
            publish(status, channel, parent)

    kernel._publish_status = _publish_status


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
    """Show a job that the cell is about to start, above its output.

    As the value of that cell it is not shown again. Without widgets, does nothing.
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
    """Let the card of a job that is over show `new`, which runs the same again in its cell."""
    if manager in _panels and (card := _panels[manager].pass_on(job, new)) is not None:
        _stays(new, card)


def _stays(job: Job, card: Card) -> None:
    """Note that the cell which launched `job` has its card, also when the job clears it."""
    job.has_card = True
    pin = getattr(job.host, "pin", None)
    if pin is not None:
        pin(card)


def offer(shell: Any, manager: JobManager, cell: int, moment: float) -> Callable[[], None] | None:
    """Offer below the cell that runs since `moment` to go on in the background.

    Returns
    -------
    callable or None
        What takes the offer away; None where no widgets are.
    """
    if not _has_widgets(shell):
        return None
    return _panel(manager).offer(cell, time.time() - (time.monotonic() - moment))


def _has_widgets(shell: Any) -> bool:
    """Whether there is a kernel, and what it needs to show widgets."""
    if getattr(shell, "kernel", None) is None:
        return False
    try:
        from . import widget as widget  # when loading: the first card is not to wait for it
    except ImportError as error:
        # Not everywhere can they be installed (Pyodide). A table and a line will do.
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
    if request.get("do") == "hello" and manager in _front_ends:
        shown = _panel(manager)
        return welcome(shown.model_id, shown.script, shown.style, request.get("known", []))
    panel = _panels.get(manager)
    if panel is None or request.get("model") != panel.model_id:
        # The page is older than this kernel process: its job 3 is not our job 3.
        return {"stranger": True}
    return panel.service.answer(request)
