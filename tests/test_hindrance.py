"""A job that is being killed and lives says why."""

import random
import threading
import zlib

import pytest

import ipykill
from ipykill import Job, JobState
from ipykill.kill import wake
from tests.waiting import wait_for


def why(job: Job) -> str:
    """Kill the job and return what it says, once it says something."""
    job.kill()
    said: str = wait_for(lambda: job.info().hindrance or job.done(), "a reason")
    return said


@pytest.mark.slow
def test_in_a_shield() -> None:
    go, inside = threading.Event(), threading.Event()

    def work() -> None:
        with ipykill.shield():
            inside.set()
            go.wait()

    job = ipykill.submit(work)
    assert inside.wait(30)
    assert why(job) == "it is in a shield() block and dies at its end"
    go.set()
    assert job.kill(30)
    assert job.info().hindrance == ""


@pytest.mark.slow
def test_in_cleanup() -> None:
    go, began, inside = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        try:
            began.set()
            while True:
                pass
        finally:
            inside.set()
            go.wait()

    job = ipykill.submit(work)
    assert began.wait(30)
    job.kill()
    assert inside.wait(30)
    assert why(job) == "it is in cleanup and dies when that has ended"
    go.set()
    assert job.kill(30)


@pytest.mark.slow
def test_in_c_code_that_is_busy() -> None:
    if not wake.works():
        pytest.skip(f"the CPU clock is looked at by the wake-up: {wake.why_not()}")
    noise = random.randbytes(60_000_000)  # some seconds of work
    began = threading.Event()

    def work() -> None:
        began.set()
        zlib.compress(noise, 9)

    job = ipykill.submit(work)
    assert began.wait(30)
    assert "C code" in why(job)
    assert job.state is JobState.KILLING, "not dead before it is true"
    assert job.kill(60)


@pytest.mark.slow
def test_a_child_thread_is_named() -> None:
    go, inside = threading.Event(), threading.Event()

    def child() -> None:
        with ipykill.shield():
            inside.set()
            go.wait()

    def work() -> None:
        threading.Thread(target=child, name="helper").start()
        while True:
            pass

    job = ipykill.submit(work)
    assert inside.wait(30)
    assert why(job) == "helper: it is in a shield() block and dies at its end"
    go.set()
    assert job.kill(30)


def test_the_monitor_of_tqdm_belongs_to_no_job() -> None:
    monitor = pytest.importorskip("tqdm._monitor")
    made = []

    class Monitor(monitor.TMonitor):
        __module__ = monitor.__name__

        def run(self) -> None:
            self.was_killed.wait()

    def work() -> None:
        import tqdm

        made.append(Monitor(tqdm.tqdm, 10))

    job = ipykill.submit(work)
    job.result(30)
    assert job.threads == []
    assert made[0].is_alive()
    made[0].was_killed.set()
