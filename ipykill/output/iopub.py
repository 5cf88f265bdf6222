"""What jobs send leaves from one thread, the one that the kernel has for that.

Whoever wants something sent from that thread, ipykernel's ``IOPub``, wakes it through a socket,
and each thread that does so gets a socket of its own, which is a file or two and stays for ten
seconds after the thread has ended. A thousand jobs that end at once would need more files than
the system grants; then nobody in the process can open one. So threads of jobs, and those of
ipykill, wake it as any thread may wake an event loop.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from ..core.current import current_job
from ..kill import shield
from ..threads import ServiceThread

__all__ = ["open_no_sockets", "send_together"]


def open_no_sockets(pub_socket: Any) -> None:
    """Let the threads of jobs send through `pub_socket` without a socket for each of them.

    To ask for it again changes nothing. It stays so until the process ends.
    """
    # Seen in ipykernel 6.29 to 7.4, `ipykernel.iostream`. Other kernels have other threads.
    io_thread: Any = getattr(pub_socket, "io_thread", None)
    names = ("schedule", "_events", "_handle_event", "io_loop", "thread")
    if not all(hasattr(io_thread, name) for name in names) or "schedule" in vars(io_thread):
        return
    schedule = io_thread.schedule

    @functools.wraps(schedule)
    def scheduled(event: Callable[[], object]) -> None:
        if not _is_of_jobs() or not io_thread.thread.is_alive():  # as in the child of a fork
            schedule(event)
            return
        # The queue is the one of all threads, so that a widget is known before it is shown,
        # whoever shows it. The thread is woken after the event is in the queue, and deals with
        # all that it finds there.
        with shield():
            io_thread._events.append(event)
            io_thread.io_loop.add_callback(io_thread._handle_event, None)

    io_thread.schedule = scheduled


def send_together(pub_socket: Any, send: Callable[[Any], None]) -> None:
    """Call ``send(socket)`` so that nothing else is sent meanwhile, now or soon."""
    io_thread = getattr(pub_socket, "io_thread", None)
    if io_thread is None:
        send(pub_socket)
        return

    def send_all() -> None:
        if not io_thread.closed:
            send(io_thread.socket)  # which that thread has to itself

    io_thread.schedule(send_all)


def _is_of_jobs() -> bool:
    return current_job() is not None or isinstance(threading.current_thread(), ServiceThread)
