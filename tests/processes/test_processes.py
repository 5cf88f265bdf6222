"""The processes of a job end with it, are asked before they are killed, and are the right ones."""

import concurrent.futures
import multiprocessing
import os
import pty
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
from tests.racing import frequent_switches
from tests.waiting import HANG_GUARD, wait_for

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="processes end in another way there"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]

SLEEP = ["sleep", "1000"]


def runs(pid):
    """Whether a process runs; one that has ended and is not waited for does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in b"ZX"
    except OSError:
        return False


def exists(pid):
    return os.path.exists(f"/proc/{pid}")


def children():
    """The children of this process, zombies too."""
    command = ["ps", "-o", "pid=", "--ppid", str(os.getpid())]
    return [*map(int, subprocess.run(command, capture_output=True, text=True).stdout.split())]


@pytest.fixture(params=["pidfd", "no pidfd", "no waitid"])
def either(request, monkeypatch):
    """With pidfds, where the system has them, without them, and as on macOS before 3.13."""
    if request.param != "pidfd":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    if request.param == "no waitid":
        monkeypatch.delattr(os, "waitid", raising=False)


@pytest.fixture
def short_grace(monkeypatch):
    monkeypatch.setattr(processes.timing, "grace", 0.2)


@pytest.fixture
def pids(tmp_path):
    """A function that returns what processes wrote with `echo $$ >> $PIDS`, when there are n."""
    file = tmp_path / "pids"
    file.touch()

    def read(number=1):
        return wait_for(
            lambda: len(found := file.read_text().split()) >= number and [*map(int, found)],
            f"{number} processes",
        )

    os.environ["PIDS"] = str(file)
    yield read
    del os.environ["PIDS"]


def blocked():
    threading.Event().wait()


# Every way to start one


def run():
    subprocess.run("echo $$ >> $PIDS; exec sleep 1000", shell=True)


def nobody_waits():
    subprocess.Popen("echo $$ >> $PIDS; exec sleep 1000", shell=True)
    blocked()


def with_popen():
    with subprocess.Popen("echo $$ >> $PIDS; exec sleep 1000", shell=True):
        blocked()


def child_of_a_shell():
    subprocess.run("(echo $(exec sh -c 'echo $PPID') >> $PIDS; sleep 1000); true", shell=True)


def left_behind_by_a_shell():
    subprocess.run("sleep 1000 & echo $! >> $PIDS", shell=True)
    blocked()


def own_session():
    code = "echo $$ >> $PIDS; exec sleep 1000"
    subprocess.Popen(code, shell=True, start_new_session=True)
    blocked()


def preexec_session():
    subprocess.Popen("echo $$ >> $PIDS; exec sleep 1000", shell=True, preexec_fn=os.setsid)
    blocked()


def os_system():
    os.system("echo $$ >> $PIDS; sleep 1000; true")


def os_popen():
    os.popen("echo $$ >> $PIDS; exec sleep 1000").read()


def os_fork():
    if os.fork() == 0:
        os.execvp("sh", ["sh", "-c", "echo $$ >> $PIDS; exec sleep 1000"])
    blocked()


def terminal():
    pid, _ = pty.fork()
    if pid == 0:
        os.execvp("sh", ["sh", "-c", "echo $$ >> $PIDS; exec sleep 1000"])
    blocked()


def posix_spawn():
    code = "echo $$ >> $PIDS; exec sleep 1000"
    os.posix_spawn("/bin/sh", ["sh", "-c", code], os.environ)
    blocked()


def in_a_thread():
    threading.Thread(target=nobody_waits, daemon=True).start()
    blocked()


def ignores_sigterm():
    subprocess.run("trap '' TERM; echo $$ >> $PIDS; while true; do sleep 1; done", shell=True)


def is_stopped():
    child = subprocess.Popen(SLEEP)
    child.send_signal(signal.SIGSTOP)
    with open(os.environ["PIDS"], "a") as file:
        print(child.pid, file=file)
    blocked()


def of_a_worker():
    """A program that a process of multiprocessing runs."""
    context = multiprocessing.get_context("fork")
    code = "echo $$ >> $PIDS; exec sleep 1000"
    process = context.Process(target=subprocess.run, args=(code,), kwargs={"shell": True})
    process.start()
    process.join()


WAYS = [
    *(run, nobody_waits, with_popen, child_of_a_shell, left_behind_by_a_shell, own_session),
    *(preexec_session, os_system, os_popen, os_fork, terminal, posix_spawn, in_a_thread),
    *(ignores_sigterm, is_stopped),
]


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
