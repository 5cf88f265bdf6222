"""One switch for the user: how much of CPython's internals a Kill may use."""

from __future__ import annotations

import functools
import os
import sysconfig
from typing import Literal, get_args

__all__ = ["LEVELS", "Level", "has_gil", "level", "use"]

Level = Literal["full", "public", "plain"]
LEVELS: tuple[Level, ...] = get_args(Level)


def _checked(value: str, source: str) -> Level:
    for known in LEVELS:
        if value == known:
            return known
    msg = f"{source} is {value!r}; it can be one of {', '.join(LEVELS)}"
    raise ValueError(msg)


_level: Level = _checked(os.environ.get("IPYKILL_KILL", "full"), "IPYKILL_KILL")


def level() -> Level:
    """Return what `use` set, or the environment variable ``IPYKILL_KILL``."""
    return _level


def use(level: str) -> None:
    """Choose how a Kill reaches a thread, from the next Kill on.

    Parameters
    ----------
    level
        ``"full"``: all that works here. ``"public"``: nothing that is private to CPython; then
        a job that waits dies only when its call returns by itself. ``"plain"``: only
        ``PyThreadState_SetAsyncExc``, which can leave locks held and cleanup undone.

    Raises
    ------
    ValueError
        The level is none of these.
    """
    global _level
    _level = _checked(level, "the level")


@functools.cache
def has_gil() -> bool:
    """Whether this CPython has a global interpreter lock.

    Without one, the state of another thread changes while it is read. So on a free-threading
    build ipykill does not look into other threads, even if the lock happens to be on.
    """
    return not sysconfig.get_config_var("Py_GIL_DISABLED")
