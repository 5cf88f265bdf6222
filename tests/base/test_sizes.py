"""How much memory a value takes, where that is much."""

import sys

import numpy
import pytest

from ipykill.base.sizes import large_size

MB = 1_000_000


class Slow:
    @property
    def nbytes(self):
        raise AssertionError("code of others is not asked")

    __sizeof__ = nbytes


class Own(numpy.ndarray):
    pass


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (None, 0),
        ("x" * MB, 0),
        (b"x" * 50 * MB, 50),
        (bytearray(50 * MB), 50),
        (numpy.zeros(5 * MB), 40),
        ([numpy.zeros(MB)] * 10, 80),
        ({n: numpy.zeros(MB) for n in range(10)}, 80),
        ((b"x" * 20 * MB, 1), 20),
        (list(range(2 * MB)), 2 * (8 + sys.getsizeof(MB))),  # 72, if objects know no lock
        (Slow(), 0),
        ([Slow()], 0),
        ([], 0),
        (numpy.zeros(5 * MB).view(Own), 0),
    ],
)
def test_the_size_of_a_value_is_told_if_it_is_large(value, size):
    assert large_size(value) == pytest.approx(size * MB, rel=0.05)
