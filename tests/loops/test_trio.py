"""A Kill, an interrupt and a Stop of what runs in ``trio.run`` end it as Ctrl-C does."""

import contextlib
import gc
import random
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("trio")
pytest.importorskip("anyio")

import trio

from ipykill import JobKilled, JobState, JobStopped
from ipykill.core.failure import is_only
from ipykill.kill import wake
from tests.loops import trio_shapes
from tests.loops.fuzz import kill_often
from tests.loops.shapes import Count
from tests.marks import shows_places
from tests.waiting import HANG_GUARD, wait_for

KILLS = 6
QUICK = ("polls", "nurseries", "anyio_groups")


def submit(jobs, fn):
    """Start trio in a job, with a shape that cleans up; return the two when it has begun."""
    count = Count()
    job = jobs.submit(lambda: trio.run(fn, count))
    assert count.began.wait(HANG_GUARD)
    return job, count


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in trio_shapes.STARTS
    ],
)
def test_every_task_cleans_up(name: str) -> None:
    figures = kill_often(trio_shapes.STARTS[name], 60.0, random.Random(name), KILLS)
    assert figures.fine, str(figures)
    trio.run(trio.sleep, 0)  # in the foreground, afterwards


def test_the_kill_comes_out_of_the_run(jobs):
    caught, count = [], Count()

    def body():
        try:
            trio.run(trio_shapes.nurseries, count)
        except* KeyboardInterrupt as group:
            caught.append(is_only(JobKilled, group))
            raise

    job = jobs.submit(body)
    assert count.began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.KILLED
    assert caught == [True]


@shows_places
def test_a_run_is_reached_without_a_signal(jobs, monkeypatch):
    monkeypatch.setattr(wake, "wake", lambda *_: None)
    job, count = submit(jobs, trio_shapes.waits)
    assert job.kill(HANG_GUARD)
    assert not count.torn


@shows_places
def test_a_run_in_the_worker_of_a_pool_is_reached_without_a_signal(jobs, monkeypatch):
    monkeypatch.setattr(wake, "wake", lambda *_: None)
    count = Count()

    def body():
        with ThreadPoolExecutor() as pool:
            pool.submit(trio.run, trio_shapes.waits, count).result()

    job = jobs.submit(body)
    assert count.began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert not count.torn


@pytest.mark.slow
def test_a_long_cleanup_is_left_alone_and_told(jobs):
    may_end, ended = trio.Event(), []

    async def work(count):
        try:
            count.began.set()
            await trio.sleep_forever()
        finally:
            await may_end.wait()
            ended.append("cleanup")

    count, tokens = Count(), []

    async def main():
        tokens.append(trio.lowlevel.current_trio_token())
        await work(count)

    job = jobs.submit(lambda: trio.run(main))
    assert count.began.wait(HANG_GUARD)
    job.kill()
    line = work.__code__.co_firstlineno + 5
    said = f"the main task of trio cleans up (test_trio.py, line {line}); it dies after that"
    wait_for(lambda: job.info().hindrance.endswith(said), "the reason")
    for _ in range(50):
        job.kill()
    assert not job.kill(0.5)  # longer than anything is spared that does not clean up
    tokens[0].run_sync_soon(may_end.set)
    assert job.kill(HANG_GUARD)
    assert ended == ["cleanup"]


def test_a_run_that_serves_a_cleanup_is_left_alone(jobs):
    began, cleans, ended = threading.Event(), threading.Event(), []

    async def save():
        cleans.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0.1)
            nursery.start_soon(trio.sleep, 0.1)
        ended.append("saved")

    def body():
        try:
            while True:
                began.set()
        finally:
            trio.run(save)

    job = jobs.submit(body)
    assert began.wait(HANG_GUARD)
    job.kill()
    assert cleans.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert ended == ["saved"]


# An interrupt


@pytest.mark.parametrize("name", ["nurseries", "polls_at_once", "computes"])
def test_an_interrupt_is_what_ctrl_c_is_to_trio(jobs, name):
    count, caught = Count(), []

    def body():
        try:
            trio.run(trio_shapes.SHAPES[name], count)
        except* KeyboardInterrupt as group:
            caught.append(is_only(JobKilled, group))
        return "kept"

    job = jobs.submit(body)
    assert count.began.wait(HANG_GUARD)
    assert job.interrupt(HANG_GUARD)
    assert job.result(HANG_GUARD) == "kept"
    assert caught == [False]
    assert not count.torn


def test_an_interrupt_that_passes_stops_the_job(jobs):
    job, count = submit(jobs, trio_shapes.nurseries)
    assert job.interrupt(HANG_GUARD)
    assert job.wait(HANG_GUARD)
    assert (job.state, job.reason) == (JobState.STOPPED, "interrupted")
    assert not count.torn


def test_an_interrupt_that_is_caught_comes_once(jobs):
    caught = []

    async def main(count):
        for _ in range(2):
            count.began.set()
            with trio.move_on_after(0.1 if caught else 1000):
                try:
                    await trio.sleep_forever()
                except KeyboardInterrupt as error:
                    caught.append(type(error))
        return "kept"

    job, _ = submit(jobs, main)
    assert job.interrupt(HANG_GUARD)
    assert job.result(HANG_GUARD) == "kept"
    assert caught == [KeyboardInterrupt]


# A Stop


@shows_places
def test_a_stop_ends_what_the_code_runs_itself(jobs):
    job, count = submit(jobs, trio_shapes.nurseries)
    assert job.stop(HANG_GUARD)
    assert job.state is JobState.STOPPED
    assert not count.torn


@pytest.fixture
def switches_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@shows_places
@pytest.mark.stress
def test_a_stop_finds_the_run_while_its_stack_changes(jobs, switches_often):
    for _ in range(60):
        job, _ = submit(jobs, trio_shapes.nurseries)
        assert job.stop(HANG_GUARD)
        assert job.state is JobState.STOPPED


@shows_places
def test_a_stop_that_is_caught_is_no_end(jobs):
    async def main(count):
        with contextlib.suppress(JobStopped):
            count.began.set()
            await trio.sleep_forever()
        await trio.sleep(0.01)
        return "tidy"

    job, _ = submit(jobs, main)
    assert job.stop(HANG_GUARD)
    assert job.result(HANG_GUARD) == "tidy"


# What is left


@pytest.mark.parametrize("how", ["kill", pytest.param("stop", marks=shows_places), "interrupt"])
def test_nothing_keeps_the_run_or_its_tasks(jobs, how):
    kept = []

    class Big:
        pass

    async def main(count):
        big = Big()
        kept.append(weakref.ref(big))
        kept.append(weakref.ref(trio.lowlevel.current_task()))
        count.began.set()
        await trio.sleep_forever()

    job, _ = submit(jobs, main)
    assert getattr(job, how)(HANG_GUARD)
    wait_for(lambda: (gc.collect(), not any(ref() for ref in kept))[1], "the end of all")
