"""`every`: beats on time, those that are missed left out, and a Stop heard between two."""

import itertools
import threading

import pytest

from ipykill.core import current
from ipykill.core.current import every
from ipykill.core.info import JobState
from ipykill.core.manager import JobManager
from tests.waiting import HANG_GUARD, wait_for


class Clock:
    """A clock that a sleep moves."""

    now = 100.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(current, "time", clock)
    return clock


def test_beats_are_on_time_however_long_the_body_takes(clock):
    seen = []
    for beat in itertools.islice(every(10), 4):
        seen.append((beat, clock.now))
        clock.now += 7
    assert seen == [(0, 100), (1, 110), (2, 120), (3, 130)]


def test_a_beat_that_comes_while_the_body_works_is_left_out(clock):
    beats = every(10)
    assert next(beats) == 0
    clock.now += 25
    assert (next(beats), clock.now) == (3, 130)
    assert (next(beats), clock.now) == (4, 140)


def test_a_sleep_that_ends_a_little_early_gives_no_beat_twice(clock, monkeypatch):
    monkeypatch.setattr(clock, "sleep", lambda seconds: Clock.sleep(clock, seconds * 0.999))
    assert list(itertools.islice(every(10), 5)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_it_needs_a_time(seconds):
    with pytest.raises(ValueError, match="above 0"):
        every(seconds)


def test_a_stop_ends_it_at_once():
    began = threading.Event()

    def work():
        for _ in every(1000):
            began.set()

    job = JobManager().submit(work)
    assert began.wait(HANG_GUARD)
    wait_for(lambda: job._stop._waiters, "the sleeper")
    assert job.stop(HANG_GUARD)
    assert job.state is JobState.STOPPED
