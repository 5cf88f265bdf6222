"""A short round of what ``python -m tests.laws.generated`` does at length."""

import time

import pytest

from ipykill.kill import claims
from tests.laws.generated import try_many

FUNCTIONS = 200


@pytest.mark.slow
def test_the_map_of_no_generated_function_is_wrong() -> None:
    functions, places, wrong = try_many(range(FUNCTIONS))
    assert not wrong, "\n".join(wrong)
    assert functions == FUNCTIONS
    assert places > 3000


def test_the_check_of_the_claims_is_short() -> None:
    """It is a part of ``%load_ext``: a third of 50 compilations of its sample, or less."""

    def seconds(fn) -> float:
        begin = time.thread_time()
        fn()
        return time.thread_time() - begin

    def check() -> None:
        claims.failed.__wrapped__()
        claims._code.cache_clear()

    def compiles() -> None:
        for _ in range(50):
            compile(claims._SAMPLE, "<sample>", "exec")

    assert min(seconds(check) for _ in range(5)) < min(seconds(compiles) for _ in range(5))
