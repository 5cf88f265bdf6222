"""The few waits of the standard library that must be prepared before a Kill is raised in them.

``Condition.wait``, ``Popen.wait`` and their like are written for an exception out of the wait,
because Ctrl-C raises one; but for one in the main thread, of a program that is about to end.
`leave` does what is missing for other threads. It runs in the waiting thread itself, in the
signal handler, so the wait stands still meanwhile.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import contextlib
import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from ..base.instances import instances
from ..processes import ChildProcess, timing
from . import interrupters, policy
from .awaited import end_after_grace
from .mentioned import mentioned
from .target import Target, contain

__all__ = [
    "hasten",
    "interrupt_query",
    "joined",
    "leave",
    "may_be_left",
    "pool_of",
    "surely_waits",
]

_NEAR = 4  # frames, the innermost included, among which the frame of the wait is looked for
_MOMENT = 0.001  # seconds to wait for the lock of a condition, which a notify() may hold
_LOCKS = type(threading.Lock()), type(threading.RLock())
_REAP = 0.5  # seconds that a killed child process has to be gone

_CONDITION_WAIT = threading.Condition.wait.__code__
_POPEN_WAITS = {
    getattr(subprocess.Popen, name).__code__
    for name in ("wait", "_wait", "communicate", "_communicate")
    if hasattr(subprocess.Popen, name)
}
_POPEN_EXIT = subprocess.Popen.__exit__.__code__
_OS_POPEN: Any = getattr(os, "_wrap_close", None)  # what os.popen returns
_OS_POPEN_EXIT = _OS_POPEN and _OS_POPEN.__exit__.__code__
_OS_POPEN_CLOSE = _OS_POPEN and _OS_POPEN.close.__code__
_POPEN_OWNERS = {subprocess.run.__code__, subprocess.call.__code__}
_POPEN_WAITPID = getattr(subprocess.Popen, "_try_wait", None)
_JOIN = threading.Thread.join.__code__
_PROCESS_JOIN = BaseProcess.join.__code__
_LOOP_CLOSES = asyncio.Runner.close.__code__
_LOOP_CALLS = asyncio.Handle._run.__code__
_POOL_WORKER = concurrent.futures.thread._worker.__code__


def may_be_left(frame: FrameType, target: Target) -> bool:
    """Whether a Kill should be raised where `frame` waits.

    It should not in an idle worker of a pool, in an event loop that waits for the tasks that it has
    cancelled, in a thread that other jobs need, and in one that trio will answer. In a thread that
    manages processes it should not until these have ended, and those who wait for their results
    were told (see `hasten`).
    """
    if _is_shared(target, frame):
        return False
    if frame.f_code is _POOL_WORKER or (target.group.keep_processes and _serves(target.thread)):
        return False
    if _manages_processes(target.thread):
        # When its processes have ended, it has to tell those who wait for their results.
        tells = getattr(target.thread, "pending_work_items", None) and not target.resorts["later"]
        if tells or _workers(target, target.thread):
            return False
    # Trio cancels what the thread has asked it for, and answers, as long as it runs.
    led = target.dies_after is not None
    if led and frame.f_code.co_name == "_send_message_to_trio":
        return False
    caller: FrameType | None = frame
    while caller is not None and caller.f_code is not _LOOP_CALLS:
        if caller.f_code is _LOOP_CLOSES:
            return False
        caller = caller.f_back
    return True


def surely_waits(frame: FrameType) -> bool:
    """Whether a signal that comes inside a call of `frame` comes while that waits."""
    return frame.f_code is _CONDITION_WAIT


def _is_shared(target: Target, frame: FrameType) -> bool:
    """Whether other jobs need the thread, and it runs none of the user's code now."""
    if target.service is None or not target.group.shares(target):
        return False
    caller: FrameType | None = frame
    while caller is not None and caller.f_code is not contain.__code__:
        if policy.reaches(caller, libraries=False):
            return False
        caller = caller.f_back
    return True


def leave(frame: FrameType, target: Target) -> bool:
    """Prepare the wait at `frame` for an exception; return whether it may be raised.

    Called in the waiting thread.
    """
    _leave_join(frame)
    for near in _near(frame):
        if near.f_code is _CONDITION_WAIT:
            return _leave_condition(near)
        if near.f_code is _PROCESS_JOIN and target.group.kill_requested:
            child = target.group.child_of(near.f_locals["self"])
            if child is not None and not target.group.keep_processes:
                target.group.note_descendants([child])
                child.press()
            break
        if near.f_code in _POPEN_WAITS:
            if not target.group.kill_requested:
                break  # Target.note interrupts all processes of the job
            process = near.f_locals["self"]
            child = target.group.child_of(process)
            process._sigint_wait_secs = 0  # that wait is for a process that Ctrl-C ends as well
            if child is not None and not target.group.keep_processes:
                _end_process(process, child, frame)
            elif child is not None and any(it.f_code in _POPEN_OWNERS for it in _near(near)):
                _hand_over(process)
            break
    return True


