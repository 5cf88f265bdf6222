"""The processes of a job are asked before they are killed, and its cleanup may need them."""

import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import threading

import pytest

import ipykill
from ipykill import JobState, processes
from tests.processes.programs import (
    MARKS,
    SLEEP,
    blocked,
    exists,
    ignores_sigterm,
    is_stopped,
    nobody_waits,
    os_system,
    run,
    runs,
    with_popen,
)
from tests.waiting import HANG_GUARD, wait_for

pytestmark = MARKS


# Asked first


def test_it_can_clean_up_before_the_job_goes_on_to_its_own(tmp_path):
    ready, file = tmp_path / "ready", tmp_path / "cleaned"
    trap = f"sleep 0.3; echo cleaned > {file}; exit"
    script = f"trap '{trap}' TERM; touch {ready}; while true; do sleep 0.01; done"

    def work():
        try:
            subprocess.run(["sh", "-c", script])
        finally:
            seen.append(file.read_text())

    seen = []
    job = ipykill.submit(work)
    wait_for(ready.exists, "the process")
    assert job.kill(HANG_GUARD)
    assert seen == ["cleaned\n"]


def test_one_that_is_stopped_hears_it_too(pids, monkeypatch):
    monkeypatch.setattr(processes.timing, "grace", 10 * HANG_GUARD)
    job = ipykill.submit(is_stopped)
    pids()
    wait_for(lambda: job.processes, "its process")
    assert job.kill(HANG_GUARD)


def test_the_job_says_what_it_waits_for_and_is_not_dead_before(monkeypatch, pids):
    monkeypatch.setattr(processes.timing, "grace", HANG_GUARD)
    job = ipykill.submit(ignores_sigterm)
    (pid,) = pids()
    assert not job.kill(0.01)
    why = wait_for(lambda: job.info().hindrance, "a hindrance")
    assert f"its process {pid} (trap" in why
    assert "is killed in" in why
    assert job.state is JobState.KILLING
    assert runs(pid)
    processes.timing.grace = 0.01
    assert job.kill(HANG_GUARD)
    assert not runs(pid)


# Who may need it


def test_cleanup_may_talk_to_a_process_and_wait_for_it():
    def work():
        command = ["sh", "-c", "cat; sleep 0.5; echo bye"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            ready.set()
            blocked()
        finally:
            answers.append(child.communicate(b"goodbye", timeout=HANG_GUARD))
            answers.append(child.returncode)

    ready, answers = threading.Event(), []
    job = ipykill.submit(work)
    assert ready.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert answers == [(b"goodbyebye\n", None), 0]


def test_cleanup_does_not_wait_for_ever_for_a_process_that_was_there_before(short_grace):
    def work():
        child = subprocess.Popen(SLEEP)
        try:
            ready.set()
            blocked()
        finally:
            child.wait()

    ready = threading.Event()
    job = ipykill.submit(work)
    assert ready.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert job.state is JobState.KILLED


def test_a_process_that_cleanup_starts_does_its_work(short_grace, tmp_path):
    file = tmp_path / "done"

    def work():
        try:
            ready.set()
            blocked()
        finally:
            subprocess.run(f"sleep 0.6; echo done > {file}", shell=True, check=True)
            codes.append(0)

    ready, codes = threading.Event(), []
    job = ipykill.submit(work)
    assert ready.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert codes == [0]
    assert file.read_text() == "done\n"


def test_one_that_starts_between_the_kill_and_its_landing_ends_as_well():
    def work():
        ipykill.current_job()._family.kill_requested = True  # and nobody pursues the job yet
        with subprocess.Popen(SLEEP):
            blocked()

    job = ipykill.submit(work)
    wait_for(lambda: job.processes, "its process")
    assert job.kill(HANG_GUARD)
    assert job.state is JobState.KILLED


def test_a_job_that_ends_by_itself_leaves_its_processes_until_it_is_killed(either):
    job = ipykill.submit(lambda: subprocess.Popen(SLEEP))
    child = job.result(HANG_GUARD)
    (info,) = job.processes
    assert (info.pid, info.command, info.running) == (child.pid, "sleep 1000", True)
    assert info.thread == job.thread.name
    assert child.poll() is None
    assert job.kill(HANG_GUARD)
    assert job.state is JobState.DONE
    assert child.returncode == -signal.SIGTERM
    assert job.processes == ()


def test_one_that_has_ended_and_that_nobody_asked_about_is_told_of(either):
    job = ipykill.submit(lambda: subprocess.Popen(["true"]))
    child = job.result(HANG_GUARD)
    if hasattr(os, "pidfd_open"):
        wait_for(lambda: not runs(child.pid), "its end")
        assert [info.running for info in job.processes] == [False]
        assert child.returncode is None, "its status was taken"
    assert child.wait() == 0
    assert job.processes == ()


@pytest.mark.parametrize("way", [run, nobody_waits, with_popen, os_system])
def test_a_kill_may_spare_them_and_a_later_one_does_not(way, pids):
    job = ipykill.submit(way)
    (pid,) = pids()
    wait_for(lambda: job.processes, "its process")
    assert job.kill(HANG_GUARD, children=False)
    assert job.state is JobState.KILLED
    assert runs(pid)
    assert job.kill(HANG_GUARD)
    assert not runs(pid)
    subprocess.run(["true"])  # when subprocess reaps what it keeps
    wait_for(lambda: not exists(pid), "its zombie to be gone")


@pytest.mark.slow
def test_a_kill_may_spare_a_pool_of_processes():
    def work():
        pools.append(
            concurrent.futures.ProcessPoolExecutor(
                1, mp_context=multiprocessing.get_context("fork")
            )
        )
        assert pools[0].submit(abs, -1).result() == 1
        ready.set()
        blocked()

    pools, ready = [], threading.Event()
    job = ipykill.submit(work)
    assert ready.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD, children=False)
    assert pools[0].submit(abs, -7).result(HANG_GUARD) == 7
    pools[0].shutdown()


def test_the_processes_of_others_live():
    def work():
        subprocess.Popen(SLEEP)
        child.wait()

    with subprocess.Popen(SLEEP) as child:
        job = ipykill.submit(work)
        wait_for(lambda: job.processes, "its process")
        assert job.kill(HANG_GUARD)
        assert child.poll() is None
        assert os.getpgid(child.pid) == os.getpgrp(), "it is no job's"
        child.kill()


def test_a_daemon_that_the_job_made_outlives_it(pids):
    def work():
        if os.fork() == 0:
            os.setsid()
            os.execvp("sh", ["sh", "-c", "echo $$ >> $PIDS; exec sleep 1000"])
        blocked()

    job = ipykill.submit(work)
    (pid,) = pids()
    try:
        job.kill(HANG_GUARD)
        assert job.state is JobState.KILLED
        assert runs(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_one_started_in_the_name_of_a_dead_job_ends_at_once():
    import contextvars

    def work():
        contexts.append(contextvars.copy_context())
        blocked()

    contexts = []
    job = ipykill.submit(work)
    wait_for(lambda: contexts, "the context")
    assert job.kill(HANG_GUARD)
    child = contexts[0].run(subprocess.Popen, SLEEP)
    assert child.wait(HANG_GUARD) == -signal.SIGTERM
