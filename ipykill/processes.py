"""The child processes of a job, and how they end.

A process belongs to the job whose code started it. When the job is killed it ends as a
well-behaved service manager would end it: SIGTERM, so that it can clean up, SIGKILL when it
has not ended after `grace` seconds; its whole process group; and nothing is left of it in
the process table. When is decided by one question, who may still need it:

* A thread of the job that *waits* for it (``subprocess.run``, ``wait``, ``communicate``)
  needs it no more: it is asked to end at once, and the thread leaves its wait when the
  process is gone, so that a ``finally:`` or ``with TemporaryDirectory()`` around it finds
  nobody at work in there. (Trio decides so as well.)
* Cleanup may need it: ``finally: process.stdin.close(); process.wait()``. So nobody signals
  a process just because the job is being killed. One for which cleanup waits has the grace
  period to end by itself. One that cleanup *started* (``docker stop``) is left to do its
  work.
* When the job's threads are dead nobody is left who needs it, and `end` ends what remains,
  before the job says that it is killed.

A job that ends by itself leaves its processes alone, as a shell does: who starts a server
in the last line of a cell means it to stay. The job goes on telling of them
(`Job.processes`), and to kill it ends them.

Process groups
--------------
A kernel interrupt is a SIGINT to the kernel's process group, and Ctrl-C one to the group in
the foreground of the terminal. So a program that a job starts leads a group of its own
(``setpgid``), which spares it that, and is also how its own children are reached when it
ends. Not a session of its own: that would cut it off from the terminal, for good. In a
terminal it is what a shell calls a background job: it may write, and stops when it reads.
Whoever passes ``start_new_session`` or ``process_group`` gets what they ask for. Processes
of `multiprocessing` run no other program, and one that wants a session (``os.setsid``)
could not have it as the leader of a group; they stay where they are and start with SIGINT
blocked instead. Their descendants, where `/proc` shows them, end with them; but not what has
made itself a session of its own: a daemon, which was meant to outlive who started it.

Never the wrong process
-----------------------
A number in the process table is free for others when somebody has waited for the process
that had it, and that may be any thread, at any time. Therefore:

1. A process is signalled, and asked whether it has ended, through a *pidfd*, which never
   means another process. It is opened before anybody can have waited: in the thread that
   started the process, before the call that did has returned.
2. So is its group, from Linux 6.9 on. Else the number of the group is that of its leader:
   it cannot be free as long as nobody waited for that, nor as long as the group has a
   member. If somebody has, and a process with this number exists, then the number was free
   in the meantime: it is another's, and nothing is sent.
3. Where there is no pidfd (macOS, Windows) the objects of `subprocess` and `multiprocessing`
   are asked to do it, which look first whether the process still is theirs.
4. Nobody is robbed of an exit status: a process is reaped through the object that stands
   for it, which then knows how it ended. One made by ``os.fork`` has none; it is reaped
   when the job is dead, and when nobody else has done so in a moment.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from . import locks

__all__ = [
    "SIGKILL",
    "ChildProcess",
    "ProcessInfo",
    "descendants",
    "end",
    "live_groups",
    "own_group",
    "without_interrupt",
]

grace = 3.0
"""Seconds from SIGTERM to SIGKILL; may be changed at any time."""

SIGKILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)
_PROCESS_GROUP = 4  # PIDFD_SIGNAL_PROCESS_GROUP
_GONE = 0.5  # seconds that a killed process has to be gone,
_COURTESY = 0.1  # and that others who may want its exit status have to fetch it
_POLL, _POLL_MAX = 0.0005, 0.02  # seconds between two looks at it

Handle = subprocess.Popen[Any] | BaseProcess


@dataclass(frozen=True)
class ProcessInfo:
    """What was true of a child process at one moment.

    Attributes
    ----------
    pid
        Its number.
    command
        Its command line, or the name of a process of `multiprocessing`.
    thread
        The name of the thread that started it.
    running
        Whether it runs, or a process that it left behind in its group. If not, it has
        ended, and nobody has asked how.
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
        Its number. Nobody has waited for it yet.
    command
        What it is, in words; empty: ask the system.
    handle
        The object of the standard library that stands for it, None if there is none.
    leads
        Whether it leads a process group of its own.
    late
        Whether it was started by the cleanup of a job that was being killed.
    watched
        Whether a thread that is not the job's may fetch its exit status.
    ours
        Whether it is a child of this process, and not a child of a child.

    Threading
    ---------
    Any thread may call any method, a signal handler too. `_lock` guards the pidfd. Only
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
        # Weak: it has pipes, and a process may wait for the end of its input.
        self._handle = weakref.ref(handle) if handle is not None else None
        self._made_by_hand = handle is None and ours
        self._command = command
        self._leads = leads
        self._lock = locks.RLock()
        self._pidfd: int | None = None
        self._ended = False
        self._beyond = False  # another user's
        self._seen: float | None = None  # when `press` was called first, monotonic,
        self._asked: float | None = None  # and when it sent SIGTERM
        self._killed: float | None = None  # and SIGKILL
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._ended = True  # somebody waits for every child, or ignores SIGCHLD
        except (AttributeError, OSError):
            pass  # the system has none, or no file descriptor is left

    def __repr__(self) -> str:
        return f"<ChildProcess {self.pid} {self.command!r}>"

    def __del__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Let go of the process; it counts as ended then, unless another is looking."""
        with self._lock:
            pidfd, self._pidfd = self._pidfd, None
            if pidfd is not None:
                self._ended = True
                os.close(pidfd)

    # What is true

    @property
    def command(self) -> str:
        """What it is, in words."""
        return self._command or _command_line(self.pid)

    @property
    def ended(self) -> bool:
        """Whether the process itself has ended, whatever is left of its group."""
        with self._lock:
            if not self._ended:
                self._ended = self._has_ended()
            return self._ended

    @property
    def running(self) -> bool:
        """Whether it runs, or a process that it left behind in its group."""
        return not self.ended or (self._leads and self._group_runs())

    @property
    def exists(self) -> bool:
        """Whether it runs, or has ended and nobody has waited for it."""
        return not self.ended or not self._reaped() or self.running

    def info(self, live_groups: Callable[[], set[int]]) -> ProcessInfo:
        """Return what is true of it now.

        Parameters
        ----------
        live_groups
            Returns what `live_groups` returned a moment ago.
        """
        running = not self.ended or (self._leads and self.pid in live_groups())
        return ProcessInfo(self.pid, self.command, self.thread, running)

    @property
    def handle(self) -> Handle | None:
        """The object of the standard library that stands for it, None if that is gone."""
        return self._handle() if self._handle is not None else None

    def stands_for(self, handle: object) -> bool:
        """Whether this is the process of that object of the standard library."""
        return self._handle is not None and self._handle() is handle

    @property
    def asked(self) -> bool:
        """Whether it was asked to end."""
        return self._asked is not None

    @property
    def due(self) -> float | None:
        """Seconds until it gets SIGKILL; None if it was not asked to end, or has ended."""
        if self._asked is None or self.ended:
            return None
        return max(self._asked + grace - time.monotonic(), 0)

    def _has_ended(self) -> bool:
        if self._pidfd is not None:
            return bool(_readable(self._pidfd))
        handle = self._object()
        if isinstance(handle, subprocess.Popen):
            return handle.poll() is not None
        if handle is not None:
            try:
                return handle.exitcode is not None
            except (ValueError, AssertionError):  # it is closed, or not this process's child
                return True
        if self._handle is not None or not _exists(self.pid):
            return True
        if not hasattr(os, "waitid") and self._asked is not None:
            # A zombie exists, and only who reaps it hears that it is one: macOS before 3.13.
            with contextlib.suppress(ChildProcessError):
                return os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
        return self._zombie()

    def _object(self) -> Handle | None:
        """Return what stands for it in the standard library, None if that was collected."""
        handle = self._handle() if self._handle is not None else None
        if handle is None and self._handle is not None:
            # A Popen that nobody has any more is kept there while its process runs.
            kept: list[subprocess.Popen[Any]] = getattr(subprocess, "_active", None) or []
            handle = next((it for it in list(kept) if it.pid == self.pid), None)
        return handle

    def _zombie(self) -> bool:
        with contextlib.suppress(OSError, AttributeError):
            how = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self.pid, how) is not None
        return False

    def _reaped(self) -> bool:
        """Whether somebody has waited for it, once it has ended."""
        with self._lock:
            try:
                if self._pidfd is not None:
                    os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                    return False
                return not self._zombie()
            except ChildProcessError:
                return True

    def _group_runs(self) -> bool:
        # Members that have ended, and for which nobody has waited, count as well here.
        return self._send_to_group(0) and (sys.platform != "linux" or self.pid in live_groups())

    # How it ends

    def signal(self, number: int) -> bool:
        """Send a signal to its group, or to it alone; return whether somebody got it."""
        if self._leads and self._send_to_group(number):
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
                self._beyond = True
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
                if self.ended and self._reaped() and _exists(self.pid):
                    return False  # see "Never the wrong process", 2
                os.killpg(self.pid, number)
                return True
            except PermissionError:
                self._beyond = True
            except OSError:
                pass
            return False

    def press(self, patience: float = 0.0) -> None:
        """Take the next step to its end, if that is due; to be called again and again.

        Parameters
        ----------
        patience
            Seconds from the first call to SIGTERM.
        """
        now = time.monotonic()
        with self._lock:
            if self.ended and not self._leads:
                return
            if self._seen is None:
                self._seen = now
            if self._asked is None:
                if now < self._seen + patience:
                    return
                self._asked = now
                steps: list[int] = [
                    signal.SIGTERM,
                    *([signal.SIGCONT] if os.name == "posix" else []),
                ]
            elif self._killed is None and now >= self._asked + grace:
                self._killed = now
                steps = [SIGKILL]
            else:
                return
        for number in steps:  # who is stopped does not hear SIGTERM
            self.signal(number)

    @property
    def hopeless(self) -> bool:
        """Whether nothing can be done any more to end it."""
        killed = self._killed
        return self._beyond or (killed is not None and time.monotonic() > killed + _GONE)

    def finish(self) -> None:
        """End it, and return when it has ended; its group may have members left."""
        for _ in _looks():
            if self.ended or self.hopeless:
                return
            self.press()

    def reap(self) -> None:
        """Fetch the exit status, for the object that stands for it, if nobody has."""
        handle = self._object()
        if isinstance(handle, subprocess.Popen):
            handle.poll()
        elif handle is not None:
            with contextlib.suppress(ValueError, AssertionError):
                handle.is_alive()
        elif self._made_by_hand:
            with contextlib.suppress(OSError), self._lock:
                if not self._reaped():
                    os.waitpid(self.pid, os.WNOHANG)

    @property
    def is_daemon(self) -> bool:
        """Whether it was forked by hand and has left for a session of its own."""
        if not self._made_by_hand or self._leads or not hasattr(os, "getsid"):
            return False
        with contextlib.suppress(OSError):
            return os.getsid(self.pid) != os.getsid(0)
        return False


def end(children: Iterable[ChildProcess]) -> None:
    """End processes with their groups and descendants; return when they are gone.

    Nobody of the job is left who waits for them.
    """
    chosen = [child for child in children if not child.is_daemon]
    left = [child for child in chosen if child.running]
    left += descendants(left)
    for child in left:
        child.press()
    begin = time.monotonic()
    for _ in _looks():
        _reap(chosen)  # else the zombie of a leader keeps its group in being
        left = [child for child in left if child.running and not child._beyond]
        if not left or time.monotonic() > begin + grace:
            break
    if left:
        left += descendants(left)
        for child in left:
            child.signal(SIGKILL)
    begin = time.monotonic()
    for _ in _looks():
        _reap(chosen)
        left = [child for child in left if child.running]
        if not left or time.monotonic() > begin + _GONE:
            break
    begin = time.monotonic()
    for _ in _looks():
        since = time.monotonic() - begin
        if not _reap(chosen, watched=since > _COURTESY) or since > 2 * _COURTESY:
            break


def _reap(children: Iterable[ChildProcess], *, watched: bool = False) -> list[ChildProcess]:
    """Reap those that have ended, if nobody else may want to; return those that are left."""
    zombies = [child for child in children if child.ended and not child._reaped()]
    for child in zombies:
        if watched or not child.watched:
            child.reap()
    return [child for child in zombies if not child._reaped()]


def _looks() -> Iterator[None]:
    """Wait a little longer each time, beginning with no time at all."""
    pause = _POLL
    while True:
        yield
        time.sleep(pause)
        pause = min(pause * 1.5, _POLL_MAX)


# What is asked of the system


def _readable(pidfd: int) -> list[tuple[int, int]]:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return poll.poll(0)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _command_line(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return " ".join(os.fsdecode(word) for word in file.read().split(b"\0") if word)
    except OSError:
        return ""


class _Entry(NamedTuple):
    """A line of the process table."""

    pid: int
    parent: int
    group: int
    session: int
    state: str
    start: str


def _entry(pid: int) -> _Entry | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name of the program, in parentheses, may hold anything.
            words = file.read().rpartition(b")")[2].decode().split()
        return _Entry(pid, int(words[1]), int(words[2]), int(words[3]), words[0], words[19])
    except (OSError, IndexError, ValueError):
        return None


def _table() -> list[_Entry]:
    """Return the process table, empty where the system does not show it."""
    if sys.platform != "linux":
        return []
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return []
    return [entry for pid in pids if (entry := _entry(pid)) is not None]


def live_groups() -> set[int]:
    """Return the numbers of the process groups in which something runs; for Linux."""
    return {entry.group for entry in _table() if entry.state not in "ZX"}


def descendants(children: Sequence[ChildProcess]) -> list[ChildProcess]:
    """Return the descendants that no signal to the children's groups reaches."""
    if not children:
        return []
    table = {entry.pid: entry for entry in _table()}
    below: dict[int, list[_Entry]] = {}
    for entry in table.values():
        below.setdefault(entry.parent, []).append(entry)
    reached = {child.pid for child in children if child._leads}
    found = []
    seen = {child.pid for child in children}
    todo = [table[child.pid] for child in children if not child.ended and child.pid in table]
    while todo:
        parent = todo.pop()
        for entry in below.get(parent.pid, ()):
            if entry.pid in seen or entry.session != parent.session:
                continue
            seen.add(entry.pid)
            todo.append(entry)
            if entry.group in reached:
                continue
            child = ChildProcess(entry.pid, ours=False)
            again = _entry(entry.pid)
            if again is not None and again.start == entry.start:  # the pidfd is its own
                found.append(child)
    return found


