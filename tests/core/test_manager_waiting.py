"""Jobs wait for others or for a place, threads wait for jobs, and all jobs are ended at once."""

import asyncio
import sys
import threading
import time

import pytest

from ipykill.core.current import current_job
from ipykill.core.info import JobState
from ipykill.core.job import Job
from ipykill.exceptions import JobError, UnknownJobError
from tests.core.work import Gate, S, fail, over, polling, spinning
from tests.marks import shows_places
from tests.waiting import HANG_GUARD, wait_for

# After others


def test_a_job_starts_after_those_it_waits_for_are_done(jobs):
    gates = [Gate(), Gate()]
    order = []
    first = [jobs.launch(gate, name=f"{n}") for n, gate in enumerate(gates)]
    last = jobs.launch(lambda: order.append("last"), name="last", after=first)
    gates[1].open()
    assert first[1].wait(HANG_GUARD)
    assert jobs.submit(int).wait(HANG_GUARD)
    assert last.state is S.PENDING
    order.append("open")
    gates[0].open()
    assert last.wait(HANG_GUARD)
    assert order == ["open", "last"]


def test_a_job_after_jobs_that_are_over_starts_at_once(jobs):
    done = over(jobs, "done")
    assert jobs.launch(lambda: 42, name="next", after=[done]).result(HANG_GUARD) == 42
    jobs.clear()
    assert jobs.launch(lambda: 42, name="next", after=[done]).result(HANG_GUARD) == 42


@pytest.mark.parametrize("how", ["failed", "stopped", "killed", "skipped"])
def test_a_chain_is_skipped_when_one_of_it_is_not_done(jobs, how):
    gate = Gate()
    if how == "failed":
        first = jobs.launch(lambda: gate() or fail(ValueError()), name="first")
    elif how == "skipped":
        blocker = jobs.launch(gate, name="blocker")
        first = jobs.launch(int, name="first", after=[blocker])
    elif how == "stopped":
        first = polling(jobs, name="first")
    else:
        first = spinning(jobs, name="first")
    second = jobs.launch(int, name="second", after=[first])
    third = jobs.launch(int, name="third", after=[second])
    other = Gate()
    waits_for_both = jobs.launch(int, name="both", after=[jobs.launch(other, name="other"), first])
    gate.open() if how == "failed" else (
        first.kill(HANG_GUARD) if how == "killed" else first.stop(HANG_GUARD)
    )
    assert jobs.wait([second, third, waits_for_both], HANG_GUARD) == []
    assert first.state.value == how
    assert {job.state for job in (second, third, waits_for_both)} == {S.SKIPPED}
    ended = how if how == "failed" else f"was {how}"
    assert second.reason == f"job {first.id} (first) {ended}"
    assert third.reason == f"job {second.id} (second) was skipped"
    gate.open()
    other.open()


# How many at once


def test_no_more_jobs_than_the_limit_run_at_once(jobs):
    jobs.max_running = 2
    now, most, lock = [], [], threading.Lock()

    def work():
        with lock:
            now.append(1)
            most.append(len(now))
        time.sleep(0)
        with lock:
            now.pop()

    many = [jobs.submit(work) for _ in range(50)]
    assert jobs.wait(many, HANG_GUARD) == []
    assert {job.state for job in many} == {S.DONE}
    assert max(most) <= 2


def test_jobs_that_wait_start_in_order_and_when_the_limit_is_raised(jobs):
    jobs.max_running = 1
    gates = [Gate() for _ in range(3)]
    many = [jobs.submit(gate) for gate in gates]
    gates[0].wait()
    assert [job.state for job in many] == [S.RUNNING, S.PENDING, S.PENDING]
    jobs.max_running = 2
    gates[1].wait()
    assert many[2].state is S.PENDING
    jobs.max_running = 0
    gates[2].wait()
    for gate in gates:
        gate.open()


