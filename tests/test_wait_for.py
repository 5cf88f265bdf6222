import pytest

from tests.waiting import wait_for


def test_returns_the_first_true_value() -> None:
    values = iter([0, "", "here"])
    assert wait_for(lambda: next(values), "a value") == "here"


def test_names_what_never_came() -> None:
    with pytest.raises(AssertionError, match="in vain for the moon; last seen: None"):
        wait_for(lambda: None, "the moon", timeout=0)
