"""What a Kill leaves behind: kills at random moments, of every scenario, by every contender.

The scenarios are those of `tests.laws.fuzz`. Here each kill runs in a fork of a process that
has loaded everything, a new one after each that broke something: what one kill broke
(a lock of the import system, say) is not counted against the next.
"""

import os
import random
import select
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks import child
from tests.benchmarks.contenders import CONTENDERS, Ipykill, Recipe
from tests.benchmarks.table import Table
from tests.laws import scenarios
from tests.laws.scenarios import SCENARIOS, Scenario, random_moment

SOON = 0.3  # seconds in which what is free is found to be free
GIVE_UP = 2.0  # seconds that a Kill gets
FEW = 20  # deaths
HANG = 8.0  # seconds after which a process that says nothing hangs
LIVES = "it lives"


@dataclass
class Share:
    """How often a contender broke a scenario."""

    kills: int
    broken: Counter[str] = field(default_factory=Counter)

    @property
    def deaths(self) -> int:
        return self.kills - self.broken[LIVES]

    @property
    def dies(self) -> bool:
        """Whether most of the kills were one."""
        return self.deaths > self.kills / 2

    @property
    def is_few(self) -> bool:
        """Whether one more would change the share by much: the kills take long."""
        return self.deaths < FEW

    @property
    def share(self) -> float:
        """The share of deaths that left something broken."""
        return (self.broken.total() - self.broken[LIVES]) / self.deaths

    def __str__(self) -> str:
        if not self.dies:
            return "lives"
        if not self.share:
            return "0"
        if self.is_few:
            return f"{self.share * self.deaths:.0f} of {self.deaths}"
        return f"{self.share:.1%}" if self.share < 0.0995 else f"{self.share:.0%}"


def measure(contender: str, scenario: str, kills: int, seconds: float, cache: Path) -> Share:
    _, *said = child.run(__name__, [contender, scenario, kills, seconds], cache, seconds + 30)
    return Share(len(said), Counter(filter(None, said)))


def leftovers(
    names: Iterable[str], contenders: Iterable[str], kills: int, seconds: float, cache: Path
) -> Table:
    """Return the table of shares; at most `seconds` are spent on each."""
    rows = {
        name: [measure(contender, name, kills, seconds, cache) for contender in contenders]
        for name in names
    }
    return Table(
        "What a Kill leaves behind",
        f"Share of up to {kills} kills of each that left something broken; what is looked at "
        "stands in `tests/laws/scenarios.py`. 1 of 5: in the time there were no more. lives: the "
        "code did not die of most of them.",
        list(contenders),
        rows,
    )


def _kill_once(it: Ipykill | Recipe, scenario: Scenario, rng: random.Random) -> str:
    """Return what was broken, empty if nothing was."""
    scenario.setup()
    running = threading.Lock()
    running.acquire()

    def body() -> None:
        running.release()
        scenario.run()

    dead, broken = False, ""
    try:
        with scenario.company(SOON):
            it.start(body)
            running.acquire()
            random_moment(rng)
            dead = it.kill(GIVE_UP)
        if dead:
            scenario.check()
    except AssertionError as error:
        broken = str(error) or "it is not as it should be"
    return broken if dead else LIVES


def _is_free(lock: threading.Lock, what: str) -> None:
    assert lock.acquire(timeout=SOON), f"{what} is still held"
    lock.release()


def _wait_for(predicate, what: str, timeout: float = SOON) -> None:
    end = time.monotonic() + min(timeout, SOON)
    while not predicate():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.001)


def _batch(it: Ipykill | Recipe, kind: type[Scenario], rng: random.Random, pipe: int) -> None:
    """Kill until something breaks; in a fork, which ends here."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    while True:
        broken = _kill_once(it, kind(), rng)
        os.write(pipe, (broken.replace("\n", " ")[:500] + "\n").encode())
        if broken:
            os._exit(0)


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def main(contender: str, name: str, kills: str, seconds: str) -> None:
    # What was left held is held for ever; there is no need to wait as long as the tests do.
    scenarios.is_free = _is_free
    scenarios.wait_for = _wait_for
    os.environ.pop("PYTHONPATH")
    it = CONTENDERS[contender]()
    rng = random.Random(name)
    end = time.monotonic() + float(seconds)
    left = int(kills)
    while left > 0 and time.monotonic() < end:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115
            _batch(it, SCENARIOS[name], random.Random(rng.random()), write)
        os.close(write)
        rng.random()
        with open(read) as lines:
            while left > 0 and time.monotonic() < end:
                ready, _, _ = select.select([lines], [], [], HANG)
                line = lines.readline() if ready else ""
                left -= 1
                # Without a line: it hangs in the scenario, or crashed.
                broken = line.removesuffix("\n") if line else "the process hangs or crashed"
                child.say(broken)
                if broken:
                    break
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    child.serve(main)
