import threading
import time

import pytest

from ipykill.base.waiting import Deadline, Latch, wait_any
from tests.racing import ended, frequent_switches
from tests.waiting import wait_for


def start(n, target, *args):
    threads = [threading.Thread(target=target, args=args, daemon=True) for _ in range(n)]
    for thread in threads:
        thread.start()
    return threads


def test_a_latch_is_set_once_and_stays_set():
    latch = Latch()
    assert not latch.is_set()
    assert not latch.wait(0)
    latch.set()
    latch.set()
    assert latch.is_set()
    assert latch.wait()
    assert latch.wait(0)


@pytest.mark.parametrize("timeout", [0, 0.001, -1, -0.5])
def test_a_wait_ends_after_its_timeout_even_a_negative_one(timeout):
    assert not Latch().wait(timeout)


@pytest.mark.parametrize("timeout", [None, 1e12, float("inf"), threading.TIMEOUT_MAX])
def test_all_waiters_are_let_go_whatever_their_timeout(timeout):
    latch = Latch()
    results = []
    waiters = start(20, lambda: results.append(latch.wait(timeout)))
    wait_for(lambda: len(latch._waiters) == 20, "20 waiters")
    latch.set()
    assert ended(*waiters)
    assert results == [True] * 20


def test_a_waiter_that_gave_up_leaves_nothing_behind():
    latch = Latch()
    for _ in range(3):
        latch.wait(0)
    assert not latch._waiters


def test_a_waiter_that_is_interrupted_leaves_nothing_behind(monkeypatch):
    class Interrupted:
        def acquire(self, timeout=None):
            if timeout is not None:
                raise KeyboardInterrupt

    monkeypatch.setattr(threading, "Lock", Interrupted)
    latch = Latch()
    with pytest.raises(KeyboardInterrupt):
        latch.wait()
    assert not latch._waiters


@pytest.mark.stress
@pytest.mark.slow
@frequent_switches()
def test_no_waiter_is_forgotten_when_setters_race():
    for _ in range(300):
        latch, go = Latch(), threading.Event()

        def waiter(latch=latch, go=go):
            go.wait()
            latch.wait()

        def setter(latch=latch, go=go):
            go.wait()
            latch.set()

        threads = start(3, waiter) + start(2, setter)
        go.set()
        assert ended(*threads)
        assert not latch._waiters


def test_one_of_several_latches_lets_a_waiter_go():
    latches = [Latch(), Latch(), Latch()]
    results = []
    waiters = start(1, lambda: results.append(wait_any(latches)))
    wait_for(lambda: latches[2]._waiters, "the waiter")
    latches[1].set()
    assert ended(*waiters)
    assert results == [True]
    assert not any(latch._waiters for latch in latches)
    assert not wait_any([latches[0], latches[2]], 0)
    assert wait_any(latches, 0)


def test_a_waiter_for_several_may_be_let_go_twice():
    one, other = Latch(), Latch()
    lock = threading.Lock()
    lock.acquire()
    one._waiters.append(lock)  # as it is for the moment in which both are set
    other._waiters.append(lock)
    last = threading.Lock()
    last.acquire()
    other._waiters.append(last)
    one.set()
    other.set()
    assert not lock.locked()
    assert not last.locked()


def test_a_deadline_counts_down_to_zero(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    deadline = Deadline(5)
    assert deadline.left() == 5
    now = 104.0
    assert deadline.left() == 1
    now = 106.0
    assert deadline.left() == 0
    assert Deadline(-1).left() == 0
    assert Deadline(None).left() is None
