"""Threads that can be asked to stop, and threads in which an exception can be raised.

Three primitives, each usable alone: `async_raise`, `StoppableThread`, `ThreadWithExc`.
They rest on ``PyThreadState_SetAsyncExc``, which asks the interpreter to raise an
exception in another thread. The interpreter looks at that request only between two
bytecodes, so a thread inside a system call does not see it before the call returns.
What it takes to do better is in `ipykill.kill`.
"""

from __future__ import annotations

import ctypes
import operator
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

from .base import locks
from .base.alive import holds_its_lock
from .base.waiting import Deadline, Latch, wait_any

__all__ = ["ServiceThread", "StoppableThread", "ThreadWithExc", "async_raise"]

# Looked up with brackets, which makes a new function object. The attribute of `pythonapi` is shared
# by the whole process, and other libraries count on its argument types being unset.
_c_function = ctypes.pythonapi["PyThreadState_SetAsyncExc"]
_c_function.argtypes = [ctypes.c_ulong, ctypes.py_object]
_c_function.restype = ctypes.c_int

_get_ident = operator.attrgetter("_ident")

_NULL = ctypes.py_object()
# Seconds to wait for a thread that is being started. If an exception has cut the start short, the
# thread stays in `threading._limbo` for ever.
_LIMBO = 2.0

# The threads that are being started, or were started and have not run yet.
_limbo: dict[threading.Thread, threading.Thread] | None = vars(threading).get("_limbo")


def _set_async_exc(tid: int, exctype: object) -> int:
    """Call ``PyThreadState_SetAsyncExc``; on CPython 3.11 wait first until no thread is starting.

    On 3.11 a new thread has the ident of its creator until it runs. An exception meant for
    the creator could be raised in the new thread, which would die before its first line and
    leave the creator waiting in `Thread.start` for ever. From 3.12 on there is no need to wait.
    """
    if sys.version_info < (3, 12) and tid != threading.get_ident():
        end = time.monotonic() + _LIMBO
        while _being_born() and time.monotonic() < end:
            time.sleep(0.0005)
    hit: int = _c_function(tid, exctype)
    return hit


class _Nothing(BaseException):
    """Replaces a pending exception of the calling thread; `take_back` catches it at once."""


def take_back() -> None:
    """Discard the asynchronous exception that is pending in the calling thread, if any.

    Passing NULL to ``PyThreadState_SetAsyncExc`` would do so too. But up to CPython 3.12 it
    leaves a flag set that makes all threads look for an exception at every call and jump,
    until one is raised somewhere.
    """
    try:
        _c_function(threading.get_ident(), _Nothing)
        for _ in range(10):
            pass
    except _Nothing:
        pass


def _being_born() -> bool:
    # CPython 3.11 switches threads after a call of a C function, at a backward jump and when a
    # Python function begins. None of these lies between this search and the call of `_c_function`.
    idents = map(_get_ident, _limbo or ())
    try:
        return None in idents
    except RuntimeError:  # `_limbo` changed meanwhile
        return True


def _checked(exctype: type[BaseException]) -> type[BaseException]:
    """Return `exctype` if the interpreter can construct it in another thread."""
    if not isinstance(exctype, type):
        msg = f"Only types can be raised (not instances): {exctype!r}"
        raise TypeError(msg)
    if not issubclass(exctype, BaseException):
        msg = f"Only exception types can be raised, not {exctype!r}"
        raise TypeError(msg)
    try:
        made = exctype()
    except Exception as error:
        msg = (
            f"{exctype.__name__} cannot be constructed without arguments, as an exception "
            f"raised in another thread must be: {error}"
        )
        raise TypeError(msg) from None
    if not isinstance(made, BaseException):
        msg = f"{exctype.__name__}() makes no exception but {made!r}"
        raise TypeError(msg)
    return exctype


