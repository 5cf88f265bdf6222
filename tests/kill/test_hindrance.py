"""A job that is being killed and lives says why."""

import ctypes
import os
import queue
import random
import signal
import sys
import threading
import time
import zlib

import pytest

import ipykill
from ipykill import Job, JobState, kill
from ipykill.kill import wake
from tests.marks import shows_places
from tests.waiting import wait_for

pytestmark = shows_places


def why(job: Job) -> str:
    """Kill the job and return what it says, once it says something."""
    job.kill()
    said: str = wait_for(lambda: job.info().hindrance or job.done(), "a reason")
    return said


@pytest.mark.slow
def test_in_a_shield() -> None:
    go, inside = threading.Event(), threading.Event()

    def work() -> None:
        with ipykill.shield():
            inside.set()
            go.wait()

    job = ipykill.submit(work)
    assert inside.wait(30)
    line = work.__code__.co_firstlineno + 1
    assert why(job) == (
        f"it is in a shield() block (test_hindrance.py, line {line}) and dies at its end"
    )
    go.set()
    assert job.kill(30)
    assert job.info().hindrance == ""


@pytest.mark.slow
def test_in_cleanup() -> None:
    go, began, inside = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        try:
            began.set()
            while True:
                pass
        finally:
            inside.set()
            go.wait()

    job = ipykill.submit(work)
    assert began.wait(30)
    job.kill()
    assert inside.wait(30)
    line = work.__code__.co_firstlineno + 7
    assert why(job) == (
        f"it is in cleanup (test_hindrance.py, line {line}) and dies when that has ended"
    )
    go.set()
    assert job.kill(30)


def test_a_thread_that_could_not_run_yet_has_no_reason() -> None:
    began = threading.Event()

    def work() -> None:
        began.set()
        while True:
            pass

    job = ipykill.submit(work)
    assert began.wait(30)
    (target,) = job._family.targets()
    look = kill.look()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1)  # the thread has no turn until this one waits
    try:
        time.sleep(0)
        job._family.kill_requested = True
        frame = look(target)
        assert frame is not None
        assert kill.hindrance(target, look) == ""
    finally:
        sys.setswitchinterval(before)
    assert job.kill(30)


def test_that_ipykill_itself_asks_whether_it_may_die_is_no_shield() -> None:
    began, go = threading.Event(), threading.Event()

    def work() -> None:
        with ipykill.shield():
            pass
        try:
            began.set()
        finally:
            go.wait()

    job = ipykill.submit(work)
    assert began.wait(30)
    (target,) = job._family.targets()
    job.kill()
    target.depth += 1  # as the handler of the wake-up does
    try:
        assert "shield" not in kill.hindrance(target, kill.look())
    finally:
        target.depth -= 1
    go.set()
    assert job.kill(30)


def test_a_thread_that_ran_on_is_looked_at_again() -> None:
    """Its stack is read from another thread, frame by frame, and may have changed meanwhile."""
    go, inside, torn = threading.Event(), threading.Event(), []

    class Finalized:
        def __del__(self) -> None:
            torn.append(sys._getframe())

    def work() -> None:
        Finalized()
        try:
            pass
        finally:
            inside.set()
            go.wait()

    job = ipykill.submit(work)
    assert inside.wait(30)
    (target,) = job._family.targets()
    job.kill()
    look = kill.look()
    wait_for(lambda: "in cleanup" in kill.hindrance(target, look), "the reason")
    assert "in __del__" in kill.hindrance(target, lambda _: torn[0])
    seen = [torn[0]]
    why = kill.hindrance(target, lambda target: seen.pop() if seen else look(target))
    assert "in cleanup" in why
    torn.clear()
    go.set()
    assert job.kill(30)


@pytest.mark.slow
def test_in_c_code_that_is_busy() -> None:
    if not wake.works():
        pytest.skip(f"the CPU clock is looked at by the wake-up: {wake.why_not()}")
    noise = random.randbytes(60_000_000)  # some seconds of work
    began = threading.Event()

    def work() -> None:
        began.set()
        zlib.compress(noise, 9)

    job = ipykill.submit(work)
    assert began.wait(30)
    assert "C code" in why(job)
    assert job.state is JobState.KILLING, "not dead before it is true"
    assert job.kill(60)


