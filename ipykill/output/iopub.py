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

from ..base.wrapping import wrap
from ..core.current import current_job
from ..kill import shield
from ..threads import ServiceThread

__all__ = ["open_no_sockets", "send_together"]


def open_no_sockets(pub_socket: Any) -> None:
    """Let the threads of jobs send through `pub_socket` without a socket for each of them.

    A second call changes nothing.
    """
    # Tried with `ipykernel.iostream` of ipykernel 6.29 to 7.4. Other kernels have other threads.
    io_thread: Any = getattr(pub_socket, "io_thread", None)
    names = ("schedule", "_events", "_handle_event", "io_loop", "thread")
    own = getattr(io_thread, "_local", None)  # local to each thread

    def without_socket(schedule: Callable[[Callable[[], object]], None]) -> Any:
        def scheduled(event: Callable[[], object]) -> None:
            # A thread that has a socket uses it. In the child of a fork `IOPub` does not run.
            if hasattr(own, "event_pipe") or not _is_of_jobs() or not io_thread.thread.is_alive():
                schedule(event)
                return
            # Uses the queue that all threads use, so that events keep their order: a front end
            # learns of a widget before it is shown. The event is in the queue before the thread
            # is woken, which then handles all events that it finds.
            with shield():
                io_thread._events.append(event)
                io_thread.io_loop.add_callback(io_thread._handle_event, None)

        return scheduled

    if all(hasattr(io_thread, name) for name in names):
        wrap(io_thread, "schedule", without_socket)


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