# How a process starts


def own_group(arguments: dict[str, Any], *, change: bool = True) -> bool:
    """Let a `subprocess.Popen` with these arguments lead a process group of its own.

    Parameters
    ----------
    change
        Whether the arguments may be changed for that.

    Returns
    -------
    bool
        Whether it will lead one; not where the caller has put it into another group.
    """
    if os.name != "posix":
        return False
    if arguments.get("start_new_session"):
        return True
    group = arguments.get("process_group")
    if group is not None and group != -1:
        return bool(group == 0)
    if not change:
        return False
    if (preexec := arguments.get("preexec_fn")) is not None:
        # It may be os.setsid, which the leader of a group must not call.
        arguments["preexec_fn"] = _then_own_group(preexec)
    else:
        arguments["process_group"] = 0
    return True


def _then_own_group(preexec: Callable[[], object]) -> Callable[[], None]:
    parents = os.getpgrp()

    def run() -> None:
        preexec()
        if os.getpgrp() == parents:
            os.setpgid(0, 0)

    return run


@contextlib.contextmanager
def without_interrupt(process: BaseProcess) -> Iterator[None]:
    """Let a process of `multiprocessing` that is started in the block hear no SIGINT.

    It inherits what the thread that starts it has blocked. Not so where another process,
    the fork server, is asked to start it.
    """
    method = getattr(process, "_start_method", None)
    if method is None:
        import multiprocessing

        method = multiprocessing.get_start_method()
    if method == "forkserver" or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    if method == "spawn":
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # which else, when it starts, unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
