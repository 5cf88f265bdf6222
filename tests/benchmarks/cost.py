"""What a job costs: its launch, its speed, and a thousand of them.

Each part runs in a process of its own, with whatever it is compared to, in turns.
"""

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.benchmarks import child, kill_latency
from tests.benchmarks.contenders import CONTENDERS, Ipykill, Recipe
from tests.benchmarks.table import Table

PLAIN = "threading.Thread"


def launch(rounds: int, cache: Path) -> Table:
    _, found = child.run(__name__, ["launch", rounds], cache, 300)
    rows = {}
    for name, columns in found.items():
        ratios = [mine / plain for mine, plain in zip(columns, found[PLAIN], strict=True)]
        pairs = zip(columns, ratios, strict=True)
        rows[name] = [text for value, ratio in pairs for text in (f"{value:.0f}", f"{ratio:.2f}")]
    return Table(
        "Launch",
        "Microseconds from the call until it returns and until the first line runs, for code that "
        "then waits; and until it returns for code that computes at once, beside which the caller "
        f"goes on. Medians of {rounds}, the last of a tenth of that, each beside a plain thread's.",
        ["returns", "ratio", "first line", "ratio", "returns, beside a loop", "ratio"],
        rows,
    )


def _launch(rounds: str) -> None:
    names = {"plain recipe": PLAIN, "ipython-bg": "ipython-bg", "ipykill": "ipykill"}
    contenders = {label: CONTENDERS[name]() for name, label in names.items()}
    times = {label: ([], [], []) for label in contenders}
    for number in range(int(rounds) + 10):
        for label, it in contenders.items():
            back, first = _start(it, 0.0)
            if number < 10:
                continue
            times[label][0].append(back)
            times[label][1].append(first)
            if number % 10 == 0:  # this varies little, and takes long
                times[label][2].append(_start(it, 0.02)[0])
    medians = {name: [statistics.median(it) * 1e6 for it in each] for name, each in times.items()}
    child.say(medians)


def _start(it: Ipykill | Recipe, work: float) -> tuple[float, float]:
    """Return the seconds until the call returned, and until the first line ran.

    The code computes for `work` seconds, and then waits.
    """
    begun = [0.0]
    end = threading.Lock()
    end.acquire()

    def body() -> None:
        begun[0] = time.perf_counter()
        while time.perf_counter() < begun[0] + work:
            pass
        end.acquire()

    start = time.perf_counter()
    it.start(body)
    back = time.perf_counter()
    while not begun[0]:
        time.sleep(0)
    end.release()
    it.thread.join()
    return back - start, begun[0] - start


def speed(seconds: float, cache: Path) -> Table:
    _, ratio = child.run(__name__, ["speed", seconds], cache, 300)
    return Table(
        "Speed of a running job",
        "CPU time of the same work in a job and in a plain thread, the least of several.",
        ["job / thread"],
        {"a loop of 3 million additions": [f"{ratio:.2f}"]},
    )


def _speed(seconds: str) -> None:
    child.say(kill_latency.cpu_ratio(float(seconds)))


def latency(kills: int, contenders: Iterable[str], cache: Path) -> Table:
    columns = {}
    for contender in contenders:
        _, *found = child.run(__name__, ["latency", contender, kills], cache, 900)
        columns[contender] = {f"{name}, {busy} busy threads": dead for name, busy, dead in found}
    labels = next(iter(columns.values()))
    return Table(
        "Kill latency",
        f"Milliseconds until the thread is dead: p50 / p95 / p99 of {kills}; no: it lives after "
        f"{kill_latency.GIVE_UP:g} s.",
        list(columns),
        {label: [_three(column.get(label)) for column in columns.values()] for label in labels},
    )


def _three(values: list[float] | None) -> str:
    if not values:
        return "no"
    values = sorted(values)
    return " / ".join(f"{values[int(len(values) * part)] * 1000:.1f}" for part in (0.5, 0.95, 0.99))


def _latency(contender: str, kills: str) -> None:
    it = CONTENDERS[contender]()
    for name, body in kill_latency.BODIES.items():
        for busy in (0, 1, 4):
            with kill_latency.busy(busy):
                times = [_kill(it, body)]  # most that live are no different the second time
                if times[0] is not None:
                    times = [_kill(it, body) for _ in range(int(kills))]
            child.say([name, busy, None if None in times else times])


def _kill(it: Ipykill | Recipe, body: Callable[[], object]) -> float | None:
    """Return the seconds until it was dead, None if it is not."""
    started = threading.Lock()
    started.acquire()

    def begun() -> None:
        started.release()
        body()

    it.start(begun)
    started.acquire()
    time.sleep(0.005)
    asked = time.perf_counter()
    return time.perf_counter() - asked if it.kill(kill_latency.GIVE_UP) else None


def many(count: int, cache: Path) -> Table:
    _, found = child.run(__name__, ["many", count], cache, 300)
    plain, ours, snapshot, dead = found
    return Table(
        f"{count} jobs that sleep",
        "Milliseconds, and beside the launch of the plain threads; the least of five rounds, of a "
        "round the median of 20 snapshots.",
        ["ms", "ratio"],
        {
            f"launch {count} plain threads": [f"{plain * 1000:.0f}", "1.00"],
            f"launch {count} jobs": [f"{ours * 1000:.0f}", f"{ours / plain:.2f}"],
            "snapshot of all": [f"{snapshot * 1000:.1f}", f"{snapshot / plain:.2f}"],
            "kill_all() until all are dead": [f"{dead * 1000:.0f}", f"{dead / plain:.2f}"],
        },
    )


def _many(text: str) -> None:
    import ipykill

    count = int(text)

    def sleep() -> None:
        time.sleep(1000)

    def threads() -> float:
        end = threading.Event()
        made = []
        start = time.perf_counter()
        for _ in range(count):
            made.append(threading.Thread(target=end.wait, daemon=True))
            made[-1].start()
        took = time.perf_counter() - start
        end.set()
        for thread in made:
            thread.join()
        return took

    def jobs() -> tuple[float, float, float]:
        start = time.perf_counter()
        for _ in range(count):
            ipykill.submit(sleep)
        launched = time.perf_counter() - start
        looks = []
        for _ in range(20):
            start = time.perf_counter()
            ipykill.jobs.snapshot()
            looks.append(time.perf_counter() - start)
        start = time.perf_counter()
        assert ipykill.jobs.kill_all(120), "some do not die"
        dead = time.perf_counter() - start
        ipykill.jobs.wait(ipykill.jobs, 60)
        ipykill.jobs.clear()
        return launched, statistics.median(looks), dead

    plain = [threads() for _ in range(5)]
    ours = [jobs() for _ in range(5)]
    child.say([min(plain), *(min(column) for column in zip(*ours, strict=True))])


_PARTS: dict[str, Callable[..., None]] = {
    "launch": _launch,
    "speed": _speed,
    "latency": _latency,
    "many": _many,
}


def main(part: str, *arguments: str) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        _PARTS[part](*arguments)


if __name__ == "__main__":
    child.serve(main)
