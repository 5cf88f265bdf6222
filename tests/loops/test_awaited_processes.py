"""A process for which a task waits ends with it; so does, later, one that cleanup waits for."""

import asyncio
import sys

import pytest

from ipykill import JobState
from ipykill.processes import timing
from tests.waiting import HANG_GUARD

SLEEP = [sys.executable, "-c", "import time; time.sleep(1000)"]


@pytest.mark.slow
@pytest.mark.parametrize("before", ["nothing", "a Stop", "an interrupt"])
@pytest.mark.parametrize("runs", ["the job's", "asyncio.run"])
def test_cleanup_that_waits_for_a_process_ends(jobs, began, monkeypatch, runs, before):
    """On CPython 3.11 and on macOS a thread waits for it, and tells the loop."""
    monkeypatch.setattr(timing, "grace", 0.2)
    ended = []

    async def main():
        process = await asyncio.create_subprocess_exec(*SLEEP)
        try:
            began.set()
            await asyncio.sleep(1000)
        finally:
            ended.append(await process.wait())

    job = jobs.submit(main if runs == "the job's" else lambda: asyncio.run(main()))
    assert began.wait(HANG_GUARD)
    if before == "a Stop":
        job.stop()
    elif before == "an interrupt":
        job.interrupt()
    assert job.kill(HANG_GUARD)
    assert len(ended) == 1
    assert ended[0]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["wait", "communicate"])
def test_a_task_that_waits_for_a_process_finds_it_gone(jobs, began, how):
    ended = []

    async def main():
        process = await asyncio.create_subprocess_exec(*SLEEP)
        try:
            began.set()
            await getattr(process, how)()
        finally:
            ended.append(await process.wait())

    job = jobs.submit(main)
    assert began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert job.state is JobState.KILLED
    assert ended == [-15]


@pytest.mark.slow
def test_in_trio(jobs, began, monkeypatch):
    trio = pytest.importorskip("trio")
    monkeypatch.setattr(timing, "grace", 0.2)
    ended = []

    async def main():
        process = await trio.lowlevel.open_process(SLEEP)
        try:
            began.set()
            await trio.sleep(1000)
        finally:
            with trio.CancelScope(shield=True):
                ended.append(await process.wait())

    job = jobs.submit(lambda: trio.run(main))
    assert began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert ended == [-15]
