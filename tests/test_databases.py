"""A Kill cancels a query on the server, the transaction rolls back, the connection serves on."""

import threading

import pytest

import ipykill
from ipykill import JobState
from ipykill.kill import interrupters
from tests import postgres
from tests.waiting import HANG_GUARD, wait_for

pytestmark = pytest.mark.slow

SLEEPING = (
    "select count(*) from pg_stat_activity where state = 'active' and query like '%sleep(1000)'"
)


@pytest.fixture(scope="module")
def server():
    if postgres.programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres.serving() as where:
        yield where


def sleeping(connection):
    """How many queries are at work on the server, but for the one that asks."""
    cursor = connection.cursor()
    cursor.execute(SLEEPING)
    found = cursor.fetchone()[0]
    connection.rollback()
    return found


def submit(work):
    began = threading.Event()
    job = ipykill.submit(work, began)
    assert began.wait(HANG_GUARD)
    return job


def test_c_code_that_looks_for_signals_only_when_none_comes(server, monkeypatch):
    """As psycopg's does, in whatever library: here nothing else is known about it."""
    psycopg = pytest.importorskip("psycopg")
    monkeypatch.setattr(interrupters, "_known", {})
    with psycopg.connect(server) as connection, psycopg.connect(server) as other:

        def work(began):
            began.set()
            connection.execute("select pg_sleep(1000)")

        job = submit(work)
        wait_for(lambda: sleeping(other) == 1, "the query")
        assert job.kill(HANG_GUARD)
        assert sleeping(other) == 0


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_query(server, driver):
    module = pytest.importorskip(driver)
    connection, other = module.connect(server), module.connect(server)
    connection.cursor().execute("create temporary table kept (it int)")
    connection.commit()

    def work(began):
        cursor = connection.cursor()
        cursor.execute("insert into kept values (1)")
        began.set()
        cursor.execute("select pg_sleep(1000)")

    job = submit(work)
    # Before the server works at it, it has nothing to cancel, after a Ctrl-C either.
    wait_for(lambda: sleeping(other) == 1, "the query")
    assert job.kill(HANG_GUARD)
    assert job.wait(HANG_GUARD)
    assert job.state is JobState.KILLED
    wait_for(lambda: sleeping(other) == 0, "the end of the query")
    connection.rollback()
    cursor = connection.cursor()
    cursor.execute("select count(*) from kept")
    assert cursor.fetchone() == (0,)
    connection.close()
    other.close()


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_query_of_a_cleanup_is_left_alone(server, driver):
    module = pytest.importorskip(driver)
    connection, other, saved = module.connect(server), module.connect(server), []

    def work(began):
        cursor = connection.cursor()
        try:
            began.set()
            cursor.execute("select pg_sleep(1000)")
        finally:
            connection.rollback()
            cursor.execute("select pg_sleep(0.5), 42")
            saved.append(cursor.fetchone()[1])

    job = submit(work)
    wait_for(lambda: sleeping(other) == 1, "the query")
    assert job.kill(HANG_GUARD)
    assert saved == [42]
    connection.close()
    other.close()


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_sqlalchemy_gets_the_connection_back(server, driver):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    module = pytest.importorskip(driver)
    other = module.connect(server)
    engine = sqlalchemy.create_engine(
        f"postgresql+{driver}://",
        creator=lambda: module.connect(server),
        pool_size=1,
        max_overflow=0,
    )
    with engine.begin() as connection:
        connection.exec_driver_sql("drop table if exists kept")
        connection.exec_driver_sql("create table kept (it int)")

    def work(began):
        with engine.begin() as connection:
            connection.exec_driver_sql("insert into kept values (1)")
            began.set()
            connection.exec_driver_sql("select pg_sleep(1000)")

    for _ in range(3):
        job = submit(work)
        wait_for(lambda: sleeping(other) == 1, "the query")
        assert job.kill(HANG_GUARD)
        assert job.wait(HANG_GUARD)
        assert job.state is JobState.KILLED
        assert engine.pool.checkedout() == 0
        with engine.begin() as connection:  # the pool has but one
            assert connection.exec_driver_sql("select count(*) from kept").scalar() == 0
    engine.dispose()
    other.close()