def async_raise(tid: int, exctype: type[BaseException]) -> None:
    """Raise `exctype` in the thread whose ident is `tid`.

    The exception is raised when that thread next executes Python code. It is constructed
    there, without arguments. An earlier one that has not been raised yet is replaced.

    Any thread may call this. Nothing protects against an ident that ended and was reused
    meanwhile; `ThreadWithExc.raise_exc` does.

    Parameters
    ----------
    tid
        A `threading.Thread.ident`.
    exctype
        An exception class that can be constructed without arguments.

    Raises
    ------
    TypeError
        `exctype` is not an exception class, or cannot be constructed without arguments.
    ValueError
        No running thread has this ident.
    SystemError
        More than one thread state has this ident; the request was taken back.
    """
    if not isinstance(tid, int):
        msg = f"a thread id is an int, not {tid!r}"
        raise TypeError(msg)
    exctype = _checked(exctype)
    # ctypes would cut a number that is too large, perhaps to another thread's ident.
    fits = 0 < tid <= ctypes.c_ulong(-1).value
    hit = _set_async_exc(tid, exctype) if fits else 0
    if hit == 0:
        msg = f"invalid thread id {tid!r}: no thread of this interpreter has it"
        raise ValueError(msg)
    if hit > 1:
        _set_async_exc(tid, _NULL)
        msg = f"PyThreadState_SetAsyncExc hit {hit} thread states of id {tid}; taken back"
        raise SystemError(msg)


class StoppableThread(threading.Thread):
    """A thread with a flag that asks its code to end.

    The code has to look: ``while not thread.stopped(): ...``. Nothing is interrupted.

    Threading
    ---------
    Any thread may call `stop` and `stopped`; neither blocks.
    """

    # Not an Event, because the flag is set once and nobody waits for it. Not named `_stop`,
    # because Thread has a method of that name up to CPython 3.12.
    _stop_requested = False

    def stop(self) -> None:
        """Ask the code to end. To ask again changes nothing."""
        self._stop_requested = True

    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop_requested


class _Begun(Latch):
    """Replaces `Thread._started`, set when the thread runs; `wait` returns at once."""

    __slots__ = ()

    def wait(self, timeout: float | None = None) -> bool:
        return True

    def _at_fork_reinit(self) -> None:
        pass  # the threads that waited do not exist in the child


