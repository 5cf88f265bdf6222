"""What an ordinary cell, which nobody detaches, costs while ipykill is loaded."""

from tests.kernel.background import load
from tests.kernel.harness import Kernel

CELLS = 20
COUNT = """
import collections, os, sys
ours = os.path.dirname(ipykill.__file__) + os.sep
counted = collections.Counter()
def count(frame, event, argument):
    if event == "call" and frame.f_code.co_filename.startswith(ours):
        counted[frame.f_code.co_filename.removeprefix(ours), frame.f_code.co_qualname] += 1
sys.setprofile(count)
"""
MOST = 50
"""About 40 calls of Python functions of ours; 3.14 has four more, for the locks."""


def test_an_ordinary_cell_makes_few_calls_of_ours(kernel: Kernel) -> None:
    load(kernel)
    kernel.run("x = 1")
    kernel.run(COUNT)
    for _ in range(CELLS):
        kernel.run("x = 1")
    kernel.run("sys.setprofile(None)")
    # A function of ours stands in place of one of ipykernel's, and is called as often.
    found = kernel.run(
        "for key, n in counted.most_common():\n"
        "    if key[0] != os.path.join('output', 'iopub.py'): print(n, *key)"
    ).text()
    calls = sum(int(line.split()[0]) for line in found.splitlines())
    assert calls / CELLS <= MOST, found
