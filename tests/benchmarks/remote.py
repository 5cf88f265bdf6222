"""How fast a Kill ends a job here, in a process, and on Dask; and how fast data gets there."""

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


TASKS = {"sleep": sleeper, "pure loop": loop, "swallows everything": swallows}


def of_job(task: Any, path: str, on: str | None) -> float:
    """Seconds from kill() until every thread of the job is dead."""
    job = ipykill.submit(task, path, on=on)
    _wait(lambda: os.path.exists(path))
    start = time.perf_counter()
    assert job.kill(60)
    return time.perf_counter() - start


def of_task(client: Any, task: Any, path: str) -> float:
    """Seconds from cancel() until the task's cleanup is done."""
    future = client.submit(task, path, pure=False)
    _wait(lambda: os.path.exists(path))
    start = time.perf_counter()
    future.cancel()
    _wait(lambda: not os.path.exists(path))
    return time.perf_counter() - start


def _wait(fact: Callable[[], bool]) -> None:
    while not fact():
        time.sleep(0.0005)


@contextlib.contextmanager
def cluster() -> Iterator[Any]:
    import distributed

    import ipykill.dask

    options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as local, distributed.Client(local) as client:
        client.register_plugin(ipykill.dask.CancelRunning())
        yield client


def main(number: int = 20) -> None:
    """Print the tables."""
    print("| ms, median / max | thread | process | Dask, CancelRunning |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, cluster() as client:
        for name, task in TASKS.items():
            ways = (
                lambda path, task=task: of_job(task, path, None),
                lambda path, task=task: of_job(task, path, "process"),
                lambda path, task=task: of_task(client, task, path),
            )
            cells = []
            for way in ways:
                times = [way(f"{folder}/{index}") * 1000 for index in range(number)]
                cells.append(f"{statistics.median(times):.1f} / {max(times):.0f}")
            print(f"| {name} | {' | '.join(cells)} |")
    starts = []
    for _ in range(max(number // 4, 1)):
        start = time.perf_counter()
        ipykill.submit(max, 1, 2, on="process").result()
        starts.append(time.perf_counter() - start)
    print(f"\nA process, from submit() to the result: {statistics.median(starts):.2f} s.")
    with contextlib.suppress(ImportError):
        import numpy

        array = numpy.ones(125_000_000 // (20 // min(number, 20)))
        start = time.perf_counter()
        ipykill.submit(len, array, on="process").result()
        took = time.perf_counter() - start - statistics.median(starts)
        print(f"An array of {array.nbytes / 1e9:.2f} GB there, beyond that: {took:.2f} s.")


if __name__ == "__main__":
    main()
