"""Cleanup that waits for a process of its job does not wait for ever."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from ipykill import JobState
from ipykill.processes import timing
from tests.waiting import HANG_GUARD

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
SLEEP = [sys.executable, "-c", "import time; time.sleep(1000)"]


def with_multiprocessing(began):
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))
    process.start()
    try:
        began.set()
        time.sleep(1000)
    finally:
        process.join()


def with_waitpid(began):
    pid = os.spawnv(os.P_NOWAIT, sys.executable, SLEEP)
    try:
        began.set()
        time.sleep(1000)
    finally:
        os.waitpid(pid, 0)


def with_a_pipe(began):
    process = subprocess.Popen(SLEEP, stdout=subprocess.PIPE)
    try:
        began.set()
        time.sleep(1000)
    finally:
        process.stdout.read()
        process.wait()


@pytest.mark.parametrize("before", ["nothing", "an interrupt"])
@pytest.mark.parametrize("body", [with_multiprocessing, with_waitpid, with_a_pipe])
def test_after_the_grace_period_it_is_asked_to_end(jobs, began, monkeypatch, body, before):
    monkeypatch.setattr(timing, "grace", 0.2)
    job = jobs.submit(body, began)
    assert began.wait(HANG_GUARD)
    if before == "an interrupt":
        job.interrupt()
    assert job.kill(HANG_GUARD)


def test_a_process_that_is_joined_is_asked_at_once(jobs, began, monkeypatch):
    monkeypatch.setattr(timing, "grace", 10 * HANG_GUARD)
    codes = []

    def body():
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))
        process.start()
        try:
            began.set()
            process.join()
        finally:
            process.join()
            codes.append(process.exitcode)

    job = jobs.submit(body)
    assert began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert job.state is JobState.KILLED
    assert codes == [-signal.SIGTERM]


def test_cleanup_that_gets_on_keeps_its_processes(jobs, began, monkeypatch):
    monkeypatch.setattr(timing, "grace", 0.2)
    said = []

    def body():
        process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            began.set()
            time.sleep(1000)
        finally:
            time.sleep(0.1), time.sleep(0.1), time.sleep(0.1), time.sleep(0.1)
            said.append(process.communicate(b"still here")[0])

    job = jobs.submit(body)
    assert began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert said == [b"still here"]
