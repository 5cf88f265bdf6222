"""`async_raise` checks what it is given; `StoppableThread` is only asked."""

import ctypes
import threading

import pytest

from ipykill import threads
from ipykill.threads import StoppableThread, async_raise
from tests.racing import ended
from tests.spinners import Cancelled, NeedsArgument, spinner
from tests.waiting import HANG_GUARD

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


def test_the_functions_of_pythonapi_are_left_as_others_expect_them():
    """kthread and stopit, in the same process, pass a ``c_long``."""
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc.argtypes is None
    assert ctypes.pythonapi.PyThreadState_Get.restype is ctypes.c_int
    assert ctypes.pythonapi.PyThreadState_GetFrame.restype is ctypes.c_int
