"""The laws tell ipykill from the well-known recipe; all of them: ``python -m tests.laws.plain``."""

import pytest

from tests.laws import plain


def test_each_law_says_whether_the_recipe_holds_it() -> None:
    claims = {name: plain.claim(test) for name, test in plain.tests().items()}
    laws = {name.split("_")[1] for name in claims}
    assert laws == {f"l{number:02}" for number in range(1, 53)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "test_l08_except_exception_does_not_catch_it",
        "test_l14_sleep",
        "test_l23_nested_finally_blocks_run_inner_to_outer",
        "test_l28_acquire_try_finally",
    ],
)
def test_some_of_them(name: str) -> None:
    verdict = plain.judge(name, plain.tests()[name])
    assert verdict.true, verdict
