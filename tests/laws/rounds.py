"""The laws, the matrix, kills at random and the map of code, several times in a row, in figures.

``python -m tests.laws.rounds`` prints the row of this Python for the table in
``docs/how-it-works.md``, and fails if any figure is not what it should be.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from tests.laws.fuzz import fuzz
from tests.laws.generated import try_many
from tests.laws.scenarios import SCENARIOS

HERE = Path(__file__).parent
FUNCTIONS = 200
KINDS = {"laws": "test_laws", "matrix": "test_matrix"}


def run(prefix: str) -> tuple[int, list[str]]:
    """Run the test files that begin with `prefix`; return how many passed, and who failed."""
    files = [str(path) for path in sorted(HERE.glob(f"{prefix}*.py"))]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        options = ["-q", "-p", "no:xdist", f"--junit-xml={report}", *files]
        # Each time in a process of its own, as anybody runs them.
        subprocess.run([sys.executable, "-m", "pytest", *options], stdout=subprocess.DEVNULL)
        tests = ElementTree.parse(report).iter("testcase")
    passed, failed = 0, []
    for test in tests:
        if test.find("failure") is not None or test.find("error") is not None:
            failed.append(f"{test.get('classname')}::{test.get('name')}")
        elif test.find("skipped") is None:
            passed += 1
    return passed, failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of kills, for each scenario")
    options = parser.parse_args()
    wrong: list[str] = []
    tests: dict[str, list[str]] = {kind: [] for kind in KINDS}
    kills = leaks = functions = places = 0
    for number in range(options.rounds):
        for kind, prefix in KINDS.items():
            passed, failed = run(prefix)
            tests[kind].append(f"{passed} of {passed + len(failed)}")
            wrong += failed
        for name, scenario in SCENARIOS.items():
            rng = random.Random(f"{name} {number}")
            found = fuzz(scenario, sys.maxsize, rng, until=time.monotonic() + options.seconds)
            kills, leaks = kills + found.kills, leaks + len(found.leaks)
            wrong += [f"{name}: {leak}" for leak in found.leaks]
        first = number * FUNCTIONS
        some, tried, mistakes = try_many(range(first, first + FUNCTIONS))
        functions, places = functions + some, places + tried
        wrong += mistakes
    cells = [sys.version.split()[0]]
    for each in tests.values():
        cells.append(", ".join(each) if len(set(each)) > 1 else f"{each[0]}, {len(each)} times")
    cells += [f"{leaks} of {kills}", f"{places} in {functions}"]
    print("|", " | ".join(cells), "|")
    print(*wrong, sep="\n", end="")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
