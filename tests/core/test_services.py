"""Threads that a library keeps for others live on after the job that used it first."""

import functools
import importlib
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace

import pytest

from ipykill.core import family
from ipykill.core.current import current_job
from ipykill.core.family import Family
from ipykill.core.info import JobState
from ipykill.core.manager import JobManager
from ipykill.core.services import Service
from ipykill.threads import ThreadWithExc
from tests.waiting import HANG_GUARD, wait_for

LIBRARY = """
import asyncio, functools, queue, threading, weakref
from concurrent.futures import ThreadPoolExecutor

thread, loop, pool = [None], [None], None

def call(coroutine):
    if thread[0] is None:
        loop[0] = asyncio.new_event_loop()
        thread[0] = threading.Thread(target=loop[0].run_forever, name="library-io", daemon=True)
        thread[0].start()
    return asyncio.run_coroutine_threadsafe(coroutine, loop[0]).result(30)

def compute(fn, *args):
    global pool
    if pool is None:
        pool = ThreadPoolExecutor(1)
    return pool.submit(fn, *args).result()

class Manager:  # is kept, and has another thread work for it
    def __init__(self):
        self.orders, self.results = queue.Queue(), queue.Queue()
        threading.Thread(target=self._manage, name="manager", daemon=True).start()
    def _manage(self):
        orders = queue.Queue()
        def feed():
            while True:
                self.results.put(orders.get() + 1)
        threading.Thread(target=feed, name="feeder", daemon=True).start()
        while True:
            orders.put(self.orders.get())
    def next(self, number):
        self.orders.put(number)
        return self.results.get(timeout=30)

manager = None
def next_number(number):
    global manager
    if manager is None:
        manager = Manager()
    return manager.next(number)

class Client:  # makes one when it is used first
    manager = None
    def next(self, number):
        if self.manager is None:
            self.manager = Manager()
        return self.manager.next(number)

class Writer:  # starts its thread when it is used
    def __init__(self):
        self.queue, self.thread = queue.Queue(), None
    def write(self, done):
        if self.thread is None:
            self.thread = threading.Thread(target=self._run, name="writer", daemon=True)
            self.thread.start()
        self.queue.put(done)
    def _run(self):
        while True:
            self.queue.get().set()

by_thread, known, local = weakref.WeakKeyDictionary(), weakref.WeakSet(), threading.local()

@functools.lru_cache
def asked(bound):
    return 1

def remember(writer):
    by_thread[writer.thread], local.writer = writer, writer
    known.add(writer)
    asked(writer.write)

@functools.lru_cache
def the_writer():
    return Writer()
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A module that passes for an installed library."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "some_library.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module("some_library")
    del sys.modules["some_library"]


@pytest.fixture(params=["killed", "finished"])
def end(request):
    """Run a function in a job, which then is killed or has finished before the Kill."""
    manager = JobManager()

    def end(use):
        used = threading.Event()

        def body():
            use()
            used.set()
            if request.param == "killed":
                time.sleep(1000)

        job = manager.submit(body)
        assert used.wait(HANG_GUARD), job.where()
        if request.param == "finished":
            job.result(HANG_GUARD)
        assert job.kill(HANG_GUARD), job.where()
        assert job.state is (JobState.KILLED if request.param == "killed" else JobState.DONE)
        assert job.threads == []
        return job

    yield end
    manager.kill_all(HANG_GUARD)


async def answer():
    return 42


def test_a_loop_that_a_library_keeps_in_a_module(library, end):
    job = end(lambda: library.call(answer()))
    assert library.call(answer()) == 42
    line = "the thread library-io goes on: some_library keeps it for whoever uses it next"
    assert job.spared() == [line]


def test_what_a_thread_that_is_spared_has_started_for_itself(library, end):
    job = end(lambda: library.next_number(1))
    assert library.next_number(2) == 3
    assert {line.split()[2] for line in job.spared()} == {"manager", "feeder"}
    assert all("some_library keeps it" in line for line in job.spared())


def test_a_pool_that_a_library_keeps_in_a_module(library, end):
    end(lambda: library.compute(abs, -1))
    assert library.compute(abs, -2) == 2


def test_what_was_there_before_the_job_goes_on(library, end):
    writer = library.Writer()
    end(lambda: writer.write(threading.Event()))
    done = threading.Event()
    writer.write(done)
    assert done.wait(HANG_GUARD)


def test_what_begins_when_the_job_is_dead_already_goes_on(library, jobs, began):
    """As on a busy machine."""
    writer = library.Writer()

    def body():
        family = current_job()._family
        me = family.target_of(threading.current_thread())

        def enter():
            wait_for(lambda: not me.open, "the end of the job's own thread")

        family.enter = enter
        writer.write(threading.Event())
        began.set()
        time.sleep(1000)

    job = jobs.submit(body)
    assert began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    done = threading.Event()
    writer.write(done)
    assert done.wait(HANG_GUARD)


def test_what_the_job_has_made_dies_with_it(library, end):
    made = []

    def use():
        writer = library.Writer()
        writer.write(threading.Event())
        made.append(weakref.ref(writer.thread))  # else it could be reached from outside

    assert end(use).spared() == []
    thread = made[0]()
    assert thread is None or not thread.is_alive()


def test_what_the_job_has_made_dies_with_it_wherever_it_is_kept(library, end):
    kept = {}

    def use():
        kept["manager"] = library.Manager()

    assert end(use).spared() == []


def test_what_the_users_object_has_made_for_itself_goes_on(library, end):
    client = library.Client()
    end(lambda: client.next(1))
    assert client.next(2) == 3


def test_what_a_library_only_knows_of_is_not_kept(library, end):
    threads = []

    def use():
        writer = library.Writer()
        writer.write(threading.Event())
        library.remember(writer)
        threads.append(weakref.ref(writer.thread))

    assert end(use).spared() == []
    thread = threads[0]()
    assert thread is None or not thread.is_alive()


def test_the_result_in_a_cache_is_kept(library, end):
    end(lambda: library.the_writer().write(threading.Event()))
    done = threading.Event()
    library.the_writer().write(done)
    assert done.wait(HANG_GUARD)


def test_who_is_asked_while_it_works_goes_back_to_its_library_afterwards(library):
    family = Family(ThreadWithExc(target=int), lambda: None, lambda error: None)
    family.given = None
    kept = [False]

    class Asked(Service):
        def __init__(self):
            pass

        def is_kept(self, thing):
            return kept[0]

        def is_given(self, thing, call):
            return False

    target = SimpleNamespace(service=Asked(), shared=None, thread=threading.Thread())
    assert not family.shares(target)
    kept[0] = True
    assert family.shares(target)


def test_the_users_code_in_such_a_thread_dies_and_the_thread_lives(library):
    manager = JobManager()
    begun = threading.Event()
    library.compute(int)

    def work():
        begun.set()
        time.sleep(1000)

    job = manager.submit(library.compute, work)
    assert begun.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert library.compute(abs, -2) == 2


def test_a_queue_of_multiprocessing(end):
    queue = multiprocessing.get_context("spawn").Queue()
    end(functools.partial(queue.put, 1))
    queue.put(2)
    assert [queue.get(timeout=HANG_GUARD) for _ in range(2)] == [1, 2]
    queue.close()


def test_the_thread_of_a_queue_that_begins_as_the_job_ends(monkeypatch):
    ends, letting_go, begins = threading.Event(), Family.let_go_of_services, family.registered

    def let_go(it):
        ends.set()
        letting_go(it)

    def registered(*args):
        if threading.current_thread().name == "QueueFeederThread":
            assert ends.wait(HANG_GUARD)
        return begins(*args)

    monkeypatch.setattr(Family, "let_go_of_services", let_go)
    monkeypatch.setattr(family, "registered", registered)
    queue = multiprocessing.get_context("spawn").Queue()
    job = JobManager().submit(queue.put, 1)
    job.result(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert job.state is JobState.DONE
    queue.put(2)
    assert [queue.get(timeout=HANG_GUARD) for _ in range(2)] == [1, 2]
    queue.close()


@pytest.mark.slow
def test_a_pool_of_processes(end):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        end(lambda: pool.submit(abs, -1).result())
        assert pool.submit(os.path.join, "a", "b").result(HANG_GUARD) == os.path.join("a", "b")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "finished"])
def test_joblib(how):
    pytest.importorskip("joblib")
    script = f"""
