"""How fast a Kill ends a job here, in a process, and on Dask; and how fast data gets there.

loky is the one that joblib brings along. It ends all its workers by SIGKILL, and with them the
work of all its users; there is no cleanup that could be waited for.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ipykill
from tests.benchmarks.table import Table


def sleeper(path: str) -> None:
    _end_with_mark(path, lambda: time.sleep(1000))


def loop(path: str) -> None:
    def run() -> None:
        while True:
            pass

    _end_with_mark(path, run)


def swallows(path: str) -> None:
    def run() -> None:
        while True:
            try:
                time.sleep(0.001)
            except BaseException:
                pass

    _end_with_mark(path, run)


def _end_with_mark(path: str, run: Callable[[], None]) -> None:
    Path(path).touch()
    try:
        run()
    finally:
        os.unlink(path)


def in_c(path: str) -> None:
    import hashlib

    _end_with_mark(path, lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1))


def in_regex(path: str) -> None:
    import re

    _end_with_mark(path, lambda: re.match(r"(a*)*b", "a" * 64))


TASKS = {"sleep": sleeper, "pure loop": loop, "swallows everything": swallows}
HARD = {"C without the GIL, never returns": in_c, "C with the GIL, never returns": in_regex}
LIVES = 3.0  # seconds after which it is said to live


def of_job(task: Any, path: str, on: Any) -> float:
    """Seconds from kill() until every thread of the job is dead."""
    job = ipykill.submit(task, path, on=on)
    _wait(lambda: os.path.exists(path))
    start = time.perf_counter()
    assert job.kill(60)
    took = time.perf_counter() - start
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # of what was not killed from within
    return took


def of_task(client: Any, task: Any, path: str) -> float | None:
    """Seconds from cancel() until the task's cleanup is done."""
    future = client.submit(task, path, pure=False)
    _wait(lambda: os.path.exists(path))
    start = time.perf_counter()
    future.cancel()
    if not _wait(lambda: not os.path.exists(path), LIVES):
        return None
    return time.perf_counter() - start


def of_loky(task: Any, path: str) -> float:
    """Seconds until all workers of the executor are dead."""
    from joblib.externals.loky import ProcessPoolExecutor

    executor = ProcessPoolExecutor(2)
    future = executor.submit(task, path)
    _wait(lambda: os.path.exists(path))
    start = time.perf_counter()
    executor.shutdown(wait=True, kill_workers=True)
    took = time.perf_counter() - start
    os.unlink(path)
    del future
    return took


def _wait(fact: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.perf_counter() + seconds
    while not fact():
        if time.perf_counter() > end:
            return False
        time.sleep(0.0005)
    return True


@contextlib.contextmanager
def cluster(*plugins: Any) -> Iterator[Any]:
    import distributed

    options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": None}
    with distributed.LocalCluster(**options) as local, distributed.Client(local) as client:
        for plugin in plugins:
            client.register_plugin(plugin)
        yield client


def reach(number: int) -> Table:
    """Measure how fast a Kill is, by where the code runs."""
    import ipykill.dask

    rows: dict[str, list[str]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        cluster() as client,
        cluster() as without,
        cluster(ipykill.dask.CancelRunning()) as other,
    ):
        count = iter(range(10**9))

        def cell(way: Callable[[Any, str], float | None], task: Any, number: int) -> str:
            times = [way(task, f"{folder}/{next(count)}") for _ in range(number)]
            if None in times:
                return "**no**"
            found = [it * 1000 for it in times if it is not None]
            return f"{statistics.median(found):.1f} / {max(found):.0f}"

        ways = (
            lambda task, path: of_job(task, path, None),
            lambda task, path: of_job(task, path, "process"),
            lambda task, path: of_job(task, path, client),
            lambda task, path: of_task(other, task, path),
        )
        for name, task in TASKS.items():
            # Three tasks that live on find room in its four threads.
            plain = cell(lambda task, path: of_task(without, task, path), task, 1)
            few = max(number // 4, 1)
            rows[name] = [*(cell(it, task, number) for it in ways), plain, cell(of_loky, task, few)]
        for name, task in HARD.items() if number > 5 else ():
            times = [cell(it, task, 1) for it in ways[1:3]]
            rows[name] = ["**no**", *times, "told", "**no**", cell(of_loky, task, 1)]
    return Table(
        "Where the code runs",
        "Milliseconds from the call to the end, cleanup included, median / longest. C code that "
        "never returns is not tried in a thread; a process is ended `process_grace` (3 s) after "
        "the Kill, a worker is restarted by its nanny. loky ends all workers, without cleanup.",
        ["thread", "--on process", "--on client", "CancelRunning", "Dask alone", "loky"],
        rows,
    )


def tasks(rounds: int, number: int) -> Table:
    """Measure what the plugin costs tasks that nobody cancels."""
    import ipykill.dask

    with cluster() as without, cluster(ipykill.dask.CancelRunning()) as other:
        clients = {"Dask alone": without, "with CancelRunning": other}
        times: dict[str, list[float]] = {name: [] for name in clients}
        for turn in range(rounds + 1):
            for name in list(clients)[:: 1 if turn % 2 else -1]:
                times[name].append(_processor_time(clients[name], number) / number * 1000)
        alone, beside = (min(found[1:]) for found in times.values())
    return Table(
        "A task that nobody cancels",
        f"Milliseconds of the workers' processor time for one of {number} tasks: the least of "
        f"{rounds} rounds.",
        ["Dask alone", "with CancelRunning", "difference"],
        {"`abs(n)`": [f"{alone:.3f}", f"{beside:.3f}", f"{beside - alone:.3f}"]},
    )


def _processor_time(client: Any, number: int) -> float:
    """Seconds that all workers compute for some tasks."""
    import distributed

    before = sum(client.run(time.process_time).values())
    futures = client.map(abs, range(number), pure=False)
    distributed.wait(futures)
    return float(sum(client.run(time.process_time).values()) - before)


def transfer(number: int, size: int) -> Table:
    """Measure how long it takes to start, and to take `size` bytes along."""
    import numpy

    array = numpy.ones(size // 8)
    rows = {}

    def of_process(thing: Any) -> object:
        return ipykill.submit(len, thing, on="process").result()

    with cluster() as client:
        ways: dict[str, Callable[[Any], object]] = {
            "--on process": of_process,
            "--on client": lambda thing: ipykill.submit(len, thing, on=client).result(),
            "Dask alone": lambda thing: client.submit(len, thing, pure=False).result(),
            "loky": _loky_len,
        }
        for name, way in ways.items():
            way(b"")
            starts = [_time(way, b"") for _ in range(number)]
            start = statistics.median(starts)
            way_there = max(_time(way, array) - start, 0)
            rows[name] = [f"{start * 1000:.0f}", f"{way_there:.2f}"]
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown()
    rows["a copy in memory"] = ["", f"{_time(lambda it: it.copy(), array):.2f}"]
    return Table(
        "The way there",
        f"From the call to the result of `len`: milliseconds, median of {number}; and the seconds "
        f"that an array of {size / 1e9:.2f} GB takes beyond that.",
        ["ms", "s"],
        rows,
    )


def _loky_len(thing: Any) -> object:
    from joblib.externals.loky import get_reusable_executor

    return get_reusable_executor(2).submit(len, thing).result()


def _time(way: Callable[[Any], object], thing: Any) -> float:
    start = time.perf_counter()
    way(thing)
    return time.perf_counter() - start
