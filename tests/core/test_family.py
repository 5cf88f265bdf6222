"""The threads that a job starts are of its family, and die with it."""

import gc
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import ipykill
from ipykill.base import stacks
from ipykill.core.manager import JobManager
from ipykill.exceptions import JobKilled, JobStopped
from ipykill.kill import current_target, shield
from ipykill.threads import ServiceThread, ThreadWithExc
from tests.core.families import Fixture
from tests.core.work import spin
from tests.marks import shows_places
from tests.racing import ended
from tests.waiting import HANG_GUARD, wait_for


@pytest.mark.parametrize("error", [None, ValueError, SystemExit, KeyboardInterrupt, JobKilled])
def test_finish_is_told_what_the_body_raised(error, printed):
    def body():
        if error is not None:
            raise error

    (told,) = Fixture(body).run()
    assert type(told) is (type(None) if error is None else error)
    assert not printed


def test_what_finish_does_is_part_of_no_job():
    seen = []
    fixture = Fixture(lambda: seen.append(current_target()))
    fixture.run()
    assert seen[0].group is fixture.family
    assert fixture.target_in_finish == [None]


def test_children_and_theirs_are_members():
    threads = []
    done = threading.Event()

    def child(depth):
        threads.append(threading.current_thread())
        if depth:
            threading.Thread(target=child, args=(depth - 1,)).start()
        done.wait(HANG_GUARD)

    fixture = Fixture(lambda: child(2))
    fixture.family.start()
    wait_for(lambda: len(threads) == 3, "three threads")
    assert fixture.family.threads() == threads
    assert fixture.entered == threads
    assert {target.thread for target in fixture.family.targets()} == set(threads)
    assert not fixture.family.join(0)
    assert not fixture.family.join(0.001)
    done.set()
    assert fixture.family.join(HANG_GUARD)
    assert fixture.family.threads() == []
    assert fixture.family.targets() == []
    assert fixture.finished == [None]  # that of the first thread only


@pytest.mark.parametrize("kind", [threading.Thread, ThreadWithExc])
def test_children_are_killed_with_the_family(kind, printed):
    spinning = [threading.Event(), threading.Event()]
    children = []

    def body():
        children.append(kind(target=spin, args=(spinning[1],)))
        children[0].start()
        spin(spinning[0])

    fixture = Fixture(body)
    fixture.family.start()
    for event in spinning:
        assert event.wait(HANG_GUARD)
    fixture.family.kill()
    assert fixture.family.join(HANG_GUARD)
    assert not children[0].is_alive()
    assert [type(error) for error in fixture.finished] == [JobKilled]
    assert not printed


@shows_places
def test_a_child_started_during_a_kill_does_not_reach_its_first_line(printed):
    reached = []

    def body():
        with shield():
            fixture.family.kill_requested = True
            child = threading.Thread(target=reached.append, args=(1,))
            child.start()
            child.join()

    fixture = Fixture(body)
    (error,) = fixture.run()
    assert isinstance(error, JobKilled)
    assert not reached
    assert not printed


def test_the_workers_of_a_pool_are_members():
    def body():
        with ThreadPoolExecutor(2) as pool:
            workers.update(pool.map(lambda n: threading.current_thread(), range(2)))
            assert workers <= set(fixture.family.threads())

    workers = set()
    fixture = Fixture(body)
    assert fixture.run() == [None]
    assert workers


def test_threads_that_others_start_are_no_members():
    go, started = threading.Event(), threading.Event()

    def body():
        started.set()
        go.wait(HANG_GUARD)

    fixture = Fixture(body)
    fixture.family.start()
    assert started.wait(HANG_GUARD)
    other = threading.Thread(target=go.wait, args=(HANG_GUARD,))
    other.start()
    assert other not in fixture.family.threads()
    go.set()
    assert ended(other, fixture.first)


def test_a_thread_of_ipykills_own_is_no_member_whoever_starts_it():
    go = threading.Event()

    def body():
        service = ServiceThread(lambda: go.wait(HANG_GUARD), "test")
        service.start()
        assert service not in fixture.family.threads()
        go.set()

    fixture = Fixture(body)
    assert fixture.run() == [None]


def test_the_error_of_a_child_is_printed_as_usual(printed):
    def body():
        child = threading.Thread(target=lambda: 1 / 0, name="child")
        child.start()
        child.join()

    assert Fixture(body).run() == [None]
    assert [(args.exc_type, args.thread.name) for args in printed] == [(ZeroDivisionError, "child")]


