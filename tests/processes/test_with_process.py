"""A ``with`` around a process waits for its end: a Kill does not, but ends it at once."""

import os
import subprocess
import time
from collections.abc import Callable

import pytest

import ipykill
from ipykill import processes
from tests.waiting import HANG_GUARD, wait_for

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes end in another way there")


def with_popen() -> None:
    with subprocess.Popen(["sleep", "1000"]):
        time.sleep(1000)


def with_popen_to_write() -> None:
    with subprocess.Popen(["sleep", "1000"], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        while True:
            process.stdin.write(b"more" * 1000)


def with_os_popen() -> None:
    with os.popen("sleep 1000") as pipe:
        pipe.read()


def with_os_popen_to_write() -> None:
    with os.popen("sleep 1000", "w") as pipe:
        while True:
            pipe.write("more" * 1000)


@pytest.mark.parametrize(
    "way", [with_popen, with_popen_to_write, with_os_popen, with_os_popen_to_write]
)
def test_it_is_ended_without_the_time_of_grace(way: Callable[[], None], monkeypatch) -> None:
    monkeypatch.setattr(processes.timing, "grace", 10 * HANG_GUARD)
    job = ipykill.submit(way)
    wait_for(lambda: job.processes, "its process")
    assert job.kill(HANG_GUARD)
    assert job.state is ipykill.JobState.KILLED
