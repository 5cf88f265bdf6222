"""Errors of jobs as text that can be sent."""

from __future__ import annotations

import copy
import traceback
from typing import Any

from ..base import locks, stack
from ..core.failure import comes_from
from ..exceptions import JobError

__all__ = ["clean", "format_error"]

_traceback_lock = locks.RLock()


def format_error(shell: Any, error: BaseException) -> list[str]:
    """Return the traceback as the shell formats it, without ipykill's own frames."""
    tb = stack.without_machinery(error.__traceback__)
    if isinstance(error, JobError) and not hasattr(error, "_render_traceback_"):
        return [f"{type(error).__name__}: {error}"]
    try:
        # IPython's formatter leaves out the members of a group, so IPython does this as well.
        if comes_from(error, BaseExceptionGroup):
            return "".join(traceback.format_exception(type(error), error, tb)).splitlines()
        if hasattr(error, "_render_traceback_"):
            return list(error._render_traceback_())
        # A copy, because the formatter remembers the error for %debug and %tb, which are for
        # errors of the foreground.
        formatter = copy.copy(shell.InteractiveTB)
        with _traceback_lock:
            return list(formatter.structured_traceback(type(error), error, tb, tb_offset=0))
    except Exception:
        return "".join(traceback.format_exception(type(error), error, tb)).splitlines()


def clean(text: str) -> str:
    """Return `text` with lone surrogates escaped, so that it can be sent as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