@pytest.mark.parametrize("error", [JobKilled, JobStopped])
def test_a_child_that_ends_as_it_was_asked_prints_nothing(error, printed):
    def fail():
        raise error

    def body():
        child = threading.Thread(target=fail)
        child.start()
        child.join()

    assert Fixture(body).run() == [None]
    assert not printed


# CPU time


def test_cpu_time_counts_all_threads_also_those_that_ended():
    def body():
        child = threading.Thread(target=lambda: sum(range(2_000_000)))
        child.start()
        child.join()
        seen.append(fixture.family.cpu_time())

    seen = []
    fixture = Fixture(body)
    assert fixture.family.cpu_time() == 0
    assert fixture.run() == [None]
    (within,) = seen
    after = fixture.family.cpu_time()
    assert 0 < within <= after
    assert fixture.family.cpu_time() == after


# What is left of the wrapping


def test_start_is_wrapped_at_the_first_launch_and_once():
    script = """
import threading
plain = threading.Thread.start
import ipykill
assert threading.Thread.start is plain
calls = []
def other_library(thread):
    calls.append(thread)
    plain(thread)
threading.Thread.start = other_library
ipykill.submit(int).wait()
wrapped = threading.Thread.start
assert wrapped is not other_library and calls
def later_library(thread):
    wrapped(thread)
threading.Thread.start = later_library
assert ipykill.submit(int).result() == 0
assert threading.Thread.start is later_library
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_the_threads_are_listed_while_a_garbage_collection_starts_one():
    """On CPython 3.11 a collection may come in the middle of any allocation."""
    fixture = Fixture(lambda: None)
    family, limits = fixture.family, gc.get_threshold()
    others = [threading.Thread() for _ in range(3000)]  # more than tuples are kept for reuse
    family._threads.update((thread, threading.Event()) for thread in others)

    def callback(phase, info):
        family._threads[threading.Thread()] = threading.Event()

    gc.callbacks.append(callback)
    gc.set_threshold(1)
    try:
        assert set(others) <= set(family.threads())
    finally:
        gc.set_threshold(*limits)
        gc.callbacks.remove(callback)
        family._threads.clear()


def test_start_keeps_its_name_and_documentation():
    ipykill.submit(int).wait()
    assert threading.Thread.start.__name__ == "start"
    assert "arrange" in threading.Thread.start.__doc__


@shows_places
def test_the_tree_of_threads_shows_who_started_whom():
    gate = threading.Event()
    names = []

    def grandchild():
        names.append("grandchild")
        gate.wait(HANG_GUARD)

    def child():
        threading.Thread(target=grandchild, name="grandchild").start()
        names.append("child")
        gate.wait(HANG_GUARD)

    def short():
        threading.Thread(target=grandchild, name="orphan").start()
        wait_for(lambda: names, "the orphan")

    def work():
        thread = threading.Thread(target=short, name="short")
        thread.start()
        thread.join()
        threading.Thread(target=child, name="child").start()
        names.append("work")
        gate.wait(HANG_GUARD)

    manager = JobManager()
    job = manager.submit(work)
    wait_for(lambda: len(names) == 4, "all threads")
    found = wait_for(lambda: len(found := job.where()) == 4 and found, "the end of the short one")
    tree = [(stack.name, stack.depth) for stack in found]
    assert tree == [("ipykill-1", 0), ("child", 1), ("grandchild", 2), ("orphan", 1)]
    assert [stack.frames[0].function for stack in found] == ["work", "child"] + ["grandchild"] * 2
    assert stacks.tree(found)[1].startswith("  └ grandchild: test_family.py, line ")
    gate.set()
    assert job.wait(HANG_GUARD)
    wait_for(lambda: not job.where(), "the end of all threads")


@pytest.mark.parametrize("module", ["tqdm._monitor", "zmq.utils.garbage"])
def test_a_thread_of_the_whole_process_survives_the_job_that_started_it(module: str) -> None:
    over = threading.Event()
    monitor = type("Monitor", (threading.Thread,), {"__module__": module})(target=over.wait)

    def work() -> None:
        monitor.start()
        time.sleep(HANG_GUARD)

    job = ipykill.submit(work)
    wait_for(monitor.is_alive, "the thread")
    try:
        assert job.threads == [job.thread]
        assert job.kill(HANG_GUARD)
        assert monitor.is_alive()
    finally:
        over.set()
        monitor.join(HANG_GUARD)
