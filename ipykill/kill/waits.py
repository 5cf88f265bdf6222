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
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from .target import Target

__all__ = ["GROUP_ATTRIBUTE", "hasten", "interrupt_query", "leave", "may_be_left", "serves_cleanup"]

_NEAR = 4  # frames: how far out the wait may be from the call that waits
_REAP = 0.5  # seconds that a killed child process has to be gone

GROUP_ATTRIBUTE = "_ipykill_group"
"""The attribute of a `subprocess.Popen` that says which group of threads made it."""

_CONDITION_WAIT = threading.Condition.wait.__code__
_POPEN_WAITS = {
    getattr(subprocess.Popen, name).__code__
    for name in ("wait", "_wait", "communicate", "_communicate")
    if hasattr(subprocess.Popen, name)
}
_POPEN_WAITPID = getattr(subprocess.Popen, "_try_wait", None)
_LOOP_CLOSES = asyncio.Runner.close.__code__
_LOOP_CALLS = asyncio.Handle._run.__code__
_POOL_WORKER = concurrent.futures.thread._worker.__code__


def may_be_left(frame: FrameType) -> bool:
    """Whether an exception does any good in the wait of `frame`.

    It does not in an idle pool worker, and not in an event loop that waits for the end of the
    tasks that it has cancelled.
    """
    if frame.f_code is _POOL_WORKER:
        return False
    caller: FrameType | None = frame
    while caller is not None and caller.f_code is not _LOOP_CALLS:
        if caller.f_code is _LOOP_CLOSES:
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
            process = near.f_locals["self"]
            if _belongs_to(target, process):
                _end_process(process, frame)
            break
    return True


def hasten(frame: FrameType, target: Target) -> None:
    """End what the thread waits for, where the wait itself must not be broken.

    ``with subprocess.Popen(...)`` waits for the end of the process in its ``__exit__``; an
    idle worker of a thread pool waits for work.
    """
    if frame.f_code is _POOL_WORKER:
        _end_pool(target, frame)
    for near in _near(frame):
        if near.f_code in _POPEN_WAITS:
            process = near.f_locals["self"]
            if _belongs_to(target, process) and process.returncode is None:
                process.kill()
                target.group.struck = True  # whatever the code makes of it, it was killed
            return


def interrupt_query(target: Target, frame: FrameType) -> None:
    """Interrupt the sqlite3 query that the target runs in `frame`; any thread but the target's.

    SQLite does not look for signals, but has an ``interrupt()`` of its own. Connections that
    the target opened are found by the message with which they refuse to serve others. One
    opened with ``check_same_thread=False`` may serve somebody else at this moment, so it must
    be what the call in `frame` mentions.
    """
    sqlite3: Any = sys.modules.get("sqlite3")
    if sqlite3 is None:
        return
    shared = []
    for thing in _mentioned(frame):
        if issubclass(type(thing), sqlite3.Cursor):
            thing = sqlite3.Cursor.connection.__get__(thing)
        shared.append(thing)
    for thing in gc.get_objects():
        if not issubclass(type(thing), sqlite3.Connection):
            continue
        try:
            sqlite3.Connection.cursor(thing)
            found = any(thing is other for other in shared)
        except sqlite3.ProgrammingError as error:
            found = f"thread id {target.ident} " in str(error)
        if found and target.wanted:
            target.group.struck = True
            sqlite3.Connection.interrupt(thing)


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
        if line is None or end_line is None:
            return False
        return here[::2] <= (line, column) and (end_line, end_column) <= here[1::2]

    names = {
        it.argval
        for it in dis.get_instructions(code)
        if isinstance(it.argval, str) and inside(it.offset)
    }
    variables = frame.f_globals | frame.f_locals
    found = [variables[name] for name in names if name in variables]
    for thing in list(found):
        found += [inspect.getattr_static(thing, name, None) for name in names]
    return found


def serves_cleanup(thread: threading.Thread) -> bool:
    """Whether the cleanup of other code of the job waits for `thread`, maybe for ever.

    ``asyncio.run`` ends its loop's thread pool in a thread. The handlers of a
    ``multiprocessing.Pool`` tell its workers to end, for which ``Pool.__exit__`` waits.
    """
    target = getattr(thread, "_target", None)
    name = getattr(target, "__qualname__", "")
    return name == "BaseEventLoop._do_shutdown" or (
        name.startswith("Pool._handle_") and target.__module__ == "multiprocessing.pool"
    )


def _near(frame: FrameType) -> Iterator[FrameType]:
    near: FrameType | None = frame
    for _ in range(_NEAR):
        if near is None:
            return
        yield near
        near = near.f_back


def _belongs_to(target: Target, process: object) -> bool:
    return getattr(process, GROUP_ATTRIBUTE, None) is target.group


def _leave_condition(wait: FrameType) -> bool:
    """Take the waiter back, so that no notify() can choose it; False: one has already."""
    waiter = wait.f_locals.get("waiter")
    if waiter is None:
        return True
    try:
        wait.f_locals["self"]._waiters.remove(waiter)  # atomic
    except ValueError:
        # The notify was for this thread alone. Let wait() return, and whoever called it use
        # or pass on what it was notified of.
        return False
    return True


def _end_process(process: Any, innermost: FrameType) -> None:
    """End and reap a child process of the job."""
    with contextlib.suppress(Exception):
        process.kill()
        if innermost.f_code is getattr(_POPEN_WAITPID, "__code__", None):
            # This thread is in waitpid() and holds the lock that wait() would take.
            process._handle_exitstatus(process._try_wait(0)[1])
        else:
            process.wait(_REAP)


def _end_pool(target: Target, worker: FrameType) -> None:
    """End the pool of an idle worker thread, if nobody else has a part in it."""
    group = target.group
    if group.first_runs():
        return  # it may still use its pool, in a finally: for example
    reference = worker.f_locals.get("executor_reference")
    executor = reference() if callable(reference) else None
    if executor is None:
        return  # it was collected: the worker is about to end
    if set(executor._threads) <= set(group.threads()):
        executor.shutdown(wait=False, cancel_futures=True)
    else:
        group.let_go(target)


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
