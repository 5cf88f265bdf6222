"""The laws of Kill, Stop and Shield, one test each: here those of Kill where code runs.

*Plain* in a docstring says whether the well-known recipe holds the law, and why; whether that
is true tells `tests.laws.plain`. Laws about what may be broken are tested with many kills at random
moments in `test_laws_cleanup` and in `test_fuzz`.
"""

import ctypes
import gc
import itertools
import sqlite3
import sys
import threading
import time
import weakref

import pytest

import ipykill
from ipykill import JobKilled, JobState
from tests.laws.harness import HANG, KILLS, LONG, assert_dies, kill, start, work_for
from tests.waiting import wait_for

# Delivery


def test_l01_a_loop_dies() -> None:
    """Plain: holds, this is what it is made for."""

    def loop(started) -> None:
        started()
        while True:
            pass

    kill(loop)


def test_l02_true_means_that_nothing_runs() -> None:
    """Plain: holds, ``kill`` waits for the threads whoever kills them."""
    ticks = []

    def loop(started) -> None:
        started()
        while True:
            ticks.append(1)

    kill(loop)
    count = len(ticks)
    for _ in range(20):
        time.sleep(0)
    assert len(ticks) == count


def test_l03_true_means_that_cleanup_has_run() -> None:
    """Plain: fails, its second exception cuts the cleanup."""
    done = []

    def body(started) -> None:
        try:
            started()
            while True:
                pass
        finally:
            work_for(LONG)
            done.append(1)

    kill(body)
    assert done == [1]


def test_l04_to_kill_a_finished_job_does_nothing() -> None:
    """Plain: holds, ``kill`` finds no thread."""
    job = ipykill.submit(lambda: 42)
    assert job.result(HANG) == 42
    assert job.kill(HANG)
    assert job.kill()
    assert job.state is JobState.DONE


def test_l05_any_number_of_kills_is_one_exception() -> None:
    """Plain: fails, each kill raises."""
    seen = []
    ready = threading.Barrier(9)

    def body(started) -> None:
        try:
            started()
            while True:
                pass
        except JobKilled as error:
            seen.append(error)
            try:
                work_for(LONG)
            except JobKilled as error:
                seen.append(error)
            raise

    job = start(body)

    def killer() -> None:
        ready.wait()
        job.kill(HANG)

    killers = [threading.Thread(target=killer) for _ in range(8)]
    for thread in killers:
        thread.start()
    ready.wait()
    assert_dies(job)
    for thread in killers:
        thread.join()
    assert len(seen) == 1


def test_l06_killed_before_its_first_line_it_never_runs_it() -> None:
    """Plain: holds, the thread itself looks before its first line."""
    ran = []
    for _ in range(KILLS):
        job = ipykill.submit(lambda: ran.append(threading.get_ident()))
        count = len(ran)
        job.kill(HANG)
        assert job.wait(HANG)
        # It ran before the kill, or never.
        assert (job.state is JobState.KILLED) or len(ran) >= count
        if job.state is JobState.KILLED:
            assert threading.get_ident() not in ran
    manager = ipykill.JobManager()
    manager.max_running = 1
    first = manager.submit(work_for, 1000)
    second = manager.submit(lambda: ran.append("second"))
    assert second.kill(HANG)
    assert first.kill(HANG)
    assert second.state is JobState.KILLED
    assert "second" not in ran


def test_l07_a_job_may_kill_itself() -> None:
    """Plain: holds, ``kill`` itself raises it."""
    after = []

    def body() -> None:
        ipykill.current_job().kill()
        after.append(1)

    job = ipykill.submit(body)
    assert job.wait(HANG)
    assert job.state is JobState.KILLED
    assert not after


def test_l08_except_exception_does_not_catch_it() -> None:
    """Plain: holds, a `JobKilled` is no Exception."""

    def body(started) -> None:
        started()
        while True:
            try:
                while True:
                    pass
            except Exception:
                pass

    kill(body)


@pytest.mark.parametrize("wait", [False, True], ids=["running", "waiting"])
def test_l09_a_loop_that_catches_everything_dies(wait: bool) -> None:
    """Plain: fails, its exceptions come inside the try, if at all."""

    def body(started) -> None:
        started()
        while True:
            try:
                try:
                    time.sleep(1000) if wait else sum(range(100))
                except:  # noqa: E722
                    pass
            except BaseException:
                pass

    kill(body, blocked=wait)


