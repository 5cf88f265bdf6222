"""One child process of a job: its state, and the signals that end it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

from ..base import locks
from . import timing
from .table import command_line, exists, has_ended, live_groups

__all__ = ["SIGKILL", "ChildProcess", "ProcessInfo"]

SIGKILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)
_PROCESS_GROUP = 4  # PIDFD_SIGNAL_PROCESS_GROUP

Handle = subprocess.Popen[Any] | BaseProcess


@dataclass(frozen=True)
class ProcessInfo:
    """What was true of a child process at one moment.

    Attributes
    ----------
    pid
        Its process id.
    command
        Its command line, or the name of a process of `multiprocessing`.
    thread
        The name of the thread that started it.
    running
        Whether it, or a process that it left behind in its group, is running. If not, it is a
        zombie: it has ended, and its exit status was not fetched.
    """

    pid: int
    command: str
    thread: str
    running: bool


class ChildProcess:
    """A process that a job started.

    Parameters
    ----------
    pid
        Its process id. Nobody has waited for it yet.
    command
        What it is, in words; if empty, the system is asked for its command line.
    handle
        Its `Popen` or `multiprocessing` object, None if there is none.
    leads
        Whether it leads a process group of its own.
    late
        Whether it was started by the cleanup of a job that was being killed.
    watched
        Whether a thread outside of the job may fetch its exit status.
    ours
        Whether it is a direct child of this process.

    Threading
    ---------
    Any thread, or a signal handler, may call any method. `_lock` guards the pidfd. Only
    `finish` blocks.
    """

    def __init__(
        self,
        pid: int,
        command: str = "",
        *,
        handle: Handle | None = None,
        leads: bool = False,
        late: bool = False,
        watched: bool = False,
        ours: bool = True,
    ) -> None:
        self.pid = pid
        self.service: object = None  # what is known of how a library started it
        self.thread = threading.current_thread().name
        self.late = late
        self.watched = watched or (handle is None and ours)
        # Weak, because the object owns pipes: the process may wait until its stdin is closed.
        self._handle = weakref.ref(handle) if handle is not None else None
        self._made_by_hand = handle is None and ours
        self._command = command
        self.leads = leads and hasattr(os, "killpg")
        self._lock = locks.RLock()
        self._pidfd: int | None = None
        self._ended = False
        self.beyond = False  # whether it is another user's, so that no signal can be sent to it
        self._seen: float | None = None  # when `press` was called first, monotonic,
        self._asked: float | None = None  # and when it sent SIGTERM
        self._killed: float | None = None  # and SIGKILL
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._ended = True  # other code has waited for every child, or ignores SIGCHLD
        except (AttributeError, OSError):
            pass  # the system has no pidfds, or no file descriptor is left

    def __repr__(self) -> str:
        return f"<ChildProcess {self.pid} {self.command!r}>"

    def __del__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Close the pidfd; if there was one, the process counts as ended from here on."""
        with self._lock:
            pidfd, self._pidfd = self._pidfd, None
            if pidfd is not None:
                self._ended = True
                os.close(pidfd)

    # What is true

    @property
    def command(self) -> str:
        """What it is, in words."""
        return self._command or command_line(self.pid)

    @property
    def ended(self) -> bool:
        """Whether the process itself has ended, even if its group has members left."""
        with self._lock:
            if not self._ended:
                self._ended = self._has_ended()
            return self._ended

    @property
    def running(self) -> bool:
        """Whether it, or a process that it left behind in its group, is running."""
        return not self.ended or (self.leads and self._group_runs())

    @property
    def exists(self) -> bool:
        """Whether it is running in the sense of `running`, or a zombie."""
        return not self.ended or not self.reaped() or self.running

    def info(self, live_groups: Callable[[], set[int]]) -> ProcessInfo:
        """Return its state now.

        Parameters
        ----------
        live_groups
            Returns a recent result of `table.live_groups`, shared by many processes.
        """
        running = not self.ended or (self.leads and self.pid in live_groups())
        return ProcessInfo(self.pid, self.command, self.thread, running)

    @property
    def handle(self) -> Handle | None:
        """Its `Popen` or `multiprocessing` object, None if that is gone."""
        return self._handle() if self._handle is not None else None

    def stands_for(self, handle: object) -> bool:
        """Whether `handle` is the `Popen` or `multiprocessing` object of this process."""
        return self._handle is not None and self._handle() is handle

    @property
    def asked(self) -> bool:
        """Whether it was asked to end."""
        return self._asked is not None

    @property
    def due(self) -> float | None:
        """Seconds until SIGKILL is due; None if it was not asked to end, or has ended."""
        if self._asked is None or self.ended:
            return None
        return max(self._asked + timing.grace - time.monotonic(), 0)

    def _has_ended(self) -> bool:
        if self._pidfd is not None:
            return has_ended(self._pidfd)
        handle = self._object()
        if isinstance(handle, subprocess.Popen):
            return handle.poll() is not None
        if handle is not None:
            try:
                return handle.exitcode is not None
            except (ValueError, AssertionError):  # it is closed, or not this process's child
                return True
        if self._handle is not None or not exists(self.pid):
            return True
        if not hasattr(os, "waitid") and self._asked is not None:
            # macOS before Python 3.13: only reaping tells a zombie from a running process.
            with contextlib.suppress(ChildProcessError):
                return os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
        return self._zombie()

    def _object(self) -> Handle | None:
        """Return its `Popen` or `multiprocessing` object, None if that was collected."""
        handle = self._handle() if self._handle is not None else None
        if handle is None and self._handle is not None:
            # `subprocess` keeps a Popen without other references there while its process runs.
            kept: list[subprocess.Popen[Any]] = getattr(subprocess, "_active", None) or []
            handle = next((it for it in list(kept) if it.pid == self.pid), None)
        return handle

    def _zombie(self) -> bool:
        with contextlib.suppress(OSError, AttributeError):
            how = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self.pid, how) is not None
        return False

    def reaped(self) -> bool:
        """Whether somebody has waited for it; to be asked only after it has ended."""
        with self._lock:
            try:
                if self._pidfd is not None:
                    os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                    return False
                return not self._zombie()
            except ChildProcessError:
                return True

    def _group_runs(self) -> bool:
        # Signal 0 alone does not tell: zombies count as members of the group.
        return self._send_to_group(0) and (sys.platform != "linux" or self.pid in live_groups())

    # How it ends

    def signal(self, number: int) -> bool:
        """Send a signal to its group, or to it alone; return whether any process got it."""
        if self.leads and self._send_to_group(number):
            return True
        with self._lock:
            try:
                if self._pidfd is not None:
                    signal.pidfd_send_signal(self._pidfd, number)
                    return True
                if self.ended:
                    return False
                handle = self._object()
                if isinstance(handle, subprocess.Popen):
                    handle.send_signal(number)
                elif handle is not None and number in (signal.SIGTERM, SIGKILL):
                    handle.terminate() if number == signal.SIGTERM else handle.kill()
                elif handle is None:
                    os.kill(self.pid, number)
                return True
            except PermissionError:
                self.beyond = True
            except (OSError, ValueError):
                pass  # it ended just now, or was closed
            return False

    def _send_to_group(self, number: int) -> bool:
        with self._lock:
            try:
                if self._pidfd is not None:
                    with contextlib.suppress(OSError):
                        signal.pidfd_send_signal(self._pidfd, number, None, _PROCESS_GROUP)
                        return True
                if self.ended and self.reaped() and exists(self.pid):
                    return False  # see "Never the wrong process", 2
                os.killpg(self.pid, number)
                return True
            except PermissionError:
                self.beyond = True
            except OSError:
                pass
            return False

    def press(self, patience: float = 0.0) -> None:
        """Send the next signal that is due: SIGTERM, or SIGKILL after `timing.grace` seconds.

        This does not wait; call it again and again until the process has ended.

        Parameters
        ----------
        patience
            Seconds from the first call to SIGTERM.
        """
        now = time.monotonic()
        with self._lock:
            if self.ended and not self.leads:
                return
            if self._seen is None:
                self._seen = now
            if self._asked is None:
                if now < self._seen + patience:
                    return
                self._asked = now
                steps: list[int] = [signal.SIGTERM]
                if hasattr(signal, "SIGCONT"):
                    steps.append(signal.SIGCONT)
            elif self._killed is None and now >= self._asked + timing.grace:
                self._killed = now
                steps = [SIGKILL]
            else:
                return
        for number in steps:  # SIGCONT, because a stopped process does not act on SIGTERM
            self.signal(number)

    @property
    def hopeless(self) -> bool:
        """Whether nothing can be done any more to end it."""
        killed = self._killed
        return self.beyond or (killed is not None and time.monotonic() > killed + timing.GONE)

    def finish(self) -> None:
        """Block until it has ended, or cannot be ended; its group may have members left."""
        for _ in timing.looks():
            if self.ended or self.hopeless:
                return
            self.press()

    def reap(self) -> None:
        """Fetch the exit status into its object, if nobody has waited for it."""
        handle = self._object()
        if isinstance(handle, subprocess.Popen):
            handle.poll()
        elif handle is not None:
            with contextlib.suppress(ValueError, AssertionError):
                handle.is_alive()
        elif self._made_by_hand:
            with contextlib.suppress(OSError), self._lock:
                if not self.reaped():
                    os.waitpid(self.pid, os.WNOHANG)

    @property
    def is_daemon(self) -> bool:
        """Whether it was forked by hand (`os.fork`) and has moved to a session of its own."""
        if not self._made_by_hand or self.leads or not hasattr(os, "getsid"):
            return False
        with contextlib.suppress(OSError):
            return os.getsid(self.pid) != os.getsid(0)
        return False