@pytest.mark.slow
def test_a_child_thread_is_named() -> None:
    go, inside = threading.Event(), threading.Event()

    def child() -> None:
        with ipykill.shield():
            inside.set()
            go.wait()

    def work() -> None:
        threading.Thread(target=child, name="helper").start()
        while True:
            pass

    job = ipykill.submit(work)
    assert inside.wait(30)
    first = child.__code__.co_firstlineno
    job.kill()
    wait_for(lambda: "helper" in job.info().hindrance, "the first thread to die")
    assert why(job) == (
        f"helper in test_hindrance.py, line {first + 3} (go.wait): it is in a shield() block "
        f"(test_hindrance.py, line {first + 1}) and dies at its end"
    )
    helper = job.where()[-1]
    assert (helper.name, helper.depth) == ("helper", 1)
    assert helper.hindrance.startswith("it is in a shield() block")
    go.set()
    assert job.kill(30)


@pytest.mark.slow
def test_code_that_swallows_the_kill_for_ever() -> None:
    ends = threading.Event()

    def work() -> None:
        try:
            began.set()
            while True:
                pass
        except BaseException:
            while not ends.wait(0.001):
                try:
                    raise ZeroDivisionError
                except ZeroDivisionError:
                    pass

    began = threading.Event()
    job = ipykill.submit(work)
    assert began.wait(30)
    job.kill()
    # An `except` that goes on is the cleanup of the first. (A reason is that of one moment.)
    wait_for(lambda: "it is in cleanup" in job.info().hindrance, "the reason")
    ends.set()
    assert job.kill(30)


@pytest.mark.slow
def test_in_a_module_that_is_not_broken() -> None:
    if not wake.works():
        pytest.skip(f"the CPU clock is looked at by the wake-up: {wake.why_not()}")
    names = {"run": True}
    job = ipykill.submit(exec, compile("while run: pass", queue.__file__, "exec"), names)
    wait_for(lambda: job.where() and job.where()[0].frames, "its loop")
    job.kill()
    wait_for(lambda: "queue.py, line 1, which must not be" in job.info().hindrance, "the reason")
    names["run"] = False
    assert job.kill(30)


@pytest.mark.slow
def test_in_c_code_that_waits_and_does_not_look() -> None:
    if not wake.works():
        pytest.skip(f"a wait is told from work by the wake-up: {wake.why_not()}")
    reads, writes = os.pipe()
    began = threading.Event()

    def work() -> None:
        began.set()
        c_read(reads, ctypes.create_string_buffer(1), 1)

    c_read = ctypes.CDLL(None).read
    signal.siginterrupt(signal.SIGURG, False)  # or read() would return, for ctypes to ignore
    try:
        job = ipykill.submit(work)
        assert began.wait(30)
        assert why(job) == (
            "it waits in C code that does not look for signals and dies when that call returns"
        )
        os.write(writes, b"x")
        assert job.kill(30)
    finally:
        signal.siginterrupt(signal.SIGURG, True)
    os.close(reads)
    os.close(writes)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which signals are blocked")
def test_where_signals_are_blocked() -> None:
    if not wake.works():
        pytest.skip(f"a wait is told from work by the wake-up: {wake.why_not()}")
    began, held = threading.Event(), threading.Lock()

    def work() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        began.set()
        held.acquire()

    held.acquire()
    job = ipykill.submit(work)
    assert began.wait(30)
    assert why(job) == (
        "it has blocked signals (pthread_sigmask), so its call that waits is not woken"
    )
    held.release()
    assert job.kill(30)


def test_the_monitor_of_tqdm_belongs_to_no_job() -> None:
    monitor = pytest.importorskip("tqdm._monitor")
    made = []

    class Monitor(monitor.TMonitor):
        __module__ = monitor.__name__

        def run(self) -> None:
            self.was_killed.wait()

    def work() -> None:
        import tqdm

        made.append(Monitor(tqdm.tqdm, 10))

    job = ipykill.submit(work)
    job.result(30)
    wait_for(lambda: not job.threads, "the end of its own thread")
    assert made[0].is_alive()
    made[0].was_killed.set()
