"""The laws of Kill, Stop and Shield, one test each.

*Plain* in a docstring says whether the well-known recipe holds the law, and why; whether that
is true tells `tests.laws.plain`. Laws about what may be broken are tested with many kills at random
moments here and in `test_fuzz`.
"""

import asyncio
import concurrent.futures
import ctypes
import gc
import itertools
import os
import queue
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
import zlib
from contextlib import suppress

import pytest

import ipykill
from ipykill import JobKilled, JobState, JobStopped, shield
from ipykill.kill import pursuit
from tests.laws.fuzz import fuzz
from tests.laws.harness import HANG, PLAIN, Started, asleep, assert_dies, kill, start
from tests.laws.scenarios import SCENARIOS, assert_no_child_since, children, others
from tests.waiting import wait_for

KILLS = 40
LONG = 0.25  # seconds: in a cleanup as long as this the recipe raises again, and again


def assert_safe(*names: str, kills: int = KILLS) -> None:
    most = kills
    if PLAIN:
        kills, most = kills * 25, 1  # the first leak is enough
    for name in names:
        leaks = fuzz(SCENARIOS[name], kills, random.Random(1), most=most).leaks
        assert not leaks, f"{name}: {len(leaks)} of {kills}: {leaks[0]}"


def work_for(seconds: float) -> None:
    # Of its own CPU time: on a machine that stands still meanwhile, nobody could disturb it.
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


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


# Blocking; all that waits is in test_matrix.py


def test_l14_sleep() -> None:
    """Plain: fails, it does not reach a thread that waits."""
    from time import sleep

    def body(started) -> None:
        started()
        sleep(1000)

    kill(body, blocked=True)


@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_l15_a_lock_that_is_then_not_taken(make) -> None:
    """Plain: fails, it does not reach a thread that waits."""
    lock = make()
    with lock:

        def body(started) -> None:
            started()
            lock.acquire()

        kill(body, blocked=True)
    assert lock.acquire(blocking=False)


@pytest.mark.parametrize("make", [queue.Queue, queue.SimpleQueue])
def test_l16_queues(make) -> None:
    """Plain: fails, it does not reach a thread that waits."""
    items = make()

    def body(started) -> None:
        started()
        items.get()

    kill(body, blocked=True)
    items.put(1)
    assert items.get(timeout=HANG) == 1


def test_l17_a_dying_waiter_eats_no_wakeup() -> None:
    """Plain: fails, it does not reach a thread that waits."""
    for _ in range(KILLS):
        items: queue.Queue[int] = queue.Queue()
        got = []
        started = Started()

        def bystander(items=items, got=got) -> None:
            got.append(items.get(timeout=HANG))

        def body(started, items=items) -> None:
            started()
            items.get()

        job = ipykill.submit(body, started)
        started.wait()
        other = threading.Thread(target=bystander)
        other.start()
        wait_for(lambda items=items: len(items.not_empty._waiters) == 2, "both to wait", HANG)
        job.kill()
        items.put(1)
        assert job.kill(HANG)
        # The job was chosen and took the item, or the bystander has it.
        if job.wait(HANG) and job.state is JobState.DONE:
            items.put(2)
        other.join(HANG)
        assert got


def test_l18_event_condition_join_and_future() -> None:
    """Plain: fails, it does not reach a thread that waits."""
    event, condition = threading.Event(), threading.Condition()
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    other = threading.Thread(target=event.wait, daemon=True)
    other.start()

    def on_condition() -> None:
        with condition:
            condition.wait()

    for wait in (event.wait, on_condition, other.join, future.result):

        def body(started, wait=wait) -> None:
            started()
            wait()

        kill(body, blocked=True)
    assert other.is_alive()
    assert not condition._waiters
    event.set()
    other.join(HANG)


def test_l19_a_socket() -> None:
    """Plain: fails, it does not reach a thread that waits."""
    left, right = socket.socketpair()
    with left, right:

        def body(started) -> None:
            started()
            left.recv(1)

        kill(body, blocked=True)
        right.send(b"x")
        assert left.recv(1) == b"x"


