"""Fixtures that start real kernels: a fresh one for each test, in about 0.6 s."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.background import load
from tests.kernel.foreground import CAN
from tests.kernel.harness import Kernel
from tests.overlays import INSTALLED, IPYTHONS, OVERLAYS, Overlay


@pytest.fixture
def start_kernel(tmp_path: Path, overlay_cache: Path) -> Iterator[Callable[[Overlay], Kernel]]:
    """A function that starts a kernel of an overlay; all of them end with the test."""
    kernels: list[Kernel] = []

    def start(overlay: Overlay = INSTALLED) -> Kernel:
        folder = tmp_path / f"kernel-{len(kernels)}"
        folder.mkdir()
        kernel = Kernel(overlay.path(overlay_cache), folder)
        kernels.append(kernel)
        for package, version in overlay.packages:
            found = kernel.run(f"import {package}; {package}.__version__").result
            assert found == repr(version), f"{package} {found} hides the overlay's {version}"
        return kernel

    yield start
    for kernel in kernels:
        kernel.close()
        print(kernel.log)  # pytest shows it when the test has failed


@pytest.fixture
def kernel(start_kernel: Callable[[Overlay], Kernel]) -> Kernel:
    """A kernel with what is installed."""
    return start_kernel(INSTALLED)


@pytest.fixture(params=OVERLAYS, ids=lambda overlay: overlay.name)
def any_kernel(request: pytest.FixtureRequest, start_kernel: Callable[[Overlay], Kernel]) -> Kernel:
    """A kernel of each version that is supported."""
    return start_kernel(request.param)


@pytest.fixture(params=IPYTHONS, ids=lambda overlay: overlay.name)
def any_ipython(request, start_kernel: Callable[[Overlay], Kernel]) -> Kernel:
    """A kernel of each version of IPython, for what does not lean on ipykernel's."""
    return start_kernel(request.param)


@pytest.fixture(params=CAN, ids=lambda overlay: overlay.name)
def any_new_kernel(
    request: pytest.FixtureRequest, start_kernel: Callable[[Overlay], Kernel]
) -> Kernel:
    """A kernel of each version in which a cell can be detached."""
    return start_kernel(request.param)


@pytest.fixture
def loaded(kernel: Kernel) -> None:
    load(kernel)
