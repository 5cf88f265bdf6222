"""A short round of the soak test; see `tests.kernel.soak`."""

import pytest

from tests.kernel.harness import Kernel
from tests.kernel.soak import soak


@pytest.mark.smoke
def test_a_short_soak_leaves_nothing(kernel: Kernel) -> None:
    print(soak(kernel, seconds=10, seed=1))
