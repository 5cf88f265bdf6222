"""What the tests of the laws share: a job that is known to be where it shall be killed.

``python -m tests.laws.plain`` runs the laws against the well-known recipe
(``PyThreadState_SetAsyncExc`` every 0.1 s). Each test says in its docstring whether that holds
the law.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import ipykill
from ipykill import Job, JobState
from tests.waiting import wait_for

PLAIN = os.environ.get("IPYKILL_KILL") == "plain"
HANG = 2.0 if PLAIN else 30.0
"""Seconds after which a job that does not die fails the test."""

KILLS = 40
LONG = 0.25  # seconds: in a cleanup as long as this the recipe raises again, and again


class Started:
    """Says that the job has come as far as the line that calls it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def __call__(self) -> None:
        self._lock.release()

    def wait(self) -> None:
        assert self._lock.acquire(timeout=HANG), "the job did not start"


def start(fn: Callable[[Callable[[], None]], object]) -> Job:
    """Submit ``fn(started)`` and return the job when `fn` has called ``started()``."""
    started = Started()
    job = ipykill.submit(lambda: fn(started))
    started.wait()
    return job


def asleep(job: Job) -> None:
    """Wait until the job's first thread is in a system call and stays there."""
    task = Path(f"/proc/self/task/{job.thread.native_id}/stat")

    def state() -> tuple[str, str]:
        text = task.read_text().rpartition(")")[2].split()
        return text[0], text[12]  # and its user time

    def sleeps() -> bool:
        if state()[0] != "S":
            return False
        before = job.cpu_time
        time.sleep(0.005)
        return state()[0] == "S" and job.cpu_time == before

    wait_for(sleeps, "the job to wait", HANG)


def assert_dies(job: Job) -> None:
    """Kill the job and assert that it is dead, and killed, as soon as kill() says so."""
    assert job.kill(HANG), f"it does not die; it is {job.state}, at {job.where()[-1:]}"
    assert not job.thread.is_alive()
    assert job.wait(HANG)
    assert job.state is JobState.KILLED, f"{job.state}: {job.exception()!r}"


def kill(fn: Callable[[Callable[[], None]], object], *, blocked: bool = False) -> Job:
    """Run ``fn(started)`` in a job and kill it; `blocked`: when it waits in a system call."""
    job = start(fn)
    if blocked:
        asleep(job)
    assert_dies(job)
    return job


def work_for(seconds: float) -> None:
    # Of its own CPU time: on a machine that stands still meanwhile, nobody could disturb it.
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def in_python(code: str, **environment: str) -> str:
    """Run `code` in a Python of its own, where it may spoil things, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *(["-c", code] if "\n" in code else [code])],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