def hasten(frame: FrameType, target: Target) -> bool:
    """End what a thread waits for, if no Kill may be raised in the wait itself.

    Called in the waiting thread. ``with subprocess.Popen(...)`` waits in its ``__exit__`` for the
    end of the process; an idle worker of a thread pool waits for work; the thread that manages a
    pool of processes waits for these, and then fails the futures of the pool.

    Returns
    -------
    bool
        Whether the Kill may be raised in the wait after all, because the process that it waits
        for is spared.
    """
    group = target.group
    if not group.kill_requested:
        return False
    if _is_shared(target, frame):
        group.let_go(target)
        return False
    if frame.f_code is _POOL_WORKER:
        _end_pool(target, frame)
        return False
    if group.keep_processes and _serves(target.thread):
        group.let_go(target)
        return False
    if _manages_processes(target.thread):
        _end_workers(target, target.thread)
        return False
    for near in _near(frame):
        if near.f_code is _JOIN:
            _end_workers(target, near.f_locals["self"])
            return False
        if (process := _awaited(near)) is not None:
            child = group.child_of(process)
            leaving = any(it.f_code in (_POPEN_EXIT, _OS_POPEN_EXIT) for it in _near(near))
            if child is None or group.keep_processes:
                return leaving and child is not None
            if not child.late and not child.ended:  # cleanup has started those that are late
                child.press(0 if leaving else timing.grace)
                if child.asked:
                    group.struck = True  # the job is killed, whatever its code makes of this end
            return False
    end_after_grace(frame, target)
    return False


def _awaited(frame: FrameType) -> object:
    """Return the process whose end `frame` waits for, or to which it flushes data before that."""
    if frame.f_code is _OS_POPEN_CLOSE:
        return vars(frame.f_locals["self"]).get("_proc")
    waits = frame.f_code in _POPEN_WAITS or frame.f_code is _POPEN_EXIT
    return frame.f_locals["self"] if waits else None


def interrupt_query(target: Target, frame: FrameType, place: int, *, search: bool) -> bool:
    """Interrupt the query that the target runs in `frame`; called by any thread but the target's.

    An object that the call in `frame` mentions is interrupted if `interrupters` knows its class and
    the target is still at `place`. A database server interrupts what it is doing when it gets the
    request: by then that may be the next query, one of cleanup. So it is not asked again soon.

    SQLite does not look for signals, but a connection has an ``interrupt()``. It is called on
    connections that the call in `frame` mentions. With `search`, which takes long, it is called
    on all that the target opened: these are recognised by the error with which they refuse to
    serve another thread. A connection with ``check_same_thread=False`` may be serving another
    thread, so it has to be mentioned.

    Returns
    -------
    bool
        Whether an object that `interrupters` knows was interrupted.
    """
    found = mentioned(frame)
    asked = False
    for thing in found:
        if target.wanted and interrupters.knows(thing) and _is_at(target, frame, place):
            target.group.struck = asked = True  # first: the thread may end at once, with an error
            interrupters.interrupt(thing)
    sqlite3: Any = sys.modules.get("sqlite3")
    if sqlite3 is None:
        return asked
    own = []
    for thing in found:
        if issubclass(type(thing), sqlite3.Cursor):
            thing = sqlite3.Cursor.connection.__get__(thing)
        own.append(thing)
    for thing in instances(sqlite3.Connection) if search else own:
        if not issubclass(type(thing), sqlite3.Connection):
            continue
        try:
            sqlite3.Connection.cursor(thing)
            is_its = any(thing is other for other in own)
        except sqlite3.ProgrammingError as error:
            is_its = f"thread id {target.ident} " in str(error)
        if is_its and target.wanted:
            target.group.struck = True
            with contextlib.suppress(sqlite3.ProgrammingError):  # it has been closed
                sqlite3.Connection.interrupt(thing)
    return asked


def _is_at(target: Target, frame: FrameType, place: int) -> bool:
    with target.gate:
        return target.innermost_frame() is frame and frame.f_lasti == place


def joined(frame: FrameType | None) -> threading.Thread | None:
    """Return the thread that `frame` joins, None if it joins none; any thread may ask."""
    for near in _near(frame):
        if near.f_code is _JOIN:
            thread = near.f_locals.get("self")
            return thread if isinstance(thread, threading.Thread) else None
    return None


def _serves(thread: threading.Thread) -> bool:
    """Whether a thread, even an idle one, serves processes, which need it if they are spared."""
    target = getattr(thread, "_target", None)
    name = getattr(target, "__qualname__", "")
    return (
        name == "Queue._feed"
        or (name.startswith("Pool._handle_") and target.__module__ == "multiprocessing.pool")
        or _manages_processes(thread)
    )


