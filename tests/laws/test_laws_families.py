"""The laws of families, of Stop and of manners; what *Plain* says is told in `test_laws`."""

import concurrent.futures
import gc
import random
import sys
import threading
import time
from contextlib import suppress

import pytest

import ipykill
from ipykill import JobKilled, JobState, JobStopped
from ipykill.kill import margins, pursuit
from tests.laws.harness import HANG, KILLS, Started, assert_dies, kill, start, work_for
from tests.laws.scenarios import others
from tests.waiting import wait_for

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

    def is_over() -> bool:
        return pursuit._engine is None and margins._usual_interval is None

    wait_for(is_over, "the end of what earlier tests killed", HANG)
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
