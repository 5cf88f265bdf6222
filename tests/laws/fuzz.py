"""Thousands of kills at random moments.

``python -m tests.laws.fuzz`` kills each scenario 2000 times and prints what was left broken;
``--kills 100000``, ``--seconds 600`` for a long round, ``--seed``, names of scenarios to
choose some. ``IPYKILL_KILL=plain`` shows what the well-known recipe does.
"""

import argparse
import random
import sys
import threading
import time
from dataclasses import dataclass, field

import ipykill
from tests.laws.harness import HANG
from tests.laws.scenarios import SCENARIOS, Scenario, random_moment


@dataclass
class Round:
    """What came of many kills of one scenario."""

    kills: int = 0
    leaks: list[str] = field(default_factory=list)


def fuzz(
    kind: type[Scenario],
    kills: int,
    rng: random.Random,
    *,
    until: float = float("inf"),
    most: float = float("inf"),
) -> Round:
    """Kill `kind` at random moments; stops early at `until` (monotonic), or `most` leaks."""
    result = Round()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    jobs = ipykill.JobManager()
    try:
        while result.kills < kills and len(result.leaks) < most and time.monotonic() < until:
            try:
                _kill_once(jobs, kind(), rng)
            except AssertionError as error:
                result.leaks.append(str(error))
            result.kills += 1
            jobs.clear(job for job in jobs if job.done())
    finally:
        sys.setswitchinterval(interval)
    return result


def _kill_once(jobs: ipykill.JobManager, scenario: Scenario, rng: random.Random) -> None:
    scenario.setup()
    running = threading.Lock()
    running.acquire()

    def body() -> None:
        running.release()
        scenario.run()

    with scenario.company():
        job = jobs.submit(body)
        assert running.acquire(timeout=HANG)
        random_moment(rng)
        dead = job.kill(HANG)
        assert dead, f"it lives: {job.where()}"
        assert job.wait(HANG)
        state = job.state
        assert state is ipykill.JobState.KILLED, f"it is {state}: {job.exception()!r}"
    scenario.check()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SCENARIO")
    parser.add_argument("--kills", type=int, default=2000, help="of each scenario")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for each scenario")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"CPython {sys.version.split()[0]}, seed {options.seed}", flush=True)
    leaks = kills = 0
    for name in options.names or SCENARIOS:
        started = time.monotonic()
        rng = random.Random(f"{name} {options.seed}")
        result = fuzz(SCENARIOS[name], options.kills, rng, until=started + options.seconds)
        seconds = time.monotonic() - started
        kills += result.kills
        leaks += len(result.leaks)
        causes = sorted(set(result.leaks))[:3]
        each = f"{seconds / result.kills * 1000:.1f} ms each"
        print(f"{name:24} {len(result.leaks):5} of {result.kills}, {each}", *causes, flush=True)
    print(f"{leaks} leaks in {kills} kills")
    return bool(leaks)


if __name__ == "__main__":
    sys.exit(main())
