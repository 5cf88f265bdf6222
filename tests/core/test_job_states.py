"""The states that a job goes through, and a Stop or Kill that comes early, again or late."""

import sys
import threading
import time

import pytest

from ipykill.core import adoption
from ipykill.core.current import checkpoint
from ipykill.exceptions import JobAborted, JobKilled, JobStopped
from ipykill.kill import shield
from tests.core.work import Gate, S, fail, pending, poll, spin, spinning
from tests.racing import ended
from tests.waiting import HANG_GUARD, wait_for

pytestmark = pytest.mark.usefixtures("no_grace")


# States


def test_pending_running_done(jobs):
    gate = Gate()
    first = jobs.submit(gate)
    gate.wait()
    job = jobs.launch(lambda: 42, name="second", after=[first])
    assert job.state is S.PENDING
    assert (job.started, job.elapsed, job.threads, job.where()) == (None, 0, [], [])
    assert not job.done()
    gate.open()
    assert job.result(HANG_GUARD) == 42
    assert job.state is S.DONE
    assert (job.requested, job.reason) == (None, "")


def test_running(jobs):
    gate = Gate()
    job = jobs.submit(gate)
    gate.wait()
    assert job.state is S.RUNNING
    assert job.threads == [job.thread]
    assert job.started <= time.time()
    gate.open()
    assert job.wait(HANG_GUARD)


def test_failed(jobs):
    error = ValueError("no")
    job = jobs.submit(fail, error)
    assert job.wait(HANG_GUARD)
    assert job.state is S.FAILED
    assert job.exception() is error
    assert job.info().error == "ValueError: no"


def test_stopping_stopped(jobs):
    gate = Gate()

    def work():
        gate()
        checkpoint()

    job = jobs.submit(work)
    gate.wait()
    assert job.stop(reason="enough") is False
    assert (job.state, job.requested, job.reason) == (S.STOPPING, "stop", "enough")
    gate.open()
    assert job.stop(HANG_GUARD) is True
    assert (job.state, job.requested, job.reason) == (S.STOPPED, "stop", "enough")


def test_stopping_done(jobs):
    gate = Gate()
    job = jobs.submit(gate)
    gate.wait()
    job.stop()
    gate.open()
    assert job.wait(HANG_GUARD)
    assert (job.state, job.requested) == (S.DONE, "stop")  # asked, and ended by itself


def test_stopping_failed(jobs):
    def work():
        try:
            poll(event)
        finally:
            raise ValueError("in cleanup")

    event = threading.Event()
    job = jobs.submit(work)
    assert event.wait(HANG_GUARD)
    assert job.stop(HANG_GUARD)
    assert job.state is S.FAILED


def test_stopping_killing_killed(jobs):
    job = spinning(jobs)
    job.stop()
    assert job.state is S.STOPPING
    assert job.kill(HANG_GUARD)
    assert (job.state, job.requested) == (S.KILLED, "kill")


def test_killing_is_what_it_is_called_until_every_thread_is_dead(jobs):
    event, child_gate = threading.Event(), Gate()

    def child():
        with shield():
            child_gate()

    def work():
        threading.Thread(target=child).start()
        spin(event)

    job = jobs.submit(work)
    assert event.wait(HANG_GUARD)
    child_gate.wait()
    assert job.kill() is False
    assert job.state is S.KILLING
    # Its first thread ends, the other is shielded.
    wait_for(lambda: job._call is None, "the body's end")
    assert not job.wait(0.001)
    info = job.info()
    assert (info.state, info.ended, info.requested) == (S.KILLING, None, "kill")
    child_gate.open()
    assert job.kill(HANG_GUARD)
    assert job.wait(HANG_GUARD)
    assert job.threads == []


def test_killing_done(jobs):
    gate = Gate()

    def work():
        try:
            with shield():
                gate()
        except JobKilled:
            return "swallowed"

    job = jobs.submit(work)
    gate.wait()
    job.kill()
    gate.open()
    assert job.wait(HANG_GUARD)
    # The Kill may be raised again before the return.
    assert job.state in (S.DONE, S.KILLED)


