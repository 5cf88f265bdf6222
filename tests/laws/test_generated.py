"""A short round of what ``python -m tests.laws.generated`` does at length."""

import pytest

from tests.laws.generated import try_one

FUNCTIONS = 200


@pytest.mark.slow
def test_no_safe_place_of_a_generated_function_breaks_anything() -> None:
    tried, wrong = 0, []
    for number in range(FUNCTIONS):
        places, found = try_one(number)
        tried += places
        wrong += found
    assert not wrong, "\n".join(wrong)
    assert tried > 3000
