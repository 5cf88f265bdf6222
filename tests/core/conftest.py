"""Managers of jobs, and jobs, that end with their test."""

import pytest

from tests.core.arrays import Arrays
from tests.core.work import Gate


@pytest.fixture
def no_grace(jobs):
    """Who is over its deadline has no time to stop; a module asks for it with `pytestmark`."""
    jobs.grace = 0.0


class Running:
    """Makes jobs that run until the end of the test."""

    def __init__(self, jobs):
        self.jobs = jobs
        self.gates = []

    def __call__(self, name, source=""):
        gate = Gate()
        self.gates.append(gate)
        job = self.jobs.launch(gate, name=name, source=source)
        gate.wait()
        return job


@pytest.fixture
def running(jobs):
    maker = Running(jobs)
    yield maker
    for gate in maker.gates:
        gate.open()


@pytest.fixture
def arrays():
    return Arrays()
