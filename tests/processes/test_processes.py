"""The processes of a job end with it, and are the right ones."""

import concurrent.futures
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import ipykill
from ipykill import JobState, processes
from ipykill.processes import ChildProcess
from tests.processes.programs import (
    MARKS,
    SLEEP,
    WAYS,
    blocked,
    children,
    exists,
    nobody_waits,
    of_a_worker,
    os_fork,
    os_system,
    run,
    runs,
    with_popen,
)
from tests.racing import frequent_switches
from tests.waiting import HANG_GUARD, wait_for

pytestmark = MARKS


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_it_ends_with_its_job_and_leaves_no_zombie(way, pids, short_grace, either):
    job = ipykill.submit(way)
    (pid,) = pids()
    wait_for(lambda: runs(pid) and job.processes, "the process")
    assert job.kill(HANG_GUARD)
    assert job.state is JobState.KILLED
    assert not runs(pid)
    assert job.processes == ()
    assert pid not in children(), "a zombie is left"  # one of another parent is not ours to reap


@pytest.mark.skipif(sys.platform != "linux", reason="the process table is not to be seen there")
def test_what_a_worker_of_multiprocessing_runs_ends_as_well(pids):
    job = ipykill.submit(of_a_worker)
    (pid,) = pids()
    assert job.kill(HANG_GUARD)
    assert not runs(pid)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_end_with_their_job(method):
    context = multiprocessing.get_context(method)

    def work():
        process = context.Process(target=time.sleep, args=(1000,))
        process.start()
        started.append(process)
        process.join()

    started = []
    job = ipykill.submit(work)
    wait_for(lambda: started, "the process")
    (info,) = job.processes
    assert info.command == started[0].name
    assert job.kill(HANG_GUARD)
    assert info.pid not in children()
    wait_for(lambda: not started[0].is_alive(), "its end, of which a fork server tells")
    wait_for(lambda: not exists(info.pid), "the fork server to reap it")


@pytest.mark.slow
def test_who_waits_for_a_pool_of_a_killed_job_hears_of_it():
    def work():
        with concurrent.futures.ProcessPoolExecutor(
            2, mp_context=multiprocessing.get_context("fork")
        ) as pool:
            futures.append(pool.submit(time.sleep, 1000))
            futures[0].result()

    futures = []
    job = ipykill.submit(work)
    wait_for(lambda: len(job.processes) and futures, "a worker")
    infos = job.processes
    assert job.kill(HANG_GUARD)
    assert isinstance(futures[0].exception(HANG_GUARD), concurrent.futures.BrokenExecutor)
    assert not any(exists(info.pid) for info in infos)


@pytest.mark.slow
def test_cleanup_may_use_its_pool_of_processes():
    def work():
        with concurrent.futures.ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("fork")
        ) as pool:
            try:
                pool.submit(abs, 1).result()
                ready.set()
                blocked()
            finally:
                results.append(pool.submit(abs, -7).result())

    ready, results = threading.Event(), []
    job = ipykill.submit(work)
    assert ready.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert results == [7]


@pytest.mark.slow
def test_the_workers_of_joblib_end_with_their_job():
    joblib = pytest.importorskip("joblib")

    def work():
        joblib.Parallel(n_jobs=2)(joblib.delayed(time.sleep)(1000) for _ in range(4))

    job = ipykill.submit(work)
    wait_for(lambda: len(job.processes) == 2, "two workers")
    infos = job.processes
    assert job.kill(HANG_GUARD)
    assert not any(runs(info.pid) for info in infos)
    assert joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-n) for n in range(3)) == [0, 1, 2]
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)


# Never the wrong one


def test_who_waits_elsewhere_gets_the_exit_status(either):
    def work():
        children.append(subprocess.Popen(SLEEP))
        blocked()

    children, codes = [], []
    job = ipykill.submit(work)
    wait_for(lambda: children, "the process")
    waiter = threading.Thread(target=lambda: codes.append(children[0].wait()))
    waiter.start()
    assert job.kill(HANG_GUARD)
    waiter.join(HANG_GUARD)
    assert codes == [-signal.SIGTERM]


