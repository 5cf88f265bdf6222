"""No traceback that a user reads shows frames of ours."""

import asyncio
import io
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

import ipykill
from ipykill import JobError
from ipykill.integrations import progress
from tests.frames import shows_us
from tests.waiting import HANG_GUARD, wait_for


def frames(error):
    """The functions of a traceback, after the test's own."""
    assert not any(shows_us(it.filename) for it in traceback.extract_tb(error.__traceback__))
    return [it.name for it in traceback.extract_tb(error.__traceback__)][1:]


def raised(fn, *args):
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        fn(*args)
    traceback_of_pytest = caught.value.__traceback__
    return caught.value.with_traceback(traceback_of_pytest.tb_next)


def divide():
    return 1 / 0


def test_the_error_of_a_job_begins_where_it_is_asked_for_and_goes_on_in_the_job(jobs):
    def ask():
        return job.result()

    job = jobs.submit(divide)
    for _ in range(2):  # and it does not grow
        assert frames(raised(ask)) == ["divide"]
    assert [it.name for it in traceback.extract_tb(job.exception().__traceback__)] == ["divide"]
    jobs.submit(divide).wait()
    wait_for(lambda: job.exception().__cause__, "another failure")
    assert frames(raised(ask)) == []


def test_who_awaits_sees_the_same(jobs):
    async def ask():
        await jobs.submit(divide)

    error = raised(asyncio.run, ask())
    assert frames(error)[-2:] == ["ask", "divide"]


def test_a_traceback_through_two_jobs_has_the_lines_of_both(jobs):
    def outer():
        return jobs.submit(divide).result()

    def outermost():
        return jobs.submit(outer).result()

    assert frames(raised(outermost)) == ["outer", "divide"]


def test_what_the_api_raises_is_raised_by_who_calls(jobs):
    running = jobs.submit(time.sleep, 1000)
    for call in (
        lambda: jobs["nosuch"],
        lambda: jobs.find("nosuch"),
        lambda: jobs.submit(None),
        lambda: jobs.submit(int, timeout=-1),
        lambda: jobs.clear([running]),
        lambda: running.result(0),
        lambda: running.exception(0),
        lambda: ipykill.sleep(-1),
        lambda: ipykill.every(0),
        lambda: ipykill.track(3),
        lambda: ipykill.track([], total=[]),
        lambda: jobs.detach(),
    ):
        assert frames(raised(call)) == []


def test_an_error_of_a_thread_of_a_job_shows_the_thread_and_the_code(jobs, monkeypatch):
    errors = []
    monkeypatch.setattr(threading, "excepthook", lambda args: errors.append(args.exc_value))

    def work():
        thread = threading.Thread(target=divide)
        thread.start()
        thread.join()

    assert jobs.submit(work).wait(HANG_GUARD)
    assert frames(errors[0]) == ["run", "divide"]


def test_an_error_of_a_pool_of_others_shows_the_pool_and_the_code(jobs):
    with ThreadPoolExecutor() as pool:
        job = jobs.submit(lambda: pool.submit(divide).result())
        error = job.exception(HANG_GUARD)
    assert frames(error)[-2:] == ["run", "divide"]


def test_an_error_behind_what_we_wrap_shows_who_calls_and_who_is_called(jobs):
    def items():
        yield 1
        divide()

    def work():
        for _ in ipykill.track(items()):
            pass

    assert frames(jobs.submit(work).exception(HANG_GUARD)) == ["items", "divide"]
    tqdm = pytest.importorskip("tqdm").tqdm
    progress.install()

    def bar():
        for _ in tqdm(items(), file=io.StringIO()):
            pass

    names = frames(jobs.submit(bar).exception(HANG_GUARD))
    assert names[-2:] == ["items", "divide"]


def test_the_errors_that_an_error_comes_from_are_trimmed_as_well(jobs):
    def fail():
        try:
            divide()
        except ZeroDivisionError as error:
            raise ValueError from error

    async def work():
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(fail))

    job = jobs.submit(work)
    text = "".join(traceback.format_exception(job.exception(HANG_GUARD)))
    assert not shows_us(text)
    assert "in divide" in text


def test_an_error_of_ours_alone_keeps_a_frame(jobs):
    def work():
        jobs.submit(int).wait()
        ipykill.current_job().wait()

    error = jobs.submit(work).exception(HANG_GUARD)
    assert isinstance(error, JobError)
    assert [it.name for it in traceback.extract_tb(error.__traceback__)] == ["work"]


def test_rich_and_pytest_show_the_same(jobs):
    console = pytest.importorskip("rich.console")
    job = jobs.submit(divide)
    out = io.StringIO()
    try:
        job.result()
    except ZeroDivisionError:
        console.Console(file=out, width=200).print_exception()
    assert "divide" in out.getvalue()
    assert not shows_us(out.getvalue())
