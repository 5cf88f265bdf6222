"""The few waits of the standard library that have to be got ready before they are left.

An exception out of ``Condition.wait``, ``Popen.wait`` and their like is what these were
written for, because Ctrl-C raises one. Only: they were written for one main thread whose
program is about to end. `leave` does what is missing. It runs in the waiting thread itself,
inside the signal handler, so the wait stands still meanwhile.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import contextlib
import ctypes
import dis
import gc
import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ..processes import ChildProcess, timing
from . import interrupters, policy
from .target import Target, contain

__all__ = ["hasten", "interrupt_query", "joined", "leave", "may_be_left", "pool_of"]

_NEAR = 4  # frames: how far out the wait may be from the call that waits
_MOMENT = 0.001  # seconds that a lock may be held by who lets a waiter go
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
_LOOP_CLOSES = asyncio.Runner.close.__code__
_LOOP_CALLS = asyncio.Handle._run.__code__
_POOL_WORKER = concurrent.futures.thread._worker.__code__


def may_be_left(frame: FrameType, target: Target) -> bool:
    """Whether an exception does any good in the wait of `frame`.

    It does not in an idle pool worker, in an event loop that waits for the end of the tasks
    that it has cancelled, and in a thread that others rely on until the processes it serves
    have ended, see `hasten`.
    """
    if _is_shared(target, frame):
        return False
    if frame.f_code is _POOL_WORKER or (target.group.spares and _serves(target.thread)):
        return False
    if _manages_processes(target.thread) and _workers(target, target.thread):
        return False
    caller: FrameType | None = frame
    while caller is not None and caller.f_code is not _LOOP_CALLS:
        if caller.f_code is _LOOP_CLOSES:
            return False
        caller = caller.f_back
    return True


def _is_shared(target: Target, frame: FrameType) -> bool:
    """Whether others need the thread, which runs nothing of the user's."""
    if target.service is None or not target.group.shares(target):
        return False
    caller: FrameType | None = frame
    while caller is not None and caller.f_code is not contain.__code__:
        if policy.reaches(caller, libraries=False):
            return False
        caller = caller.f_back
    return True


def leave(frame: FrameType, target: Target) -> bool:
    """Get the wait in which `frame` is ready to be left; return whether it may be left."""
    _leave_join(frame)
    for near in _near(frame):
        if near.f_code is _CONDITION_WAIT:
            return _leave_condition(near)
        if near.f_code in _POPEN_WAITS:
            if not target.group.kill_requested:
                break  # its processes are told with all the others, see Target.note
            process = near.f_locals["self"]
            child = target.group.child_of(process)
            process._sigint_wait_secs = 0  # for a process that Ctrl-C ends as well
            if child is not None and not target.group.spares:
                _end_process(process, child, frame)
            elif child is not None and any(it.f_code in _POPEN_OWNERS for it in _near(near)):
                _hand_over(process)
            break
    return True


