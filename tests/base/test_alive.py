"""Asking whether a thread lives disturbs nobody else who asks."""

import sys
import threading

import pytest

import ipykill
from ipykill.base.alive import is_alive, join
from ipykill.threads import ThreadWithExc


class Watched:
    """The lock of a thread's life, which counts who takes it."""

    def __init__(self, lock):
        self.lock, self.taken = lock, 0

    def locked(self):
        return self.lock.locked()

    def acquire(self, *args):
        self.taken += 1
        return self.lock.acquire(*args)

    def release(self):
        self.lock.release()


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="threads have no such lock")
@pytest.mark.parametrize("kind", [threading.Thread, ThreadWithExc])
def test_nobody_takes_the_lock_of_its_life(kind):
    # Two threads that take it at once make Thread.is_alive of CPython 3.11 and 3.12 fail.
    go_on = threading.Event()
    thread = kind(target=go_on.wait)
    assert not is_alive(thread)
    thread.start()
    thread._tstate_lock = watched = Watched(thread._tstate_lock)
    assert is_alive(thread)
    join(thread, 0.01)
    go_on.set()
    join(thread, None)
    assert not is_alive(thread)
    if kind is ThreadWithExc:
        assert not thread.is_alive()
    assert watched.taken == 0
    thread.join()
    assert not thread.is_alive()


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="threads have no such lock")
def test_a_job_is_waited_for_without_it():
    watched = []

    def work():
        me = threading.current_thread()
        me._tstate_lock = Watched(me._tstate_lock)
        watched.append(me._tstate_lock)
        threading.Event().wait()

    job = ipykill.JobManager().submit(work)
    while not watched:
        pass
    assert job.kill(30)
    assert not job.threads
    assert watched[0].taken == 0