@pytest.mark.parametrize("how", ["result", "await"])
def test_a_job_may_wait_for_one_that_the_limit_keeps(jobs, how):
    jobs.max_running = 1

    async def awaits():
        return await jobs.submit(int, "7")

    job = jobs.submit(awaits if how == "await" else lambda: jobs.submit(int, "7").result())
    assert job.result(HANG_GUARD) == 7
    assert not job.waits


def test_a_waiting_job_that_is_killed_takes_no_place(jobs):
    jobs.max_running = 1
    gate = Gate()
    jobs.submit(gate)
    second, third = jobs.submit(int), jobs.submit(int)
    second.kill()
    gate.open()
    assert third.wait(HANG_GUARD)
    assert third.state is S.DONE


# Waiting


def test_waiting_for_all(jobs, running):
    one, two = running("one"), running("two")
    for timeout in (0, 0.001, -1):
        assert jobs.wait([one, two], timeout) == [one, two]
    running.gates[0].open()
    assert one.wait(HANG_GUARD)
    assert jobs.wait([one, two], 0.001) == [two]
    running.gates[1].open()
    assert jobs.wait(iter([one, two]), HANG_GUARD) == []
    assert jobs.wait([]) == []


def test_what_is_done_to_jobs_takes_their_names_and_numbers(jobs, running):
    one, two, three = running("one"), running("two"), running("three")
    assert jobs.wait("one", 0) == [one]
    assert jobs.wait([1, "two", two], 0) == [one, two]
    assert jobs.wait(timeout=0) == [one, two, three]
    assert jobs.kill(one, HANG_GUARD)
    assert jobs.kill("two", HANG_GUARD)
    assert jobs.clear("one") == [one]
    assert jobs.clear(2) == [two]
    assert jobs.kill("all", HANG_GUARD)
    assert jobs.wait() == []
    with pytest.raises(UnknownJobError, match="no job 'nosuch'"):
        jobs.kill("nosuch")
    waits = jobs.submit(jobs.wait)  # for others, not for itself
    assert waits.result(HANG_GUARD) == []


def test_waiting_for_any(jobs, running):
    one, two = running("one"), running("two")
    assert jobs.wait([one, two], 0.001, any=True) == [one, two]
    threading.Thread(target=running.gates[1].open).start()
    assert jobs.wait([one, two], any=True) == [one]
    assert jobs.wait([one, two], any=True) == [one]  # one is over already
    assert jobs.wait([], any=True) == []
    assert not one.over._waiters


def test_waiting_for_any_does_not_wait_for_a_callback_of_others(jobs, running):
    stuck, release = threading.Event(), threading.Event()

    def callback(job):
        stuck.set()
        assert release.wait(HANG_GUARD)

    one, two, three = running("one"), running("two"), running("three")
    one.add_done_callback(callback)
    running.gates[0].open()
    assert stuck.wait(HANG_GUARD)
    running.gates[1].open()
    assert jobs.wait([two, three], HANG_GUARD, any=True) == [three]
    release.set()


# Ending


def test_stop_all_and_kill_all(jobs):
    stoppable = [polling(jobs), polling(jobs)]
    stubborn = spinning(jobs)
    assert jobs.stop_all() is False
    assert jobs.wait(stoppable, HANG_GUARD) == []
    assert jobs.stop_all(0.001) is False
    assert jobs.kill_all(HANG_GUARD, reason="enough") is True
    assert jobs.wait([stubborn], HANG_GUARD) == []
    assert [job.state for job in jobs] == [S.STOPPED, S.STOPPED, S.KILLED]
    assert stubborn.reason == "enough"
    assert jobs.stop_all()
    assert jobs.kill_all()


