"""Can it kill it? Every case that `tests.laws.test_matrix` kills, and every contender.

A case runs in a process of its own, for each contender. First all of them once, several at a
time, to learn who dies at all; then those that died, one after another, to learn how soon.
"""

import os
import statistics
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import child
from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.table import Table

GIVE_UP = 3.0  # seconds that a Kill gets
AT_ONCE = 4
OWN = {"ipykill_sleep"}  # cases that only ipykill has


@dataclass
class Cell:
    """What came of the kills of one case by one contender."""

    milliseconds: list[float]
    tries: int
    ended: str = ""  # how the process ended, if not well

    @property
    def died(self) -> bool:
        return len(self.milliseconds) == self.tries

    def __str__(self) -> str:
        if self.died:
            return f"{statistics.median(self.milliseconds):.1f}"
        return "sometimes" if self.milliseconds else f"**no**{self.ended and f' ({self.ended})'}"


def case_names() -> list[str]:
    from tests.laws.test_matrix import CASES

    return [name for name in CASES if name not in OWN]


def measure(contender: str, case: str, tries: int, cache: Path) -> Cell:
    limit = 30 + tries * GIVE_UP
    ready, *values = child.run(__name__, [contender, case, tries], cache, limit)
    assert ready == "ready"
    over = bool(values) and values[-1] == "over"
    return Cell([it for it in values if it != "over"], tries, "" if over else "crash or hang")


def killable(cases: Iterable[str], contenders: Iterable[str], tries: int, cache: Path) -> Table:
    """Return the table of milliseconds to dead."""
    cells: dict[tuple[str, str], Cell] = {}
    pairs = [(case, contender) for case in cases for contender in contenders]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        first = pool.map(lambda pair: measure(pair[1], pair[0], 1, cache), pairs)
        cells.update(zip(pairs, first, strict=True))
    for (case, contender), cell in cells.items():
        if cell.died:
            cells[case, contender] = measure(contender, case, tries, cache)
    rows = {case: [cells[case, it] for it in contenders] for case in cases}
    return Table(
        "Can it kill it?",
        f"Milliseconds from the call to a dead thread, median of {tries}; **no**: it lives after "
        f"{GIVE_UP:g} s; sometimes: it died in some of the tries.",
        list(contenders),
        {case.strip("_").replace("_", " "): cells for case, cells in rows.items()},
    )


def _blocked(thread: threading.Thread) -> None:
    """Wait until the thread is in a system call and stays there."""
    task = Path(f"/proc/self/task/{thread.native_id}/stat")
    quiet = 0
    end = time.monotonic() + 10
    before = ""
    while quiet < 3 and time.monotonic() < end:
        fields = task.read_text().rpartition(")")[2].split()
        now = fields[11] + fields[12]
        quiet = quiet + 1 if fields[0] == "S" and now == before else 0
        before = now
        time.sleep(0.01)


def main(contender: str, case: str, tries: str) -> None:
    # The case captures time.sleep before a contender may patch it, as a user's import would.
    from tests.laws.test_matrix import CASES

    fn, waits = CASES[case]
    it = CONTENDERS[contender]()
    os.environ.pop("PYTHONPATH")
    folder = Path(os.environ["PYTEST_TMP"])
    for number in range(int(tries)):
        # A folder for each try: the names of files in it are made of the ident of the thread.
        (folder / str(number)).mkdir()
        os.environ["PYTEST_TMP"] = str(folder / str(number))
        started = threading.Lock()
        started.acquire()

        def body(started: threading.Lock = started) -> None:
            started.release()
            fn()

        it.start(body)
        started.acquire()
        if waits:
            _blocked(it.thread)
        else:
            time.sleep(0.02)
        asked = time.perf_counter()
        if not it.kill(GIVE_UP):
            break
        child.say((time.perf_counter() - asked) * 1000)
    child.say("over")


if __name__ == "__main__":
    child.serve(main)
