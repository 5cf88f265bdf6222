import threading
import time
import weakref

import pytest

from ipykill.core import agent as agent_module
from ipykill.core.agent import Agent
from tests.waiting import HANG_GUARD, wait_for


def test_calls_are_made_in_order_on_one_thread():
    agent, seen, over = Agent("test"), [], threading.Event()
    for n in range(5):
        agent.call(lambda n=n: seen.append((n, threading.current_thread())))
    agent.call(over.set)
    assert over.wait(HANG_GUARD)
    assert [n for n, _ in seen] == [0, 1, 2, 3, 4]
    assert {(thread.name, thread.daemon) for _, thread in seen} == {("ipykill-test", True)}


def test_later_calls_wait_for_their_time_and_keep_no_other_waiting():
    agent, seen, over = Agent("test"), [], threading.Event()
    now = time.monotonic()
    agent.call(lambda: seen.append("late") or over.set(), now + 0.1)
    agent.call(lambda: seen.append("sooner"), now + 0.05)
    agent.call(lambda: seen.append("now"))
    agent.call(lambda: seen.append("never"), float("inf"))
    agent.call(lambda: seen.append("hardly ever"), now + 1e300)
    assert over.wait(HANG_GUARD)
    assert time.monotonic() >= now + 0.1
    assert seen == ["now", "sooner", "late"]
    again = threading.Event()
    agent.call(again.set, time.monotonic() + 0.01)
    assert again.wait(HANG_GUARD)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_call_that_fails_is_logged_and_stops_no_other(caplog, error):
    def fail():
        raise error("of a call")

    agent, over = Agent("test"), threading.Event()
    agent.call(fail)
    agent.call(over.set)
    assert over.wait(HANG_GUARD)
    assert "of a call" in caplog.text


def test_when_no_thread_is_left_the_calls_wait_for_one(monkeypatch, caplog):
    class NoThreadLeft:
        def __init__(self, target, name):
            pass

        def start(self):
            raise RuntimeError("can't start new thread")

    agent, seen, over = Agent("test"), [], threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(agent_module, "ServiceThread", NoThreadLeft)
        agent.call(lambda: seen.append(1))
    assert "can't start new thread" in caplog.text
    agent.call(over.set)
    assert over.wait(HANG_GUARD)
    assert seen == [1]


def test_an_idle_agent_holds_on_to_nothing():
    class Call:
        def __call__(self):
            pass

    agent, over = Agent("test"), threading.Event()
    call = Call()
    ref = weakref.ref(call)
    agent.call(over.set)
    agent.call(call)
    del call
    assert over.wait(HANG_GUARD)
    wait_for(lambda: ref() is None, "the end of the call")
