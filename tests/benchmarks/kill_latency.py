"""How long a Kill takes, and what a job costs before it.

``python -m tests.benchmarks.kill_latency`` prints, for several things that a job may do and
beside 0, 1 and 4 busy Python threads, the time from ``kill()`` to the exception in the job
(*landed*) and to ``kill()`` saying that the job is dead (*dead*), in milliseconds; beside it
the plain recipe (``PyThreadState_SetAsyncExc``, joined for 0.1 s, again) on a plain thread.
"""

import argparse
import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

import ipykill
from ipykill.threads import async_raise

_left, _right = socket.socketpair()
_held = threading.Lock()
_held.acquire()


def loop() -> None:
    while True:
        pass


BODIES: dict[str, Callable[[], object]] = {
    "loop": loop,
    "sleep": lambda: time.sleep(1000),
    "lock": _held.acquire,
    "socket": lambda: _left.recv(1),
}
WAITS = ("sleep", "lock", "socket")
GIVE_UP = 1.0  # seconds that the plain recipe gets


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep `count` threads busy."""
    over: list[int] = []

    def spin() -> None:
        while not over:
            pass

    threads = [threading.Thread(target=spin) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.append(1)
        for thread in threads:
            thread.join()


def _observed(
    body: Callable[[], object],
) -> tuple[Callable[[], None], threading.Lock, list[float]]:
    landed: list[float] = []
    started = threading.Lock()
    started.acquire()

    def observed() -> None:
        try:
            started.release()
            body()
        except BaseException:
            landed.append(time.perf_counter())
            raise

    return observed, started, landed


def ours(body: Callable[[], object]) -> tuple[float, float]:
    """Kill one job; return the seconds until it landed and until it was dead."""
    observed, started, landed = _observed(body)
    job = ipykill.submit(observed)
    started.acquire()
    time.sleep(0.005)
    asked = time.perf_counter()
    job.kill(None)
    dead = time.perf_counter()
    ipykill.jobs.clear()
    return landed[0] - asked, dead - asked


def plain(body: Callable[[], object]) -> tuple[float, float] | None:
    """Do the same to a thread with the plain recipe; None if it does not die."""
    observed, started, landed = _observed(body)

    def quiet() -> None:
        with contextlib.suppress(ipykill.JobKilled):
            observed()

    thread = threading.Thread(target=quiet, daemon=True)
    thread.start()
    started.acquire()
    time.sleep(0.005)
    asked = time.perf_counter()
    while thread.is_alive():
        if time.perf_counter() - asked > GIVE_UP:
            return None
        with contextlib.suppress(ValueError):
            async_raise(thread.ident or 0, ipykill.JobKilled)
        thread.join(0.1)
    dead = time.perf_counter()
    return landed[0] - asked, dead - asked


def _percentiles(values: list[float]) -> str:
    values = sorted(values)
    return " ".join(f"{values[int(len(values) * part)] * 1000:7.2f}" for part in (0.5, 0.95, 0.99))


def cpu_ratio(seconds: float = 1.0) -> float:
    """CPU time of a fixed amount of work in a job, over that in a plain thread."""

    def work() -> float:
        start = time.thread_time()
        total = 0
        for i in range(3_000_000):
            total += i % 7
        return time.thread_time() - start

    jobs, threads = [], []
    for _ in range(max(int(seconds * 5), 1)):
        jobs.append(ipykill.submit(work).result())
        found: list[float] = []
        thread = threading.Thread(target=lambda found=found: found.append(work()))
        thread.start()
        thread.join()
        threads.append(found[0])
    return min(jobs) / min(threads)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    options = parser.parse_args()
    print(ipykill.about())
    print(f"{'':8} busy   landed p50 p95 p99 (ms)   dead p50 p95 p99 (ms)     plain: dead")
    for name, body in BODIES.items():
        for count in (0, 1, 4):
            with busy(count):
                times = [ours(body) for _ in range(options.kills)]
                landed, dead = (list(column) for column in zip(*times, strict=True))
                recipe = "never"
                if name not in WAITS:
                    tries = [plain(body) for _ in range(options.kills // 4)]
                    recipe = _percentiles([each[1] for each in tries if each is not None])
            print(f"{name:8} {count}  {_percentiles(landed)}  {_percentiles(dead)}  {recipe}")
    print(f"CPU time of work in a job / in a plain thread: {cpu_ratio():.3f}")


if __name__ == "__main__":
    sys.exit(main())