def test_killing_failed(jobs):
    gate = Gate()

    def work():
        with shield():
            gate()
            try:
                raise ValueError("by itself")
            finally:
                job._family.kill_requested = False  # so that leaving the shield adds no Kill

    job = jobs.submit(work)
    gate.wait()
    job._family.kill_requested = True
    assert job.state is S.KILLING
    gate.open()
    assert job.wait(HANG_GUARD)
    assert job.state is S.FAILED


@pytest.mark.parametrize("error", [JobKilled, JobStopped])
def test_what_nobody_asked_for_is_a_failure(jobs, error):
    job = jobs.submit(fail, error)
    assert job.wait(HANG_GUARD)
    assert job.state is S.FAILED
    assert isinstance(job.exception(), error)


@pytest.mark.parametrize(
    ("code", "state"), [(None, S.DONE), (0, S.DONE), (False, S.DONE), (1, S.FAILED)]
)
def test_sys_exit_is_done_or_failed(jobs, printed, code, state):
    job = jobs.submit(sys.exit, code)
    assert job.wait(HANG_GUARD)
    assert job.state is state
    if state is S.FAILED:
        with pytest.raises(SystemExit):
            job.result()
    assert not printed


# Asked before the start


def test_a_pending_job_that_is_stopped_is_skipped(jobs):
    job, gate = pending(jobs)
    assert job.stop()
    assert (job.state, job.reason) == (S.SKIPPED, "stopped before it started")
    assert job.info().ended is not None
    with pytest.raises(JobAborted, match=r"job 2 \(second\) was skipped: stopped before"):
        job.result()
    gate.open()
    assert jobs[1].wait(HANG_GUARD)
    assert job.state is S.SKIPPED
    assert job.thread.ident is None


def test_a_pending_job_that_is_killed_never_starts(jobs):
    job, gate = pending(jobs)
    assert job.kill()
    assert (job.state, job.requested, job.done()) == (S.KILLED, "kill", True)
    with pytest.raises(JobAborted, match="was killed"):
        job.result()
    gate.open()
    assert jobs[1].wait(HANG_GUARD)
    assert job.thread.ident is None


def test_only_a_pending_job_can_be_skipped(jobs):
    job, gate = pending(jobs)
    job.skip("no need")
    assert (job.state, job.reason) == (S.SKIPPED, "no need")
    jobs[1].skip("no need")
    assert jobs[1].state is S.RUNNING
    gate.open()


def test_a_job_killed_before_its_first_line_never_runs_it(jobs, monkeypatch):
    starting, go = threading.Event(), threading.Event()

    def slow_start(thread):
        if thread.name == "ipykill-1":
            starting.set()
            assert go.wait(HANG_GUARD)
        really(thread)

    adoption.install()
    really = adoption._thread_start
    monkeypatch.setattr(adoption, "_thread_start", slow_start)
    ran = []
    submitter = threading.Thread(target=jobs.submit, args=(ran.append, 1))
    submitter.start()
    assert starting.wait(HANG_GUARD)
    (job,) = jobs
    assert job.kill() is False  # a thread of it is about to live
    assert job.kill(0.001) is False
    assert job.state is S.KILLING
    go.set()
    assert job.kill(HANG_GUARD) is True
    assert job.wait(HANG_GUARD)
    assert job.state is S.KILLED
    assert not ran
    assert ended(submitter)


# Asked again, asked too late


def test_to_stop_or_kill_a_job_that_is_over_changes_nothing(jobs):
    job = jobs.submit(int)
    assert job.wait(HANG_GUARD)
    assert ended(job.thread)
    before = job.info()
    assert job.stop(reason="late")
    assert job.kill(reason="late")
    job.skip("late")
    assert job.info() == before
    assert job.requested is None
    assert job.result() == 0


def test_the_first_reason_to_stop_and_the_first_to_kill_count(jobs):
    gate = Gate()
    job = jobs.submit(gate)
    gate.wait()
    job.stop(reason="first")
    job.stop(reason="second")
    assert job.reason == "first"
    job._family.kill = lambda patience: None  # not this time
    job.kill(reason="third")
    job.kill(reason="fourth")
    job.stop(reason="fifth")
    assert job.reason == "third"
    del job._family.kill
    gate.open()
