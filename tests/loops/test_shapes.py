"""Every task that a Kill ends cleans up, awaits included, whatever runs and however it is run."""

import random
import sys

import pytest

from tests.laws.harness import in_python
from tests.loops.fuzz import Figures, fuzz
from tests.loops.shapes import NESTED, RUNS, SHAPES

KILLS = 6

# What asyncio itself does not end in order, Ctrl-C or not: a server that waits for connections
# which are gone (3.12.1), a Condition whose waiters are cancelled together (3.11).
HANGS = {(3, 12): {"serves"}, (3, 11): {"locks"}}.get(sys.version_info[:2], set())

QUICK = ("polls", "computes", "gathers", "groups_one_that_computes", "swallows")


def killed(name: str, run: str) -> Figures:
    if name in HANGS:
        pytest.skip("asyncio hangs here by itself")
    return fuzz(name, run, seconds=60.0, rng=random.Random(name + run), limit=KILLS)


@pytest.mark.parametrize("name", QUICK)
def test_a_job_given_a_coroutine_function(name: str) -> None:
    figures = killed(name, "submit")
    assert figures.fine, str(figures)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SHAPES if name not in QUICK])
def test_a_job_given_any_coroutine_function(name: str) -> None:
    figures = killed(name, "submit")
    assert figures.fine, str(figures)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*QUICK, "groups_in_groups", "cleans_up_with_tasks", "generators"])
@pytest.mark.parametrize("run", RUNS)
def test_a_loop_that_the_code_runs_itself(name: str, run: str) -> None:
    figures = killed(name, run)
    assert figures.fine, str(figures)


@pytest.mark.slow
@pytest.mark.parametrize("library", ["nest_asyncio", "nest_asyncio2"])
def test_a_loop_that_runs_within_itself(library: str) -> None:
    """In a Python of its own, since it changes all loops."""
    pytest.importorskip(library)
    if library == "nest_asyncio" and sys.version_info >= (3, 14):
        pytest.skip("a TaskGroup does not work there: it cannot determine the parent task")
    code = f"""
import asyncio, random, {library}
from tests.loops.fuzz import fuzz
{library}.apply(asyncio.new_event_loop())
for name in {[*QUICK, "groups_in_groups", "cleans_up_with_tasks", *NESTED]}:
    for run in ("submit", "runs_until_complete_and_closes_nothing"):
        figures = fuzz(name, run, seconds=60.0, rng=random.Random(name), limit=3)
        assert figures.fine, f"{{name}} {{run}} {{figures}}"
"""
    in_python(code)
