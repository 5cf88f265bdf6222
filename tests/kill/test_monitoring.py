"""The events of sys.monitoring, while the reaper switches them off and a target switches on."""

import itertools
import sys
import threading
from types import SimpleNamespace

import pytest

import ipykill
from ipykill.kill import pursuit
from tests.racing import frequent_switches
from tests.waiting import HANG_GUARD, wait_for

if sys.version_info >= (3, 12):
    from ipykill.kill.monitoring import Monitoring

    INSTRUCTION = sys.monitoring.events.INSTRUCTION

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="there is no sys.monitoring")
ROUNDS = 20_000


def events_of(code):
    """Return the events of a code object for the tool that the next Kill would take."""
    engine = Monitoring()
    assert engine.begin() is engine
    try:
        return sys.monitoring.get_local_events(engine._tool_id, code)
    finally:
        engine.end()


@pytest.fixture(autouse=True)
def no_kill_is_pending():
    """The engine of ipykill itself would give back the same tool id."""
    wait_for(lambda: not pursuit._hunted and pursuit._engine is None, "the end of the last Kill")


@pytest.fixture
def target():
    return SimpleNamespace(libraries=(), survey=True)


def test_a_target_that_arms_itself_when_the_last_kill_is_over_does_nothing(target):
    engine = Monitoring().begin()
    frame = sys._getframe()
    engine.arm_here(target, frame)
    assert sys.monitoring.get_local_events(engine._tool_id, frame.f_code) == INSTRUCTION
    engine.end()
    engine.arm_here(target, frame)
    assert events_of(frame.f_code) == 0


def test_code_that_is_added_while_all_is_switched_off_is_on_or_off_and_noted():
    engine = Monitoring().begin()
    codes = [compile(f"x = {number}", "a", "exec") for number in range(4)]
    over = threading.Event()
    errors = []

    def add():
        try:
            while not over.is_set():
                for code in codes:
                    engine._add(code)
        except BaseException as error:
            errors.append(error)

    adders = [threading.Thread(target=add) for _ in range(2)]
    with frequent_switches():
        for thread in adders:
            thread.start()
        for _ in range(ROUNDS):
            engine.rest()
        # What is said to have events in the present `_Armed` has them.
        for _ in range(ROUNDS // 20):
            engine.rest()
            armed = engine._armed
            on = [code for code in codes if id(code) in armed.on]
            events = {sys.monitoring.get_local_events(engine._tool_id, code) for code in on}
            assert events <= {INSTRUCTION}
        for number in range(ROUNDS // 20):
            engine.end()
            assert engine.begin() is engine, number
        over.set()
        for thread in adders:
            thread.join()
    assert not errors
    # Whoever finds a code object noted as one with events may rely on them,
    on = engine._armed.on
    for code in codes:
        events = sys.monitoring.get_local_events(engine._tool_id, code)
        assert id(code) not in on or events == INSTRUCTION
    # and after the next Kill there are none.
    engine.rest()
    assert [sys.monitoring.get_local_events(engine._tool_id, code) for code in codes] == [0] * 4
    engine.end()


def test_code_that_a_long_cleanup_has_passed_often_is_still_watched(jobs):
    """An event that is switched off is off for all threads, also when this one is dead."""
    began, go, inside = threading.Event(), threading.Event(), threading.Event()

    def spin(times):
        for _ in times:
            pass

    def shielded():
        with ipykill.shield():
            inside.set()
            go.wait()

    def cleans_up():
        try:
            began.set()
            go.wait()
        finally:
            for _ in range(300):
                spin(range(10))

    pending = jobs.submit(shielded)  # while its Kill is pending, the events stay on
    assert inside.wait(HANG_GUARD)
    pending.kill()
    first = jobs.submit(cleans_up)
    assert began.wait(HANG_GUARD)
    assert first.kill(HANG_GUARD)
    second = jobs.submit(spin, itertools.repeat(None))
    wait_for(lambda: second.cpu_time, "it to run")
    assert second.kill(HANG_GUARD)
    go.set()
    assert pending.wait(HANG_GUARD)
