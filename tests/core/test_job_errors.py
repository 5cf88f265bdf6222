"""Errors of all kinds end a job, and none hides a Kill or keeps the job from ending."""

import sys
import threading

import pytest

import ipykill
from ipykill.core import adoption
from ipykill.core.current import current_job
from ipykill.core.failure import comes_from
from ipykill.exceptions import JobKilled, JobStopped
from ipykill.kill import shield
from tests.core.work import Gate, S, fail, spin
from tests.waiting import HANG_GUARD, wait_for

pytestmark = pytest.mark.usefixtures("no_grace")


@pytest.mark.parametrize(
    "cleanup",
    [
        lambda: fail(ValueError("in cleanup")),
        lambda: exec("raise ValueError from KeyError()"),
        lambda: exec("raise ValueError from None"),
    ],
)
def test_an_error_in_cleanup_does_not_hide_a_kill(jobs, cleanup):
    def work():
        try:
            spin(event)
        except JobKilled:
            with shield():
                cleanup()

    event = threading.Event()
    job = jobs.submit(work)
    assert event.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert job.wait(HANG_GUARD)
    assert job.state is S.KILLED


def error_of(source):
    """Return what `source` raises while a Kill is handled."""
    try:
        try:
            raise JobKilled
        except JobKilled as killed:
            exec(source, {"killed": killed})
    except BaseException as error:
        return error


@pytest.mark.parametrize(
    "source",
    [
        "raise",
        "raise ValueError",
        "raise ValueError from None",
        "raise ValueError from KeyError()",
        "raise BaseExceptionGroup('', [ValueError(), killed]) from None",
    ],
)
def test_an_error_thatcomes_from_a_kill_is_recognized(source):
    error = error_of(source)
    assert comes_from(error, JobKilled)
    assert not comes_from(error, JobStopped)
    loop = ValueError()
    loop.__context__ = KeyError()
    loop.__context__.__cause__ = loop
    assert not comes_from(loop, JobKilled)


class BrokenBar:
    closed = False

    def look(self):
        raise ValueError("broken bar")


def test_a_bar_that_breaks_does_not_keep_a_job_from_ending(jobs, caplog):
    job = jobs.submit(lambda: current_job().add_bar(BrokenBar()) or 42)
    assert job.result(HANG_GUARD) == 42
    wait_for(lambda: "broken bar" in caplog.text, "a word about it")


def test_a_kill_in_an_exception_group_is_a_kill(jobs):
    def work():
        try:
            spin(event)
        except JobKilled as error:
            killed = error
        with shield():
            gate()
            raise BaseExceptionGroup("of tasks", [ValueError(), killed]) from None

    event, gate = threading.Event(), Gate()
    job = jobs.submit(work)
    assert event.wait(HANG_GUARD)
    job.kill()
    gate.open()
    assert job.wait(HANG_GUARD)
    assert job.state is S.KILLED


class Uncooperative:
    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def test_the_strangest_errors_end_a_job(jobs):
    job = jobs.submit(sys.exit, Uncooperative())
    assert job.wait(HANG_GUARD)
    assert job.state is S.FAILED
    job = jobs.submit(fail, Unspeakable())
    assert job.wait(HANG_GUARD)
    assert job.state is S.FAILED
    assert job.info().error.startswith("Unspeakable")


def test_an_error_whose_words_end_the_thread_does_not_keep_a_job_from_ending(jobs):
    class Deadly(Exception):
        def __str__(self):
            raise SystemExit

    job = jobs.submit(fail, Deadly())
    assert job.wait(HANG_GUARD)
    assert job.state is S.FAILED
    assert job.info().error.startswith("Deadly")


def test_a_job_ends_even_when_its_end_cannot_be_described(jobs, monkeypatch, caplog):
    def broken(error):
        raise RuntimeError("broken")

    monkeypatch.setattr("ipykill.base.stack.end", broken)
    job = jobs.submit(lambda: 1 / 0)
    assert isinstance(job.exception(HANG_GUARD), ZeroDivisionError)
    assert "could not be described" in caplog.text


def test_a_job_for_which_no_thread_is_left_fails(jobs, monkeypatch):
    def no_thread_left(thread):
        if thread.name.startswith("ipykill-") and thread.name[8:].isdecimal():
            raise RuntimeError("can't start new thread")
        really(thread)

    jobs.submit(int).wait()
    really = adoption._thread_start
    monkeypatch.setattr(adoption, "_thread_start", no_thread_left)
    job = jobs.submit(lambda: 42)
    assert job.wait(HANG_GUARD)
    assert job.state is S.FAILED
    told = "no thread can be started for it: can't start new thread"
    assert job.info().error == f"JobError: {told}"
    assert job.kill(0)
    with pytest.raises(ipykill.JobError, match=told):
        job.result()


def test_a_job_whose_thread_does_not_start_fails_whatever_the_reason(jobs, monkeypatch):
    def patched(thread):
        raise TypeError("a bad patch")

    jobs.submit(int).wait()
    monkeypatch.setattr(threading.Thread, "start", patched)
    job = jobs.submit(lambda: 42)
    assert job.done()
    assert job.info().error == "TypeError: a bad patch"
    assert job.kill(0)
