"""Keep a Ctrl-C from leaving locks of IPython and ipykernel locked, see `base.locks`.

These are the ones that the main thread takes for each cell or each print, and that another thread
takes as well. If the main thread has to wait for such a lock, it holds the lock some time before
its code goes on, and a Ctrl-C in that time leaves the lock locked. IPython writes its history in a
thread, with a lock that the next cell needs: the kernel would never run a cell again. And ipykernel
sends what cells print in a thread, which would stand still, and with it all that the kernel says.
"""

from __future__ import annotations

import sys
from typing import Any

from ..base.locks import LEAKS, guarded
from ..base.wrapping import wrap

__all__ = ["install"]


def install(shell: Any) -> None:
    """Replace these locks until ipykill is unloaded, if this version of Python leaks them."""
    if not LEAKS:
        return
    for owner, name in (
        (shell.history_manager, "db_input_cache_lock"),
        (shell.history_manager, "db_output_cache_lock"),
        (sys.stdout, "_buffer_lock"),
        (sys.stderr, "_buffer_lock"),
    ):
        if hasattr(owner, name):
            wrap(owner, name, guarded)
