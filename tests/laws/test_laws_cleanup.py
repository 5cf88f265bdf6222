"""The laws of cleanup and of shields; what *Plain* says is told in `test_laws`."""

import random
import threading

import pytest

import ipykill
from ipykill import shield
from tests.laws.fuzz import fuzz
from tests.laws.harness import (
    KILLS,
    LONG,
    PLAIN,
    Started,
    asleep,
    assert_dies,
    kill,
    start,
    work_for,
)
from tests.laws.scenarios import SCENARIOS


def assert_safe(*names: str, kills: int = KILLS) -> None:
    most = kills
    if PLAIN:
        kills, most = kills * 25, 1  # the first leak is enough
    for name in names:
        leaks = fuzz(SCENARIOS[name], kills, random.Random(1), most=most).leaks
        assert not leaks, f"{name}: {len(leaks)} of {kills}: {leaks[0]}"


# Cleanup


def test_l23_nested_finally_blocks_run_inner_to_outer() -> None:
    """Plain: fails, it cuts them."""
    order = []

    def body(started) -> None:
        try:
            try:
                started()
                while True:
                    pass
            finally:
                work_for(LONG)
                order.append("inner")
        finally:
            order.append("outer")

    kill(body)
    assert order == ["inner", "outer"]


def test_l24_a_finally_is_not_cut_by_more_kills() -> None:
    """Plain: fails, it cuts them."""
    done = []
    cleaning = Started()

    def body(started) -> None:
        try:
            started()
            while True:
                pass
        finally:
            cleaning()
            work_for(LONG)
            done.append(1)

    job = start(body)
    job.kill()
    cleaning.wait()
    while job.thread.is_alive():
        job.kill()
    assert_dies(job)
    assert done == [1]
    assert_safe("Finally")


def test_l25_a_rollback_completes() -> None:
    """Plain: fails, 10 to 40 %."""
    assert_safe("Rollback")


def test_l26_exit_runs_if_and_only_if_enter_completed() -> None:
    """Plain: fails, 15 to 24 %."""
    assert_safe("ContextManagerClass", "ExitStack")


def test_l27_with_lock() -> None:
    """Plain: holds up to CPython 3.13, it never comes between the acquiring and the body."""
    assert_safe("WithLock", "WithContendedLock", "WithRLock", "WithLockAroundALoop")


def test_l28_acquire_try_finally() -> None:
    """Plain: fails, 3 to 19 %."""
    assert_safe("AcquireTry", "ContendedAcquireTry", "BlockedAcquireTry")


def test_l29_contextmanager() -> None:
    """Plain: fails, 6 to 8 %."""
    assert_safe("ContextManagerFunction")


def test_l30_the_locks_of_the_standard_library() -> None:
    """Plain: fails, 15 to 40 %."""
    assert_safe("Conditions", "Events", "Semaphores", "Queues", "Logging", kills=20)


def test_l31_the_import_system() -> None:
    """Plain: fails, about 1 %."""
    assert_safe("Imports")


def test_l32_what_the_process_shares_is_put_back() -> None:
    """Plain: fails, 12 to 40 %."""
    assert_safe("RedirectStdout", "CatchWarnings", "TemporaryDirectories", "Files")


def test_l33_an_error_in_cleanup_does_not_hide_the_kill() -> None:
    """Plain: holds, the job was asked to die."""

    def body(started) -> None:
        try:
            started()
            while True:
                pass
        finally:
            raise ValueError("cleanup")

    kill(body)


# Shields


def test_l34_a_kill_in_a_shield_waits_for_its_end() -> None:
    """Plain: holds, it looks for a shield before it asks."""
    killed = Started()
    seen = []

    def body(started) -> None:
        with shield():
            started()
            killed.wait()
            for _ in range(100_000):
                pass
            seen.append("end")
        seen.append("after")

    job = start(body)
    assert not job.kill()
    killed()
    assert_dies(job)
    assert seen == ["end"]


def test_l34_a_wait_in_a_shield_is_not_broken() -> None:
    """Plain: holds, it breaks no wait."""
    lock = threading.Lock()
    lock.acquire()

    def body(started) -> bool:
        with shield():
            started()
            return lock.acquire()

    job = start(body)
    asleep(job)
    assert not job.kill(0.1)
    lock.release()
    assert_dies(job)
    assert lock.locked()


def test_l35_nested_shields_end_with_the_outermost() -> None:
    """Plain: holds, it looks for a shield before it asks."""
    killed = Started()
    seen = []

    def body(started) -> None:
        with shield():
            with shield():
                started()
                killed.wait()
            seen.append("inner is over")
            for _ in range(10_000):
                pass
            seen.append("still")
        seen.append("after")

    job = start(body)
    job.kill()
    killed()
    assert_dies(job)
    assert seen == ["inner is over", "still"]


def test_l36_a_loop_that_is_mostly_shielded_dies_in_the_gap() -> None:
    """Plain: holds, the end of a shield raises."""

    def body(started) -> None:
        started()
        while True:
            with shield():
                sum(range(1000))

    for _ in range(KILLS // 4):
        kill(body)


def test_l37_checkpoint_in_a_shield_does_not_raise() -> None:
    """Plain: holds, a checkpoint looks for a shield."""
    killed = Started()
    seen = []

    def body(started) -> None:
        with shield():
            started()
            killed.wait()
            ipykill.checkpoint()
            seen.append(1)

    job = start(body)
    job.kill()
    killed()
    assert_dies(job)
    assert seen == [1]


def test_l38_a_pending_kill_beats_an_exception_that_leaves_the_shield() -> None:
    """Plain: holds, the end of a shield raises."""
    killed = Started()
    seen = []

    def body(started) -> None:
        try:
            with shield():
                started()
                killed.wait()
                raise ValueError
        except ValueError:
            seen.append("hidden")

    job = start(body)
    job.kill()
    killed()
    assert_dies(job)
    assert not seen


@pytest.mark.parametrize("way", ["return", "break", "continue"])
def test_l39_to_leave_a_shield_in_any_way_delivers(way: str) -> None:
    """Plain: holds, the end of a shield raises."""
    killed = Started()
    seen = []

    def inner(started) -> None:
        for _ in range(1):
            with shield():
                started()
                killed.wait()
                if way == "return":
                    return
                if way == "break":
                    break
                continue

    def body(started) -> None:
        inner(started)
        seen.append(1)

    job = start(body)
    job.kill()
    killed()
    assert_dies(job)
    assert not seen


def test_l40_no_kill_lands_in_a_shield() -> None:
    """Plain: may fail, what it asked for before a shield is seldom raised in it."""
    for _ in range(KILLS):
        pair = [0, 0]

        def body(started, pair=pair) -> None:
            started()
            while True:
                with shield():
                    pair[0] += 1
                    str(pair)
                    pair[1] += 1

        kill(body)
        assert pair[0] == pair[1]
