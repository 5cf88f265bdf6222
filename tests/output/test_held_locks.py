"""Locks that a killed job leaves locked."""

import threading

import pytest

import ipykill
from ipykill.output.held_locks import Locks
from tests.waiting import HANG_GUARD


class Model:
    __module__ = "__main__"

    def __init__(self):
        self.lock = threading.RLock()


def killed(code, namespace):
    """Kill a job that runs `code` when it has reached the end of that; what is said of it."""
    reached = threading.Event()
    names = namespace | {"reached": reached, "threading": threading}
    exec(f"def work():\n  {code}\n  reached.set()\n  while True: pass", names)
    seen = []

    class Host:
        def enter(self, job):
            pass

        def finish(self, job, error):
            seen.extend(locks.left())

    gate = threading.Event()
    first = ipykill.submit(gate.wait)
    job = ipykill.jobs.launch(
        names["work"], name="work", after=[first], codes=(names["work"].__code__,)
    )
    job.host = Host()
    locks = Locks(names, job)
    gate.set()
    assert reached.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    return seen


@pytest.mark.parametrize("make", [threading.RLock, threading.Condition])
def test_an_rlock_knows_its_dead_holder(make):
    (line,) = killed("lock.acquire()", {"lock": make()})
    assert line.startswith("lock is still held by a thread of this job that is gone; nobody can")


def test_one_that_a_child_thread_took():
    code = "thread = threading.Thread(target=lock.acquire); thread.start(); thread.join()"
    lock = threading.RLock()
    (line,) = killed(code, {"lock": lock})
    assert line.startswith("lock is still held by a thread of this job that is gone")


def test_one_in_an_object_of_the_users():
    (line,) = killed("model.lock.acquire()", {"model": Model()})
    assert line.startswith("model.lock is still held by a thread of this job")


def test_a_plain_lock_that_the_job_used_may_be_left():
    lock = threading.Lock()
    (line,) = killed("lock.acquire()", {"lock": lock})
    assert line == (
        "lock is still locked, and may be so for ever: this job used it; lock.release() frees it"
    )
    lock.release()


def test_a_lock_that_was_released_is_no_matter():
    lock, rlock = threading.Lock(), threading.RLock()
    code = "lock.acquire(); rlock.acquire(); lock.release(); rlock.release()"
    assert killed(code, {"lock": lock, "rlock": rlock}) == []


def test_a_lock_that_was_locked_before_or_that_others_hold_is_no_matter():
    lock, rlock, other = threading.Lock(), threading.RLock(), threading.Lock()
    lock.acquire()
    rlock.acquire()
    code = "lock.locked(), rlock.acquire(blocking=False); other_lock = 1"
    with other:
        assert killed(code, {"lock": lock, "rlock": rlock, "unused": other}) == []
    rlock.release()


def test_a_lock_that_others_take_again_and_again_is_no_matter():
    lock, ends = threading.Lock(), threading.Event()

    def work():
        while not ends.is_set():
            with lock:
                ends.wait(0.001)
            ends.wait(0.001)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert killed("lock.locked()", {"lock": lock}) == []
    finally:
        ends.set()
        thread.join()
