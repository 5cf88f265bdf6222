"""Lets the threads of jobs send messages without opening a socket each.

All messages of a kernel leave from one thread, ipykernel's ``IOPub``. A thread that wants
something sent wakes it through a socket, and ipykernel makes such a socket for each thread. That
takes a file descriptor or two, which stay open for ten seconds after the thread has ended. A
thousand jobs that end at once would need more descriptors than the system allows; then nothing in
the process could open a file. So threads of jobs, and those of ipykill, wake ``IOPub`` in another
way: by a callback on its event loop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..base.wrapping import replace
from ..core.current import current_job
from ..kill import shield
from ..threads import ServiceThread

__all__ = ["open_no_sockets", "send_together"]


class _Callback:
    """Stands for the socket by which a thread wakes ``IOPub``; each wakes it by a callback."""

    def __init__(self, io_thread: Any) -> None:
        self._io_thread = io_thread

    def send(self, message: bytes) -> None:
        """Let the thread handle all events that it finds in its queue."""
        del message
        with shield():
            self._io_thread.io_loop.add_callback(self._io_thread._handle_event, None)


def open_no_sockets(pub_socket: Any) -> None:
    """Let the threads of jobs send through `pub_socket` without a socket for each of them.

    They use the queue that all threads use, so events keep their order: a front end learns of a
    widget before it is shown. A second call changes nothing.
    """
    # Tried with `ipykernel.iostream` of ipykernel 6.29 to 7.4. Other kernels have other threads.
    io_thread: Any = getattr(pub_socket, "io_thread", None)
    kind = type(io_thread)
    socket_of = getattr(kind, "_event_pipe", None)
    if not isinstance(socket_of, property) or isinstance(socket_of, _EventPipe):
        return
    if all(hasattr(io_thread, name) for name in ("_local", "_events", "_handle_event", "io_loop")):
        make, callback = socket_of.fget, _Callback(io_thread)
        assert make is not None

        # A thread that has a socket uses it, as the main thread does for each ordinary cell.
        def event_pipe(self: Any) -> Any:
            try:
                return self._local.event_pipe
            except AttributeError:
                return callback if self is io_thread and _is_of_jobs() else make(self)

        replace(kind, "_event_pipe", _EventPipe(event_pipe))


class _EventPipe(property):
    """The replaced property."""


def send_together(pub_socket: Any, send: Callable[[Any], None]) -> None:
    """Call ``send(socket)``, now or soon, in the thread that sends: no message comes between."""
    io_thread = getattr(pub_socket, "io_thread", None)
    if io_thread is None:
        send(pub_socket)
        return

    def send_all() -> None:
        if not io_thread.closed:
            send(io_thread.socket)  # only this thread uses it

    io_thread.schedule(send_all)


def _is_of_jobs() -> bool:
    return current_job() is not None or isinstance(threading.current_thread(), ServiceThread)