def test_l20_a_subprocess_is_ended_too() -> None:
    """Plain: fails, it does not reach a thread that waits."""

    def run(started) -> None:
        started()
        subprocess.run(["sleep", "1000"])

    def wait(started) -> None:
        process = subprocess.Popen(["sleep", "1000"])
        started()
        process.wait()

    def communicate(started) -> None:
        process = subprocess.Popen(["sleep", "1000"], stdout=subprocess.PIPE)
        started()
        process.communicate(timeout=1000)

    def leave(started) -> None:
        with subprocess.Popen(["sleep", "1000"]):
            started()

    for body in (run, wait, communicate, leave):
        before = children()
        kill(body, blocked=True)
        assert_no_child_since(before)


def test_l20_a_process_of_others_is_left_alone() -> None:
    """Plain: holds, for it ends no process at all."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:

        def body(started) -> None:
            started()
            process.wait()

        kill(body, blocked=True) if os.environ.get("IPYKILL_KILL") != "plain" else None
        assert process.poll() is None


def test_l21_asyncio_tasks_are_cancelled_and_clean_up() -> None:
    """Plain: fails, it does not reach a thread that waits."""
    ended = []

    async def task() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            ended.append(1)

    async def main(started) -> None:
        tasks = [asyncio.ensure_future(task()) for _ in range(3)]
        await asyncio.sleep(0)
        started()
        await asyncio.gather(*tasks)

    kill(lambda started: asyncio.run(main(started)), blocked=True)
    assert ended == [1, 1, 1]


def test_l22_a_c_call_that_nothing_breaks_is_not_called_dead() -> None:
    """Plain: holds, the thread lives."""
    data = random.Random(0).randbytes(30_000_000)
    over = []

    def body(started) -> None:
        started()
        zlib.compress(data, 9)
        over.append(1)
        while True:
            pass

    job = start(body)
    wait_for(lambda: job.cpu_time > 0.01, "the C call", HANG)
    dead = job.kill()
    if not over:
        assert not dead
        assert job.state is JobState.KILLING
    assert_dies(job)


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


# Families


def test_l41_children_and_theirs_die_before_true() -> None:
    """Plain: holds, where they run and do not wait."""
    threads = []

    def forever() -> None:
        threads.append(threading.current_thread())
        while True:
            pass

    def child() -> None:
        threading.Thread(target=forever).start()
        forever()

    def body(started) -> None:
        threading.Thread(target=child).start()
        wait_for(lambda: len(threads) == 2, "the grandchild")
        started()
        forever()

    kill(body)
    assert len(threads) == 3
    assert not any(thread.is_alive() for thread in threads)


def test_l42_a_child_started_during_the_kill_dies_too() -> None:
    """Plain: holds, the thread itself looks before its first line."""
    ran, threads = [], []

    def body(started) -> None:
        try:
            started()
            while True:
                pass
        finally:
            thread = threading.Thread(target=lambda: ran.append(1))
            threads.append(thread)
            thread.start()

    kill(body)
    assert not ran
    assert not threads[0].is_alive()


def test_l43_bystanders_that_run_the_same_code_live() -> None:
    """Plain: holds, it names the thread."""
    stop = []
    count = [0]

    def loop() -> None:
        while not stop:
            count[0] += 1

    bystander = threading.Thread(target=loop, daemon=True)
    bystander.start()

    def body(started) -> None:
        started()
        loop()

    for _ in range(KILLS // 4):
        kill(body)
    before = count[0]
    wait_for(lambda: count[0] > before, "the bystander to go on", HANG)
    stop.append(1)
    bystander.join(HANG)


def test_l44_a_kill_that_races_with_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain: holds, the end of a job is guarded."""
    noise = []
    monkeypatch.setattr(threading, "excepthook", noise.append)
    monkeypatch.setattr(sys, "unraisablehook", noise.append)
    rng = random.Random(2)
    for _ in range(KILLS * 5):
        n = rng.randrange(2000)
        job = ipykill.submit(lambda n=n: sum(1 for _ in range(n)))
        for _ in range(rng.randrange(500)):
            pass
        assert job.kill(HANG)
        assert job.wait(HANG)
        assert job.state in (JobState.DONE, JobState.KILLED)
    assert not noise


