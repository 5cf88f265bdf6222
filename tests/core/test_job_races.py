"""The state of a job is true under races, among many jobs and after a fork."""

import itertools
import subprocess
import sys
import threading
import time

import pytest

from ipykill.core.current import sleep
from ipykill.core.job import Job
from ipykill.exceptions import JobAborted
from ipykill.kill import pursuit
from tests.core.work import Gate, S, fail, poll, spin, spinning
from tests.racing import ended, frequent_switches, in_fork
from tests.waiting import HANG_GUARD, wait_for

pytestmark = pytest.mark.usefixtures("no_grace")


# Truth under races


ORDER = {
    S.PENDING: 0,
    S.RUNNING: 1,
    S.STOPPING: 2,
    S.KILLING: 3,
    S.DONE: 4,
    S.FAILED: 4,
    S.STOPPED: 4,
    S.KILLED: 4,
    S.SKIPPED: 4,
}


class Watcher(threading.Thread):
    """Looks at a job until it is over, and on, and keeps what was not true."""

    def __init__(self, job):
        super().__init__()
        self.job = job
        self.lies = []

    def run(self):
        last, after = None, 0
        while after < 20:
            done = self.job.done()
            state = self.job.state
            info = self.job.info()
            after += done
            if done and not state.final:
                self.lies.append(f"done() and {state}")
            if last is not None and ORDER[state] < ORDER[last]:
                self.lies.append(f"{last} and then {state}")
            if last is not None and last.final and state is not last:
                self.lies.append(f"{last} changed to {state}")
            if info.state.final is not (info.ended is not None):
                self.lies.append(f"{info.state} and ended {info.ended}")
            if info.state is S.FAILED and not info.error:
                self.lies.append("failed without an error")
            last = state


@pytest.mark.stress
@pytest.mark.slow
@frequent_switches()
@pytest.mark.parametrize("body", ["short", "failing", "polling"])
def test_a_state_never_lies_while_the_end_races_with_stop_and_kill(jobs, body, printed):
    def short():
        for _ in range(200):
            pass

    bodies = {"short": short, "failing": lambda: fail(ValueError()), "polling": poll}
    allowed = {
        "short": {S.DONE, S.KILLED},
        "failing": {S.FAILED, S.KILLED},
        "polling": {S.STOPPED, S.KILLED},
    }
    states = set()
    for _ in range(200):
        job = jobs.submit(bodies[body])
        watcher = Watcher(job)
        killed = []
        askers = [
            threading.Thread(target=job.stop),
            threading.Thread(target=lambda job=job, killed=killed: killed.append(job.kill(30))),
            watcher,
        ]
        for asker in askers:
            asker.start()
        assert ended(*askers)
        assert killed == [True]
        assert job.wait(HANG_GUARD)
        assert not watcher.lies
        states.add(job.state)
        if job.state is not S.FAILED:
            assert job.exception() is None or isinstance(job.exception(), JobAborted)
    assert states <= allowed[body]
    assert not printed


@pytest.mark.stress
@pytest.mark.slow
@frequent_switches()
def test_when_kill_says_true_nothing_of_the_job_runs_any_more(jobs, printed):
    for _ in range(100):
        ticks = itertools.count()
        last = [0]
        events = [threading.Event(), threading.Event()]

        def tick(event, last=last, ticks=ticks):
            event.set()
            while True:
                last[0] = next(ticks)

        def work(tick=tick, events=events):
            threading.Thread(target=tick, args=(events[0],)).start()
            tick(events[1])

        job = jobs.submit(work)
        for event in events:
            assert event.wait(HANG_GUARD)
        threads = job.threads
        assert len(threads) == 2
        while not job.kill(0.01):
            pass
        assert not any(thread.is_alive() for thread in threads)
        assert job.wait(HANG_GUARD)
        assert job.state is S.KILLED
    assert not printed


@pytest.mark.stress
@pytest.mark.slow
@frequent_switches()
def test_pending_jobs_that_are_started_stopped_and_killed_at_once_end_once(jobs):
    for _ in range(200):
        calls = []
        job = Job(1, lambda: 42, name="raced", on_end=lambda job, calls=calls: calls.append(1))
        go = threading.Barrier(3)

        def ask(how, go=go):
            go.wait(HANG_GUARD)
            how()

        askers = [
            threading.Thread(target=ask, args=(how,)) for how in (job.start, job.stop, job.kill)
        ]
        for asker in askers:
            asker.start()
        assert ended(*askers)
        assert job.wait(HANG_GUARD)
        assert job.state in (S.DONE, S.SKIPPED, S.KILLED)
        assert (job.state is S.SKIPPED) <= (job.started is None)
        wait_for(lambda calls=calls: calls, "the end")
        assert calls == [1]


