"""Two jobs that compute, side by side: ``python -m tests.benchmarks.parallel``.

Needs nothing but ipykill, so that it runs on a free-threading build as well.
"""

import argparse
import statistics
import sys
import threading
import time

import ipykill
from tests.benchmarks.table import Table


def parallel(steps: int, rounds: int) -> Table:
    found: dict[str, list[float]] = {"jobs of ipykill": [], "threading.Thread": []}
    for _ in range(rounds):
        for name, start in zip(found, (_job, _thread), strict=True):
            alone = _seconds(start, steps, together=False)
            found[name].append(alone / _seconds(start, steps, together=True))
    lock = "with" if getattr(sys, "_is_gil_enabled", lambda: True)() else "without"
    return Table(
        "Two jobs that compute",
        "How many times as fast two loops in Python are side by side as one after the other, on "
        f"CPython {sys.version.split()[0]} {lock} a global interpreter lock; {rounds} rounds.",
        ["median", "worst", "best"],
        {
            name: [f"{value:.2f}" for value in (statistics.median(it), min(it), max(it))]
            for name, it in found.items()
        },
    )


def _compute(steps: int) -> int:
    n = 0
    for i in range(steps):
        n += i & 3
    return n


def _job(steps: int):
    return ipykill.submit(_compute, steps).result


def _thread(steps: int):
    thread = threading.Thread(target=_compute, args=(steps,))
    thread.start()
    return thread.join


def _seconds(start, steps: int, *, together: bool) -> float:
    begin = time.perf_counter()
    if together:
        for wait in [start(steps), start(steps)]:
            wait()
    else:
        for _ in range(2):
            start(steps)()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(parallel(options.steps, options.rounds))


if __name__ == "__main__":
    main()