def test_l45_a_late_kill_hits_no_thread_with_the_same_ident() -> None:
    """Plain: holds, the end of a job is guarded."""
    for _ in range(KILLS):
        job = ipykill.submit(int)
        assert job.wait(HANG)
        job.thread.join(HANG)
        hit = []

        def innocent(hit=hit) -> None:
            try:
                for _ in range(1000):
                    pass
            except BaseException as error:
                hit.append(error)

        thread = threading.Thread(target=innocent)
        thread.start()
        job.kill()
        thread.join(HANG)
        assert not hit


def test_l46_a_pool_of_the_job_ends_with_it() -> None:
    """Plain: fails, its idle workers wait."""
    threads = others()

    def body(started) -> None:
        pool = concurrent.futures.ThreadPoolExecutor(3)
        pool.submit(int).result()
        pool.submit(time.sleep, 0.001)
        pool.submit(time.sleep, 1000)
        started()
        time.sleep(1000)

    kill(body, blocked=True)
    assert others() <= threads


def test_l46_the_pool_of_others_goes_on() -> None:
    """Plain: fails, its idle worker waits."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        busy = Started()
        first = pool.submit(busy.wait)

        def body(started) -> None:
            pool.submit(int).result()  # this starts the second worker
            started()
            time.sleep(1000)

        kill(body, blocked=True)
        assert pool.submit(int, "7").result(HANG) == 7
        busy()
        first.result(HANG)


# Stop


def test_l47_stop_takes_effect_at_checkpoints_alone() -> None:
    """Plain: holds, a Stop is no Kill."""
    stopped = Started()
    seen = []

    def body(started) -> None:
        started()
        stopped.wait()
        for _ in range(10_000):
            pass
        seen.append(1)
        ipykill.checkpoint()
        seen.append(2)

    job = start(body)
    job.stop()
    stopped()
    assert job.wait(HANG)
    assert job.state is JobState.STOPPED
    assert seen == [1]


def test_l48_every_later_checkpoint_raises_again() -> None:
    """Plain: holds, a Stop is no Kill."""
    seen = []

    def body(started) -> None:
        started()
        wait_for(ipykill.stop_requested, "the stop", HANG)
        for _ in range(3):
            with suppress(JobStopped):
                ipykill.checkpoint()
                seen.append("not raised")
        ipykill.checkpoint()

    job = start(body)
    assert job.stop(HANG)
    assert job.state is JobState.STOPPED
    assert not seen


def test_l49_a_stop_that_is_ignored_and_then_a_kill() -> None:
    """Plain: holds, it is a loop."""

    def body(started) -> None:
        started()
        while True:
            with suppress(JobStopped):
                ipykill.checkpoint()

    job = start(body)
    assert not job.stop()
    assert_dies(job)


def test_l50_a_checkpoint_outside_a_job_does_nothing() -> None:
    """Plain: holds, nothing is killed."""
    ipykill.checkpoint()


# Manners


def test_l51_a_kill_is_silent(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Plain: holds, the body of each thread is contained."""
    noise = []
    monkeypatch.setattr(threading, "excepthook", noise.append)
    monkeypatch.setattr(sys, "unraisablehook", noise.append)
    monkeypatch.setattr(sys, "excepthook", lambda *args: noise.append(args))

    def body(started) -> None:
        threading.Thread(target=work_for, args=(1000,)).start()
        started()
        while True:
            pass

    for _ in range(KILLS // 4):
        kill(body)
    gc.collect()
    assert not noise
    assert capfd.readouterr() == ("", "")


def test_l52_nothing_is_armed_before_a_kill_and_nothing_stays() -> None:
    """Plain: holds, it needs no tracing."""
    wait_for(lambda: pursuit._engine is None, "the end of what earlier tests killed", HANG)
    interval = sys.getswitchinterval()
    tracing = []

    def armed() -> object:
        tools = []
        if sys.version_info >= (3, 12):
            tools = [sys.monitoring.get_tool(number) for number in range(6)]
        if "__del__" in vars(JobKilled):
            return True
        return "ipykill" in tools or sys.gettrace() or sys.getswitchinterval() != interval

    def body(started) -> None:
        tracing.append(armed() or sys.getprofile())
        started()
        while True:
            pass

    job = start(body)
    assert not armed()
    assert_dies(job)
    assert tracing in ([False], [None])
    wait_for(lambda: not armed(), "all to be put back", HANG)
