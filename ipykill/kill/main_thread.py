"""Where the main thread is, as another thread sees it.

CPython 3.12 and newer; up to 3.11 the frame of another thread must not be touched (see
`Target.innermost_frame`), and nothing is known.
"""

from __future__ import annotations

import os
import platform
import sys
import threading

from . import target as targets
from . import thread_states
from .switches import has_gil

__all__ = ["is_this", "place", "waits_in_a_call"]

_STDLIB = os.path.join(os.path.dirname(os.__file__), "")
# The number of the system call in which a thread waits for a lock, also for the interpreter's.
_FUTEX = {"x86_64": b"202", "aarch64": b"98"}.get(platform.machine())

_native_id = 0


def is_this() -> None:
    """Note that the calling thread is the main thread."""
    global _native_id
    _native_id = threading.get_native_id()


def place() -> tuple[int, int] | None:
    """Return the id of the main thread's innermost frame, and the offset in it; None if unknown."""
    if sys.version_info < (3, 12):
        return None
    frame = thread_states.frame_of(targets.main_state)
    return None if frame is None else (id(frame), frame.f_lasti)


def waits_in_a_call() -> bool:
    """Whether it waits, in a call that may be none of CPython's own; False if that is not known."""
    # Without the interpreter's lock it may go on, and its frame may be gone, while one looks.
    if sys.version_info < (3, 12) or _FUTEX is None or not has_gil():
        return False
    frame = thread_states.frame_of(targets.main_state)
    if frame is None:
        return False
    file_name = frame.f_code.co_filename
    if file_name.startswith((_STDLIB, "<frozen")) and "-packages" not in file_name:
        return False
    try:
        with open(f"/proc/self/task/{_native_id}/syscall", "rb", buffering=0) as file:
            call = file.read(10).split()
    except OSError:
        return False
    return bool(call) and call[0] not in (b"running", b"-1", _FUTEX)
