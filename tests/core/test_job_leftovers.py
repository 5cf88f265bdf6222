"""What is left of a job: no process, no open file, and nothing that its code held."""

import concurrent.futures
import gc
import multiprocessing
import os
import threading
import time
import weakref

import pytest

from ipykill.exceptions import JobAborted
from tests.core.work import Gate, S, fail, pending, spin
from tests.racing import ended
from tests.waiting import HANG_GUARD, wait_for

pytestmark = pytest.mark.usefixtures("no_grace")


def test_what_the_frames_of_a_killed_job_hold_ends_with_it(jobs):
    class Thing:
        pass

    references = []

    def work(gate):
        thing = Thing()
        references.append(weakref.ref(thing))
        gate()

    def first(gate, gate_of_child):
        child = threading.Thread(target=work, args=(gate_of_child,))
        child.start()
        work(gate)

    gates = Gate(), Gate()
    job = jobs.submit(first, *gates)
    for gate in gates:
        gate.wait()
    gc.disable()
    try:
        assert job.kill(HANG_GUARD)
        assert [reference() for reference in references] == [None, None]
    finally:
        gc.enable()


def in_a_process(context):
    process = context.Process(target=time.sleep, args=(1000,))
    process.start()
    process.join()


def in_a_process_executor(context):
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        list(executor.map(time.sleep, [1000, 1000, 1000]))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("work", [in_a_process, in_a_process_executor])
def test_the_processes_of_a_killed_job_end_with_it(jobs, work):
    others = set(multiprocessing.active_children())

    def started():
        return set(multiprocessing.active_children()) - others

    job = jobs.submit(work, multiprocessing.get_context("fork"))
    wait_for(started, "a process of the job")
    assert job.kill(HANG_GUARD)
    assert job.state is S.KILLED
    assert not started()


# Memory


class Big:
    """Something that can be watched."""

    def __call__(self, *args):
        return Big()


def collected(*refs):
    def look():
        gc.collect()
        return not any(ref() for ref in refs)

    return wait_for(look, "collection")


def test_a_finished_job_lets_go_of_its_function_and_arguments(jobs):
    fn, argument = Big(), Big()
    refs = weakref.ref(fn), weakref.ref(argument)
    job = jobs.submit(fn, argument)
    assert job.wait(HANG_GUARD)
    del fn, argument
    assert collected(*refs)
    assert isinstance(job.result(), Big)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_job_that_never_ran_lets_go_of_its_function(jobs, how):
    fn = Big()
    ref = weakref.ref(fn)
    first, gate = pending(jobs)
    job = jobs.launch(fn, name="never", after=[first])
    getattr(job, how)()
    del fn
    assert collected(ref)
    gate.open()


def test_a_killed_job_keeps_nothing_of_its_code(jobs):
    def work(event):
        big = Big()
        refs.append(weakref.ref(big))
        spin(event)

    refs, event = [], threading.Event()
    job = jobs.submit(work, event)
    assert event.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert job.wait(HANG_GUARD)
    assert collected(*refs)
    assert isinstance(job.exception(), JobAborted)


@pytest.mark.parametrize("timeout", [None, 1e6])
def test_a_cleared_job_is_forgotten_with_its_result(jobs, timeout):
    called = threading.Event()
    gate = Gate()
    job = jobs.submit(lambda: gate() or Big(), timeout=timeout)
    job.add_done_callback(lambda job: called.set())
    gate.open()
    assert called.wait(HANG_GUARD)
    refs = weakref.ref(job), weakref.ref(job.result()), weakref.ref(job.thread)
    assert jobs.clear() == [job]
    del job
    assert collected(*refs)


def test_a_cleared_job_that_failed_is_forgotten_with_its_error(jobs):
    class Failure(Exception):
        pass

    job = jobs.submit(fail, Failure())
    assert job.wait(HANG_GUARD)
    refs = weakref.ref(job), weakref.ref(job.exception())
    jobs.clear()
    del job
    assert collected(*refs)


def test_a_thread_that_is_kept_does_not_keep_its_job(jobs):
    kept = []

    def work():
        kept.append(threading.Thread(target=int))
        kept[0].start()

    job = jobs.submit(work)
    assert job.wait(HANG_GUARD)
    kept.append(job.thread)
    assert ended(*kept)
    jobs.clear()
    reference = weakref.ref(job)
    del job
    gc.collect()
    assert reference() is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="counts its files in /proc")
def test_a_kill_while_a_command_is_started_leaves_no_file_open(jobs):
    # IPython runs a !command so; the soak test found it.
    ptyprocess = pytest.importorskip("ptyprocess")

    def work():
        process = ptyprocess.PtyProcess.spawn(["sleep", "1000"])
        try:
            time.sleep(1000)
        finally:
            process.close(force=True)

    def kill_one_after(seconds):
        job = jobs.submit(work)
        job.wait(seconds)
        assert job.kill(HANG_GUARD)

    kill_one_after(0.3)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        kill_one_after(number * 0.0003)
    gc.collect()
    wait_for(lambda: len(os.listdir("/proc/self/fd")) <= before, "the files to be closed")
