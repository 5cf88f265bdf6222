"""Kill jobs at random moments, many times: ``python -m tests.remote.soak --kills 500``.

In processes of their own, on a cluster, and with `CancelRunning` on one. After it all, workers,
slots, threads, processes and open files are as they were.
"""

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import distributed

import ipykill
import ipykill.dask
from tests.remote import test_client, test_dask
from tests.waiting import wait_for

TASKS = [test_client.sleeper, test_client.busy, test_client.deaf]


def processes(folder: Path, number: int) -> None:
    for index in range(number):
        path = folder / f"p{index}"
        job = ipykill.submit(random.choice(TASKS), str(path), on="process")
        if index % 3 == 1:
            wait_for(lambda path=path: test_client.marks(path), "its begin")
        time.sleep(random.random() * (0.05 if index % 3 == 1 else 0.4))
        assert job.kill(60), job.info()
        assert job.state.value == "killed", job.info()
        marks = test_client.marks(path)
        assert marks[-1:] != ["on"], marks
        assert not ipykill.jobs.running()


def cancels(client: Any, folder: Path, number: int) -> None:
    for index in range(number):
        path = folder / f"c{index}"
        others = client.map(test_client.increment, range(5), pure=False)
        future = client.submit(random.choice(TASKS), str(path), pure=False)
        if index % 3 == 1:
            wait_for(lambda path=path: test_client.marks(path), "its begin")
        time.sleep(random.random() * 0.03)
        future.cancel()
        wait_for(lambda path=path: test_client.marks(path) != ["on"], "its cleanup")
        assert client.gather(others) == list(range(1, 6))
    wait_for(lambda: test_dask.idle(client), "the slots")  # one may have begun after the look
    # Some may have been killed before their first statement, or in the middle of it.
    ended = {tuple(test_client.marks(path)) for path in folder.glob("c*")}
    assert not any(it[-1:] == ("on",) for it in ended), ended


def health() -> tuple[int, int]:
    ipykill.jobs.clear()
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


def round_of(name: str, run: Callable[[], None], number: int) -> None:
    before, start = health(), time.monotonic()
    run()
    wait_for(lambda: all(a <= b + 3 for a, b in zip(health(), before, strict=True)), "health")
    took = time.monotonic() - start
    # The tests of jobs have put something else in the place of `sys.stdout`.
    print(f"{name}: {number} kills in {took:.0f} s, 0 bad", file=sys.__stdout__, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="*", choices=["process", "client", "cancel", []])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    parts = options.part or ["process", "client", "cancel"]
    random.seed(options.seed)
    number = options.kills
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "process" in parts:
            processes(folder, 3)  # the threads that there are from now on
            (folder / "x").mkdir()
            round_of("process", lambda: processes(folder / "x", number), number)
        if {"client", "cancel"} & {*parts}:
            settings = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": None}
            with distributed.LocalCluster(**settings) as it, distributed.Client(it) as client:
                workers = client.run(os.getpid)
                if "client" in parts:
                    test_client.kill_at_random(client, folder, 3)
                    (folder / "y").mkdir()
                    kills = test_client.kill_at_random
                    round_of("client", lambda: kills(client, folder / "y", number), number)
                if "cancel" in parts:
                    client.register_plugin(ipykill.dask.CancelRunning())
                    round_of("cancel", lambda: cancels(client, folder, number), number)
                wait_for(lambda: test_client.idle(client), "the slots")
                assert client.run(os.getpid) == workers


if __name__ == "__main__":
    try:
        main()
    finally:
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
