"""What a call is about, as far as its code says."""

import sys
import threading
from types import SimpleNamespace

import pytest

from ipykill.kill import wake
from ipykill.kill.mentioned import mentioned
from ipykill.kill.waits import may_be_left
from tests.marks import shows_places
from tests.waiting import HANG_GUARD, wait_for


def test_what_the_compiler_adds_to_a_generator_mentions_nothing():
    thing = object()
    generator = (thing for _ in range(1))  # the line has instructions without a column
    next(generator)
    assert thing in mentioned(generator.gi_frame)


class Thing:
    """What a library's connection is."""

    def __init__(self) -> None:
        self.found: list[object] = []

    def call(self) -> None:
        self.found = mentioned(sys._getframe(1))


class Slotted:
    __slots__ = ("empty", "thing")

    def __init__(self, thing: Thing) -> None:
        self.thing = thing


def by_attributes(given: Thing) -> None:
    app = SimpleNamespace(db=SimpleNamespace(connection=given))
    app.db.connection.call()


def by_key(given: Thing) -> None:
    connections = {"a": given}
    connections["a"].call()


def by_variable(given: Thing) -> None:
    connections, number = [None, given], 1
    connections[number].call()


def by_slot(given: Thing) -> None:
    slotted = Slotted(given)
    slotted.thing.call()


def by_all(given: Thing) -> None:
    app = SimpleNamespace(pools={"a": (Slotted(given),)})
    app.pools["a"][0].thing.call()


@pytest.mark.parametrize("shape", [by_attributes, by_key, by_variable, by_slot, by_all])
def test_a_call_mentions_its_object(shape):
    thing = Thing()
    shape(thing)
    assert any(it is thing for it in thing.found)


class _ExecutorManagerThread(threading.Thread):
    """As `concurrent.futures.process` names it."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: dict[int, object] = {}
        self.pending_work_items = {1: "a call"}


def test_who_manages_processes_may_tell_that_they_are_dead():
    thread, resorts = _ExecutorManagerThread(), {"later": False}
    group = SimpleNamespace(keep_processes=False)
    target = SimpleNamespace(
        thread=thread, resorts=resorts, group=group, service=None, dies_after=None
    )
    assert not may_be_left(sys._getframe(), target)
    resorts["later"] = True  # it does not get that far
    assert may_be_left(sys._getframe(), target)
    resorts["later"] = False
    thread.pending_work_items.clear()
    assert may_be_left(sys._getframe(), target)


@shows_places
def test_one_wake_up_ends_the_wait_for_a_condition(jobs):
    """Threads that fight for a semaphore wait only for moments, each in another call."""
    if not wake.works():
        pytest.skip(wake.why_not())
    event = threading.Event()
    job = jobs.submit(lambda: event.wait())
    wait_for(lambda: "event.wait" in job.info().place, "it to wait")
    (target,) = job._family.targets()
    target.group.kill_requested = True
    wake.wake(target, 5.0)
    assert job.wait(HANG_GUARD)
