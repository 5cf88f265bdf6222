"""Cleanup may use pools and threads that are to die too, and is helped when it waits in vain."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

import ipykill
from ipykill.exceptions import JobKilled
from tests.marks import shows_places
from tests.waiting import HANG_GUARD, wait_for


def test_cleanup_may_give_work_to_a_pool(kill):
    saved = []

    def save(part):
        time.sleep(0.01)
        saved.append(part)

    def body(began):
        pool = ThreadPoolExecutor(3)
        pool.submit(time.sleep, 1000)
        try:
            began()
            time.sleep(1000)
        finally:
            list(pool.map(save, range(8)))

    kill(body)
    assert sorted(saved) == list(range(8))


def test_cleanup_may_give_work_to_a_pool_of_others(kill):
    saved = []
    with ThreadPoolExecutor(2) as pool:

        def body(began):
            try:
                began()
                time.sleep(1000)
            finally:
                list(pool.map(saved.append, range(8)))

        kill(body)
    assert sorted(saved) == list(range(8))


@pytest.mark.slow
@pytest.mark.parametrize("item", ["sleeps", "computes"])
def test_a_pool_in_a_with_block_dies_at_once(kill, item):
    ends = []
    running = threading.Semaphore(0)

    def work():
        running.release()
        try:
            if item == "sleeps":
                time.sleep(1000)
            while True:
                pass
        finally:
            ends.append(1)

    def body(began):
        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(work) for _ in range(100)]
            for _ in range(4):
                running.acquire()
            began()
            wait(futures)

    kill(body)
    assert len(ends) == 4


def test_what_is_queued_in_a_pool_of_the_job_does_not_run_any_more(kill):
    ran = []
    futures = []

    def body(began):
        with ThreadPoolExecutor(1) as pool:
            futures.append(pool.submit(lambda: (began(), time.sleep(1000))))
            futures.extend(pool.submit(ran.append, number) for number in range(1000))
            time.sleep(1000)

    kill(body)
    assert ran == []
    for future in futures:
        assert isinstance(future.exception(HANG_GUARD), JobKilled)


@pytest.mark.slow
def test_a_cleanup_that_waits_in_vain_is_helped_after_a_while(kill):
    order = []

    def child(done):
        try:
            time.sleep(1000)
        finally:
            order.append("child")
            done.set()

    def body(began):
        done = threading.Event()
        threading.Thread(target=child, args=(done,)).start()
        try:
            began()
            time.sleep(1000)
        finally:
            done.wait()
            order.append("parent")

    kill(body)
    assert order == ["child", "parent"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["sleeps", "computes"])
def test_a_cleanup_that_joins_a_thread_that_does_not_end(kill, how):
    ends = []

    def child():
        try:
            if how == "sleeps":
                time.sleep(1000)
            while True:
                pass
        finally:
            ends.append("child")

    def body(began):
        threads = [threading.Thread(target=child) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            began()
            time.sleep(1000)
        finally:
            for thread in threads:
                thread.join()
            ends.append("parent")

    kill(body)
    assert ends == ["child", "child", "child", "parent"]


def test_a_polling_cleanup_is_one_that_waits(kill):
    ends = []

    def body(began):
        thread = threading.Thread(target=time.sleep, args=(1000,))
        thread.start()
        try:
            began()
            time.sleep(1000)
        finally:
            while thread.is_alive():
                thread.join(timeout=0.05)
            ends.append("parent")

    kill(body)
    assert ends == ["parent"]


def test_a_checkpoint_of_a_thread_that_cleanup_needs_lets_it_go_on(kill):
    log = []

    def child(told):
        told.wait()
        ipykill.checkpoint()
        ipykill.sleep(0.001)
        log.append("flushed")

    def body(began):
        told = threading.Event()
        thread = threading.Thread(target=child, args=(told,))
        thread.start()
        try:
            began()
            time.sleep(1000)
        finally:
            told.set()
            thread.join()

    kill(body)
    assert log == ["flushed"]


@shows_places
@pytest.mark.slow
def test_why_a_thread_lives_that_cleanup_may_need(jobs):
    began, go = threading.Event(), threading.Event()

    def body():
        threading.Thread(target=time.sleep, args=(1000,), name="helper").start()
        try:
            began.set()
            time.sleep(1000)
        finally:
            while not go.is_set():
                sum(range(1000))

    job = jobs.submit(body)
    assert began.wait(HANG_GUARD)
    job.kill()
    wait_for(lambda: "in cleanup" in job.info().hindrance, "the reason")
    helper = job.where()[-1]
    assert helper.hindrance == "the cleanup of ipykill-1 may need it, and it dies after that"
    go.set()
    assert job.kill(HANG_GUARD)
