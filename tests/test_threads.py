"""An exception reaches the run of a `ThreadWithExc`, and nothing else."""

import contextlib
import os
import threading
import time

import pytest

from ipykill import threads
from ipykill.threads import ThreadWithExc, async_raise
from tests.racing import ended, in_fork, silent_threads
from tests.spinners import Cancelled, NeedsArgument, spinner
from tests.waiting import HANG_GUARD

# ThreadWithExc: what is hit


def test_an_exception_reaches_the_target_and_the_run_of_a_subclass():
    thread = spinner()
    thread.raise_exc(Cancelled)
    assert ended(thread)
    assert type(thread.caught) is Cancelled

    seen = []
    spinning = threading.Event()

    def target():
        try:
            spinning.set()
            while True:
                pass
        except Cancelled:
            seen.append("cancelled")

    thread = ThreadWithExc(target=target, daemon=True)
    thread.start()
    assert spinning.wait(HANG_GUARD)
    thread.raise_exc(Cancelled)
    assert ended(thread)
    assert seen == ["cancelled"]


def test_a_run_set_on_the_instance_is_reached():
    def run():
        spinning.set()
        while True:
            pass

    spinning = threading.Event()
    thread = ThreadWithExc(daemon=True)
    thread.run = run
    thread.start()
    assert spinning.wait(HANG_GUARD)
    with silent_threads():
        thread.raise_exc(SystemExit)
        assert ended(thread)


def test_what_the_target_is_given_arrives():
    seen = {}
    thread = ThreadWithExc(target=seen.update, args=({"a": 1},), kwargs={"b": 2}, name="giver")
    thread.start()
    thread.join()
    assert seen == {"a": 1, "b": 2}
    assert thread.name == "giver"


def test_nothing_is_raised_before_the_start():
    thread = ThreadWithExc(target=lambda: None)
    with pytest.raises(threading.ThreadError, match="not started yet"):
        thread.raise_exc(Cancelled)
    thread.start()
    assert ended(thread)


def test_nothing_is_raised_after_the_end():
    thread = ThreadWithExc(target=lambda: None, name="short")
    thread.start()
    thread.join()
    with pytest.raises(threading.ThreadError, match=r"'short'.*ended"):
        thread.raise_exc(Cancelled)


@pytest.mark.parametrize("what", [Cancelled(), int, NeedsArgument])
def test_raise_exc_refuses_what_async_raise_refuses(what):
    with pytest.raises(TypeError):
        ThreadWithExc().raise_exc(what)


def test_as_soon_as_start_has_returned_the_exception_reaches_the_thread(monkeypatch, printed):
    # The interpreter says "started" before it calls run(). Here it takes its time.
    let_run = threading.Event()

    class Slow(ThreadWithExc):
        def _guard(self):
            super()._guard()
            guarded = self.run

            def run():
                assert let_run.wait(HANG_GUARD)
                guarded()

            self.run = run

    reached = []
    thread = Slow(target=reached.append, args=(1,))
    thread.start()
    thread.raise_exc(Cancelled)
    let_run.set()
    assert ended(thread)
    assert [args.exc_type for args in printed] == [Cancelled]
    assert not reached


def test_a_thread_may_raise_in_itself(printed):
    seen = []

    def work():
        try:
            thread.raise_exc(Cancelled)
            for _ in range(1000):
                pass
            seen.append("went on")
        except Cancelled:
            seen.append("cancelled")

    thread = ThreadWithExc(target=work)
    thread.start()
    assert ended(thread)
    assert seen == ["cancelled"]
    assert not printed


def test_a_thread_that_ended_with_an_error_shows_that_error(printed):
    def fail():
        raise LookupError("mine")

    thread = ThreadWithExc(target=fail)
    thread.start()
    assert ended(thread)
    assert [str(args.exc_value) for args in printed] == ["mine"]