def test_l10_a_swallowed_kill_is_raised_again() -> None:
    """Plain: holds, after 0.1 s."""
    seen = []

    def body(started) -> None:
        started()
        try:
            while True:
                pass
        except BaseException:
            seen.append(1)
        try:
            while True:
                pass
        except BaseException:
            seen.append(2)
        while True:
            pass

    kill(body)
    assert seen in ([1], [1, 2])


def test_l10_a_kill_that_an_outer_frame_swallowed_is_raised_again() -> None:
    """Plain: holds, after 0.1 s."""
    seen = []

    def inner() -> None:
        while True:
            pass

    def outer() -> None:
        try:
            inner()
        except BaseException:
            seen.append(1)
        inner()

    def body(started) -> None:
        started()
        try:
            outer()
        except BaseException:
            seen.append(2)
        total = 0
        for number in itertools.count():
            total += number

    kill(body)
    assert seen in ([1, 2], [1])


@pytest.mark.parametrize("room", range(4))
def test_at_the_recursion_limit_there_is_room_to_die(room: int) -> None:
    done = []

    def depth(number: int) -> int:
        try:
            return depth(number + 1)
        except RecursionError:
            return number

    def deep(number: int, started) -> None:
        if number:
            deep(number - 1, started)
        else:
            try:
                started()
                while True:
                    pass
            finally:
                done.append(1)
                done.append(2)

    limit = sys.getrecursionlimit()
    kill(lambda started: deep(depth(0) - room - 3, started))
    assert done == [1, 2]
    wait_for(lambda: sys.getrecursionlimit() == limit, "the usual limit", HANG)


class _Dies:
    def __del__(self) -> None:
        for _ in range(50):
            pass


def test_l11_it_is_not_lost_in_finalizers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain: fails, it is printed and dropped there, and raised again only later."""
    dropped = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: dropped.append(args.exc_type))

    def slow(*_: object) -> None:
        for _ in range(50):
            pass

    gc.callbacks.append(slow)
    try:
        for _ in range(KILLS):

            def body(started) -> None:
                started()
                while True:
                    thing = _Dies()
                    ref = weakref.ref(thing, slow)
                    del thing
                    del ref
                    cycle = []
                    cycle.append(cycle)
                    del cycle
                    gc.collect(0)

            kill(body)
    finally:
        gc.callbacks.remove(slow)
    assert not dropped


def test_l12_a_callback_from_c_does_not_turn_it_into_another_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Plain: fails, sqlite3 makes an OperationalError of it, and ctypes prints and drops it."""
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)

    def slow(*args: object) -> int:
        for _ in range(100):
            pass
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(slow)

    def body(started) -> None:
        connection = sqlite3.connect(":memory:")
        connection.create_function("slow", 1, slow)
        started()
        try:
            while True:
                connection.execute("select slow(1)").fetchall()
                sorted([3, 2, 1], key=slow)
                callback(1)
        except Exception as error:
            seen.append(error)
            raise
        finally:
            connection.close()

    for _ in range(KILLS):
        kill(body)  # asserts that the job counts as killed
    assert all(isinstance(error, sqlite3.Error) for error in seen)


def test_l13_the_ends_are_told_apart() -> None:
    """Plain: holds, the state does not depend on how it dies."""

    def fail() -> None:
        raise ValueError("no")

    def stoppable(started) -> None:
        started()
        ipykill.sleep(1000)

    done, failed = ipykill.submit(int), ipykill.submit(fail)
    stopped = start(stoppable)
    assert stopped.stop(HANG)
    killed = kill(stoppable)
    for job in (done, failed):
        assert job.wait(HANG)
    states = [job.state for job in (done, failed, stopped, killed)]
    assert states == [JobState.DONE, JobState.FAILED, JobState.STOPPED, JobState.KILLED]


def test_l13_an_error_instead_of_the_kill_does_not_hide_it() -> None:
    """Plain: holds, the job was asked to die."""

    def body(started) -> None:
        try:
            started()
            while True:
                pass
        except BaseException:
            raise ValueError from None

    job = kill(body)
    assert isinstance(job.exception(), ipykill.JobAborted)
