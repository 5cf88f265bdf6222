"""Thread pools that a job makes, and those of others to which it gives work."""

import contextlib
import multiprocessing
import queue
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from ipykill.core.current import current_job
from ipykill.core.info import JobState
from ipykill.core.manager import JobManager
from ipykill.exceptions import JobKilled
from ipykill.kill import order
from tests.racing import frequent_switches
from tests.waiting import HANG_GUARD, wait_for


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def jobs(pool):
    manager = JobManager()
    manager.launch(int, name="the wrappers are there").wait()
    yield manager
    manager.kill_all(HANG_GUARD)


@pytest.mark.parametrize("warm", [True, False], ids=["its thread is there", "it starts a thread"])
def test_the_work_a_job_gives_to_a_pool_of_others_ends_with_it_and_the_pool_lives(jobs, pool, warm):
    if warm:
        pool.submit(int).result()
    begun = threading.Event()
    futures, members = [], []

    def work():
        members.append((threading.current_thread(), current_job()))
        try:
            begun.set()
            while True:
                time.sleep(0.001)
        finally:
            members.append("cleaned")

    def body():
        futures.extend([pool.submit(work), pool.submit(members.append, "never")])
        wait(futures)

    job = jobs.submit(body)
    assert begun.wait(HANG_GUARD)
    worker = members[0][0]
    assert job.threads == [job.thread, worker]
    assert [it.name for it in job.where()] == [job.thread.name, worker.name]
    assert job.kill(HANG_GUARD)
    assert job.state is JobState.KILLED
    assert isinstance(futures[0].exception(HANG_GUARD), JobKilled)
    assert isinstance(futures[1].exception(HANG_GUARD), JobKilled), "what was queued does not run"
    assert members == [(worker, job), "cleaned"]
    assert pool.submit(current_job).result(HANG_GUARD) is None
    assert job.threads == []
    assert pool._threads == {worker}
    assert worker.is_alive()


def test_what_others_do_in_a_thread_that_a_job_made_start_is_theirs(jobs, pool):
    begun, go = threading.Event(), threading.Event()
    job = jobs.submit(lambda: (pool.submit(int).result(), begun.wait(), time.sleep(1000)))
    wait_for(lambda: pool._threads, "its thread")
    theirs = pool.submit(lambda: (begun.set(), go.wait()))
    assert begun.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert theirs.running()
    go.set()
    assert theirs.result(HANG_GUARD) == (None, True)


@pytest.mark.stress
@pytest.mark.slow
def test_a_worker_of_others_that_comes_back_with_the_next_work_is_not_waited_for(jobs, pool):
    with frequent_switches():
        for _ in range(300):
            begun = threading.Event()

            def body(begun=begun):
                futures = [pool.submit(lambda: (begun.set(), time.sleep(1000))) for _ in range(20)]
                wait(futures)

            job = jobs.submit(body)
            assert begun.wait(HANG_GUARD)
            assert job.kill(HANG_GUARD), job.info().hindrance
            assert job.state is JobState.KILLED
    assert pool.submit(int).result(HANG_GUARD) == 0


def test_work_gives_its_value_or_error_and_uses_no_time_of_others(jobs, pool):
    def others():
        while time.thread_time() < 0.2:
            pass

    pool.submit(others).result()
    job = jobs.submit(lambda: (pool.submit(int, "7").result(), pool.submit(int, "x").exception()))
    value, error = job.result(HANG_GUARD)
    assert value == 7
    assert isinstance(error, ValueError)
    assert job.cpu_time < 0.2


def test_the_work_of_a_job_keeps_nothing_alive(jobs, pool):
    class Thing:
        pass

    def body():
        thing = Thing()
        things.append(weakref.ref(thing))
        pool.submit(lambda it: it and None, thing).result()
        assert pool.submit(fail, thing).exception() is not None

    def fail(thing):
        raise ValueError

    things = []
    jobs.submit(body).result(HANG_GUARD)
    pool.submit(int).result()  # a worker keeps its last work until the next
    assert things[0]() is None


def test_a_pool_is_its_makers_whoever_makes_its_threads_start(jobs):
    made, go = threading.Event(), threading.Event()
    pools = []

    def make():
        pools.append(ThreadPoolExecutor(1))
        made.set()
        time.sleep(1000)

    maker = jobs.submit(make)
    assert made.wait(HANG_GUARD)
    other = jobs.submit(lambda: pools[0].submit(go.wait).result())
    wait_for(lambda: len(maker.threads) == 2, "its worker")
    assert other.threads == [other.thread]
    assert other.kill(HANG_GUARD)
    assert len(maker.threads) == 2
    assert maker.kill(HANG_GUARD)
    assert maker.threads == []
    with pytest.raises(RuntimeError, match="after shutdown"):
        pools[0].submit(int)


