"""What a request of a view says of the state of the kernel: nothing."""

from tests.kernel.background import load
from tests.kernel.harness import Kernel


def test_a_request_of_a_view_says_nothing_of_the_kernels_state(any_kernel: Kernel) -> None:
    load(any_kernel)
    cell = any_kernel.cell("print('begun', flush=True)\nwhile True: time.sleep(0.01)")
    cell.wait_output("begun")
    before = set(any_kernel.iopub)
    assert any_kernel.control("ipykill_request", {"do": "watch"}) == {"stranger": True}
    any_kernel.interrupt()
    cell.wait()
    assert set(any_kernel.iopub) == before, "no message but those of the cell"
