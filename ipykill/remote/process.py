"""Here: the engine that runs each job in a process of its own on this machine.

A crash, a leak or a hang of one job then concerns no other. There is no pool of processes, because
what breaks a process of a pool may end the work of all users of the pool.
"""

from __future__ import annotations

import codecs
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from ..base.waiting import Latch
from ..exceptions import JobError
from ..processes import SIGKILL, ChildProcess, descendants
from ..threads import ServiceThread
from .parcel import Parcel
from .report import Report
from .wire import Cargo, Gone, Wire

if TYPE_CHECKING:
    from .call import RemoteCall

__all__ = ["ProcessEngine"]

_BOOT = (
    "import sys; sys.path[:] = {path!r}; from ipykill.remote.child import main; main({fd}, {me})"
)
_EXIT = 4.0  # seconds that the process has to end by itself, when its job is over
_REST = 0.2  # seconds after that in which text that it has written may arrive


class ProcessEngine:
    """Starts a process for each job."""

    def __init__(self) -> None:
        if sys.platform == "win32":
            msg = "jobs in a process of their own need Linux or macOS; use %%bg without --on"
            raise JobError(msg)

    def copy(self, parcel: Parcel) -> Cargo:
        """Copy the parcel into memory that the process will map."""
        return Cargo.of(parcel)

    def open(self, call: RemoteCall, cargo: Cargo, meta: dict[str, Any]) -> ProcessLink:
        """Start the process, and send it the job."""
        return ProcessLink(call, cargo, meta)


class ProcessLink:
    """The connection to the process that runs one job; the job here has it among its processes.

    Threading
    ---------
    The job's thread calls the public methods. Three service threads read from the process.
    """

    def __init__(self, call: RemoteCall, cargo: Cargo, meta: dict[str, Any]) -> None:
        self._call = call
        mine, theirs = socket.socketpair()
        boot = _BOOT.format(path=sys.path, fd=theirs.fileno(), me=os.getpid())
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", boot],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        self._child = ChildProcess(
            self._process.pid, "python", handle=self._process, leads=True, watched=True
        )
        self._wire = Wire(mine)
        self._copied = [Latch(), Latch()]
        self._read_all = Latch()
        ServiceThread(lambda: self._copy("stdout", self._copied[0]), "remote stdout").start()
        ServiceThread(lambda: self._copy("stderr", self._copied[1]), "remote stderr").start()
        ServiceThread(self._read, "remote").start()
        try:
            self._wire.send(meta, cargo)
        except Gone:
            pass  # it ended at once; `_read` posts that
        cargo.shelf.close()

    def tell(self, *message: object) -> None:
        """Send a message."""
        try:
            self._wire.send(message)
        except Gone:
            pass

    def outlook(self, seconds: float) -> str:
        """Return in words what is done in `seconds`."""
        return f"its process is ended in {seconds:.0f} s"

    def abandon(self, report: Report) -> None:
        """End the process with all that it has started, by SIGKILL."""
        for child in (self._child, *descendants([self._child])):
            child.signal(SIGKILL)
        why = f": {report.hindrance}" if report.hindrance else ""
        told = f"its process was ended by SIGKILL{why}; what it had computed is gone with it"
        self._call.post("told", told)

    def close(self) -> None:
        """Wait until the process has ended, and the text that it has written has arrived."""
        self.tell("bye")
        try:
            self._process.wait(_EXIT)
        except subprocess.TimeoutExpired:
            self._child.signal(SIGKILL)
            self._process.wait()
        for latch in self._copied:  # not for ever: a child that it has left may have the pipe open
            latch.wait(_REST)
        self._wire.close()
        self._child.forget()

    def _read(self) -> None:
        try:
            while True:
                message, parcel, _ = self._wire.receive()
                self._call.post(*message, *([] if parcel is None else [parcel]))
        except Gone:
            why = f"its process has ended by itself: {self._why()}"
        except Exception as error:  # a class that cannot be imported here
            why = f"what its process sent cannot be read here: {type(error).__name__}: {error}"
        self._call.post("lost", why)

    def _why(self) -> str:
        try:
            code = self._process.wait(_EXIT)
        except subprocess.TimeoutExpired:
            return "it says nothing any more"
        if code == -SIGKILL:
            return "SIGKILL, which the system sends when there is no memory left"
        if code < 0:
            name = next((it.name for it in signal.Signals if it == -code), f"signal {-code}")
            crash = name in ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT")
            return f"{name}{', a crash in C code' if crash else ''}"
        return f"exit code {code}, as os._exit() does"

    def _copy(self, name: str, over: Latch) -> None:
        """Post the text that C code and child processes there write."""
        pipe = getattr(self._process, name)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while data := os.read(pipe.fileno(), 1 << 16):
            self._call.wait_for_room()
            if text := decoder.decode(data):
                self._call.post("text", name, text)
        over.set()
        pipe.close()
