"""Several versions of ipykernel and IPython in one environment.

An overlay is a folder with other versions of a few packages. Put in front of `PYTHONPATH`, it
shadows what is installed, for one kernel process.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Overlay:
    """The packages that shadow the installed ones; none: the environment as it is."""

    name: str
    packages: tuple[tuple[str, str], ...] = ()
    until: tuple[int, ...] = (4,)
    """The first Python on which it does not work."""
    why: str = ""

    def path(self, cache: Path) -> str:
        """The `PYTHONPATH` of a kernel: the overlay, then this checkout. Installs it once."""
        if not self.packages:
            return str(ROOT)
        folder = cache / self.name
        if not folder.exists():
            self._install(folder)
        return os.pathsep.join([str(folder), str(ROOT)])

    def kernelspec(self, cache: Path) -> dict:
        """What a `kernel.json` needs to offer this overlay in JupyterLab."""
        return {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": self.name,
            "language": "python",
            "env": {"PYTHONPATH": self.path(cache)},
        }

    def _install(self, folder: Path) -> None:
        """Install beside `folder`, then rename: two test runs may want it at once."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            target = Path(scratch, "packages")
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            wanted = [f"{package}=={version}" for package, version in self.packages]
            done = subprocess.run(
                [*pip, "--target", str(target), *wanted], capture_output=True, text=True
            )
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                pytest.skip(f"pip cannot install {' '.join(wanted)}: {last}")
            try:
                target.rename(folder)
            except OSError:
                if not folder.exists():
                    raise


INSTALLED = Overlay("installed")
_SINCE_3_15 = "ipykernel before 6.30 cannot be imported: it asks strptime for a day without a year"
_ALL = [
    INSTALLED,
    Overlay("ipykernel-7.2.0", (("ipykernel", "7.2.0"),)),
    Overlay("ipykernel-6.30.1", (("ipykernel", "6.30.1"),)),
    Overlay("ipykernel-6.29.5", (("ipykernel", "6.29.5"),), (3, 15), _SINCE_3_15),
    Overlay(
        "ipython-8.18.1",
        (("ipykernel", "6.29.5"), ("IPython", "8.18.1"), ("decorator", "5.2.1")),
        (3, 13),
        "its breakpoint() does not stop where it should",
    ),
]
OVERLAYS = [overlay for overlay in _ALL if sys.version_info < overlay.until]
LEFT_OUT = [
    f"{overlay.name} (not from Python {'.'.join(map(str, overlay.until))} on: {overlay.why})"
    for overlay in _ALL
    if overlay not in OVERLAYS
]
if os.environ.get("IPYKILL_TEST_KERNELS") == "installed":
    # For the other Pythons of a CI run: the versions of the kernel were tested.
    del OVERLAYS[1:], LEFT_OUT[:]
IPYTHONS = [it for it in OVERLAYS if it is INSTALLED or "IPython" in dict(it.packages)]