import threading, time, ipykill, joblib
def three():
    return joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-n) for n in range(3))
used = threading.Event()
def work():
    three()
    used.set()
    if {how == "killed"}:
        time.sleep(1000)
job = ipykill.submit(work)
used.wait()
if {how == "finished"}:
    job.wait()
assert job.kill(30)
assert three() == [0, 1, 2]
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=2 * HANG_GUARD)


def test_fsspec(end):
    asyn = pytest.importorskip("fsspec.asyn")
    end(lambda: asyn.sync(asyn.get_loop(), answer))
    assert asyn.sync(asyn.get_loop(), answer, timeout=HANG_GUARD) == 42


def test_the_pool_of_the_loop_of_others(end):
    import asyncio

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def compute():
        return await asyncio.to_thread(abs, -3)

    def call():
        return asyncio.run_coroutine_threadsafe(compute(), loop).result(HANG_GUARD)

    end(call)
    assert call() == 3
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_pool_in_a_variable_of_the_users_is_the_jobs():
    """It is reached from the builtins of each module, by way of IPython's shell."""
    script = f"""
import builtins, threading, time, ipykill
from concurrent.futures import ThreadPoolExecutor
class Shell:
    def __init__(self):
        self.user_ns = globals()
    def get_ipython(self):
        return self
builtins.get_ipython = Shell().get_ipython
at_work = threading.Event()
def sleep(_):
    at_work.set()
    time.sleep(1000)
def work():
    global pool
    with ThreadPoolExecutor(1) as pool:
        list(pool.map(sleep, range(3)))
job = ipykill.submit(work)
at_work.wait()
family = job._family
worker = next(it for it in family.targets() if it.thread is not job.thread)
assert worker.service is not None
assert not family.shares(worker)
assert job.kill({HANG_GUARD})
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=2 * HANG_GUARD)


def test_who_is_asked_while_the_job_ends_goes_by_what_it_was_given():
    """The end of a job forgets that, in another thread, while the search takes its time."""
    family = Family(ThreadWithExc(target=int), lambda: None, lambda error: None)
    family.given = "a pool"

    class Asked(Service):
        def __init__(self):
            pass

        def is_kept(self, thing):
            family.given = None
            return False

        def is_given(self, thing, call):
            return call == "a pool"

    target = SimpleNamespace(service=Asked(), shared=None, thread=threading.Thread())
    assert family.shares(target)
