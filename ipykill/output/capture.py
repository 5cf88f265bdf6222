"""`redirect_stdout`, `capture_output` and the widget `Output`, in a job and beside one.

Both put another stream in the place of `sys.stdout`, for the whole process, and so does
``%%capture``. Here a job that does so catches what it writes itself and nothing else, and
the foreground does not catch what jobs write. A stream that is simply assigned to
`sys.stdout` cannot be told from one that is meant for all.

The widget lets the front end move what belongs to one cell into itself; in a job that is the
launching cell, and not the one that is running.
"""

from __future__ import annotations

import contextlib
import functools
import io
from types import ModuleType
from typing import Any

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.utils.capture import CapturedIO, capture_output

from .. import output
from ..base.holding import holds
from ..base.imports import when_imported
from ..core.failure import message
from ..exceptions import JobKilled, JobStopped

__all__ = ["install"]


_holds = holds("its output is being captured")


def install() -> None:
    """Keep jobs and the foreground apart, from now on until the process ends."""
    if not hasattr(capture_output.__enter__, "__wrapped__"):
        _watch_redirections(contextlib._RedirectStream)
        _watch_captures(capture_output)
        _watch_captured_displays(CapturingDisplayPublisher)
        when_imported("ipywidgets.widgets.widget_output", _watch_widget)
        when_imported("rich.live", _watch_live_displays)


# The names of these methods matter: a Kill does not come into an __enter__ or __exit__.


def _watch_redirections(kind: Any) -> None:
    enter, leave = kind.__enter__, kind.__exit__

    # One object may be in use in several jobs and in the foreground at once, so each ends its own.

    @functools.wraps(enter)
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

    @functools.wraps(leave)
    @_holds
    def __exit__(self: Any, *error: Any) -> Any:
        job = output.of_job()
        entries = vars(self).get("_ipykill_entries", [])
        entry = next((it for it in reversed(entries) if it[0] is job), None)
        if entry is None:
            return leave(self, *error)
        entries.remove(entry)
        return entry[1]()

    kind.__enter__, kind.__exit__ = __enter__, __exit__


def _watch_captures(kind: Any) -> None:
    enter, leave = kind.__enter__, kind.__exit__

    @functools.wraps(enter)
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

    @functools.wraps(leave)
    @_holds
    def __exit__(self: Any, *error: Any) -> None:
        ends = vars(self).pop("_ipykill_ends", None)
        if ends is None:
            leave(self, *error)
        else:
            for end in ends:
                end()

    kind.__enter__, kind.__exit__ = __enter__, __exit__


def _watch_captured_displays(kind: Any) -> None:
    """Let what a job displays pass by a capture of the foreground."""
    for name in ("publish", "clear_output"):
        _watch_method(kind, name, getattr(kind, name))


def _watch_method(kind: Any, name: str, method: Any) -> None:
    @functools.wraps(method)
    def passing(self: Any, *args: Any, **kwargs: Any) -> Any:
        job = output.of_job()
        if job is None:
            return method(self, *args, **kwargs)
        return getattr(job.publisher, name)(*args, **kwargs)

    setattr(kind, name, passing)


def _watch_widget(module: ModuleType) -> None:
    kind: Any = module.Output
    enter, leave = kind.__enter__, kind.__exit__

    @functools.wraps(enter)
    @_holds
    def __enter__(self: Any) -> Any:
        job = output.of_job()
        if job is not None and job.cell_message is not None:
            job.widgets().append(self)
            return None
        entered = enter(self)
        output.blocks.widgets.append(self)
        return entered

    @functools.wraps(leave)
    @_holds
    def __exit__(self: Any, kind: Any, error: Any, tb: Any) -> Any:
        job = output.of_job()
        if job is None or self not in job.widgets():
            _remove_last(self, output.blocks.widgets)
            return leave(self, kind, error, tb)
        # As the original does, it shows an error and goes on; but a job that is to end ends.
        shown = error is not None and not isinstance(error, JobKilled | JobStopped)
        if shown:
            lines = output.format_error(job.shell, error)
            job.show_error(kind.__name__, message(error), lines)
        _remove_last(self, job.widgets())
        return shown or None

    kind.__enter__, kind.__exit__ = __enter__, __exit__


def _remove_last(widget: Any, widgets: list[Any]) -> None:
    if widget in widgets:
        del widgets[len(widgets) - 1 - widgets[::-1].index(widget)]


def _watch_live_displays(module: ModuleType) -> None:
    """Let a progress bar of rich not take what others print.

    Above a bar that it repaints it would print that itself, for which it assigns a stream of
    its own to `sys.stdout` (``Live._enable_redirect_io``, rich 10 to 15). In a job it need not.
    """
    enable = getattr(module.Live, "_enable_redirect_io", None)
    if enable is None or hasattr(enable, "__wrapped__"):
        return

    @functools.wraps(enable)
    def _enable_redirect_io(self: Any) -> None:
        if output.of_job() is None:
            enable(self)

    module.Live._enable_redirect_io = _enable_redirect_io
