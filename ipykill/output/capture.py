"""`redirect_stdout`, `capture_output` and the widget `Output`, in a job and beside one.

The first two, and ``%%capture``, replace `sys.stdout` for the whole process. Here a job that uses
one catches only its own output, and the foreground does not catch that of jobs. A stream that
code simply assigns to `sys.stdout` still gets the output of the whole process, because it may
be meant to.

The widget asks the front end to move the output of one cell into it. In a job that is the
launching cell, not the cell that runs now.
"""

from __future__ import annotations

import contextlib
import io
from types import ModuleType
from typing import Any

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.utils.capture import CapturedIO, capture_output

from .. import output
from ..base.holding import holds
from ..base.imports import when_imported
from ..base.wrapping import wrap
from ..core.failure import message
from ..exceptions import JobKilled, JobStopped

__all__ = ["install"]


_holds = holds("its output is being captured")


def install() -> None:
    """Keep jobs and the foreground apart from now on."""
    wrap(contextlib._RedirectStream, "__enter__", _redirecting)
    wrap(contextlib._RedirectStream, "__exit__", _redirecting_no_more)
    wrap(capture_output, "__enter__", _capturing)
    wrap(capture_output, "__exit__", _capturing_no_more)
    for name in ("publish", "clear_output"):
        wrap(CapturingDisplayPublisher, name, _passing_by)
    when_imported("ipywidgets.widgets.widget_output", _watch_widget)
    when_imported("rich.live", _watch_live_displays)


# The names of these functions matter: no Kill is raised in an `__enter__` or `__exit__`.


def _redirecting(enter: Any) -> Any:
    # Several jobs and the foreground may use one object at once; each ends its own redirection.

    @_holds
    def __enter__(self: Any) -> Any:
        target = self._new_target
        job = output.of_job()
        if job is not None:
            entries = vars(self).setdefault("_ipykill_entries", [])
            entries.append((job, job.redirect(self._stream, target)))
            return target
        if target is not None:
            self._new_target = output.stand_in(self._stream, target)
        try:
            enter(self)
        finally:
            self._new_target = target
        return target

    return __enter__


def _redirecting_no_more(leave: Any) -> Any:
    @_holds
    def __exit__(self: Any, *error: Any) -> Any:
        job = output.of_job()
        entries = vars(self).get("_ipykill_entries", [])
        entry = next((it for it in reversed(entries) if it[0] is job), None)
        if entry is None:
            return leave(self, *error)
        entries.remove(entry)
        return entry[1]()

    return __exit__


def _capturing(enter: Any) -> Any:
    @_holds
    def __enter__(self: Any) -> Any:
        job = output.of_job()
        if job is None:
            captured = enter(self)
            output.tap_again()
            return captured
        streams = {name: io.StringIO() for name in ("stdout", "stderr") if getattr(self, name)}
        displays: list[dict[str, Any]] | None = [] if self.display else None
        self._ipykill_ends = [job.redirect(name, stream) for name, stream in streams.items()]
        if displays is not None:
            self._ipykill_ends.append(job.capture(displays))
        return CapturedIO(streams.get("stdout"), streams.get("stderr"), displays)

    return __enter__


def _capturing_no_more(leave: Any) -> Any:
    @_holds
    def __exit__(self: Any, *error: Any) -> None:
        ends = vars(self).pop("_ipykill_ends", None)
        if ends is None:
            leave(self, *error)
        else:
            for end in ends:
                end()

    return __exit__


def _passing_by(method: Any) -> Any:
    """Let the displays of jobs bypass a capture of the foreground."""

    def passing(self: Any, *args: Any, **kwargs: Any) -> Any:
        job = output.of_job()
        if job is None:
            return method(self, *args, **kwargs)
        return getattr(job.publisher, method.__name__)(*args, **kwargs)

    return passing


def _watch_widget(module: ModuleType) -> None:
    wrap(module.Output, "__enter__", _entering)
    wrap(module.Output, "__exit__", _leaving)


def _entering(enter: Any) -> Any:
    @_holds
    def __enter__(self: Any) -> Any:
        job = output.of_job()
        if job is not None and job.cell_message is not None:
            job.widgets().append(self)
            return None
        entered = enter(self)
        output.blocks.widgets.append(self)
        return entered

    return __enter__


def _leaving(leave: Any) -> Any:
    @_holds
    def __exit__(self: Any, kind: Any, error: Any, tb: Any) -> Any:
        job = output.of_job()
        if job is None or self not in job.widgets():
            _remove_last(self, output.blocks.widgets)
            return leave(self, kind, error, tb)
        # Like the original, it shows an error and suppresses it; but not a Kill or a Stop.
        shown = error is not None and not isinstance(error, JobKilled | JobStopped)
        if shown:
            lines = output.format_error(job.shell, error)
            job.show_error(kind.__name__, message(error), lines)
        _remove_last(self, job.widgets())
        return shown or None

    return __exit__


def _remove_last(widget: Any, widgets: list[Any]) -> None:
    if widget in widgets:
        del widgets[len(widgets) - 1 - widgets[::-1].index(widget)]


def _watch_live_displays(module: ModuleType) -> None:
    """Keep a progress bar of rich in a job from redirecting the output of the whole process.

    rich assigns a stream of its own to `sys.stdout`, to print text above the bar that it repaints
    (``Live._enable_redirect_io``, rich 10 to 15). In a job it does not need that.
    """
    if hasattr(module.Live, "_enable_redirect_io"):
        wrap(module.Live, "_enable_redirect_io", _of_the_foreground)


def _of_the_foreground(enable: Any) -> Any:
    def _enable_redirect_io(self: Any) -> None:
        if output.of_job() is None:
            enable(self)

    return _enable_redirect_io