def test_who_waits_for_one_forked_by_hand_gets_its_exit_status():
    def work():
        pids.append(os.fork())
        if pids[0] == 0:
            os.execvp("sleep", SLEEP)
        blocked()

    pids, codes = [], []
    job = ipykill.submit(work)
    wait_for(lambda: pids, "the process")

    def look():
        while (found := os.waitpid(pids[0], os.WNOHANG))[0] == 0:
            time.sleep(0.01)
        codes.append(found[1])

    waiter = threading.Thread(target=look)
    waiter.start()
    wait_for(lambda: job.processes, "its process")
    assert job.kill(HANG_GUARD)
    waiter.join(HANG_GUARD)
    assert codes == [signal.SIGTERM]


@pytest.mark.parametrize("leads", [False, True])
def test_a_number_that_was_free_in_the_meantime_is_left_alone(leads, either, monkeypatch):
    first = subprocess.Popen(["true"])
    child = ChildProcess(first.pid, handle=first, leads=leads)
    first.wait()
    with subprocess.Popen(SLEEP, process_group=0) as other:
        child.pid = other.pid  # as if the number had been given to it
        if not leads or not hasattr(os, "pidfd_open"):
            assert child.ended
        child.signal(signal.SIGKILL)
        child.finish()
        processes.end([child])
        assert other.poll() is None
        other.kill()


def test_no_end_of_many_is_kept():
    def work():
        children = []
        for _ in range(200):
            children.append(subprocess.Popen(["true"]))
            children[-1].wait()
        return len(os.listdir("/proc/self/fd"))

    before = len(os.listdir("/proc/self/fd"))
    assert ipykill.submit(work).result(HANG_GUARD) < before + 100


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="counts its files in /proc")
@pytest.mark.parametrize("killed", [False, True])
def test_one_that_is_gone_costs_no_file_once_the_job_is_over(killed):
    begun = threading.Event()

    def work():
        with subprocess.Popen(["sleep", "1000" if killed else "0"]):
            begun.set()

    def run_one():
        job = ipykill.submit(work)
        assert begun.wait(HANG_GUARD)
        assert job.kill(HANG_GUARD) if killed else job.wait(HANG_GUARD)
        begun.clear()
        return job

    run_one()  # what is opened once and for all is open now
    before = len(os.listdir("/proc/self/fd"))
    kept = [run_one() for _ in range(3)]
    assert len(os.listdir("/proc/self/fd")) == before, kept


@pytest.mark.stress
@pytest.mark.slow
@frequent_switches()
def test_none_is_lost_when_a_kill_meets_its_start(pids):
    """A Kill at any moment of the start of a process, of its wait and of its end."""
    dice = random.Random(5)
    starts = [run, nobody_waits, with_popen, os_fork, os_system]
    for _ in range(60):
        job = ipykill.submit(dice.choice(starts))
        time.sleep(dice.random() * 0.01)
        assert job.kill(HANG_GUARD)
        assert job.state is JobState.KILLED
        assert job.processes == ()
    ipykill.submit(run)
    pids()  # for the case that none came so far
    ipykill.jobs.kill_all(HANG_GUARD)
    assert not any(runs(pid) for pid in pids())


@pytest.mark.slow
def test_they_end_with_the_interpreter():
    script = """
    import os, subprocess, time
    import ipykill

    def work():
        try:
            subprocess.run("trap '' TERM; while true; do sleep 1; done", shell=True)
        finally:
            os.write(1, b"cleaned")

    def clean():
        try:
            time.sleep(1000)
        finally:
            subprocess.run("trap '' TERM; while true; do sleep 1; done", shell=True)

    jobs = [ipykill.submit(work), ipykill.submit(clean)]
    while not jobs[0].processes or not jobs[1].where():
        time.sleep(0.01)
    print(jobs[0].processes[0].pid, flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    pid, cleaned = done.stdout.split()
    assert cleaned == "cleaned"
    pid = int(pid)
    wait_for(lambda: not runs(pid), "its end")


@pytest.mark.parametrize(("end", "code"), [("return", 0), ("raise", 1), ("exit", 3), ("words", 1)])
def test_a_fork_in_a_job_ends_as_a_program_ends(end, code, capfd):
    def body():
        if pid := os.fork():
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if end == "raise":
            raise ValueError("in the child")
        if end != "return":
            sys.exit(3 if end == "exit" else "words")
        return None

    job = ipykill.submit(body)
    assert job.result(HANG_GUARD) == code
    printed = capfd.readouterr().err
    assert ("in the child" in printed) == (end == "raise")
    assert "target.py" not in printed