def hasten(frame: FrameType, target: Target) -> bool:
    """End what the thread waits for, where the wait itself must not be broken.

    ``with subprocess.Popen(...)`` waits for the end of the process in its ``__exit__``; an
    idle worker of a thread pool waits for work; the thread that manages a pool of processes
    tells all who wait for a result that there will be none, when the processes are gone.

    Returns
    -------
    bool
        Whether the wait may be broken after all, because what it waits for is spared.
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
    if group.spares and _serves(target.thread):
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
            if child is None or group.spares:
                return leaving and child is not None
            if not child.late and not child.ended:  # else cleanup started it
                child.press(0 if leaving else timing.grace)
                if child.asked:
                    group.struck = True  # whatever the code makes of it, it was killed
            return False
    return False


def _awaited(frame: FrameType) -> object:
    """Return the process for which `frame` waits, or which is to read what it flushes before."""
    if frame.f_code is _OS_POPEN_CLOSE:
        return vars(frame.f_locals["self"]).get("_proc")
    waits = frame.f_code in _POPEN_WAITS or frame.f_code is _POPEN_EXIT
    return frame.f_locals["self"] if waits else None


def interrupt_query(target: Target, frame: FrameType, place: int, *, search: bool) -> bool:
    """Interrupt the query that the target runs in `frame`; any thread but the target's.

    What the call in `frame` mentions is interrupted if `interrupters` knows how, and if the target
    is still at that place: a server interrupts what it does when it is asked, and that may be the
    next query by then, of the cleanup. For the same reason a server is not asked twice in a hurry.

    SQLite does not look for signals, but has an ``interrupt()`` of its own. The connection is
    one that the call in `frame` mentions, or with `search`, which takes long, any that the
    target opened: such a one is known by the message with which it refuses to serve others.
    One opened with ``check_same_thread=False`` may serve somebody else at this moment, so it
    must be mentioned.

    Returns
    -------
    bool
        Whether something that `interrupters` knows was asked.
    """
    found = _mentioned(frame)
    asked = False
    for thing in found:
        if target.wanted and interrupters.knows(thing) and _is_at(target, frame, place):
            target.group.struck = asked = True  # before, or the thread may have ended with an error
            interrupters.interrupt(thing)
    sqlite3: Any = sys.modules.get("sqlite3")
    if sqlite3 is None:
        return asked
    mentioned = []
    for thing in found:
        if issubclass(type(thing), sqlite3.Cursor):
            thing = sqlite3.Cursor.connection.__get__(thing)
        mentioned.append(thing)
    for thing in gc.get_objects() if search else mentioned:
        if not issubclass(type(thing), sqlite3.Connection):
            continue
        try:
            sqlite3.Connection.cursor(thing)
            is_its = any(thing is other for other in mentioned)
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


def _mentioned(frame: FrameType) -> list[object]:
    """Return what the names stand for, ``self.names`` too, in the expression that `frame` is at.

    No code of others runs for that.
    """
    code = frame.f_code
    positions = list(code.co_positions())
    here = positions[frame.f_lasti // 2]
    if None in here:
        return []

    def inside(offset: int) -> bool:
        line, end_line, column, end_column = positions[offset // 2]
        if line is None or end_line is None or column is None or end_column is None:
            return False  # what the compiler has added
        return here[::2] <= (line, column) and (end_line, end_column) <= here[1::2]

    names: set[str] = set()
    for it in dis.get_instructions(code):
        # One instruction may load two variables, from 3.13 on.
        held = it.argval if isinstance(it.argval, tuple) else (it.argval,)
        if inside(it.offset):
            names |= {name for name in held if isinstance(name, str)}
    variables = frame.f_globals | frame.f_locals
    found = [variables[name] for name in names if name in variables]
    for thing in list(found):
        found += [inspect.getattr_static(thing, name, None) for name in names]
    return found


def joined(frame: FrameType | None) -> threading.Thread | None:
    """Return the thread for whose end a thread waits that is at `frame`; any thread may ask."""
    for near in _near(frame):
        if near.f_code is _JOIN:
            thread = near.f_locals.get("self")
            return thread if isinstance(thread, threading.Thread) else None
    return None


def _serves(thread: threading.Thread) -> bool:
    """Whether processes, which are spared, need a thread that has nothing to do."""
    target = getattr(thread, "_target", None)
    name = getattr(target, "__qualname__", "")
    return (
        name == "Queue._feed"
        or (name.startswith("Pool._handle_") and target.__module__ == "multiprocessing.pool")
        or _manages_processes(thread)
    )


def _manages_processes(thread: threading.Thread) -> bool:
    # Of concurrent.futures and of loky.
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
    """Take the waiter back, so that no notify() can choose it; False: one has already.

    notify() lets a waiter go and takes it off the list with the condition's lock held. So who
    has the lock, and is on the list, was not chosen. (Who cannot have it could not leave
    wait() either, which takes it again.)
    """
    waiter = wait.f_locals.get("waiter")
    if waiter is None:
        return True
    condition = wait.f_locals["self"]
    lock: Any = getattr(condition, "_lock", None)
    held = isinstance(lock, _LOCKS)  # one of another kind is code of others, which is not called
    if held and not lock.acquire(timeout=_MOMENT):
        return False
    try:
        condition._waiters.remove(waiter)
    except ValueError:
        # The notify was for this thread alone. Let wait() return, and whoever called it use
        # or pass on what it was notified of.
        return False
    finally:
        if held:
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
    """Save a process from `subprocess.run`, which kills it when its wait is broken.

    That is done by its object, which nobody else has; it is made to believe that the process
    has ended. Another object goes where `subprocess` keeps those that are to be reaped.
    """
    heir = object.__new__(subprocess.Popen)
    vars(heir).update(vars(process), stdin=None, stdout=None, stderr=None)
    heir._waitpid_lock = threading.Lock()  # type: ignore[attr-defined]
    kept: list[Any] | None = getattr(subprocess, "_active", None)
    if kept is not None:
        kept.append(heir)
    process.returncode = 0


def _end_pool(target: Target, worker: FrameType) -> None:
    """End the pool of an idle worker thread, if nobody else has a part in it."""
    group = target.group
    if target.leader is not None and target.leader.open:
        return  # it may still use its pool, in a finally: for example
    reference = worker.f_locals.get("executor_reference")
    executor = reference() if callable(reference) else None
    if executor is None:
        return  # it was collected: the worker is about to end
    if set(executor._threads) <= set(group.threads()):
        executor.shutdown(wait=False, cancel_futures=True)
    else:
        group.let_go(target)


def pool_of(thread: threading.Thread) -> concurrent.futures.ThreadPoolExecutor | None:
    """Return the pool that a thread works for, or is going to."""
    target = getattr(thread, "_target", None)
    if getattr(target, "__code__", None) is not _POOL_WORKER:
        return None
    reference = next(iter(getattr(thread, "_args", ())), None)
    pool = reference() if callable(reference) else None
    return pool if isinstance(pool, concurrent.futures.ThreadPoolExecutor) else None


def _leave_join(frame: FrameType) -> None:
    """Keep ``Thread.join`` from marking a live thread as dead; CPython up to 3.12.

    When an exception breaks its wait, bpo-45274's handler sees the lock of the other
    thread held, takes that for an acquisition of its own, releases the lock and marks the
    thread as ended. It is given another lock to look at, as a debugger would.
    """
    join = getattr(threading.Thread, "_wait_for_tstate_lock", None)
    if join is not None and frame.f_code is join.__code__:
        frame.f_locals["lock"] = threading.Lock()
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), 0)
