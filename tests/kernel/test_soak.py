"""Short rounds of the soak tests; see `tests.kernel.soak` and `soak_foreground`."""

import pytest

from tests.kernel import soak_foreground
from tests.kernel.harness import Kernel
from tests.kernel.soak import soak


@pytest.mark.once
def test_a_short_soak_leaves_nothing(kernel: Kernel) -> None:
    print(soak(kernel, seconds=10, seed=1))


def test_a_while_of_cells_that_are_detached(kernel: Kernel) -> None:
    done = soak_foreground.run(kernel, 10, seed=1)
    assert done["detached"] > 5
    assert "Traceback" not in kernel.log
