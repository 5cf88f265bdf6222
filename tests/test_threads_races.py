"""Under races, an exception hits the body of a thread or nothing."""

import contextlib
import sys
import threading
import time

import pytest

from ipykill.threads import ThreadWithExc, async_raise
from tests.racing import ended, frequent_switches
from tests.spinners import Cancelled
from tests.waiting import HANG_GUARD

# Stress: an exception hits the body or nothing


def raise_without_pause(thread, raised):
    while True:
        try:
            thread.raise_exc(Cancelled)
            raised.append(1)
        except threading.ThreadError:
            if thread.ident is not None and not thread.is_alive():
                return


def _in_the_interpreter(unraisable, kind):
    """Return what was raised outside of the thread's code, and in no finalizer that ran in it."""
    of_kind = [args for args in unraisable if args.exc_type is kind]
    return [args for args in of_kind if "thread started" in (args.err_msg or "")]


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
    assert not _in_the_interpreter(unraisable, Cancelled)


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
    assert not _in_the_interpreter(unraisable, Halt)
