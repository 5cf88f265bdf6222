"""Kills each shape at random moments: ``python -m tests.loops.fuzz --seconds 2 [NAME ...]``."""

import argparse
import asyncio
import functools
import importlib
import logging
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import ipykill
from ipykill import JobState
from tests.loops.shapes import NESTED, RUNS, SHAPES, Count

LIMIT = 20.0  # seconds after which a job that does not die has failed


class Figures:
    """What became of the Kills of one shape."""

    def __init__(self) -> None:
        self.kills = self.cleaned = self.torn = self.alive = 0
        self.states: set[str] = set()
        self.times: list[float] = []
        self.said: list[str] = []

    def __str__(self) -> str:
        times = sorted(self.times) or [0.0]
        p50, worst = times[len(times) // 2] * 1000, times[-1] * 1000
        bad = "" if self.fine else f" FAIL torn {self.torn}, alive {self.alive}, {self.states}"
        told = f" said: {self.said[0][-300:]!r}" if self.said else ""
        return (
            f"{self.kills:4} kills, {self.cleaned:5} cleaned; p50 {p50:5.1f} ms, "
            f"worst {worst:6.1f} ms{bad}{told}"
        )

    @property
    def fine(self) -> bool:
        return not self.torn and not self.alive and self.states == {"killed"} and not self.said


class _Said(logging.Handler):
    def __init__(self, figures: Figures) -> None:
        super().__init__()
        self.figures = figures

    def emit(self, record: logging.LogRecord) -> None:
        self.figures.said.append(self.format(record))


def _note_unraisable(figures: Figures, args: Any) -> None:
    # asyncio's server, once closed, is not ready for a transport that is freed.
    if "object is not iterable" not in str(args.exc_value):
        figures.said.append(f"{args.exc_value!r} {args.object!r}")


def kill_once(figures: Figures, start: Callable[[Count], ipykill.Job], rng: random.Random) -> None:
    """Start something, kill it at a random moment, and note what became of it."""
    count = Count()
    job = start(count)
    if rng.random() < 0.9:
        count.began.wait(LIMIT)
    time.sleep(rng.random() ** 2 * 0.02)
    begin = time.perf_counter()
    killers = [threading.Thread(target=job.kill) for _ in range(rng.choice((0, 0, 2)))]
    for killer in killers:
        killer.start()
    dead = job.kill(LIMIT)
    end = time.perf_counter()
    for killer in killers:
        killer.join()
    if not dead:
        figures.alive += 1
        figures.said.append(str([(it.name, it.place, it.hindrance) for it in job.where()]))
        return
    job.wait(LIMIT)
    figures.kills += 1
    figures.torn += count.torn
    figures.cleaned += len(count.left)
    figures.states.add(job.state.value)
    figures.times.append(end - begin)
    if job.state is not JobState.KILLED and len(figures.said) < 3:
        figures.said.append(f"{job.state}: {job.exception()!r}")
    ipykill.jobs.clear()


def starts(name: str, run: str) -> Callable[[Count], ipykill.Job]:
    """Return how to start a shape, `run` in some way, or given to `submit`."""
    fn = (SHAPES | NESTED)[name]
    if run == "submit":
        return lambda count: ipykill.submit(fn, count)
    return lambda count: ipykill.submit(lambda: RUNS[run](fn(count)))


def fuzz(name: str, run: str, seconds: float, rng: random.Random, limit: int = 10**9) -> Figures:
    """Kill a shape again and again."""
    return kill_often(starts(name, run), seconds, rng, limit)


def kill_often(
    start: Callable[[Count], ipykill.Job], seconds: float, rng: random.Random, limit: int = 10**9
) -> Figures:
    """Start something, kill it, again and again."""
    figures = Figures()
    handler = _Said(figures)
    logging.getLogger().addHandler(handler)
    hook = sys.unraisablehook
    sys.unraisablehook = functools.partial(_note_unraisable, figures)
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end and figures.kills < limit and not figures.alive:
            kill_once(figures, start, rng)
    finally:
        sys.unraisablehook = hook
        logging.getLogger().removeHandler(handler)
    return figures


def main() -> None:
    """Print a line for each shape."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--trio", action="store_true", help="the shapes of trio instead")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", nargs="*", default=["submit", *RUNS])
    parser.add_argument("--switch", type=float, default=0.005)
    parser.add_argument("--apply", help="nest_asyncio, or nest_asyncio2")
    arguments = parser.parse_args()
    if arguments.apply:
        importlib.import_module(arguments.apply).apply(asyncio.new_event_loop())
    sys.setswitchinterval(arguments.switch)
    rng = random.Random(arguments.seed)
    total = [0, 0, 0]
    times: list[float] = []
    shapes: Any = SHAPES
    if arguments.trio:
        shapes, arguments.run = importlib.import_module("tests.loops.trio_shapes").STARTS, ["trio"]
    for name in arguments.names or shapes:
        for run in arguments.run:
            start = shapes[name] if arguments.trio else starts(name, run)
            figures = kill_often(start, arguments.seconds, rng)
            version = sys.version.split()[0]
            print(f"{version} {name:40} {run:40} {figures}", flush=True)
            total = [
                total[0] + figures.kills,
                total[1] + figures.cleaned,
                total[2] + figures.torn + figures.alive,
            ]
            times += figures.times
    times.sort()
    print(
        f"{total[0]} kills, {total[1]} cleaned, {total[2]} bad; p50 "
        f"{times[len(times) // 2] * 1000:.1f} ms, worst {times[-1] * 1000:.1f} ms"
    )


if __name__ == "__main__":
    main()
