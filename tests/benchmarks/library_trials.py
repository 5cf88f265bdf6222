"""The libraries that `libraries` tries, and how each is used."""

import asyncio
import concurrent.futures
import contextlib
import functools
import http.server
import io
import multiprocessing
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

Trial = tuple[Callable[["Log"], object], Callable[[], object]]
"""The work of a job, and what the foreground does afterwards."""

TRIALS: dict[str, tuple[str, Callable[[str], Trial], str]] = {}
"""By name: the distribution that has to be installed, the trial, and what it does in words."""

ON_POSTGRES = {"psycopg-binary", "psycopg2-binary", "sqlalchemy"}
LONG = "select sum(a.range * b.range) from range(1000000) a, range(1000000) b"
ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select sum(i) from n"


class Log:
    """What the work has entered and left; lists, because threads of the work append to them."""

    def __init__(self) -> None:
        self.entered: list[int] = []
        self.left: list[int] = []

    @contextlib.contextmanager
    def block(self) -> Iterator[None]:
        """Note the block."""
        try:
            self.entered.append(1)
            yield
        finally:
            self.left.append(1)


def trial(library: str, tried: str) -> Callable[[Callable[[str], Trial]], Callable[[str], Trial]]:
    """Put a trial into the table."""

    def put(make: Callable[[str], Trial]) -> Callable[[str], Trial]:
        TRIALS[make.__name__.strip("_")] = library, make, tried
        return make

    return put


def _in_one_block(step: Callable[[], object]) -> Callable[[Log], object]:
    """Return the work that repeats `step` for ever, in one block."""

    def work(log: Log) -> None:
        with log.block():
            while True:
                step()

    return work


def _in_blocks(step: Callable[[], object]) -> Callable[[Log], object]:
    """Return the work that repeats `step` for ever, each time in a block of its own."""

    def work(log: Log) -> None:
        while True:
            with log.block():
                step()

    return work


# Event loops

WAITS = "three tasks, cleanup that waits"


async def _task(log: Log, sleep: Callable[[float], object]) -> None:
    try:
        log.entered.append(1)
        while True:
            await sleep(0.001)
    finally:
        await sleep(0.01)
        log.left.append(1)


async def _tasks(log: Log) -> None:
    await asyncio.gather(*(_task(log, asyncio.sleep) for _ in range(3)))


@trial("CPython", WAITS)
def asyncio_(server: str) -> Trial:
    return lambda log: asyncio.run(_tasks(log)), lambda: asyncio.run(asyncio.sleep(0))


@trial("uvloop", WAITS)
def uvloop_(server: str) -> Trial:
    import uvloop

    return lambda log: uvloop.run(_tasks(log)), lambda: uvloop.run(asyncio.sleep(0))


@trial("trio", "three tasks, cleanup that waits in a shield")
def trio_(server: str) -> Trial:
    import trio

    async def shielded(log: Log) -> None:
        try:
            log.entered.append(1)
            while True:
                await trio.sleep(0.001)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
                log.left.append(1)

    async def main(log: Log) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(shielded, log)

    return lambda log: trio.run(main, log), lambda: trio.run(trio.sleep, 0)


@trial("anyio", "a task group on asyncio, calls in threads, cleanup that waits in a shield")
def anyio_(server: str) -> Trial:
    import anyio

    async def shielded(log: Log) -> None:
        try:
            log.entered.append(1)
            await anyio.sleep(1000)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
                log.left.append(1)

    async def main(log: Log) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(shielded, log)
            while True:
                await anyio.to_thread.run_sync(time.sleep, 0.001)

    return lambda log: anyio.run(main, log), lambda: anyio.run(anyio.sleep, 0)


# Databases


@trial("CPython", "an endless query of a connection of the job")
def sqlite3_(server: str) -> Trial:
    def work(log: Log) -> None:
        with contextlib.closing(sqlite3.connect(":memory:")) as connection, log.block():
            connection.execute(ENDLESS)

    return work, lambda: sqlite3.connect(":memory:").execute("select 1")


@trial("duckdb", "a long query, one connection for all jobs")
def duckdb_(server: str) -> Trial:
    import duckdb

    connection = duckdb.connect()

    def work(log: Log) -> None:
        with log.block():
            connection.execute(LONG).fetchall()

    return work, lambda: connection.execute("select 1").fetchall()


def _driver(module: object, server: str) -> Trial:
    connection = module.connect(server)  # type: ignore[attr-defined]

    def work(log: Log) -> None:
        try:
            with log.block():
                connection.cursor().execute("select pg_sleep(1000)")
        finally:
            connection.rollback()

    return work, lambda: connection.cursor().execute("select 1")


@trial("psycopg-binary", "a query that waits in the server, one connection for all jobs")
def psycopg_(server: str) -> Trial:
    import psycopg

    return _driver(psycopg, server)


@trial("psycopg2-binary", "the same")
def psycopg2_(server: str) -> Trial:
    import psycopg2

    return _driver(psycopg2, server)


@trial("sqlalchemy", "`engine.begin()` on psycopg, a pool of one connection")
def sqlalchemy_(server: str) -> Trial:
    import psycopg
    import sqlalchemy

    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(server),
        pool_size=1,
        max_overflow=0,
        pool_timeout=5,
    )

    def use(text: str) -> None:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(text))

    def work(log: Log) -> None:
        with log.block():
            use("select pg_sleep(1000)")

    return work, lambda: use("select 1")


# Pools, processes, threads


@trial("CPython", "a process pool of the foreground, used by all jobs")
def process_pool(server: str) -> Trial:
    pool = concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))

    return _in_one_block(lambda: list(pool.map(abs, range(20)))), lambda: pool.submit(
        abs, -1
    ).result(30)


