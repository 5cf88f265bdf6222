"""Cleanup that takes long goes on as if nobody had killed it, and other edges of cleanup."""

import queue
import threading
import time

import pytest

import ipykill
from tests.laws.harness import PLAIN, in_python, kill
from tests.waiting import HANG_GUARD

pytestmark = pytest.mark.skipif(PLAIN, reason="the recipe breaks cleanup")


def count(turns):
    number = 0
    for it in range(turns):
        number += it
    return number


def seconds_of(fn, *args):
    begin = time.thread_time()
    fn(*args)
    return time.thread_time() - begin


@pytest.mark.parametrize("inline", [True, False])
def test_it_takes_no_longer(inline):
    turns, took = 300_000, []

    def work(started):
        count(turns)
        usual = seconds_of(count, turns)
        try:
            started()
            while True:
                count(10)
        finally:
            begin = time.thread_time()
            if inline:
                number = 0
                for it in range(turns):
                    number += it
            else:
                count(turns)
            took.append((time.thread_time() - begin) / usual)

    kill(work)
    assert took[0] < 20  # it was 150 and more


def test_who_computes_in_its_cleanup_is_waited_for():
    asked, answers = queue.Queue(), queue.Queue()
    got = []

    def answer():
        answers.put(f"of {asked.get()}")

    def work(started):
        turns = int(100_000 * 1.5 / seconds_of(count, 100_000))
        threading.Thread(target=answer, daemon=True).start()
        try:
            started()
            while True:
                time.sleep(0.01)
        finally:
            number = 0
            for it in range(turns):  # for longer than a leader is waited for that stands still
                number += it
            asked.put("cleanup")
            got.append(answers.get())

    kill(work)
    assert got == ["of cleanup"]


def test_one_shield_may_be_entered_again():
    def work(started):
        shield = ipykill.shield()
        with shield, shield:
            pass
        started()
        while True:
            time.sleep(0.01)

    kill(work)


def test_without_ipython_the_claims_are_checked_before_the_first_kill():
    printed = in_python(f"""
import ipykill, threading
from ipykill.kill import claims
job = ipykill.submit(threading.Event().wait)
print(claims.failed.cache_info().currsize)
job.kill({HANG_GUARD})
print(claims.failed.cache_info().currsize)
""")
    assert printed.split() == ["0", "1"]
