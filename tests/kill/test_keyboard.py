"""`KeyboardInterrupt` in a job: a Kill is one, an interrupt raises one, and neither is Ctrl-C."""

import contextlib
import gc
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

import ipykill
from ipykill import JobKilled, JobState, current_job
from ipykill.exceptions import JobAborted
from ipykill.kill import pursuit, wake
from tests.racing import frequent_switches
from tests.waiting import HANG_GUARD, wait_for

wakes = pytest.mark.skipif(not wake.works(), reason=f"no wake-up here: {wake.why_not()}")


def interrupt(job, began):
    assert began.wait(HANG_GUARD)
    return job.interrupt(HANG_GUARD)


def compute(began):
    while True:
        began.set()


# A Kill


def test_a_handler_of_ctrl_c_runs_and_then_the_kill_is_raised_again(jobs, began):
    """Law L10: what is swallowed comes again, when the handler has ended."""
    seen = []

    def train():
        try:
            compute(began)
        except KeyboardInterrupt as error:
            seen.append(type(error))
            time.sleep(0.05)
            seen.append("saved")
            return "what was reached"

    def work():
        seen.append(train())
        while True:
            seen.append("on")

    job = jobs.submit(work)
    assert began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.KILLED
    assert seen[:2] == [JobKilled, "saved"]
    assert "on" not in seen


@pytest.mark.parametrize("how", [KeyboardInterrupt, contextlib.suppress(KeyboardInterrupt)])
def test_a_kill_that_code_turns_into_a_ctrl_c_is_a_kill(jobs, began, how):
    def work():
        try:
            compute(began)
        except KeyboardInterrupt:
            if isinstance(how, type):
                raise how from None
            with how:
                raise

    job = jobs.submit(work)
    assert began.wait(HANG_GUARD)
    # Main sees no interrupt, which would fail this test.
    assert job.kill(HANG_GUARD)
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.KILLED


@wakes
def test_a_process_that_is_spared_is_not_waited_for(jobs, began):
    """`subprocess` waits a quarter of a second for a child that Ctrl-C may have ended."""
    children = []

    def work():
        with contextlib.ExitStack() as stack:
            children.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1))
            stack.callback(children[0].stdin.close)
            began.set()
            children[0].wait()

    job = jobs.submit(work)
    assert began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD, children=False)
    assert children[0]._sigint_wait_secs == 0
    assert children[0].wait(HANG_GUARD) == 1, "it was not killed; its input ended"


# An interrupt


def test_an_interrupt_is_raised_once_and_the_job_goes_on(jobs, began):
    seen = []

    def work():
        try:
            compute(began)
        except KeyboardInterrupt as error:
            seen.append(type(error))
        for _ in range(1000):
            pass
        return "what was reached"

    job = jobs.submit(work)
    assert interrupt(job, began)
    assert job.state is JobState.DONE
    assert job.result() == "what was reached"
    assert seen == [KeyboardInterrupt]
    assert (job.requested, job.reason, job.interrupt_pending) == (None, "", False)


@wakes
def test_an_interrupt_breaks_a_wait(jobs, began):
    def work():
        began.set()
        time.sleep(1000)

    job = jobs.submit(work)
    assert interrupt(job, began)
    assert job.state is JobState.STOPPED, "somebody asked, so it is no failure"
    info = job.info()
    assert (info.reason, info.error) == ("interrupted", "")
    assert info.place.endswith("(time.sleep)")
    with pytest.raises(JobAborted, match="was stopped: interrupted"):
        job.result()


@wakes
def test_cleanup_is_not_cut(jobs, began):
    ended = []

    def work():
        try:
            [].pop()
        except IndexError:
            pass
        finally:
            began.set()
            for _ in range(5):
                time.sleep(0.02)
            ended.append(1)
        time.sleep(1000)

    job = jobs.submit(work)
    assert interrupt(job, began)
    assert job.state is JobState.STOPPED
    assert ended == [1]


@wakes
def test_a_child_process_hears_of_it(jobs, began):
    """As with ■, whose signal goes to the whole process group; whatever the job is at just then."""
    code = """
import time
try:
    print(1, flush=True)
    while True:
        time.sleep(0.01)  # a long one is not interrupted in the moment when it begins
except KeyboardInterrupt:
    exit(7)
"""
    codes = []

    def work():
        with subprocess.Popen([sys.executable, "-c", code], stdout=-1) as process:
            process.stdout.readline()
            try:
                began.set()
                process.wait()
            finally:
                codes.append(process.wait())

    job = jobs.submit(work)
    assert interrupt(job, began)
    assert codes == [7]


