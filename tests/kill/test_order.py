"""Who dies first: a thread before those that it has started, which its cleanup may need."""

import asyncio
import contextlib
import logging
import logging.handlers
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

import ipykill
from ipykill.core.info import JobState
from tests.racing import frequent_switches
from tests.waiting import HANG_GUARD, wait_for


class Worker:
    """Has a thread that works until it is told to end, and then writes what is left."""

    def __init__(self, log):
        self.log = log
        self.queue = queue.Queue()
        self.thread = threading.Thread(target=self._work)

    def __enter__(self):
        self.thread.start()
        return self

    def _work(self):
        while (item := self.queue.get()) is not None:
            self.log.append(item)
            self.queue.task_done()
        self.log.append("written")

    def __exit__(self, *error):
        self.close()

    def close(self):
        self.queue.put("last")
        self.queue.join()
        self.queue.put(None)
        self.thread.join()
        self.log.append("closed")


def test_a_worker_that_its_with_block_ends(kill):
    log = []

    def body(began):
        with Worker(log) as worker:
            worker.queue.put("first")
            began()
            time.sleep(1000)

    kill(body)
    assert log == ["first", "last", "written", "closed"]


def test_a_worker_whose_starter_has_ended_serves_the_cleanup_too(kill):
    """As the threads of a `multiprocessing.Pool` do when the one that leads them has ended."""
    log = []

    def body(began):
        worker = Worker(log)
        starter = threading.Thread(target=worker.__enter__)
        starter.start()
        starter.join()
        with contextlib.closing(worker):
            worker.queue.put("first")
            began()
            time.sleep(1000)

    kill(body)
    assert log == ["first", "last", "written", "closed"]


class Loop:
    """An event loop in a thread, and what it has opened."""

    def __init__(self, log):
        self.log = log
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    async def open(self):
        await asyncio.sleep(0)

    async def aclose(self):
        await asyncio.sleep(0.01)
        await asyncio.to_thread(self.log.append, "closed")

    def __enter__(self):
        self.call(self.open())

    def __exit__(self, *error):
        self.call(self.aclose())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.log.append("stopped")


def test_an_event_loop_in_a_thread_closes_what_it_has_opened(kill):
    log = []

    def body(began):
        with Loop(log):
            began()
            while True:
                pass

    kill(body)
    assert log == ["closed", "stopped"]


def test_a_listener_of_logging_handles_what_is_left(kill):
    handled = []

    class Slow(logging.Handler):
        def emit(self, record):
            time.sleep(0.001)
            handled.append(record.getMessage())

    def body(began):
        records = queue.SimpleQueue()
        listener = logging.handlers.QueueListener(records, Slow())
        listener.start()
        try:
            for number in range(20):
                record = logging.LogRecord("x", 20, "", 1, str(number), None, None)
                records.put_nowait(record)
            began()
            time.sleep(1000)
        finally:
            listener.stop()

    kill(body)
    assert handled == [str(number) for number in range(20)]


class Download:
    """Parts that threads of a pool fetch; each tells the others when it is given up."""

    def __init__(self, log, threads=2):
        self.log = log
        self.cancelled = threading.Event()
        self.done = [threading.Event() for _ in range(3)]
        self.pool = ThreadPoolExecutor(threads)

    def part(self, number):
        while not self.cancelled.wait(0.001):
            pass
        self.log.append(number)
        self.done[number].set()

    def __enter__(self):
        for number in range(2):
            self.pool.submit(self.part, number)
        return self

    def __exit__(self, *error):
        self.cancelled.set()
        for event in self.done[:2]:
            event.wait()
        self.pool.shutdown()
        self.log.append("closed")


@pytest.mark.parametrize("threads", [2, 1])
def test_a_download_whose_parts_are_given_up(kill, threads):
    """With one thread, the second part has not begun when the Kill comes."""
    log = []

    def body(began):
        with Download(log, threads):
            began()
            time.sleep(1000)

    kill(body)
    assert sorted(log[:2]) == [0, 1]
    assert log[2:] == ["closed"]


def wait_in_exit(pool, calls):
    pool.shutdown()


def wait_for_each(pool, calls):
    wait(calls)


@pytest.mark.parametrize("cleans_up", [wait_in_exit, wait_for_each])
def test_of_a_long_queue_no_call_is_begun_once_its_thread_has_its_turn(kill, cleans_up):
    begun = []

    def work():
        begun.append(1)
        time.sleep(0.05)

    def body(began):
        pool = ThreadPoolExecutor(1)
        calls = [pool.submit(work) for _ in range(1000)]
        try:
            began()
            time.sleep(1000)
        finally:
            cleans_up(pool, calls)

    kill(body)
    assert len(begun) < 200


def test_each_generation_dies_before_the_next(kill):
    log = []

    def supervise(began):
        with Worker(log):
            began()
            time.sleep(1000)

    def body(began):
        thread = threading.Thread(target=supervise, args=(began,))
        thread.start()
        thread.join()

    kill(body)
    assert log == ["last", "written", "closed"]


def test_a_child_that_kills_its_own_job_dies_at_once(jobs):
    ends = []

    def child():
        ipykill.current_job().kill()
        ends.append("survived")

    def body():
        with ipykill.shield():
            thread = threading.Thread(target=child)
            thread.start()
            thread.join()

    job = jobs.submit(body)
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.KILLED
    assert ends == []


@pytest.mark.stress
@pytest.mark.slow
@frequent_switches()
def test_cleanup_is_served_whenever_the_kill_comes(kill):
    for _ in range(60):
        log = []

        def body(began, log=log):
            began()
            with Worker(log):
                while True:
                    sum(range(100))

        kill(body)
        assert log in ([], ["last", "written", "closed"])


@pytest.mark.stress
@pytest.mark.slow
def test_many_plain_threads_die_with_the_one_that_joins_them(kill):
    def body(began):
        threads = [threading.Thread(target=time.sleep, args=(1000,)) for _ in range(50)]
        for thread in threads:
            thread.start()
        began()
        for thread in threads:
            thread.join()

    for _ in range(3):
        kill(body)


@pytest.mark.slow
def test_a_chain_of_threads_keeps_none_that_has_ended(jobs):
    count = []

    def link():
        count.append(1)
        if len(count) < 50:
            threading.Thread(target=link).start()
        else:
            time.sleep(1000)

    job = jobs.submit(link)
    wait_for(lambda: len(count) == 50 and len(job.threads) == 1, "the last one")
    (target,) = job._family.targets()
    assert target.leader is None or target.leader.leader is None
    assert job.kill(HANG_GUARD)
