"""Every place where a job may run."""

import asyncio
import sqlite3
from contextlib import closing

from tests.laws.cases import running


@running
def loop() -> None:
    while True:
        pass


@running
def nested_loops() -> None:
    while True:
        for i in range(100):
            for j in range(100):
                i + j


@running
def comprehension() -> None:
    [x * 2 for x in iter(int, 1)]


@running
def generator_expression() -> None:
    sum(x for x in iter(int, 1))


@running
def recursion() -> None:
    def down(n: int) -> int:
        return down(n - 1) + 1 if n else 0

    while True:
        down(200)


@running
def swallowing() -> None:
    while True:
        try:
            sum(range(10))
        except BaseException:
            pass


@running
def swallowing_bare_and_nested() -> None:
    while True:
        try:
            try:
                try:
                    sum(range(10))
                except:  # noqa: E722
                    pass
            except:  # noqa: E722
                pass
        except:  # noqa: E722
            pass


@running
def library() -> None:
    import statistics

    statistics.mean(float(x) for x in iter(int, 1))


@running
def library_alone() -> None:
    import itertools
    import statistics

    statistics.mean(itertools.count())


@running
def no_source() -> None:
    exec(compile("while True:\n  x = 1", "<no source>", "exec"), {})


@running
def sort_key() -> None:
    while True:
        sorted(range(100), key=lambda x: -x)


@running
def short_c_calls() -> None:
    while True:
        x = sorted(range(10_000))
        y = x[::-1]
        del y


ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select sum(i) from n"


@running
def sqlite_query() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(ENDLESS)


@running
def sqlite_query_of_a_shared_connection() -> None:
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        list(connection.execute(ENDLESS))


class Database:
    def __init__(self) -> None:
        self.cursor = sqlite3.connect(":memory:", check_same_thread=False).cursor()

    def query(self) -> None:
        self.cursor.execute(ENDLESS)


@running
def sqlite_query_of_a_shared_cursor() -> None:
    Database().query()


@running
def asyncio_busy() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    asyncio.run(main())
