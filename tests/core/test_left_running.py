"""What a job that is over has left: threads and processes that live on until it is killed."""

import subprocess
import sys
import threading
import time

import pytest

from ipykill.core import render
from ipykill.core.info import JobState
from ipykill.exceptions import JobError, JobTimeout
from tests.waiting import HANG_GUARD, wait_for


def chain(ticks):
    """Start a timer that starts the next one, for ever."""

    def tick():
        ticks.append(threading.current_thread())
        threading.Timer(0.001, tick).start()

    tick()


def test_to_kill_all_ends_a_chain_of_timers_that_a_finished_job_has_left(jobs):
    ticks = []
    job = jobs.submit(chain, ticks)
    assert job.result(HANG_GUARD) is None
    wait_for(lambda: len(ticks) > 3, "the chain")
    assert jobs.living() == [job]
    assert jobs.kill_all(HANG_GUARD)
    assert job.threads == []
    assert job.state is JobState.DONE
    assert jobs.living() == []
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())


def test_to_kill_all_ends_the_process_that_a_finished_job_has_left(jobs):
    sleep = [sys.executable, "-c", "import time; time.sleep(1000)"]
    job = jobs.submit(subprocess.Popen, sleep)
    process = job.result(HANG_GUARD)
    assert jobs.living() == [job]
    assert jobs.kill_all(HANG_GUARD)
    assert process.wait(HANG_GUARD) != 0
    assert jobs.living() == []


def test_a_job_that_has_left_something_is_not_forgotten(jobs):
    go = threading.Event()
    leaves = jobs.submit(lambda: threading.Thread(target=go.wait).start(), name="leaves")
    clean = jobs.submit(int)
    for job in (leaves, clean):
        assert job.wait(HANG_GUARD)
    assert jobs.clear() == [clean]
    with pytest.raises(JobError, match=r"job 1 \(leaves\) is over, but 1 thread lives on; kill it"):
        jobs.clear([leaves])
    assert leaves in jobs
    assert render.sentence(leaves.info()).endswith("; 1 thread lives on")
    assert "1 thread lives on" in repr(jobs)
    go.set()
    wait_for(lambda: not leaves.lives(), "its end")
    assert jobs.clear() == [leaves]


def test_what_several_kinds_are_called(jobs):
    go = threading.Event()

    def work():
        for _ in range(2):
            threading.Thread(target=go.wait).start()
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])

    job = jobs.submit(work)
    job.result(HANG_GUARD)
    assert render.left(job.info()) == "2 threads and 1 process live on"
    assert job.kill(HANG_GUARD)
    assert render.left(job.info()) == ""


def test_a_stop_of_what_is_left_is_no_stop_of_the_job(jobs):
    go = threading.Event()
    job = jobs.submit(lambda: threading.Thread(target=go.wait).start())
    assert job.wait(HANG_GUARD)
    job.stop()
    assert job.requested is None
    assert job.info().requested is None
    assert job.asked(), "what is left hears of it"
    go.set()


def test_only_a_deadline_makes_a_timeout(jobs):
    job = jobs.submit(time.sleep, 1000)
    assert job.kill(HANG_GUARD, reason="timeout")
    assert not isinstance(job.exception(), JobTimeout)
    jobs.grace = 0.001
    late = jobs.submit(time.sleep, 1000, timeout=0.001)
    assert isinstance(late.exception(HANG_GUARD), JobTimeout)


def test_nobody_who_looks_at_a_job_delays_a_kill(jobs):
    asked, go = threading.Event(), threading.Event()

    class Bar:
        closed = False

        def look(self):
            asked.set()
            go.wait(HANG_GUARD)

    job = jobs.submit(time.sleep, 1000)
    job.add_bar(Bar())
    looker = threading.Thread(target=job.info)
    looker.start()
    assert asked.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD / 2), "the bar has not answered yet"
    go.set()
    looker.join(HANG_GUARD)


def test_a_path_of_others_is_asked_before_the_manager_locks(jobs, tmp_path):
    class Path:
        def __fspath__(self):
            thread = threading.Thread(target=lambda: jobs.submit(int).result(HANG_GUARD))
            thread.start()
            thread.join(HANG_GUARD)
            return str(tmp_path / "log")

    job = jobs.launch(lambda: print("x"), name="path", log=Path())
    assert job.wait(HANG_GUARD)
    assert job.log.path == tmp_path / "log"