def test_a_kill_while_the_job_is_being_skipped_ends(monkeypatch):
    end_now, ends = Job._end_now, []

    def kill_in_between(job, outcome):
        killer = threading.Thread(target=lambda: ends.append(job.kill(HANG_GUARD)))
        killer.start()
        wait_for(lambda: job._family in pursuit._hunted, "the Kill")
        end_now(job, outcome)

    monkeypatch.setattr(Job, "_end_now", kill_in_between)
    job = Job(1, lambda: 42, name="skipped")
    job.stop()
    wait_for(lambda: ends, "the end of the Kill")
    assert ends == [True]
    assert job.state is S.SKIPPED
    wait_for(lambda: job._family not in pursuit._hunted, "the end of the pursuit")


@pytest.mark.slow
def test_500_jobs_at_once(jobs):
    gate = threading.Event()
    many = [jobs.submit(lambda n=n: gate.wait(HANG_GUARD) and n) for n in range(500)]
    begin = time.monotonic()
    infos = jobs.snapshot()
    assert time.monotonic() - begin < HANG_GUARD
    assert len(infos) == 500
    gate.set()
    assert [job.result(HANG_GUARD) for job in many] == list(range(500))
    assert [job.id for job in jobs] == list(range(1, 501))


@pytest.mark.slow
def test_500_jobs_can_be_killed_at_once(jobs, printed):
    many = [jobs.submit(sleep, 1000) for _ in range(400)]
    many += [jobs.submit(spin) for _ in range(20)]
    assert jobs.kill_all(120)
    assert jobs.wait(many, HANG_GUARD) == []
    assert {job.state for job in many} == {S.KILLED}
    assert not printed


# Forks


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
class TestFork:
    def test_the_child_begins_without_jobs_and_can_submit_some(self, jobs):
        spinning(jobs, timeout=1000)  # so that the clock runs
        ran = threading.Event()
        job = jobs.submit(int)
        job.add_done_callback(lambda job: ran.set())
        assert job.wait(HANG_GUARD)

        def child():
            assert len(jobs) == 0
            called = threading.Event()
            gate = Gate()
            job = jobs.submit(lambda: gate() or 42)
            job.add_done_callback(lambda job: called.set())
            after = jobs.launch(lambda: 43, name="after", after=[job])
            gate.open()
            assert job.id == 3
            assert job.result(HANG_GUARD) == 42
            assert after.result(HANG_GUARD) == 43
            assert called.wait(HANG_GUARD)
            assert jobs.submit(poll, timeout=0.01).wait(HANG_GUARD)

        assert in_fork(child) == 0
        assert jobs[1].state is S.RUNNING

    def test_a_lock_that_another_thread_holds_does_not_matter(self, jobs):
        jobs.submit(int).wait(HANG_GUARD)
        held, release = threading.Event(), threading.Event()

        def hold():
            with jobs._lock, jobs._clock._lock, jobs._callbacks._lock:
                held.set()
                release.wait(HANG_GUARD)

        holder = threading.Thread(target=hold)
        holder.start()
        assert held.wait(HANG_GUARD)
        try:
            assert in_fork(lambda: jobs.submit(int).result(HANG_GUARD)) == 0
        finally:
            release.set()
        assert ended(holder)

    def test_a_job_may_fork(self, jobs):
        def work():
            return in_fork(lambda: jobs.submit(int).result(HANG_GUARD))

        assert jobs.submit(work).result(HANG_GUARD) == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11 has no such fault")
def test_looking_at_jobs_does_no_harm_while_a_subinterpreter_lives():
    # sys._current_frames() crashes 3.12 and 3.13 then.
    program = """
import threading, time
try: import _interpreters as interpreters
except ImportError: import _xxsubinterpreters as interpreters
import ipykill
number = interpreters.create()
def play():
    while True: interpreters.run_string(number, "for _ in range(10000): pass")
threading.Thread(target=play, daemon=True).start()
def work():
    while True: pass
job = ipykill.submit(work)
end = time.monotonic() + 1
while time.monotonic() < end:
    job.info(), job.where(), ipykill.jobs.snapshot()
assert job.where()[0].frames[0].function == "work"
import os
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
