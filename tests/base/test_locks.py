"""A Ctrl-C that comes at the moment when a thread gets a lock."""

import signal
import socket
import sys
import threading
from collections.abc import Callable

import pytest

from ipykill.base.locks import RLock, guarded
from ipykill.remote.wire import Wire
from tests.waiting import HANG_GUARD, wait_for

KINDS = {
    "Lock": lambda: guarded(threading.Lock()),
    "RLock": lambda: guarded(threading.RLock()),
    "ours": RLock,
    "of a wire": lambda: Wire(socket.socketpair()[0])._lock,
}
MAIN = threading.main_thread().ident


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs a signal")
@pytest.mark.parametrize("kind", KINDS)
def test_a_ctrl_c_leaves_no_lock_locked(kind: str) -> None:
    for _ in range(20):
        is_free(interrupted(KINDS[kind]()))


def interrupted(lock):
    """The lock, for which this thread has waited until another released it and pressed Ctrl-C."""
    held = threading.Event()

    def hold() -> None:
        lock.acquire()
        held.set()
        wait_for(stands_still(wait_for_it), "a thread that waits for the lock")
        lock.release()
        signal.pthread_kill(MAIN, signal.SIGINT)

    def wait_for_it() -> None:
        with lock:
            pass
        threading.Event().wait(HANG_GUARD)  # for an interrupt that comes later than that

    holder = threading.Thread(target=hold)
    try:
        holder.start()
        wait_for(held.is_set, "the thread that holds the lock")
        with pytest.raises(KeyboardInterrupt):
            wait_for_it()
    finally:
        holder.join()
    return lock


def stands_still(function: Callable[[], None]) -> Callable[[], bool]:
    """Whether the main thread is in `function`, at the place where it was when last asked."""
    before: list[object] = []

    def look() -> bool:
        frame = sys._current_frames()[MAIN]
        place = [frame, frame.f_lasti]
        same, before[:] = place == before, place
        while frame is not None and frame.f_code is not function.__code__:
            frame = frame.f_back
        return same and frame is not None

    return look


def is_free(lock) -> None:
    """Another thread can have the lock."""
    got: list[bool] = []
    other = threading.Thread(target=lambda: got.append(lock.acquire(False)))
    other.start()
    other.join()
    assert got == [True]


def test_a_guarded_lock_is_the_lock() -> None:
    lock = threading.Lock()
    it = guarded(lock)
    with it:
        assert lock.locked()
        assert not it.acquire(False)
    assert not lock.locked()
    with pytest.raises(ZeroDivisionError), it:
        1 / 0
    assert not lock.locked()