@shows_places
@pytest.mark.slow
def test_many_busy_jobs_are_all_asked_before_one_of_them_runs_on(jobs, monkeypatch):
    """Else the killer waits for the turns of all of them, many times for each."""
    turns = [0] * 8
    go = threading.Event()

    def work(number):
        go.wait()
        while True:
            turns[number] += 1

    for number in range(len(turns)):
        jobs.submit(work, number)
    go.set()
    wait_for(lambda: all(turns), "jobs that run")
    interval = sys.getswitchinterval()
    seen = []
    kill = Job.kill

    def told(job, *args, **kwargs):
        seen.append(tuple(turns))
        return kill(job, *args, **kwargs)

    monkeypatch.setattr(Job, "kill", told)
    jobs.kill_all()
    assert len(seen) == len(turns)
    # The interpreter's lock may change hands, though hardly ever in such a short time.
    assert len(set(seen)) <= 2
    monkeypatch.undo()
    assert jobs.kill_all(HANG_GUARD)
    assert {job.state for job in jobs} == {S.KILLED}
    wait_for(lambda: sys.getswitchinterval() == interval, "the usual switch interval")


def test_a_job_that_kills_all_kills_the_others_before_itself(jobs):
    event = threading.Event()

    def work():
        event.wait(HANG_GUARD)
        jobs.kill_all()

    job = jobs.submit(work)
    later = spinning(jobs)
    event.set()
    assert jobs.wait([job, later], HANG_GUARD) == []
    assert [job.state for job in jobs] == [S.KILLED, S.KILLED]


# Waiting in a circle


def test_jobs_that_wait_for_each_other_are_refused(jobs):
    go = threading.Event()
    pair, errors = [], []

    def work(other):
        assert go.wait(HANG_GUARD)
        try:
            pair[other].result()
        except JobError as error:
            errors.append(str(error))

    pair += [jobs.submit(work, 1, name="one"), jobs.submit(work, 0, name="two")]
    go.set()
    assert not jobs.wait(pair, HANG_GUARD)
    (error,) = errors
    assert error in (
        "job 1 (one) would wait for itself: job 2 (two) waits for job 1 (one)",
        "job 2 (two) would wait for itself: job 1 (one) waits for job 2 (two)",
    )
    assert all(job.waits_for == () for job in pair)


@pytest.mark.parametrize("how", ["wait", "result", "manager"])
def test_a_job_that_waits_for_what_comes_after_it_is_refused(jobs, how):
    def work():
        me = current_job()
        second = jobs.launch(int, name="second", after=[me])
        third = jobs.launch(int, name="third", after=[second])
        with pytest.raises(JobError, match=r"job 3 \(third\) waits for job 2 \(second\) waits"):
            {"wait": third.wait, "result": third.result, "manager": lambda: jobs.wait([third])}[
                how
            ]()
        assert not third.wait(0.01), "a wait that ends is no deadlock"

    jobs.submit(work, name="first").result(HANG_GUARD)
    assert not jobs.wait(list(jobs), HANG_GUARD)
    assert [job.state for job in jobs] == [JobState.DONE] * 3


def test_waiting_in_a_row_is_no_circle(jobs):
    gate = threading.Event()
    first = jobs.submit(gate.wait)
    second = jobs.submit(lambda: first.wait() and first.wait())
    third = jobs.submit(lambda: jobs.wait([first, second]))
    wait_for(lambda: third.waits_for, "the third to wait")
    gate.set()
    assert third.result(HANG_GUARD) == []


def test_who_awaits_a_job_does_not_wait_for_the_callbacks_of_others(jobs, running):
    go, gate, reached = threading.Event(), threading.Event(), threading.Event()

    def block(job):
        reached.set()
        gate.wait(HANG_GUARD)

    async def main():
        jobs.submit(go.wait).add_done_callback(block)
        go.set()
        assert await asyncio.to_thread(reached.wait, HANG_GUARD)
        return await jobs.submit(lambda: 42)

    try:
        assert asyncio.run(asyncio.wait_for(main(), HANG_GUARD)) == 42
    finally:
        gate.set()