@trial("CPython", "`with Pool(2)`, in the middle of a `map`")
def multiprocessing_(server: str) -> Trial:
    context = multiprocessing.get_context("spawn")

    def work(log: Log) -> None:
        with context.Pool(2) as pool, log.block():
            pool.map(time.sleep, [1000, 1000])

    def use() -> None:
        with context.Pool(1) as pool:
            pool.apply(abs, (-1,))

    return work, use


@trial("CPython", "`run` of a program that sleeps; a pipe, read line by line")
def subprocess_(server: str) -> Trial:
    prints = "import time\nwhile True: print('line', flush=True); time.sleep(0.01)"

    def work(log: Log) -> None:
        with (
            log.block(),
            subprocess.Popen([sys.executable, "-c", prints], stdout=subprocess.PIPE) as process,
        ):
            assert process.stdout is not None
            for _ in process.stdout:
                subprocess.run(["sleep", "0.002"], check=True)

    return work, lambda: subprocess.run(["true"], check=True)


@trial("joblib", "`Parallel(2)` on loky, first used in a job")
def joblib_(server: str) -> Trial:
    import joblib

    def run(seconds: float) -> None:
        joblib.Parallel(2)(joblib.delayed(time.sleep)(seconds) for _ in range(4))

    return _in_one_block(lambda: run(0.01)), lambda: run(0)


@trial("scikit-learn", "cross-validation, on two processes")
def scikit_learn(server: str) -> Trial:
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    x, y = load_digits(return_X_y=True)

    def fit(most: int) -> None:
        cross_val_score(LogisticRegression(max_iter=most), x, y, cv=4, n_jobs=2)

    return _in_one_block(lambda: fit(200)), lambda: fit(5)


@trial("fsspec", "its own event loop, first used in a job")
def fsspec_(server: str) -> Trial:
    from fsspec.asyn import get_loop, sync

    return (
        _in_one_block(lambda: sync(get_loop(), asyncio.sleep, 0.01)),
        lambda: sync(get_loop(), asyncio.sleep, 0, timeout=10),
    )


@trial("distributed", "`LocalCluster(processes=False)` in a `with`")
def distributed_(server: str) -> Trial:
    import distributed

    def cluster() -> distributed.LocalCluster:
        return distributed.LocalCluster(
            processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None
        )

    def work(log: Log) -> None:
        with cluster() as it, distributed.Client(it) as client:
            client.submit(abs, -1).result()
            with log.block():
                while True:
                    client.submit(time.sleep, 0.01, pure=False).result()

    def use() -> None:
        with cluster() as it, distributed.Client(it) as client:
            client.submit(abs, -1).result(10)

    return work, use


# Files, the net, numbers, pictures


@trial("CPython", "archives in temporary folders, written again and again")
def zipfile_(server: str) -> Trial:
    def write(folder: str) -> None:
        with zipfile.ZipFile(Path(folder, "a.zip"), "w") as archive:
            for number in range(20):
                archive.writestr(str(number), b"x" * 10_000)

    def work(log: Log) -> None:
        while True:
            with tempfile.TemporaryDirectory() as folder, log.block():
                write(folder)

    def use() -> None:
        with tempfile.TemporaryDirectory() as folder:
            write(folder)

    return work, use


class _Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(1000)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@trial("requests", "one `Session` for all jobs, an answer that does not come")
def requests_(server: str) -> Trial:
    import requests

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Slow)
    web.daemon_threads = True
    threading.Thread(target=web.serve_forever, daemon=True).start()
    session = requests.Session()
    get = functools.partial(session.get, timeout=(5, None))
    address = f"http://127.0.0.1:{web.server_port}"

    def work(log: Log) -> None:
        with log.block():
            get(f"{address}/slow")

    return work, lambda: get(f"{address}/").raise_for_status()


@trial("numpy", "Python functions that it calls, sorting, singular values")
def numpy_(server: str) -> Trial:
    import numpy

    matrix = numpy.random.default_rng(1).random((120, 120))
    plus = numpy.vectorize(lambda number: number + 1)

    def compute() -> None:
        plus(numpy.arange(1000))
        numpy.sort(matrix, axis=None)
        numpy.linalg.svd(matrix)

    return _in_blocks(compute), lambda: numpy.linalg.svd(matrix)


@trial("matplotlib", "a figure, drawn to PNG again and again")
def matplotlib_(server: str) -> Trial:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    def draw() -> None:
        figure, axes = plt.subplots()
        try:
            axes.plot(range(100))
            figure.savefig(io.BytesIO())
        finally:
            plt.close(figure)

    return _in_blocks(draw), draw


@trial("tqdm", "nested bars to a slow file")
def tqdm_(server: str) -> Trial:
    import tqdm

    def bars(number: int) -> None:
        for _ in tqdm.trange(number, file=io.StringIO(), mininterval=0):
            for _ in tqdm.trange(20, file=io.StringIO(), mininterval=0, leave=False):
                pass

    def work(log: Log) -> None:
        with log.block():
            bars(10**9)

    return work, lambda: bars(2)


@trial("rich", "a progress bar and a table, live")
def rich_(server: str) -> Trial:
    import rich.console
    import rich.progress

    def show(number: int) -> None:
        console = rich.console.Console(file=io.StringIO(), force_terminal=True)
        for _ in rich.progress.track(range(number), console=console):
            time.sleep(0.001)

    def work(log: Log) -> None:
        with log.block():
            show(10**9)

    return work, lambda: show(2)
