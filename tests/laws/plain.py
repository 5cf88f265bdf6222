"""The laws against the well-known recipe: ``python -m tests.laws.plain``.

Runs the tests of each law in a process of its own with ``IPYKILL_KILL=plain``, which is
``PyThreadState_SetAsyncExc`` every 0.1 s, and compares how they end with what their docstrings
claim: *Plain: holds*, *Plain: fails* or, where so few kills decide nothing, *Plain: may fail*.
A law that the recipe holds says there why it can. Names of laws, as in ``l05``, choose some.
"""

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

HANG = 120.0  # seconds; a test that is not over by then hangs in what the recipe left broken
AT_ONCE = 4  # processes; most of them wait most of the time

_CLAIM = re.compile(r"Plain: (holds|fails|may fail)(?:,| up to CPython 3\.(\d+),) \S")


class Verdict(NamedTuple):
    """What came of one test."""

    name: str
    claim: str
    found: str
    output: str

    @property
    def true(self) -> bool:
        """Whether the claim is."""
        if self.claim == "may fail":
            return self.found in ("holds", "fails")
        return self.found == self.claim


def claim(test: Callable[..., object]) -> str:
    """Return what the docstring of a test says of the recipe on this version of Python."""
    found = _CLAIM.search(" ".join((test.__doc__ or "").split()))
    if found is None:
        msg = f"{test.__name__} does not say whether the plain recipe holds the law, and why"
        raise ValueError(msg)
    kind, last = found.groups()
    if last is not None and sys.version_info[1] > int(last):
        return {"holds": "fails", "fails": "holds"}[kind]
    return kind


def tests() -> dict[str, Callable[..., object]]:
    """Return the tests of all laws by name."""
    from tests.laws import test_laws, test_laws_blocking, test_laws_cleanup, test_laws_families

    modules = (test_laws, test_laws_blocking, test_laws_cleanup, test_laws_families)
    names = {name: test for module in modules for name, test in vars(module).items()}
    return {name: test for name, test in names.items() if name.startswith("test_l")}


def judge(name: str, test: Callable[..., object]) -> Verdict:
    """Run one test, all its parameters, against the recipe."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider"]
    environment = os.environ | {"IPYKILL_KILL": "plain"}
    try:
        done = subprocess.run(
            [*command, f"{test.__module__.replace('.', '/')}.py::{name}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=HANG,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Verdict(name, claim(test), "fails", f"it hangs for {HANG:g} s")
    found = {0: "holds", 1: "fails"}.get(done.returncode, f"error {done.returncode}")
    return Verdict(name, claim(test), found, done.stdout + done.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("laws", nargs="*", metavar="LAW")
    options = parser.parse_args()
    chosen = {
        name: test
        for name, test in tests().items()
        if not options.laws or name.split("_")[1] in options.laws
    }
    print(f"CPython {sys.version.split()[0]}, IPYKILL_KILL=plain", flush=True)
    lies = []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for verdict in pool.map(judge, chosen, chosen.values()):
            mark = "" if verdict.true else f"  but its docstring says that it {verdict.claim}"
            print(f"{verdict.name:72} {verdict.found}{mark}", flush=True)
            if not verdict.true:
                lies.append(verdict)
    for verdict in lies:
        print(f"\n{verdict.name}\n{verdict.output}")
    return bool(lies)


if __name__ == "__main__":
    sys.exit(main())
