"""The interpreter's records of its threads, by address."""

from __future__ import annotations

import ctypes
from types import FrameType

__all__ = ["frame_of", "get_thread_state"]

# Looked up with brackets, for the reason given in `ipykill.threads`.
get_thread_state = ctypes.pythonapi["PyThreadState_Get"]
get_thread_state.argtypes = []
get_thread_state.restype = ctypes.c_void_p

# Public since 3.9. sys._current_frames() would do, but it crashes 3.12 and 3.13 while a
# subinterpreter lives.
_get_frame = ctypes.pythonapi["PyThreadState_GetFrame"]
_get_frame.argtypes = [ctypes.c_void_p]
_get_frame.restype = ctypes.py_object


def frame_of(thread_state: int) -> FrameType | None:
    """Return the innermost frame of a thread that lives, None if it runs no Python."""
    try:
        frame: FrameType = _get_frame(thread_state)
    except ValueError:  # NULL
        return None
    return frame
