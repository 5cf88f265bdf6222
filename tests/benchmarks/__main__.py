"""Measure ipykill beside its peers, and print the tables: ``python -m tests.benchmarks``.

The peers are installed from PyPI, once, into a folder of their own; the panel and the floods of
output want Chromium. Other load on the machine shows in the figures. ``--small`` shows in two
minutes that everything runs.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import cost, remote
from tests.benchmarks.contenders import CONTENDERS, default_cache
from tests.benchmarks.foreground import foreground
from tests.benchmarks.killable import case_names, killable
from tests.benchmarks.leftovers import leftovers
from tests.benchmarks.libraries import libraries
from tests.benchmarks.library_trials import TRIALS
from tests.benchmarks.output import output
from tests.benchmarks.panel import PARTS as PANEL
from tests.benchmarks.panel import panel
from tests.benchmarks.parallel import parallel
from tests.benchmarks.publish import publish
from tests.benchmarks.table import Table, machine
from tests.laws.scenarios import SCENARIOS

PARTS = (
    *("killable", "leftovers", "launch", "speed", "foreground", "latency", "many"),
    *("reach", "tasks", "transfer", "panel", "output", "parallel", "libraries"),
)


def parts(options: argparse.Namespace) -> dict[str, Callable[[], Table]]:
    """Return what can be measured."""
    small, cache = options.small, options.cache
    # What one peer shows, the small round shows of all that work alike.
    contenders = ["ipykill", "ipython-bg"] if small else [*CONTENDERS]
    cases = options.only or (["loop", "sleep"] if small else case_names())
    scenarios = options.only or (["AcquireTry"] if small else [*SCENARIOS])
    kills, seconds = (5, 2) if small else (options.kills, options.seconds)
    part = 0.1 if small else 1
    return {
        "killable": lambda: killable(cases, contenders, 2 if small else 10, cache),
        "leftovers": lambda: leftovers(scenarios, contenders, kills, seconds, cache),
        "launch": lambda: cost.launch(10 if small else 1000, cache),
        "speed": lambda: cost.speed(0.2 if small else 10, cache),
        "foreground": lambda: foreground(2 if small else 60, cache),
        "latency": lambda: cost.latency(3 if small else 200, contenders, cache),
        "many": lambda: cost.many(20 if small else 1000, cache),
        "reach": lambda: remote.reach(2 if small else 20),
        "tasks": lambda: remote.tasks(2 if small else 10, 20 if small else 1000),
        "transfer": lambda: remote.transfer(2 if small else 10, 10**7 if small else 10**9),
        "panel": lambda: panel(options.only or (["no_view"] if small else PANEL), cache),
        "output": lambda: output(options.only or (["prints"] if small else [""]), part),
        "libraries": lambda: libraries(
            options.only or (["zipfile"] if small else [*TRIALS]), 2 if small else 40
        ),
        "parallel": lambda: parallel(10**5 if small else 5 * 10**6, 2 if small else 7),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="all by default")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these cases, scenarios, ...")
    parser.add_argument("--kills", type=int, default=200, help="of each scenario at most")
    parser.add_argument("--seconds", type=float, default=6, help="for each scenario at most")
    parser.add_argument("--small", action="store_true", help="few and short: does it run?")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where peers live")
    parser.add_argument("--publish", action="store_true", help="write it into the documents")
    options = parser.parse_args()
    if options.publish and (options.only or options.small):
        parser.error("only whole tables are published")
    # A library that computes on several threads would be measured with them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    print(machine(), end="\n\n", flush=True)
    measures = parts(options)
    for part in options.part or PARTS:
        table = measures[part]()
        print(table, flush=True)
        if options.publish:
            publish(part, table)


if __name__ == "__main__":
    sys.exit(main())
