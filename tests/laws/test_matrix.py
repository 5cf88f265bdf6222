"""Every place where a job may run or wait, and be killed."""

import functools
import hashlib
import multiprocessing
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

import ipykill
from ipykill.kill import resorts
from ipykill.kill.switches import has_gil
from tests.laws import cases_running, cases_waiting  # noqa: F401  they fill the table
from tests.laws.cases import CASES
from tests.laws.harness import HANG, assert_dies, kill
from tests.laws.scenarios import assert_no_child_since, children
from tests.waiting import wait_for


@pytest.mark.parametrize("name", CASES)
def test_it_dies(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "requests":
        pytest.importorskip("requests")
    if name.startswith("sqlite") and not has_gil():
        pytest.skip("whether the query is one of the cleanup cannot be seen there")
    monkeypatch.setenv("PYTEST_TMP", str(tmp_path))
    fn, blocked = CASES[name]

    @functools.wraps(fn)
    def body(started: Callable[[], None]) -> None:
        started()
        fn()

    before = children()
    kill(body, blocked=blocked)
    if name.startswith("subprocess"):
        assert_no_child_since(before)


@pytest.mark.parametrize("name", ["with_condition", "with_contextmanager", "semaphore"])
def test_it_dies_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although it waits in an ``__enter__``: not only when nothing else has helped."""
    monkeypatch.setattr(resorts, "_LATE", 2 * HANG)

    def body(started: Callable[[], None]) -> None:
        started()
        CASES[name][0]()

    kill(body, blocked=True)


@pytest.mark.slow
def test_a_query_of_others_is_not_interrupted() -> None:
    """Of a connection that the job knows, but that is not what it waits for."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    go, results = threading.Event(), []
    connection.create_function("pause", 0, lambda: go.wait(HANG) and 1)
    other = threading.Thread(
        target=lambda: results.append(connection.execute("select pause()").fetchall()),
        daemon=True,
    )
    other.start()
    data = os.urandom(30_000_000)

    def body() -> None:
        connection.row_factory
        zlib.compress(data, 9)

    job = ipykill.submit(body)
    wait_for(lambda: job.cpu_time > 0.01, "the C call", HANG)
    job.kill()
    wait_for(lambda: job.info().hindrance or job.done(), "the reaper to have tried", HANG)
    go.set()
    other.join(HANG)
    assert results == [[(1,)]]
    assert job.wait(HANG)


@pytest.mark.slow
def test_a_pool_of_processes_that_has_just_started() -> None:
    """Its handler threads live as long as ``Pool.__exit__`` needs them."""
    context = multiprocessing.get_context("fork")

    def work() -> None:
        with context.Pool(2) as pool:
            pool.map(time.sleep, [1000, 1000])

    for _ in range(5):
        before = set(multiprocessing.active_children())
        job = ipykill.submit(work)
        wait_for(lambda: set(multiprocessing.active_children()) - before, "a worker", HANG)  # noqa: B023
        assert_dies(job)
        assert set(multiprocessing.active_children()) <= before


@pytest.mark.slow
def test_a_connection_that_was_closed_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    def body(started) -> None:
        connection = sqlite3.connect(":memory:")
        connection.close()
        started()
        # Half a second in which nothing can be raised, and the call mentions the connection.
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000, None if connection else 1)
        while True:
            pass

    kill(body)
    assert caplog.records == []
