"""Threads that cannot start, or are starting, are forgotten or waited for."""

import threading

import pytest

from ipykill.core import adoption
from tests.core.families import Fixture
from tests.racing import ended, frequent_switches
from tests.waiting import HANG_GUARD

# Threads that cannot start


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_a_child_that_cannot_start_is_forgotten_and_can_start_later(monkeypatch, error):
    seen = []

    def no_thread_left(thread):
        raise error

    def body():
        child = threading.Thread(target=seen.append, args=("child ran",))
        really = adoption._thread_start
        monkeypatch.setattr(adoption, "_thread_start", no_thread_left)
        with pytest.raises(type(error)):
            child.start()
        monkeypatch.setattr(adoption, "_thread_start", really)
        assert fixture.family.threads() == [fixture.first]
        child.start()
        child.join()

    fixture = Fixture(body)
    assert fixture.run() == [None]
    assert seen == ["child ran"]


def test_a_child_that_starts_although_a_tool_fails_stays_a_member(monkeypatch):
    go = threading.Event()

    def and_fail(thread):
        really(thread)
        raise ValueError("of a tool")

    def body():
        child = threading.Thread(target=go.wait, args=(HANG_GUARD,))
        monkeypatch.setattr(adoption, "_thread_start", and_fail)
        with pytest.raises(ValueError, match="of a tool"):
            child.start()
        assert fixture.family.threads() == [fixture.first, child]
        go.set()

    adoption.install()
    really = adoption._thread_start
    fixture = Fixture(body)
    assert fixture.run() == [None]


def test_a_foreign_thread_that_the_job_starts_again_does_not_become_a_member():
    go = threading.Event()
    foreign = threading.Thread(target=go.wait, args=(HANG_GUARD,))
    foreign.start()

    def body():
        with pytest.raises(RuntimeError, match="once"):
            foreign.start()
        assert fixture.family.threads() == [fixture.first]

    fixture = Fixture(body)
    assert fixture.run() == [None]
    go.set()
    assert ended(foreign)


def test_a_first_thread_that_cannot_start_leaves_an_empty_family(monkeypatch):
    def no_thread_left(thread):
        raise RuntimeError("can't start new thread")

    adoption.install()
    monkeypatch.setattr(adoption, "_thread_start", no_thread_left)
    fixture = Fixture(lambda: None)
    with pytest.raises(RuntimeError):
        fixture.family.start()
    assert fixture.family.threads() == []
    assert fixture.family.join()


def test_a_thread_is_waited_for_while_it_is_starting(monkeypatch):
    # Thread.ident is set a moment before is_alive() says True. Here that moment lasts.
    starting, go = threading.Event(), threading.Event()

    class Slow(threading.Thread):
        def _set_ident(self):
            super()._set_ident()
            if threading.get_ident() == self.ident:
                starting.set()
                assert go.wait(HANG_GUARD)

    def body():
        threading.Thread(target=Slow(target=lambda: None).start).start()

    fixture = Fixture(body)
    fixture.family.start()
    assert starting.wait(HANG_GUARD)
    assert ended(fixture.first)
    slow = [thread for thread in fixture.family.threads() if isinstance(thread, Slow)]
    assert len(slow) == 1
    assert slow[0].ident is not None
    assert not slow[0].is_alive()
    assert fixture.family.threads() == fixture.family.threads()  # looking changes nothing
    assert slow[0] in fixture.family.threads()
    assert not fixture.family.join(0.001)
    joined = []
    joiner = threading.Thread(target=lambda: joined.append(fixture.family.join(HANG_GUARD)))
    joiner.start()
    go.set()
    assert ended(joiner)
    assert joined == [True]
    assert not slow[0].is_alive()


@pytest.mark.stress
@pytest.mark.slow
@frequent_switches()
def test_threads_that_start_while_others_look_are_never_lost():
    for _ in range(100):
        alive = []

        def grow(depth, alive=alive):
            alive.append(threading.current_thread())
            if depth:
                threading.Thread(target=grow, args=(depth - 1,)).start()

        fixture = Fixture(lambda grow=grow: grow(5))
        watching = threading.Event()

        def watch(fixture=fixture, watching=watching):
            while not watching.is_set():
                fixture.family.threads()

        watchers = [threading.Thread(target=watch) for _ in range(2)]
        for watcher in watchers:
            watcher.start()
        fixture.family.start()
        assert fixture.family.join(HANG_GUARD)
        assert len(alive) == 6
        assert not any(thread.is_alive() for thread in alive)
        watching.set()
        assert ended(*watchers)
