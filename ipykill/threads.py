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
from .base.waiting import Deadline, Latch, wait_any

__all__ = ["ServiceThread", "StoppableThread", "ThreadWithExc", "async_raise"]

# Not the attribute of `pythonapi`: that function is one for the whole process, and other
# libraries that call it count on its argument types being unset.
_c_function = ctypes.pythonapi["PyThreadState_SetAsyncExc"]
_c_function.argtypes = [ctypes.c_ulong, ctypes.py_object]
_c_function.restype = ctypes.c_int

_get_ident = operator.attrgetter("_ident")

_NULL = ctypes.py_object()
# Seconds to wait for threads that are being born. One whose start an exception cut short looks
# the same for ever.
_LIMBO = 2.0

# Those threads: they are being started, or were and have not run yet.
_limbo: dict[threading.Thread, threading.Thread] | None = vars(threading).get("_limbo")


def _set_async_exc(tid: int, exctype: object) -> int:
    """Call ``PyThreadState_SetAsyncExc``, on CPython 3.11 when no thread is being born.

    There a new thread has the ident of its creator until it runs. It would be hit instead
    of the creator, die before its first line, and leave that in `Thread.start` for ever.
    From 3.12 on there is nothing to wait for.
    """
    if sys.version_info < (3, 12) and tid != threading.get_ident():
        end = time.monotonic() + _LIMBO
        while _being_born() and time.monotonic() < end:
            time.sleep(0.0005)
    hit: int = _c_function(tid, exctype)
    return hit


class _Nothing(BaseException):
    """Replaces what was asked of a thread, and is caught at once."""


def take_back() -> None:
    """Take back what was asked of the calling thread.

    Not by asking for NULL: up to CPython 3.12 that leaves a flag behind that makes the
    interpreter look for an exception at every call and jump, in all threads, until one is
    raised somewhere.
    """
    try:
        _c_function(threading.get_ident(), _Nothing)
        for _ in range(10):
            pass
    except _Nothing:
        pass


def _being_born() -> bool:
    # From the search to the call of the C function, 3.11 does not change threads: it does so
    # after calls of C functions and at backward jumps, and Python calls only begin with one.
    idents = map(_get_ident, _limbo or ())
    try:
        return None in idents
    except RuntimeError:  # it changed since
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
    # ctypes would wrap a number that does not fit round to another thread's ident.
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

    # Not an Event: the flag is set once and nobody waits for it, and CPython up to 3.12
    # has a method Thread._stop that the obvious name would shadow.
    _stop_requested = False

    def stop(self) -> None:
        """Ask the code to end. To ask again changes nothing."""
        self._stop_requested = True

    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop_requested


class _Begun(Latch):
    """Stands for `Thread._started`, which is set when the thread runs: `start` does not wait."""

    __slots__ = ()

    def wait(self, timeout: float | None = None) -> bool:
        return True

    def _at_fork_reinit(self) -> None:
        pass  # who waited does not live here


class ThreadWithExc(StoppableThread):
    """A thread in which other threads can raise an exception.

    `raise_exc` reaches the code that the thread runs (its target, or the ``run`` of a
    subclass) and nothing else: neither the interpreter's own start and end of the thread,
    nor a thread that got the same ident later.

    What it cannot do: the interpreter raises the exception when the thread next executes
    a bytecode. While it is inside a system call or any other C code (``time.sleep``,
    ``lock.acquire``, ``socket.recv``), it stays there until that call returns. Jobs do
    not have this limit; see `ipykill.submit` and `ipykill.kill`.

    The exception may come anywhere in the code, so the code has to expect it. A thread
    that shall clean up catches an exception that nobody else raises::

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
    # 4. Both are either taken back, with the gate held and so after that caller, or raised
    #    on the way. The first raised is caught by the inner `try`, whose handler starts
    #    again; the second by the outer one, and then none is left (3).
    # 5. They were sent while the thread was open, so they count as raised by the body.

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

    # Thread.start returns when the new thread runs, and so has lost the GIL to it: for a whole
    # switch interval if that computes, and once more for each other thread that does. Not so
    # start_soon. The thread is alive at once; that it has no ident until it runs is what
    # `Thread` says of any.

    def start_soon(self) -> None:
        """Start the thread without waiting until it runs.

        On CPython 3.11 this is `start`: there the new thread has the ident of its creator until
        it runs, and would be hit by what that asks of itself.
        """
        started = self.ident is not None or self._birth()
        if not started and sys.version_info >= (3, 12) and _limbo is not None:
            self._started = _Begun()
        self.start()

    def runs_all_the_same(self) -> bool:
        """Whether the thread has begun to run, when to start it has raised an exception.

        The exception may be that of a signal handler, or of who has wrapped `Thread.start`.
        """
        if birth := self._birth():
            wait_any([birth], _LIMBO)
        return self.ident is not None

    def _birth(self) -> _Begun | None:
        """Return what is set when the thread runs, if it was started and does not run yet."""
        begun = self._started
        if isinstance(begun, _Begun) and not begun.is_set() and _limbo and self in _limbo:
            return begun
        return None

    def is_alive(self) -> bool:
        """Whether the thread was started and has not ended."""
        return self._birth() is not None or super().is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has ended, or `timeout` seconds."""
        deadline = Deadline(timeout)
        if (birth := self._birth()) and not wait_any([birth], timeout):
            return
        super().join(deadline.left())

    def _guard(self) -> None:
        """Let what `raise_exc` raises reach the body only. To guard again changes nothing."""
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
        # Not `with`: from Python 3.14 on a request may be raised between the acquiring and
        # the block (gh-148874), and the gate would stay shut. Inside `try`, because only a
        # request can raise here, and acquire() sees it when it has the gate.
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
        # In the child of a fork the thread is not alive, and somebody may hold the gate.
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

    It belongs to no job, even when a job's thread happens to start it: a Kill of that job
    would take it along. A debugger that stops all threads does not stop it.
    """

    # What debugpy looks at; ipykernel sets both on its own threads.
    pydev_do_not_trace = True
    is_pydev_daemon_thread = True

    def __init__(self, target: Callable[[], None], name: str) -> None:
        super().__init__(target=target, name=f"ipykill-{name}", daemon=True)
