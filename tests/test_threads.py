import contextlib
import ctypes
import os
import sys
import threading
import time

import pytest

from ipykill import threads
from ipykill.threads import StoppableThread, ThreadWithExc, async_raise
from tests.racing import ended, frequent_switches, in_fork, silent_threads
from tests.waiting import HANG_GUARD


class Cancelled(Exception):
    pass


@pytest.fixture
def printed():
    """What threading.excepthook was given."""
    with silent_threads() as seen:
        yield seen


class Spinner(ThreadWithExc):
    """Spins until an exception comes, and keeps it."""

    def __init__(self):
        super().__init__(daemon=True)
        self.spinning = threading.Event()
        self.caught = None

    def run(self):
        try:
            self.spinning.set()
            while True:
                pass
        except BaseException as error:
            self.caught = error


def spinner():
    thread = Spinner()
    thread.start()
    assert thread.spinning.wait(HANG_GUARD)
    return thread


# async_raise


def test_async_raise_raises_in_the_thread():
    thread = spinner()
    async_raise(thread.ident, Cancelled)
    assert ended(thread)
    assert type(thread.caught) is Cancelled


def test_async_raise_reaches_the_calling_thread_too():
    with pytest.raises(Cancelled):
        async_raise(threading.get_ident(), Cancelled)


def test_an_instance_is_refused():
    with pytest.raises(TypeError, match=r"Only types can be raised \(not instances\)"):
        async_raise(threading.get_ident(), Cancelled())


@pytest.mark.parametrize("what", [int, object, type, "Cancelled", None, list[int]])
def test_what_is_no_exception_type_is_refused(what):
    with pytest.raises(TypeError, match="Only"):
        async_raise(threading.get_ident(), what)


class NeedsArgument(Exception):
    def __init__(self, argument):
        super().__init__(argument)


class MakesNoException(Exception):
    def __new__(cls):
        return 3


@pytest.mark.parametrize("exctype", [NeedsArgument, UnicodeDecodeError, ExceptionGroup])
def test_a_type_that_needs_arguments_is_refused_in_the_caller(exctype):
    with pytest.raises(TypeError, match=f"{exctype.__name__} cannot be constructed without"):
        async_raise(threading.get_ident(), exctype)


def test_a_type_that_makes_no_exception_is_refused_in_the_caller():
    with pytest.raises(TypeError, match=r"MakesNoException.* makes no exception but 3"):
        async_raise(threading.get_ident(), MakesNoException)


@pytest.mark.parametrize("tid", [0, -1, 1, True, 2**64 - 1, 2**64, 2**200, -(2**70)])
def test_an_id_of_no_thread_is_refused(tid):
    with pytest.raises(ValueError, match="invalid thread id"):
        async_raise(tid, Cancelled)


def test_an_id_is_not_wrapped_round_to_that_of_a_thread():
    me = threading.get_ident()
    for tid in (me + 2**64, me - 2**64):
        with pytest.raises(ValueError, match="invalid thread id"):
            async_raise(tid, Cancelled)
    for _ in range(1000):
        pass  # where it would be raised


@pytest.mark.parametrize("tid", ["1", 1.0, None, b"1"])
def test_an_id_that_is_no_int_is_refused(tid):
    with pytest.raises(TypeError, match="a thread id is an int"):
        async_raise(tid, Cancelled)


def test_the_id_of_an_ended_thread_is_refused():
    thread = threading.Thread()
    thread.start()
    thread.join()
    with pytest.raises(ValueError, match="invalid thread id"):
        async_raise(thread.ident, Cancelled)


def test_a_request_that_hit_several_thread_states_is_taken_back(monkeypatch):
    calls = []

    def hits_two(tid, exctype):
        calls.append((tid, exctype))
        return 2

    monkeypatch.setattr(threads, "_set_async_exc", hits_two)
    with pytest.raises(SystemError, match="hit 2 thread states of id 5"):
        async_raise(5, Cancelled)
    assert calls == [(5, Cancelled), (5, threads._NULL)]


# StoppableThread


def test_stop_asks_and_interrupts_nothing():
    looked = threading.Event()

    def work():
        while not thread.stopped():
            looked.set()

    thread = StoppableThread(target=work, daemon=True)
    assert not thread.stopped()
    thread.start()
    assert looked.wait(HANG_GUARD)
    thread.stop()
    thread.stop()
    assert ended(thread)
    assert thread.stopped()


