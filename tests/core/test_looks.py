"""To look at jobs never fails, and one that cannot be looked at does not hide the others."""

import gc
import threading
import time
import weakref

import pytest

import ipykill
from ipykill.core import render
from ipykill.core.log import JobLog
from ipykill.panel.feed import Feed
from tests.waiting import HANG_GUARD, wait_for


class Loader:
    def get_source(self, name):
        raise RuntimeError("a loader that raises")


class Namespace(dict):
    def get(self, *args):
        raise RuntimeError("a namespace that raises")


class Named(threading.Thread):
    @property
    def name(self):
        raise RuntimeError("a name that raises")

    @name.setter
    def name(self, name):
        pass


def made_up(namespace, filename):
    """A function that waits, of which not even the source can be asked for."""
    source = "def wait():\n    while True: sleep(0.001)"
    namespace.update({"__name__": "made_up", "__loader__": Loader(), "sleep": time.sleep})
    exec(compile(source, "x", "exec"), namespace)
    wait = namespace["wait"]
    wait.__code__ = wait.__code__.replace(co_filename=filename)
    return wait


def plain():
    time.sleep(1000)


def with_a_thread():
    thread = Named(target=time.sleep, args=(1000,))
    thread.start()
    thread.join()


STRANGE = [
    pytest.param(lambda: made_up({}, "made/up.py"), id="loader"),
    pytest.param(lambda: made_up(Namespace(), "made/up.py"), id="namespace"),
    pytest.param(lambda: made_up({}, "nul\0byte.py"), id="file"),
    pytest.param(lambda: with_a_thread, id="thread"),
]


@pytest.mark.parametrize("make", STRANGE)
def test_a_job_that_cannot_be_looked_at_hides_no_other(jobs, make, caplog):
    strange = jobs.submit(make(), name="strange")
    jobs.submit(plain)
    feed = Feed(jobs)
    for _ in range(3):
        wait_for(lambda: "(time.sleep)" in jobs["plain"].info().place, "the other job to wait")
        assert [info.state.value for info in jobs.snapshot()] == ["running", "running"]
        assert "strange" in repr(jobs)
        assert "strange" in jobs._repr_html_()
        assert "plain" in repr(jobs)
        assert render.sentence(strange.info()).startswith("[1] strange: running for")
        repr(strange.where())
        feed.refresh()
        assert feed.states == {1: "running", 2: "running"}
    assert strange.kill(HANG_GUARD)
    assert strange.info().state.value == "killed"
    repr(strange.where())
    feed.refresh()
    assert feed.states[1] == "killed"
    assert len(caplog.records) <= 2, "it is told once, by whoever looks"


def test_a_row_that_cannot_be_made_hides_no_other(jobs, monkeypatch, caplog):
    broken, other = jobs.submit(plain), jobs.submit(plain)
    feed = Feed(jobs)
    monkeypatch.setattr(broken, "info", lambda see=None: 1 / 0)
    for _ in range(3):
        feed.refresh()
    assert feed.states.keys() == {other.id}
    assert caplog.text.count("the row of job 1 cannot be made") == 1
    monkeypatch.undo()
    feed.refresh()
    assert feed.states.keys() == {1, 2}


def test_where_a_job_is_prints_as_a_person_reads(jobs):
    def inner():
        time.sleep(1000)

    def work():
        thread = threading.Thread(target=inner, name="child")
        thread.start()
        thread.join()

    job = jobs.submit(work)
    wait_for(lambda: repr(job.where()).count("time.sleep(1000)") == 1, "the thread")
    wait_for(lambda: "thread.join()" in repr(job.where()), "its parent")
    lines = repr(job.where()).splitlines()
    assert lines[0].startswith("  test_looks.py, line ")
    assert lines[0].endswith(", in work")
    assert lines[1] == "    thread.join()"
    assert "  thread child" in lines
    assert job.where()[1].name == "child", "and it is still a list"
    assert str(job.where()) == repr(job.where())
    job.kill(HANG_GUARD)
    assert repr(job.where()) == "No thread of this job runs."
    assert job.where() == []


def test_where_a_job_is_that_runs_no_python_is_said(jobs):
    job = jobs.submit(time.sleep, 1000)
    wait_for(job.where, "its thread")
    assert repr(job.where()) == "  there is no line of Python to show"


def test_the_hindrance_of_the_own_thread_is_told_too(jobs):
    may_end, inside = threading.Event(), threading.Event()

    def work():
        with ipykill.shield():
            inside.set()
            may_end.wait()

    job = jobs.submit(work)
    assert inside.wait(HANG_GUARD)
    assert "shield" not in repr(job.where()).splitlines()[0]
    job.kill()
    assert repr(job.where()).startswith("  it is in a shield() block (test_looks.py, line ")
    may_end.set()


def test_a_log_shows_its_end():
    log = JobLog()
    assert repr(log) == "Nothing was printed."
    for number in range(50):
        log.write(f"\x1b[31mline {number}\x1b[0m\n")
    lines = repr(log).splitlines()
    assert lines[0] == "(20 earlier lines)"
    assert lines[1:] == [f"line {number}" for number in range(20, 50)]
    assert dir(log) == ["path", "tail"]


def test_tab_offers_what_a_user_needs(jobs):
    job = jobs.submit(int)
    for it in job, jobs, ipykill:
        assert [name for name in dir(it) if not hasattr(it, name)] == []
        assert len(set(dir(it))) == len(dir(it))
    assert {"kill", "result", "where", "name"} <= set(dir(job))
    assert {"kill_all", "submit"} <= set(dir(jobs))
    assert not {"attend", "has_card", "is_told", "thread"} & set(dir(job))
    assert not {"launch", "host"} & set(dir(jobs))
    assert set(dir(ipykill)) == {*ipykill.__all__, "__version__"}


def test_keys_are_names_and_numbers(jobs):
    for name in "train", "test", "train":
        jobs.submit(int, name=name)
    assert jobs._ipython_key_completions_() == ["train", "test", 1, 2, 3]


class Thing:
    pass


def test_a_look_keeps_nothing_of_a_job(jobs):
    """On CPython 3.11 it sees the frames of all threads, its own among them."""
    made = []
    began, go = threading.Event(), threading.Event()

    def work():
        thing = Thing()
        made.append(weakref.ref(thing))
        began.set()
        go.wait()

    job = jobs.submit(work)
    assert began.wait(HANG_GUARD)
    gc.disable()
    try:
        assert job.where()
        assert job.info().place
        go.set()
        assert job.wait(HANG_GUARD)
        job.thread.join(HANG_GUARD)
        assert made[0]() is None
    finally:
        gc.enable()
