"""Loops of libraries that may not be there: uvloop, gevent."""

import asyncio
import random

import pytest

from ipykill import JobManager, JobState
from tests.loops.fuzz import kill_often
from tests.loops.shapes import SHAPES, Count
from tests.waiting import HANG_GUARD, wait_for

KILLS = 6


@pytest.mark.parametrize(
    "name",
    [
        "polls",
        "computes",
        "waits",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in (
                "gathers",
                "groups_in_groups",
                "cleans_up_with_tasks",
                "swallows",
                "serves",
            )
        ),
    ],
)
def test_uvloop(name):
    uvloop = pytest.importorskip("uvloop")
    jobs, fn = JobManager(), SHAPES[name]

    def start(count):
        return jobs.submit(lambda: uvloop.run(fn(count)))

    figures = kill_often(start, 60.0, random.Random(name), KILLS)
    assert figures.fine, str(figures)


@pytest.mark.parametrize(
    "name",
    [
        "polls",
        "greenlets",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in (
                *("waits", "computes", "sleeps_in_c", "greenlets_one_that_computes", "pools"),
                *("greenlets_that_sleep_in_turns", "greenlets_that_nobody_awaits", "queues"),
                *("locks", "cleans_up_with_the_help_of_another_greenlet", "swallows"),
            )
        ),
    ],
)
def test_gevent(name, capsys):
    pytest.importorskip("gevent")
    from tests.loops import gevent_shapes

    figures = kill_often(gevent_shapes.starts(name), 60.0, random.Random(name), KILLS)
    assert figures.fine, str(figures)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("how", ["stop", "interrupt", "kill"])
@pytest.mark.parametrize("by_hand", [False, True], ids=["run", "by hand"])
def test_uvloop_is_told(jobs, began, how, by_hand):
    """A loop that the code runs by hand is seen by no other thread."""
    uvloop = pytest.importorskip("uvloop")

    async def main():
        asyncio.get_running_loop().call_soon(began.set)
        await asyncio.sleep(1000)

    def body():
        if not by_hand:
            return uvloop.run(main())
        loop = uvloop.new_event_loop()
        try:
            return loop.run_until_complete(main())
        finally:  # else each garbage collection finds the loop, and cannot free it
            loop.close()

    job = jobs.submit(body)
    assert began.wait(HANG_GUARD)
    assert getattr(job, how)(HANG_GUARD)
    state = JobState.KILLED if how == "kill" else JobState.STOPPED
    wait_for(lambda: job.state is state, "the end")


@pytest.mark.parametrize("how", ["stop", "interrupt"])
def test_gevent_hears_a_stop_and_an_interrupt(jobs, how):
    pytest.importorskip("gevent")
    import gevent

    from tests.loops import gevent_shapes

    count = Count()
    count.began.set = lambda began=count.began.set: gevent.spawn(began)  # in the hub, not before
    job = jobs.submit(gevent_shapes.polls, count)
    assert count.began.wait(HANG_GUARD)
    assert getattr(job, how)(HANG_GUARD)
    wait_for(lambda: job.state is JobState.STOPPED, "the end")
    assert not count.torn