def _manages_processes(thread: threading.Thread) -> bool:
    # concurrent.futures and loky have a class of this name.
    return type(thread).__name__ == "_ExecutorManagerThread"


def _workers(target: Target, manager: threading.Thread) -> list[ChildProcess]:
    """Return the processes of the job that `manager` manages and that have not ended."""
    handles = getattr(manager, "processes", None) or {}
    children = (target.group.child_of(handle) for handle in list(handles.values()))
    return [child for child in children if child is not None and not child.ended]


def _end_workers(target: Target, manager: threading.Thread) -> None:
    if _manages_processes(manager):
        for child in _workers(target, manager):
            child.press()
            target.group.struck = True


def _near(frame: FrameType | None) -> Iterator[FrameType]:
    near = frame
    for _ in range(_NEAR):
        if near is None:
            return
        yield near
        near = near.f_back


def _leave_condition(wait: FrameType) -> bool:
    """Take the waiter off the list, so that no notify() chooses it; False if one already has.

    notify() releases a waiter and takes it off the list with the condition's lock held. So a
    thread that has the lock and finds its waiter on the list was not chosen. (A thread that
    cannot get the lock could not leave wait() either, which acquires it again.)
    """
    waiter = wait.f_locals.get("waiter")
    if waiter is None:
        return True
    condition = wait.f_locals["self"]
    lock: Any = getattr(condition, "_lock", None)
    may_take = isinstance(lock, _LOCKS)  # a lock of another class would run foreign code
    if may_take and not lock.acquire(timeout=_MOMENT):
        return False
    try:
        condition._waiters.remove(waiter)
    except ValueError:
        # The notify() was for this thread alone. Let wait() return, so that its caller uses or
        # passes on what it was notified of.
        return False
    finally:
        if may_take:
            lock.release()
    return True


def _end_process(process: Any, child: ChildProcess, innermost: FrameType) -> None:
    """End and reap a child process of the job, for which its own thread waits."""
    with contextlib.suppress(Exception):
        child.finish()
        if not child.ended:
            return
        if innermost.f_code is getattr(_POPEN_WAITPID, "__code__", None):
            # This thread is in waitpid() and holds the lock that wait() would take.
            process._handle_exitstatus(process._try_wait(0)[1])
        else:
            process.wait(_REAP)


def _hand_over(process: Any) -> None:
    """Save a process from `subprocess.run`, which kills it when an exception ends the wait.

    `run` uses a Popen object to which no other code refers. That object is told that the process
    has ended. A copy of it goes on the list of processes that `subprocess` reaps later.
    """
    heir = object.__new__(subprocess.Popen)
    vars(heir).update(vars(process), stdin=None, stdout=None, stderr=None)
    heir._waitpid_lock = threading.Lock()  # type: ignore[attr-defined]
    kept: list[Any] | None = getattr(subprocess, "_active", None)
    if kept is not None:
        kept.append(heir)
    process.returncode = 0


def _end_pool(target: Target, worker: FrameType) -> None:
    """Shut down the pool of an idle worker, if all its workers belong to the job."""
    group = target.group
    if target.dies_after is not None:
        return  # the leader may still use the pool, for example in a `finally:`
    reference = worker.f_locals.get("executor_reference")
    executor = reference() if callable(reference) else None
    if executor is None:
        return  # the pool was collected, so the worker is about to end
    if set(executor._threads) <= set(group.threads()):
        executor.shutdown(wait=False, cancel_futures=True)
    else:
        group.let_go(target)


def pool_of(thread: threading.Thread) -> concurrent.futures.ThreadPoolExecutor | None:
    """Return the pool whose worker a thread is, also before it runs; None if it is no worker."""
    target = getattr(thread, "_target", None)
    if getattr(target, "__code__", None) is not _POOL_WORKER:
        return None
    reference = next(iter(getattr(thread, "_args", ())), None)
    pool = reference() if callable(reference) else None
    return pool if isinstance(pool, concurrent.futures.ThreadPoolExecutor) else None


def _leave_join(frame: FrameType) -> None:
    """Keep ``Thread.join`` from marking a live thread as dead; CPython up to 3.12.

    When an exception ends its wait, the handler from bpo-45274 sees that the other thread's lock
    is held, takes that for an acquisition of its own, releases the lock and marks the thread as
    ended. So the frame's local variable is set to another lock, as a debugger would do.
    """
    join = getattr(threading.Thread, "_wait_for_tstate_lock", None)
    if join is not None and frame.f_code is join.__code__:
        frame.f_locals["lock"] = threading.Lock()
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), 0)
