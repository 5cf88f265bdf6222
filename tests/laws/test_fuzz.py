"""A short round of kills at random moments; the long one is ``python -m tests.laws.fuzz``."""

import random

import pytest

from tests.laws.fuzz import fuzz
from tests.laws.scenarios import SCENARIOS

KILLS = 50


@pytest.mark.stress
@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_broken(name: str) -> None:
    seed = random.randrange(10**6)
    leaks = fuzz(SCENARIOS[name], KILLS, random.Random(seed)).leaks
    assert not leaks, f"seed {seed}: {len(leaks)} of {KILLS}: {leaks[0]}"
