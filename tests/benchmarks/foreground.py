"""What ipykill costs a person who does not use it: its loading, and an ordinary cell."""

import statistics
import tempfile
import time
from pathlib import Path

from tests.benchmarks.table import Table
from tests.kernel.harness import Kernel
from tests.overlays import INSTALLED

CELLS = {"x = 1": 50, "print('a line')": 50, "sum(range(100_000))": 20}
_LOAD = """
import time
start = time.perf_counter()
%load_ext ipykill
print(time.perf_counter() - start)
"""


def foreground(rounds: int, cache: Path) -> Table:
    """Cells that are sent all at once to one kernel, in turns with ipykill loaded and unloaded.

    Two kernels differ by some per cent, whatever is loaded, and so do two rounds on a machine
    that others use too: hence one kernel, neighbouring rounds, and the median of their ratios.
    """
    del cache
    with tempfile.TemporaryDirectory(prefix="ipykill-") as folder:
        loading = statistics.median(_loading(Path(folder)) for _ in range(min(rounds, 9)))
        kernel = Kernel(INSTALLED.path(Path(folder)), Path(folder))
        try:
            rows = {code: _row(kernel, code, number, rounds) for code, number in CELLS.items()}
        finally:
            kernel.close()
    return Table(
        "Ordinary cells",
        "Milliseconds from request to reply for a cell that nobody detaches, without ipykill and "
        f"with it, and how many times as long it takes: the median of {rounds} pairs of rounds, "
        "and the middle half. Then the same ratio of the processor time of the kernel. "
        f"`%load_ext ipykill` in a kernel that has just started: {loading * 1000:.0f} ms.",
        ["cells", "without", "with", "ratio", "of processor time"],
        rows,
    )


def _loading(folder: Path) -> float:
    """Return the seconds that ``%load_ext ipykill`` takes in a fresh kernel."""
    kernel = Kernel(INSTALLED.path(folder), folder)
    try:
        return float(kernel.run(_LOAD).text())
    finally:
        kernel.close()


def _row(kernel: Kernel, code: str, number: int, rounds: int) -> list[str]:
    pairs = []
    for turn in range(rounds + 1):
        order = ("load", "unload") if turn % 2 else ("unload", "load")
        found = {how: _times(kernel, how, code, number) for how in order}
        pairs.append((*found["unload"], *found["load"]))
    plain, plain_cpu, loaded, loaded_cpu = zip(*pairs[1:], strict=True)
    return [
        str(number),
        f"{statistics.median(plain) * 1000:.2f}",
        f"{statistics.median(loaded) * 1000:.2f}",
        _ratio(plain, loaded),
        _ratio(plain_cpu, loaded_cpu),
    ]


def _ratio(plain: tuple[float, ...], loaded: tuple[float, ...]) -> str:
    ratios = [b / a for a, b in zip(plain, loaded, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.3f} ({low:.2f} to {high:.2f})"


def _times(kernel: Kernel, how: str, code: str, number: int) -> tuple[float, float]:
    """Return the seconds for a cell, and those of processor time of all threads of the kernel."""
    assert kernel.run(f"%{how}_ext ipykill").status == "ok"
    before, start = _cpu_time(kernel), time.perf_counter()
    cells = [kernel.cell(code) for _ in range(number)]
    for cell in cells:
        cell.wait()
    seconds = time.perf_counter() - start
    kernel.iopub.clear()
    return seconds / number, (_cpu_time(kernel) - before) / number


def _cpu_time(kernel: Kernel) -> float:
    cell = kernel.run("import time; print(time.process_time())")
    return float(cell.text())