def test_the_flag_shadows_nothing_of_threading_thread():
    thread = StoppableThread()
    thread.start()
    thread.stop()
    assert ended(thread)  # up to 3.12, join() calls Thread._stop()
    plain = vars(threading.Thread()).keys() | set(dir(threading.Thread))
    assert not (vars(thread).keys() - vars(threading.Thread()).keys()) & plain


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


@pytest.mark.skipif(
    sys.version_info >= (3, 14),
    reason="there an exception from outside, which asks nobody, may come between __enter__ and the "
    "with block: threading's own lock stays locked for ever, with or without ipykill",
)
@pytest.mark.stress
@pytest.mark.slow
@frequent_switches()
def test_a_thread_that_is_starting_others_is_hit_and_not_they(printed):
    # On 3.11, a thread that is being started has the ident of its creator. One that is hit
    # dies before it says that it has started, and its creator waits for that for ever.
    class Halt(BaseException):
        pass

    def parent(starting):
        with contextlib.suppress(Halt):
            while True:
                child = threading.Thread(target=int)
                child.start()
                starting.set()

    unraisable = []
    sys.unraisablehook, before = unraisable.append, sys.unraisablehook
    try:
        for _ in range(300):
            starting = threading.Event()
            thread = threading.Thread(target=parent, args=(starting,), daemon=True)
            thread.start()
            assert starting.wait(HANG_GUARD)
            deadline = time.monotonic() + HANG_GUARD
            while thread.is_alive():  # it may be swallowed in a weakref callback of threading
                assert time.monotonic() < deadline
                with contextlib.suppress(ValueError):
                    async_raise(thread.ident, Halt)
                thread.join(0.1)
            for child in list(threading._limbo):
                if child.ident is None:  # a start that was cut short leaves it there for ever
                    child._ident = 0
    finally:
        sys.unraisablehook = before
    halts = [args for args in unraisable if args.exc_type is Halt]
    assert not [args for args in halts if "thread started" in (args.err_msg or "")]


# Stress: an exception hits the body or nothing


def raise_without_pause(thread, raised):
    while True:
        try:
            thread.raise_exc(Cancelled)
            raised.append(1)
        except threading.ThreadError:
            if thread.ident is not None and not thread.is_alive():
                return


@pytest.mark.stress
@pytest.mark.slow
@pytest.mark.parametrize("raisers", [1, 3])
@frequent_switches()
def test_neither_the_end_of_the_thread_nor_its_successor_is_hit(raisers, printed):
    # In the interpreter's part of a thread, an exception would be printed by
    # sys.unraisablehook or leave the thread alive for ever; in another thread it would be
    # printed as that one's.
    survivors = []
    unraisable = []
    sys.unraisablehook, before = unraisable.append, sys.unraisablehook
    try:
        for _ in range(2000 // raisers):
            entered = []

            def body(entered=entered):
                try:
                    entered.append(1)
                    for _ in range(20):
                        pass
                except Cancelled:
                    pass

            thread = ThreadWithExc(target=body, name="victim")
            raised = []
            hunters = [
                threading.Thread(target=raise_without_pause, args=(thread, raised), name="hunter")
                for _ in range(raisers)
            ]
            for hunter in hunters:
                hunter.start()
            thread.start()
            if not ended(thread):
                survivors.append(thread)
            successor = threading.Thread(target=sum, args=(range(100),), name="successor")
            successor.start()
            assert ended(successor)
            for hunter in hunters:
                assert ended(hunter)
            assert thread._gate.acquire(blocking=False)
    finally:
        sys.unraisablehook = before
    assert not survivors
    assert {args.thread.name for args in printed} <= {"victim"}
    assert {args.exc_type for args in printed} <= {Cancelled}
    assert not unraisable


def test_the_functions_of_pythonapi_are_left_as_others_expect_them():
    """kthread and stopit, in the same process, pass a ``c_long``."""
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc.argtypes is None
    assert ctypes.pythonapi.PyThreadState_Get.restype is ctypes.c_int
    assert ctypes.pythonapi.PyThreadState_GetFrame.restype is ctypes.c_int
