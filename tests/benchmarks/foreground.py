"""What ipykill costs an ordinary cell, which nobody detaches."""

import tempfile
from pathlib import Path

from tests.benchmarks.table import Table
from tests.kernel.harness import Kernel
from tests.overlays import INSTALLED

CELLS = {"x = 1": 200, "print('a line')": 200, "sum(range(100_000))": 50}


def foreground(rounds: int, cache: Path) -> Table:
    """Cells that are sent all at once, in turns to a kernel with ipykill and to one without."""
    del cache
    with tempfile.TemporaryDirectory(prefix="ipykill-") as folder:
        kernels = []
        try:
            for name in ("plain", "loaded"):
                Path(folder, name).mkdir()
                kernels.append(Kernel(INSTALLED.path(Path(folder)), Path(folder, name)))
            assert kernels[1].run("%load_ext ipykill").status == "ok"
            rows = {code: _row(kernels, code, number, rounds) for code, number in CELLS.items()}
        finally:
            for kernel in kernels:
                kernel.close()
    return Table(
        "Ordinary cells",
        "Milliseconds of the kernel's processor time for a cell that nobody detaches, without "
        f"ipykill and with it: the least of {rounds} rounds.",
        ["cells", "without", "with", "ratio"],
        rows,
    )


def _row(kernels: list[Kernel], code: str, number: int, rounds: int) -> list[str]:
    times: list[list[float]] = []
    for turn in range(rounds + 1):
        order = kernels if turn % 2 else kernels[::-1]  # who comes second has the warmer machine
        found = {id(kernel): _seconds(kernel, code, number) for kernel in order}
        times.append([found[id(kernel)] for kernel in kernels])
    plain, loaded = (min(it) / number * 1000 for it in zip(*times[1:], strict=True))
    return [str(number), f"{plain:.3f}", f"{loaded:.3f}", f"{loaded / plain:.3f}"]


def _seconds(kernel: Kernel, code: str, number: int) -> float:
    """Return the processor time of all threads of a kernel for some cells."""
    before = _cpu_time(kernel)
    cells = [kernel.cell(code) for _ in range(number)]
    for cell in cells:
        cell.wait()
    kernel.iopub.clear()
    return _cpu_time(kernel) - before


def _cpu_time(kernel: Kernel) -> float:
    cell = kernel.run("import time; print(time.process_time())")
    return float(cell.text())
