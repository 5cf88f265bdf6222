"""A process of its own for one job: its main thread hears what is asked, the job has another."""

from __future__ import annotations

import atexit
import faulthandler
import linecache
import os
import signal
import socket
import sys
import threading
from typing import Any

from . import shell
from .wire import GONE, Cargo, Wire
from .work import Work

__all__ = ["main"]

_PDEATHSIG = 1  # of prctl
_TEARDOWN = 2  # seconds that the interpreter's own end may take
_CLEANUP = 2.0  # that the job has to end when the kernel is gone


def main(fd: int, parent: int) -> None:
    """Run the job that comes through the socket `fd`; `parent` is the process that sends it."""
    _die_with(parent)
    faulthandler.enable(all_threads=False)  # a crash says where
    at_exit = _at_exit()
    _serve(Wire(socket.socket(fileno=fd)))
    sys.stdout.flush()
    sys.stderr.flush()
    if _at_exit() == at_exit and threading.active_count() == _daemons():
        os._exit(0)  # nobody has anything to do at the end
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_TEARDOWN)


def _serve(wire: Wire) -> None:
    """Run the job, and do what is asked until somebody says goodbye."""
    meta, parcel, arrived = wire.receive()
    assert parcel is not None

    def post(*message: Any) -> None:
        try:
            wire.send(message)
        except GONE:
            pass  # nobody is there any more

    namespace = vars(sys.modules["__main__"])
    for name in ("main", "sys"):  # of the line that started this
        namespace.pop(name, None)
    linecache.cache.pop("<string>", None)
    post("begun", f"process {os.getpid()}")
    try:
        shell.install(namespace)
        work = Work(
            parcel,
            arrived,
            namespace,
            post,
            meta,
            display=shell.display,
            lines=shell.traceback_lines,
        )
    except BaseException as error:
        post("lost", f"it could not be started there: {type(error).__name__}: {error}")
        return
    del parcel, arrived
    threading.Thread(target=_send_end, args=(wire, work, post), daemon=True).start()
    while True:
        try:
            message, _, _ = wire.receive()
        except GONE:  # the kernel is gone
            work.job.kill(_CLEANUP, reason="the kernel is gone")
            os._exit(1)
        if message[0] == "bye":
            return
        work.tell(*message)


def _send_end(wire: Wire, work: Work, post: Any) -> None:
    try:
        end, parcel = work.end()
        wire.send(("end", end), Cargo.of(parcel))
    except GONE:
        pass
    except BaseException as error:
        post("lost", f"what it left could not be sent: {type(error).__name__}: {error}")


def _die_with(parent: int) -> None:
    """Let the system end this process with its parent, where it can (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended before
            os._exit(1)


def _at_exit() -> int:
    """Return how many functions wait for the end of the interpreter."""
    count = getattr(atexit, "_ncallbacks", None)
    return -1 if count is None else int(count())


def _daemons() -> int:
    """Return how many threads do not keep the interpreter from its end, with this one."""
    return 1 + sum(thread.daemon for thread in threading.enumerate())