class ThreadWithExc(StoppableThread):
    """A thread in which other threads can raise an exception.

    `raise_exc` reaches the code that the thread runs (its target, or the ``run`` of a
    subclass) and nothing else: neither the interpreter's own start and end of the thread,
    nor a thread that got the same ident later.

    The limit: the interpreter raises the exception when the thread next executes a bytecode.
    A thread inside a system call or any other C code (``time.sleep``, ``lock.acquire``,
    ``socket.recv``) does not see the exception until that call returns. Jobs do not have this
    limit; see `ipykill.submit` and `ipykill.kill`.

    The exception may come anywhere in the code, so the code has to expect it. For a thread
    that has to clean up, use an exception class that nothing else raises::

        class Cancelled(Exception):
            pass

        class Worker(ThreadWithExc):
            def run(self):
                try:
                    work()
                except Cancelled:
                    tidy_up()

        worker.raise_exc(Cancelled)

    If something on the way might swallow it, raise it until the thread has ended::

        while worker.is_alive():
            with contextlib.suppress(threading.ThreadError):  # its code ended just now
                worker.raise_exc(Cancelled)
            worker.join(0.1)

    The price: a later exception also lands in ``tidy_up()`` and in any ``finally:``, and
    cuts it short.

    Threading
    ---------
    Any thread, the thread itself included, may call `raise_exc`. It does not block.
    """

    # Why an exception hits the body or nothing. `_gate` is a C-level lock (nearly: see `locks`).
    #
    # 1. raise_exc() files a request only with the gate held, and only if _phase is "open".
    #    Before that, when start() has returned, it leaves the exception in _early, and the
    #    thread raises that itself.
    # 2. The thread opens after the interpreter's own start of the thread, and is over when
    #    the body has ended. CPython looks for a request at calls and backward jumps; there
    #    is none between the end of the body and that store.
    # 3. After the store at most two requests are left: one filed before, and one of a
    #    caller that had passed its check in (1). There is one gate, so one such caller.
    # 4. Each of them is either discarded by take_back(), which holds the gate and so comes
    #    after that caller, or raised on the way. The first one raised is caught by the inner
    #    `try`, whose handler starts again; the second by the outer one, and none is left (3).
    # 5. They were requested while the thread was open, so they count as raised by the body.

    _started: threading.Event | _Begun  # of threading.Thread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gate = locks.RLock()
        self._phase: Literal["new", "open", "over"] = "new"
        self._early: type[BaseException] | None = None
        self._guarded = self._asked = False

    def start(self) -> None:
        """Start the thread."""
        if self._birth():
            msg = "threads can only be started once"
            raise RuntimeError(msg)
        self._guard()
        super().start()

    # Thread.start waits until the new thread runs. Then the new thread has the GIL; if it
    # computes, the caller waits for it for a switch interval, and as long for each other busy
    # thread. start_soon does not wait. After it the thread is alive, but has no ident until it
    # runs.

    def start_soon(self) -> None:
        """Start the thread without waiting until it runs.

        On CPython 3.11 this is the same as `start`. There a new thread has its creator's ident
        until it runs, so an exception meant for the creator could be raised in the new thread.
        """
        started = self.ident is not None or self._birth()
        if not started and sys.version_info >= (3, 12) and _limbo is not None:
            self._started = _Begun()
        self.start()

    def runs_all_the_same(self) -> bool:
        """Whether the thread runs although starting it raised an exception.

        The exception may come from a signal handler, or from code that has wrapped `Thread.start`.
        """
        if birth := self._birth():
            wait_any([birth], _LIMBO)
        return self.ident is not None

    def _birth(self) -> _Begun | None:
        """Return the flag that is set when the thread runs; None if it runs or was not started."""
        begun = self._started
        if isinstance(begun, _Begun) and not begun.is_set() and _limbo and self in _limbo:
            return begun
        return None

    def is_alive(self) -> bool:
        """Whether the thread was started and has not ended."""
        if self._birth() is not None:
            return True
        held = holds_its_lock(self)
        return super().is_alive() if held is None else held

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has ended, at most `timeout` seconds."""
        deadline = Deadline(timeout)
        if (birth := self._birth()) and not wait_any([birth], timeout):
            return
        super().join(deadline.left())

    def _guard(self) -> None:
        """Confine what `raise_exc` raises to the body. A second call changes nothing."""
        if self._guarded:
            return
        self._guarded = True
        body: Callable[[], None] = self.run

        def run() -> None:
            late: BaseException | None = None
            try:
                with self._gate:
                    self._phase = "open"
                    early = self._early
                if early is not None:
                    raise early
                body()
            finally:
                self._phase = "over"
                try:
                    try:
                        self._take_back()
                    except BaseException as error:
                        late = error
                        self._take_back()
                except BaseException as error:
                    late = error
                if late is not None:
                    raise late

        # On the instance, so that the run() of a subclass is guarded as well.
        self.run = run  # type: ignore[method-assign]

    def _take_back(self) -> None:
        # Not `with`: on CPython 3.14 an exception may be raised after the gate is acquired and
        # before the block (gh-148874), and the gate would stay locked. acquire() is inside `try`
        # because only a pending exception can be raised here, and then the gate is acquired.
        try:
            self._gate.acquire()
            if self._asked:
                take_back()
        finally:
            self._gate.release()

    def raise_exc(self, exctype: type[BaseException]) -> None:
        """Raise `exctype` in this thread, in the code that it runs.

        Parameters
        ----------
        exctype
            An exception class that can be constructed without arguments.

        Raises
        ------
        threading.ThreadError
            The thread has not been started, or its code has ended.
        TypeError
            `exctype` is not an exception class, or cannot be constructed without arguments.
        """
        exctype = _checked(exctype)
        # In the child of a fork the thread is not alive, and its gate may be locked for ever.
        if self.is_alive():
            with self._gate:
                if self._phase == "open":
                    assert self.ident is not None
                    self._asked = True
                    async_raise(self.ident, exctype)
                    return
                if self._phase == "new":
                    self._early = exctype
                    return
        msg = f"no exception can be raised in thread {self.name!r}: not started yet, or ended"
        raise threading.ThreadError(msg)


class ServiceThread(threading.Thread):
    """A daemon thread of ipykill's own.

    It belongs to no job, even if a job's thread starts it, so that a Kill of the job does not
    end it. A debugger that stops all threads does not stop it.
    """

    # debugpy leaves threads with these attributes alone; ipykernel sets both on its own.
    pydev_do_not_trace = True
    is_pydev_daemon_thread = True

    def __init__(self, target: Callable[[], None], name: str) -> None:
        super().__init__(target=target, name=f"ipykill-{name}", daemon=True)
