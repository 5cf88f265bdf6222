"""What the jobs of these tests do: they wait, spin, poll or fail."""

import itertools
import threading

from ipykill.core.current import checkpoint
from ipykill.core.info import JobState
from tests.waiting import HANG_GUARD

S = JobState


class Gate:
    """A place in a job's code: the job says that it is there, and waits for leave."""

    def __init__(self):
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self):
        self.reached.set()
        assert self.opened.wait(HANG_GUARD)

    def wait(self):
        assert self.reached.wait(HANG_GUARD)

    def open(self):
        self.opened.set()


def spin(spinning=None):
    if spinning is not None:
        spinning.set()
    for _ in itertools.count():
        pass


def poll(polling=None):
    while True:
        checkpoint()
        if polling is not None:
            polling.set()


def spinning(jobs, **options):
    """A running job that only a Kill ends."""
    event = threading.Event()
    job = jobs.submit(spin, event, **options)
    assert event.wait(HANG_GUARD)
    return job


def polling(jobs, **options):
    """A running job that a Stop ends."""
    event = threading.Event()
    job = jobs.submit(poll, event, **options)
    assert event.wait(HANG_GUARD)
    return job


def fail(error):
    raise error


def pending(jobs):
    gate = Gate()
    first = jobs.submit(gate)
    gate.wait()
    return jobs.launch(lambda: 42, name="second", after=[first]), gate


def over(jobs, name, source=""):
    job = jobs.launch(int, name=name, source=source)
    assert job.wait(HANG_GUARD)
    return job
