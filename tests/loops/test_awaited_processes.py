"""A process for which a task waits ends with it; so does, later, one that cleanup waits for."""

import asyncio
import shlex
import subprocess
import sys
from asyncio.base_subprocess import BaseSubprocessTransport

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
def test_who_holds_the_pipes_of_a_killed_shell_ends(jobs, began, monkeypatch, tmp_path):
    """Up to 3.13 asyncio kills a process that is starting, and waits until its pipes are closed."""
    connect = BaseSubprocessTransport._connect_pipes
    ready = tmp_path / "ready"

    async def _connect_pipes(transport, waiter):
        while not ready.exists():
            await asyncio.sleep(0.01)
        began.set()
        await asyncio.sleep(0.2)  # the Kill comes meanwhile, when the process counts as starting
        await connect(transport, waiter)

    monkeypatch.setattr(BaseSubprocessTransport, "_connect_pipes", _connect_pipes)

    async def main():
        line = f"(touch {shlex.quote(str(ready))}; sleep 1000) | cat"
        await asyncio.create_subprocess_shell(line, stdout=subprocess.PIPE)

    job = jobs.submit(lambda: asyncio.run(main()))
    assert began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert job.state is JobState.KILLED


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
