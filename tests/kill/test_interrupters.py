"""Long calls of databases end with a Kill, and the connection can be used at once."""

import threading
from types import SimpleNamespace

import pytest

import ipykill
from ipykill.kill import interrupters
from tests.waiting import HANG_GUARD

LONG = "select count(*) from range(100000000) a, range(100000) b where (a.range * b.range) % 7 = 3"


def test_a_class_is_known_by_its_name_and_so_are_those_that_derive_from_it():
    class Base:
        pass

    class Derived(Base):
        pass

    asked = []
    interrupters.register(f"{__name__}.{Base.__qualname__}", asked.append)
    thing = Derived()
    assert interrupters.interrupt(thing)
    assert asked == [thing]
    assert not interrupters.interrupt(object())


def test_one_that_fails_is_logged(caplog):
    class Broken:
        pass

    interrupters.register(f"{__name__}.{Broken.__qualname__}", lambda thing: 1 / 0)
    assert interrupters.interrupt(Broken())
    assert "could not be interrupted" in caplog.text


@pytest.mark.parametrize("kept", ["by a name", "by an object of an object", "in a dictionary"])
def test_a_query_of_duckdb(kept):
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    app = SimpleNamespace(database=SimpleNamespace(connection=connection), all={"a": connection})
    began = threading.Event()

    def work():
        began.set()
        if kept == "by a name":
            connection.execute(LONG).fetchall()
        elif kept == "in a dictionary":
            app.all["a"].execute(LONG).fetchall()
        else:
            app.database.connection.execute(LONG).fetchall()

    job = ipykill.submit(work)
    assert began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert job.state is ipykill.JobState.KILLED
    assert connection.execute("select 42").fetchall() == [(42,)]
