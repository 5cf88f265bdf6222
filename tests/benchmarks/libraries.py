"""What a Kill does to jobs that use well-known libraries.

Each trial runs in a process of its own: a job uses the library for ever, is killed at a random
moment, and the next job begins; in the end the foreground uses the library. A trial is a function
that returns the work and what the foreground does. The work notes what it `entered` and `left`, and
a Kill is clean if both are the same number.
"""

import contextlib
import importlib.metadata
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import ipykill
from tests import postgres
from tests.benchmarks import library_trials
from tests.benchmarks.library_trials import TRIALS, Log
from tests.benchmarks.table import Table
from tests.overlays import ROOT
from tests.waiting import wait_for

_PATIENCE = 30.0  # seconds after which a job counts as one that does not die


def libraries(names: list[str], kills: int) -> Table:
    """Try all libraries that are installed."""
    with postgres.serving() if postgres.programs() else contextlib.nullcontext("") as server:
        rows = {}
        for name in names:
            library, _, tried = TRIALS[name]
            version = _version(library)
            if version is None or (library in library_trials.ON_POSTGRES and not server):
                found = ["not installed", "", "", ""]
            else:
                found = _row(_measure(name, kills, server))
            rows[name.replace("_", " ")] = [version or "", tried, *found]
    return Table(
        "Libraries",
        f"{kills} Kills of each at random moments, each trial in a process of its own "
        "(`python -m tests.benchmarks libraries`). *Clean* counts the Kills after which all that "
        "was entered was left; the times are the median and the worst, in milliseconds.",
        ["version", "tried", "killed", "clean", "p50, worst", "afterwards"],
        rows,
    )


def _version(library: str) -> str | None:
    if library == "CPython":
        return ""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _measure(name: str, kills: int, server: str) -> dict:
    command = [sys.executable, "-m", __name__, name, str(kills), server]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    if not lines or not lines[-1].startswith("{"):
        return {"times": [], "clean": 0, "dead": 0, "kills": kills, "usable": done.stderr[-300:]}
    return json.loads(lines[-1])


def _row(found: dict) -> list[str]:
    times = found["times"]
    speed = f"{statistics.median(times):.1f}, {max(times):.0f}" if times else ""
    kills = found["kills"]
    return [f"{found['dead']} of {kills}", f"{found['clean']} of {kills}", speed, found["usable"]]


def try_one(name: str, kills: int, server: str) -> dict:
    """Kill the jobs of one trial; return what came of it."""
    _, make, _ = TRIALS[name]
    work, use = make(server)
    rng = random.Random(1)
    times: list[float] = []
    clean = dead = 0
    for _ in range(kills):
        log = Log()
        job = ipykill.submit(work, log)
        wait_for(lambda: log.entered or job.done(), "the work")  # noqa: B023
        time.sleep(rng.uniform(0, 0.1))
        start = time.perf_counter()
        if not job.kill(_PATIENCE):
            break
        times.append((time.perf_counter() - start) * 1000)
        dead += job.state is ipykill.JobState.KILLED
        clean += len(log.entered) == len(log.left)
    return {
        "times": times,
        "dead": dead,
        "clean": clean,
        "kills": kills,
        "usable": _used(use),
    }


def _used(use: Callable[[], object]) -> str:
    try:
        use()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "works"


def main() -> None:
    name, kills, server = sys.argv[1:]
    print(json.dumps(try_one(name, int(kills), server)), flush=True)
    ipykill.jobs.kill_all(1)


if __name__ == "__main__":
    main()