def test_only_the_first_thread_is_interrupted(jobs, began):
    child_began = threading.Event()
    caught = []

    def child():
        try:
            compute(child_began)
        except KeyboardInterrupt as error:
            caught.append(isinstance(error, JobKilled))

    def work():
        threading.Thread(target=child).start()
        child_began.wait()
        compute(began)

    job = jobs.submit(work)
    assert interrupt(job, began)
    assert job.state is JobState.STOPPED
    assert not caught
    assert job.kill(HANG_GUARD)
    assert caught == [True]


def test_an_interrupt_waits_for_the_end_of_a_shield(jobs, began):
    gate, ended = threading.Event(), []

    def work():
        with ipykill.shield():
            began.set()
            gate.wait()
            ended.append(1)
        ended.append(2)

    job = jobs.submit(work)
    assert began.wait(HANG_GUARD)
    assert not job.interrupt()
    assert job.interrupt_pending
    wait_for(lambda: "the interrupt waits" in job.info().hindrance, "the reason")
    gate.set()
    assert job.wait(HANG_GUARD)
    assert (job.state, ended) == (JobState.STOPPED, [1])


def test_a_job_interrupts_itself(jobs):
    def work():
        try:
            current_job().interrupt()
        except KeyboardInterrupt:
            return "here"

    assert jobs.submit(work).result(HANG_GUARD) == "here"


def test_who_has_not_begun_is_skipped_and_who_is_over_is_left_alone(jobs):
    gate = threading.Event()
    first = jobs.submit(gate.wait)
    second = jobs.launch(int, name="second", after=[first])
    assert second.interrupt()
    assert (second.state, second.reason) == (JobState.SKIPPED, "interrupted")
    gate.set()
    assert first.wait(HANG_GUARD)
    assert first.interrupt()
    assert (first.state, first.reason, first.interrupt_pending) == (JobState.DONE, "", False)


def test_a_kill_beats_an_interrupt(jobs, began):
    seen = []

    def work():
        with ipykill.shield():
            began.set()
            gate.wait()
        seen.append("on")

    gate = threading.Event()
    job = jobs.submit(work)
    assert began.wait(HANG_GUARD)
    job.interrupt()
    job.kill()
    gate.set()
    assert job.wait(HANG_GUARD)
    assert (job.state, seen) == (JobState.KILLED, [])


@wakes
def test_a_kill_while_an_interrupt_is_cleaned_up_is_no_ctrl_c(jobs, began):
    cleaning = threading.Event()

    def work():
        try:
            began.set()
            time.sleep(1000)
        finally:
            cleaning.set()
            time.sleep(0.1)

    job = jobs.submit(work)
    assert began.wait(HANG_GUARD)
    job.interrupt()
    assert cleaning.wait(HANG_GUARD)
    # Main sees no interrupt, which would fail this test.
    assert job.kill(HANG_GUARD)
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.STOPPED, "that is how its code ended"


def test_nothing_is_left_behind(jobs, began):
    """Not the short switch interval, not the engine, and no frame that holds what it held."""

    class Big:
        pass

    held, traced = [], []
    gate = threading.Event()

    def step():
        big = Big()
        held.append(weakref.ref(big))
        compute(began)

    def work():
        with contextlib.suppress(KeyboardInterrupt):
            step()
        gate.wait()
        traced.append(sys.gettrace())

    job = jobs.submit(work)
    assert began.wait(HANG_GUARD)
    job.interrupt()
    wait_for(lambda: not job.interrupt_pending, "the interrupt")
    wait_for(lambda: not pursuit._hunted and pursuit._engine is None, "the end of the pursuit")

    def gone():
        gc.collect()
        return held[0]() is None

    wait_for(gone, "the end of what the frame held")
    gate.set()
    assert job.wait(HANG_GUARD)
    assert (job.state, traced) == (JobState.DONE, [None])


@pytest.mark.slow
@wakes
def test_at_any_moment_each_interrupt_is_raised_once(jobs):
    raised, number = [], 0
    over = threading.Event()

    def work():
        while not over.is_set():
            try:
                for _ in range(50):
                    pass
                time.sleep(0.0002)
            except KeyboardInterrupt:
                raised.append(1)

    before = signal.getsignal(signal.SIGINT)
    with frequent_switches():
        job = jobs.submit(work)
        for number in range(1, 301):
            job.interrupt()
            wait_for(lambda: len(raised) == number or job.done(), "the interrupt")  # noqa: B023
            if job.done():  # raised outside of the try
                break
        over.set()
        assert job.wait(HANG_GUARD)
    assert len(raised) == number or (len(raised) == number - 1 and job.reason == "interrupted")
    assert job.state is (JobState.DONE if len(raised) == number else JobState.STOPPED)
    assert signal.getsignal(signal.SIGINT) is before
