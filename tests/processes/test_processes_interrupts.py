"""An interrupt spares the programs of jobs, which lead groups of their own."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap

import pytest

import ipykill
from tests.processes.programs import MARKS, SLEEP
from tests.waiting import HANG_GUARD

pytestmark = MARKS


# Interrupts


def test_an_interrupt_of_the_group_spares_programs_and_workers():
    script = """
    import multiprocessing, os, signal, subprocess, time
    import ipykill

    def work(*, context=multiprocessing.get_context("fork")):
        subprocess.Popen(["sleep", "1000"])
        context.Process(target=time.sleep, args=(1000,)).start()
        os.system("sleep 1000")

    if __name__ == "__main__":
        os.setpgid(0, 0)
        job = ipykill.submit(work)
        while len(job.processes) < 3:
            time.sleep(0.01)
        own = subprocess.Popen(["sleep", "1000"])
        try:
            os.killpg(0, signal.SIGINT)
            time.sleep(1000)
        except KeyboardInterrupt:
            pass
        assert own.wait() == -signal.SIGINT
        assert [info.running for info in job.processes] == [True] * 3
        assert job.kill(30)
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)]
    subprocess.run(command, check=True, timeout=60)


def _blocked_signals(pipe):
    pipe.send(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_starts_with_sigint_blocked_and_who_starts_it_goes_on_without(method):
    def work():
        context = multiprocessing.get_context(method)
        here, there = context.Pipe()
        context.Process(target=_blocked_signals, args=(there,)).start()
        return here.recv(), signal.pthread_sigmask(signal.SIG_BLOCK, ())

    assert ipykill.submit(work).result(HANG_GUARD) == ({signal.SIGINT}, set())


def test_a_job_may_interrupt_its_own_program():
    def work():
        child = subprocess.Popen(SLEEP)
        child.send_signal(signal.SIGINT)
        return child.wait()

    assert ipykill.submit(work).result(HANG_GUARD) == -signal.SIGINT


def test_who_says_which_group_gets_it():
    def work():
        with subprocess.Popen(SLEEP, process_group=0) as first:
            second = subprocess.Popen(SLEEP, process_group=first.pid)
            third = subprocess.Popen(SLEEP, start_new_session=True)
            groups = [os.getpgid(it.pid) for it in (first, second, third)]
            session = os.getsid(third.pid)
            for it in (first, second, third):
                it.kill()
                it.wait()
            return groups == [first.pid, first.pid, third.pid] and session == third.pid

    assert ipykill.submit(work).result(HANG_GUARD)


@pytest.mark.parametrize("preexec", [None, os.getpid, os.setpgrp, os.setsid])
def test_a_program_leads_a_group_whatever_it_runs_before(preexec):
    def work():
        with subprocess.Popen(SLEEP, preexec_fn=preexec) as child:
            group = os.getpgid(child.pid)
            child.kill()
            return group == child.pid

    assert ipykill.submit(work).result(HANG_GUARD)


def test_errors_of_popen_are_its_own():
    def work():
        with pytest.raises(FileNotFoundError, match="no such program"):
            subprocess.Popen(["no such program"])
        with pytest.raises(TypeError, match="unexpected"):
            subprocess.Popen(SLEEP, no_such_option=1)

    job = ipykill.submit(work)
    job.result(HANG_GUARD)
    assert job.processes == ()


def test_os_system_says_how_the_command_ended():
    commands = ["exit 3", b"true", "kill -9 $$", "exit 200"]
    here = [os.system(command) for command in commands]
    assert ipykill.submit(lambda: [*map(os.system, commands)]).result(HANG_GUARD) == here
