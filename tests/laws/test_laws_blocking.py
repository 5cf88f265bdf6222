"""The laws of Kill where code waits; what *Plain* says is told in `test_laws`."""

import asyncio
import concurrent.futures
import os
import queue
import random
import socket
import subprocess
import threading
import zlib

import pytest

import ipykill
from ipykill import JobState
from tests.laws.harness import HANG, KILLS, Started, assert_dies, kill, start
from tests.laws.scenarios import assert_no_child_since, children
from tests.waiting import wait_for

# Blocking; all that waits is in test_matrix.py


def test_l14_sleep() -> None:
    """Plain: fails, it does not reach a thread that waits."""
    from time import sleep

    def body(started) -> None:
        started()
        sleep(1000)

    kill(body, blocked=True)


@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_l15_a_lock_that_is_then_not_taken(make) -> None:
    """Plain: fails, it does not reach a thread that waits."""
    lock = make()
    with lock:

        def body(started) -> None:
            started()
            lock.acquire()

        kill(body, blocked=True)
    assert lock.acquire(blocking=False)


@pytest.mark.parametrize("make", [queue.Queue, queue.SimpleQueue])
def test_l16_queues(make) -> None:
    """Plain: fails, it does not reach a thread that waits."""
    items = make()

    def body(started) -> None:
        started()
        items.get()

    kill(body, blocked=True)
    items.put(1)
    assert items.get(timeout=HANG) == 1


def test_l17_a_dying_waiter_eats_no_wakeup() -> None:
    """Plain: fails, it does not reach a thread that waits."""
    for _ in range(KILLS):
        items: queue.Queue[int] = queue.Queue()
        got = []
        started = Started()

        def bystander(items=items, got=got) -> None:
            got.append(items.get(timeout=HANG))

        def body(started, items=items) -> None:
            started()
            items.get()

        job = ipykill.submit(body, started)
        started.wait()
        other = threading.Thread(target=bystander)
        other.start()
        wait_for(lambda items=items: len(items.not_empty._waiters) == 2, "both to wait", HANG)
        job.kill()
        items.put(1)
        assert job.kill(HANG)
        # The job was chosen and took the item, or the bystander has it.
        if job.wait(HANG) and job.state is JobState.DONE:
            items.put(2)
        other.join(HANG)
        assert got


def test_l18_event_condition_join_and_future() -> None:
    """Plain: fails, it does not reach a thread that waits."""
    event, condition = threading.Event(), threading.Condition()
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    other = threading.Thread(target=event.wait, daemon=True)
    other.start()

    def on_condition() -> None:
        with condition:
            condition.wait()

    for wait in (event.wait, on_condition, other.join, future.result):

        def body(started, wait=wait) -> None:
            started()
            wait()

        kill(body, blocked=True)
    assert other.is_alive()
    assert not condition._waiters
    event.set()
    other.join(HANG)


def test_l19_a_socket() -> None:
    """Plain: fails, it does not reach a thread that waits."""
    left, right = socket.socketpair()
    with left, right:

        def body(started) -> None:
            started()
            left.recv(1)

        kill(body, blocked=True)
        right.send(b"x")
        assert left.recv(1) == b"x"


def test_l20_a_subprocess_is_ended_too() -> None:
    """Plain: fails, it does not reach a thread that waits."""

    def run(started) -> None:
        started()
        subprocess.run(["sleep", "1000"])

    def wait(started) -> None:
        process = subprocess.Popen(["sleep", "1000"])
        started()
        process.wait()

    def communicate(started) -> None:
        process = subprocess.Popen(["sleep", "1000"], stdout=subprocess.PIPE)
        started()
        process.communicate(timeout=1000)

    def leave(started) -> None:
        with subprocess.Popen(["sleep", "1000"]):
            started()

    for body in (run, wait, communicate, leave):
        before = children()
        kill(body, blocked=True)
        assert_no_child_since(before)


def test_l20_a_process_of_others_is_left_alone() -> None:
    """Plain: holds, for it ends no process at all."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:

        def body(started) -> None:
            started()
            process.wait()

        kill(body, blocked=True) if os.environ.get("IPYKILL_KILL") != "plain" else None
        assert process.poll() is None


def test_l21_asyncio_tasks_are_cancelled_and_clean_up() -> None:
    """Plain: fails, it does not reach a thread that waits."""
    ended = []

    async def task() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            ended.append(1)

    async def main(started) -> None:
        tasks = [asyncio.ensure_future(task()) for _ in range(3)]
        await asyncio.sleep(0)
        started()
        await asyncio.gather(*tasks)

    kill(lambda started: asyncio.run(main(started)), blocked=True)
    assert ended == [1, 1, 1]


def test_l22_a_c_call_that_nothing_breaks_is_not_called_dead() -> None:
    """Plain: holds, the thread lives."""
    data = random.Random(0).randbytes(30_000_000)
    over = []

    def body(started) -> None:
        started()
        zlib.compress(data, 9)
        over.append(1)
        while True:
            pass

    job = start(body)
    wait_for(lambda: job.cpu_time > 0.01, "the C call", HANG)
    dead = job.kill()
    if not over:
        assert not dead
        assert job.state is JobState.KILLING
    assert_dies(job)