@pytest.mark.slow
def test_a_pool_of_processes_that_a_job_made_starts_no_more_of_them(jobs):
    made = threading.Event()

    def body():
        pool = multiprocessing.get_context("fork").Pool(2)
        made.set()
        pool.map(time.sleep, [1000] * 4)

    before = set(multiprocessing.active_children())
    job = jobs.submit(body)
    assert made.wait(HANG_GUARD)
    members = job.threads
    assert job.kill(HANG_GUARD)
    assert not [thread for thread in members if thread.is_alive()]
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.slow
def test_the_threads_that_trio_keeps_serve_the_next_run(jobs, monkeypatch):
    trio = pytest.importorskip("trio")
    monkeypatch.setattr(order, "_STALL", HANG_GUARD)  # it does not take a stall to end them

    def run(fn):
        trio.run(trio.to_thread.run_sync, fn)

    for _ in range(2):  # in a thread that trio starts, and in one that it has
        begun = threading.Event()
        job = jobs.submit(run, lambda begun=begun: (begun.set(), time.sleep(1000)))
        assert begun.wait(HANG_GUARD)
        assert job.kill(HANG_GUARD), job.where()
        assert job.state is JobState.KILLED
        done = threading.Event()
        threading.Thread(target=run, args=(done.set,), daemon=True).start()
        assert done.wait(HANG_GUARD), "in the foreground"


@pytest.mark.parametrize("busy", [True, False], ids=["its worker is busy", "it starts a worker"])
def test_work_that_a_cleanup_has_given_to_a_pool_before_the_kill_is_done(jobs, busy):
    given, done = threading.Event(), []

    def body():
        with ThreadPoolExecutor(1) as pool:
            try:
                if busy:
                    pool.submit(time.sleep, 1000)
            finally:
                future = pool.submit(done.append, "cleaned")
                given.set()
                future.result()
            while True:
                time.sleep(1000)

    job = jobs.submit(body)
    assert given.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert job.state is JobState.KILLED
    assert done == ["cleaned"]


def test_what_a_thread_that_serves_the_cleanup_has_given_to_a_pool_is_begun(jobs, pool, began):
    free, cleaning = threading.Event(), threading.Event()
    given, answers = queue.SimpleQueue(), []

    def serve():  # as the event loop of Dask's scheduler does, with the pool of the whole process
        given.put(pool.submit("an answer".upper))
        time.sleep(1000)

    def body():
        threading.Thread(target=serve).start()
        future = given.get()
        began.set()
        try:
            time.sleep(1000)
        finally:
            cleaning.set()
            answers.append(future.result())

    pool.submit(free.wait)
    job = jobs.submit(body)
    assert began.wait(HANG_GUARD)
    job.kill()
    assert cleaning.wait(HANG_GUARD)
    free.set()
    assert job.kill(HANG_GUARD)
    assert answers == ["AN ANSWER"]


def test_work_with_which_an_except_goes_on_is_no_cleanup(jobs):
    begun = threading.Event()

    def work(number):
        begun.set()
        time.sleep(1000)

    def body():
        try:
            raise FileNotFoundError
        except FileNotFoundError:
            with ThreadPoolExecutor(1) as pool:
                list(pool.map(work, range(3)))

    job = jobs.submit(body)
    assert begun.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert job.state is JobState.KILLED


@pytest.mark.skipif(sys.version_info < (3, 14), reason="there is no such pool")
@pytest.mark.parametrize("whose", ["its own", "everybody's"])
def test_a_pool_of_interpreters(jobs, began, whose):
    """What is given to it is sent to another interpreter, and no function of ipykill's can be."""
    from concurrent.futures import InterpreterPoolExecutor

    def work(pool):
        with InterpreterPoolExecutor(1) if pool is None else contextlib.nullcontext(pool) as used:
            assert list(used.map(abs, [-1])) == [1]
            began.set()
            while True:
                list(used.map(abs, range(3)))

    with InterpreterPoolExecutor(1) as others:
        pool = None if whose == "its own" else others
        job = jobs.submit(work, pool)
        assert began.wait(HANG_GUARD)
        assert job.kill(HANG_GUARD)
        assert job.state is JobState.KILLED
        assert others.submit(abs, -2).result(HANG_GUARD) == 2
