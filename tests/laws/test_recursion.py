"""Deep and endless recursion, in which a thread has no frames left to ask itself where it is."""

import sys
import threading
import time

import pytest

from ipykill.kill import margins
from tests.laws.harness import HANG, assert_dies, kill, start
from tests.waiting import wait_for

ROUNDS = 4  # one after another, before the limit is put back


def as_deep_as_it_goes(started) -> None:
    """Loop where no call but the one of a C function is possible."""
    try:
        as_deep_as_it_goes(started)
    except RecursionError:
        pass
    try:
        started()
    except RecursionError:
        return
    while True:
        pass


def endless(started) -> None:
    def fall() -> None:
        fall()

    started()
    while True:
        try:
            fall()
        except RecursionError:
            pass


def endless_in_c(started) -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    started()
    while True:
        try:
            repr(nested)
        except RecursionError:
            pass


def endless_lookup(started) -> None:
    class Never:
        def __getattr__(self, name: str) -> object:
            return getattr(self, name + "x")

    started()
    while True:
        try:
            Never().it
        except RecursionError:
            pass


def by_generators(started) -> None:
    def nested():
        yield from nested()

    started()
    while True:
        try:
            list(nested())
        except RecursionError:
            pass


def deep_asleep(started) -> None:
    def sink(depth: int) -> None:
        if depth:
            sink(depth - 1)
        else:
            started()
            time.sleep(1000)

    sink(800)


def many_at_once(started) -> None:
    for _ in range(3):
        threading.Thread(target=endless, args=(lambda: None,)).start()
    endless(started)


SHAPES = [
    *(as_deep_as_it_goes, endless, endless_in_c, endless_lookup, by_generators, deep_asleep),
    many_at_once,
]


@pytest.fixture
def usual_limit():
    usual = sys.getrecursionlimit()
    yield usual
    wait_for(lambda: sys.getrecursionlimit() == usual, "the limit to be put back")


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_it_dies_also_where_the_last_kill_made_room(shape, usual_limit) -> None:
    for _ in range(ROUNDS):
        kill(shape)


def test_there_is_room_for_a_thread_that_is_deeper_than_the_limit(usual_limit) -> None:
    margins.make_room()
    job = start(as_deep_as_it_goes)
    margins.take_room_back()
    assert_dies(job)


def test_each_level_cleans_up(usual_limit) -> None:
    levels = [0]

    def fall() -> None:
        levels[0] += 1
        try:
            fall()
        finally:
            levels[0] -= 1

    def body(started) -> None:
        started()
        while True:
            try:
                fall()
            except RecursionError:
                pass

    for _ in range(ROUNDS):
        kill(body)
        assert levels == [0]


def test_a_limit_that_somebody_sets_meanwhile_stays(usual_limit) -> None:
    try:
        margins.make_room()
        sys.setrecursionlimit(usual_limit + 1000)
        margins.make_room()
        assert sys.getrecursionlimit() > usual_limit + 1000
        margins.take_room_back()
        assert sys.getrecursionlimit() == usual_limit + 1000
        kill(endless)
        wait_for(lambda: sys.getrecursionlimit() == usual_limit + 1000, "the limit", HANG)
    finally:
        sys.setrecursionlimit(usual_limit)
