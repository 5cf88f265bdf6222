"""A thread that starts soon does not hold up who starts it, and is found out about."""

import os
import sys
import threading
import time

import pytest

from ipykill import threads
from ipykill.threads import ThreadWithExc
from tests.racing import ended, in_fork
from tests.spinners import Cancelled
from tests.waiting import HANG_GUARD

# start_soon


@pytest.fixture
def no_switches():
    """Let no thread run before this one waits."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(HANG_GUARD)
    yield
    sys.setswitchinterval(before)


soon = pytest.mark.skipif(sys.version_info < (3, 12), reason="start_soon is start")


@soon
def test_a_thread_that_starts_soon_does_not_hold_up_who_starts_it(no_switches):
    steps = []
    thread = ThreadWithExc(target=lambda: steps.append("it runs"))
    thread.start_soon()
    steps.append("started")
    assert ended(thread)
    assert steps == ["started", "it runs"]


@soon
def test_a_thread_that_is_about_to_run_is_alive(no_switches):
    end = threading.Event()
    thread = ThreadWithExc(target=end.wait, daemon=True)
    assert not thread.is_alive()
    thread.start_soon()
    assert thread.is_alive()
    assert thread in threading.enumerate()
    assert thread.ident is None  # what shows that it has not run
    for start in (thread.start, thread.start_soon):
        with pytest.raises(RuntimeError, match="once"):
            start()
    thread.join(0)
    assert thread.ident is None
    end.set()
    assert ended(thread)
    with pytest.raises(RuntimeError, match="once"):
        thread.start_soon()


@soon
def test_an_exception_for_a_thread_that_is_about_to_run_is_raised_in_it(no_switches, printed):
    thread = ThreadWithExc(target=time.sleep, args=(HANG_GUARD,))
    thread.start_soon()
    thread.raise_exc(Cancelled)
    assert ended(thread)
    assert [args.exc_type for args in printed] == [Cancelled]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_thread_that_was_about_to_run_does_not_live_in_the_child_of_a_fork(no_switches):
    thread = ThreadWithExc(target=threading.Event().wait, daemon=True)
    thread.start_soon()

    def child():
        assert not thread.is_alive()

    assert in_fork(child) == 0
    thread.raise_exc(SystemExit)


def test_a_thread_that_cannot_be_started_does_not_run(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("can't start new thread")

    for name in ("_start_new_thread", "_start_joinable_thread"):
        monkeypatch.setattr(threading, name, fail, raising=False)
    thread = ThreadWithExc(target=lambda: None)
    with pytest.raises(RuntimeError, match="start new thread"):
        thread.start_soon()
    assert not thread.runs_all_the_same()
    assert not thread.is_alive()
    monkeypatch.undo()
    thread.start_soon()
    assert ended(thread)


@soon
def test_whether_a_thread_runs_though_its_start_was_cut_short_is_found_out(monkeypatch):
    thread = ThreadWithExc(target=lambda: None)

    class Lock:
        """Raises after a thread got into limbo, before it is given to the system."""

        def __init__(self):
            self.real = threading._active_limbo_lock

        def __enter__(self):
            self.real.acquire()

        def __exit__(self, *error):
            self.real.release()
            monkeypatch.undo()
            raise Cancelled

    monkeypatch.setattr(threading, "_active_limbo_lock", Lock())
    with pytest.raises(Cancelled):
        thread.start_soon()
    monkeypatch.setattr(threads, "_LIMBO", 0.01)
    assert not thread.runs_all_the_same()
    del threading._limbo[thread]
    other = ThreadWithExc(target=lambda: None)

    def start():
        real(other)
        raise Cancelled

    real = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda thread: start())
    with pytest.raises(Cancelled):
        other.start_soon()
    monkeypatch.undo()
    assert other.runs_all_the_same()
    assert ended(other)


@soon
def test_where_limbo_is_unknown_a_thread_starts_as_any_other(monkeypatch):
    monkeypatch.setattr(threads, "_limbo", None)
    thread = ThreadWithExc(target=lambda: None)
    thread.start_soon()
    assert thread.ident is not None
    assert ended(thread)