def test_a_thread_can_be_started_once():
    thread = ThreadWithExc(target=lambda: None)
    thread.start()
    with pytest.raises(RuntimeError, match="once"):
        thread.start()
    assert ended(thread)


def test_a_request_filed_while_the_thread_ends_is_raised_there_or_taken_back(monkeypatch, printed):
    # The worst case, made certain: one request is filed before the body ends, and one by a
    # caller that has passed its check when the thread begins to take it back.
    taking_back = threading.Event()
    filed = threading.Event()

    class Ending(ThreadWithExc):
        def _take_back(self):
            if not taking_back.is_set():
                taking_back.set()
                assert filed.wait(HANG_GUARD)
            super()._take_back()

    def passes_its_check():
        with thread._gate:
            last_words.set()
            assert taking_back.wait(HANG_GUARD)
            thread._asked = True
            async_raise(thread.ident, Cancelled)
            filed.set()

    last_words = threading.Event()
    thread = Ending(target=last_words.wait, args=(HANG_GUARD,))
    thread.start()
    caller = threading.Thread(target=passes_its_check)
    caller.start()
    assert ended(thread)
    assert ended(caller)
    assert {args.exc_type for args in printed} <= {Cancelled}
    assert thread._gate.acquire(blocking=False)


def test_to_take_back_what_nobody_asked_for_does_nothing():
    threads.take_back()
    threads.take_back()


class LyingGate:
    """A lock in which an exception strikes just after it was acquired, as on Python 3.14."""

    def __init__(self):
        self.lock = threading.Lock()
        self.strikes = 1

    def acquire(self):
        self.lock.acquire()
        if self.strikes:
            self.strikes -= 1
            raise Cancelled

    def release(self):
        self.lock.release()

    def __enter__(self):
        self.lock.acquire()

    def __exit__(self, *args):
        self.lock.release()


def test_a_request_raised_as_the_gate_opens_does_not_leave_it_shut(printed):
    thread = ThreadWithExc(target=lambda: None)
    thread._gate = LyingGate()
    thread.start()
    assert ended(thread)
    assert [args.exc_type for args in printed] == [Cancelled]
    assert not thread._gate.lock.locked()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_nothing_is_raised_in_the_child_of_a_fork_where_the_thread_does_not_live():
    thread = spinner()

    def child():
        with pytest.raises(threading.ThreadError):
            thread.raise_exc(Cancelled)

    held, over = threading.Event(), threading.Event()

    def hold():
        with thread._gate:
            held.set()
            over.wait(HANG_GUARD)

    holder = threading.Thread(target=hold)  # which does not live there either
    holder.start()
    held.wait(HANG_GUARD)
    assert in_fork(child) == 0
    over.set()
    thread.raise_exc(Cancelled)
    assert ended(thread)


# The patterns of the docstring


def test_a_thread_catches_its_own_exception_and_tidies_up():
    events = []
    working = threading.Event()

    class Worker(ThreadWithExc):
        def run(self):
            try:
                working.set()
                while True:
                    pass
            except Cancelled:
                events.append("tidied up")

    worker = Worker(daemon=True)
    worker.start()
    assert working.wait(HANG_GUARD)
    worker.raise_exc(Cancelled)
    assert ended(worker)
    assert events == ["tidied up"]


def test_a_thread_that_swallows_exceptions_ends_when_they_are_repeated():
    swallowed = []
    working = threading.Event()

    class Worker(ThreadWithExc):
        def run(self):
            while len(swallowed) < 3:
                try:
                    working.set()
                    while True:
                        pass
                except Cancelled as error:
                    swallowed.append(error)

    worker = Worker(daemon=True)
    worker.start()
    assert working.wait(HANG_GUARD)
    with silent_threads():
        deadline = time.monotonic() + HANG_GUARD
        while worker.is_alive():
            assert time.monotonic() < deadline
            with contextlib.suppress(threading.ThreadError):  # its code ended just now
                worker.raise_exc(Cancelled)
            worker.join(0.001)
    assert len(swallowed) == 3
