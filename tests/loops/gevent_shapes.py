"""What runs on gevent: functions to be killed at any moment, as in `shapes`."""

import time
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
import gevent.lock
import gevent.pool
import gevent.queue

import ipykill
from tests.loops.shapes import CLEANUP, Count


def keep(count: Count, work: Callable[[], object]) -> None:
    """Do `work`, and clean up after it."""
    number = count.number()
    try:
        count.entered.add(number)
        count.began.set()
        work()
    finally:
        for _ in range(3):
            gevent.sleep(CLEANUP)
        count.left.add(number)


def poll():
    while True:
        gevent.sleep(0.001)


def wait_long():
    gevent.sleep(1000)


def compute():
    while True:
        for _ in range(1000):
            pass


def compute_and_yield():
    while True:
        for _ in range(1000):
            pass
        gevent.sleep(0)


SHAPES: dict[str, Callable[[Count], object]] = {}


def shape(fn: Callable[[Count], object]) -> Any:
    SHAPES[fn.__name__] = fn
    return fn


def start(count, *works):
    gevent.joinall([gevent.spawn(keep, count, work) for work in works])


@shape
def polls(count):
    keep(count, poll)


@shape
def waits(count):
    keep(count, wait_long)


@shape
def computes(count):
    keep(count, compute)


@shape
def sleeps_in_c(count):
    keep(count, lambda: time.sleep(1000))


@shape
def greenlets(count):
    start(count, *(poll, wait_long, compute_and_yield) * 2)


@shape
def greenlets_one_that_computes(count):
    start(count, poll, wait_long, compute)


@shape
def greenlets_that_sleep_in_turns(count):
    start(count, poll, poll, poll)


@shape
def greenlets_that_nobody_awaits(count):
    for work in (poll, wait_long):
        gevent.spawn(keep, count, work)
    keep(count, poll)


@shape
def pools(count):
    pool = gevent.pool.Pool(2)
    list(pool.imap_unordered(lambda work: keep(count, work), [poll, wait_long, poll]))


@shape
def queues(count):
    queue = gevent.queue.Queue(2)

    def produce():
        while True:
            queue.put(1)

    def consume():
        while True:
            queue.get()
            gevent.sleep(0.0005)

    start(count, produce, consume, consume)


@shape
def locks(count):
    lock, event = gevent.lock.RLock(), gevent.event.Event()

    def work():
        while True:
            with lock:
                gevent.sleep(0.0002)
            event.wait(0.0005)

    try:
        start(count, work, work, work)
    finally:
        number = count.number()
        count.entered.add(number)
        count.left.add(number)


@shape
def cleans_up_with_the_help_of_another_greenlet(count):
    asked = gevent.queue.Queue()

    def serve():
        while True:
            asked.get().set()

    server = gevent.spawn(serve)
    number = count.number()
    try:
        count.entered.add(number)
        keep(count, poll)
    finally:
        answer = gevent.event.Event()
        asked.put(answer)
        answer.wait()
        count.left.add(number)
    del server


@shape
def swallows(count):
    def work():
        for _ in range(3):
            try:
                poll()
            except BaseException:
                pass
        poll()

    gevent.spawn(keep, count, work)
    keep(count, work)


def starts(name: str) -> Callable[[Count], ipykill.Job]:
    """Return how to start a shape."""
    return lambda count: ipykill.submit(SHAPES[name], count)
