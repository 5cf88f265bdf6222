"""The process for one job: its main thread receives messages, the job runs in another thread."""

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
from .wire import Cargo, Gone, Wire
from .work import Work

__all__ = ["main"]

_PDEATHSIG = 1  # the option of prctl() for a signal at the death of the parent
_TEARDOWN = 2  # seconds that the interpreter has for its own end
_CLEANUP = 2.0  # seconds that the job has to end when the kernel is gone


def main(fd: int, parent: int) -> None:
    """Run the job that comes through the socket `fd`; `parent` is the id of the sending process."""
    _die_with(parent)
    faulthandler.enable(all_threads=False)  # so that a crash prints where it happened
    at_exit = _at_exit()
    _serve(Wire(socket.socket(fileno=fd)))
    sys.stdout.flush()
    sys.stderr.flush()
    if _at_exit() == at_exit and threading.active_count() == _daemons():
        os._exit(0)  # no exit handler and no other thread needs the interpreter's own end
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_TEARDOWN)


def _serve(wire: Wire) -> None:
    """Run the job, and handle messages until "bye"."""
    meta, parcel, arrived = wire.receive()
    assert parcel is not None

    def post(*message: Any) -> None:
        try:
            wire.send(message)
        except Gone:
            pass  # the kernel is gone
        except Exception as error:
            why = f"{message[0]} that cannot be sent to the kernel: {type(error).__name__}: {error}"
            wire.send(("text", "stderr", why + "\n"))

    namespace = vars(sys.modules["__main__"])
    for name in ("main", "sys"):  # the line of code that started this process has set them
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
        except Gone:  # the kernel is gone
            work.job.kill(_CLEANUP, reason="the kernel is gone")
            os._exit(1)
        if message[0] == "bye":
            return
        work.tell(*message)


def _send_end(wire: Wire, work: Work, post: Any) -> None:
    try:
        end, parcel = work.end()
        wire.send(("end", end), Cargo.of(parcel))
    except Gone:
        pass
    except BaseException as error:
        post("lost", f"what it left could not be sent: {type(error).__name__}: {error}")


def _die_with(parent: int) -> None:
    """Have the system kill this process when its parent ends, where it can (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent had ended before that
            os._exit(1)


def _at_exit() -> int:
    """Return how many functions are registered with `atexit`, -1 if that is not known."""
    count = getattr(atexit, "_ncallbacks", None)
    return -1 if count is None else int(count())


def _daemons() -> int:
    """Return how many threads do not delay the end of the interpreter: daemons and this one."""
    return 1 + sum(thread.daemon for thread in threading.enumerate())
