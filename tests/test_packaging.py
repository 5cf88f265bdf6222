"""What people install: the wheel that is made of the sdist that is made of this checkout."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.overlays import ROOT

pytestmark = pytest.mark.once

LAB = ROOT / "labextension"
CARRIED = ("ipykill/py.typed", "ipykill/panel/js/main.js", "ipykill/panel/css/base.css")
LOAD = """
import importlib.metadata
import ipykill
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell
assert importlib.metadata.version("ipykill") == ipykill.__version__
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "ipykill")
shell.run_cell_magic("bg", "-q", "answer = 6 * 7")
ipykill.jobs[1].result(30)
assert shell.user_ns["answer"] == 42
shell.run_line_magic("bgpanel", "")
print(Path(ipykill.__file__).parent)
"""


def run(*command: object, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["IPYTHONDIR"] = str(cwd / "ipython")
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.mark.slow
def test_both_carry_the_files_that_are_no_modules(distributions: tuple[Path, Path]) -> None:
    sdist, wheel = distributions
    modules = {str(path.relative_to(ROOT)) for path in ROOT.glob("ipykill/**/*.py")}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    release = wheel.name.removesuffix("-py3-none-any.whl")
    data = f"{release}.data/data/share/jupyter/labextensions/ipykill"
    extension = {str(path.relative_to(LAB)) for path in LAB.rglob("*.*") if path.is_file()}
    assert {*CARRIED, *modules, *(f"{data}/{name}" for name in extension)} <= names
    assert {name.split("/")[0] for name in names} == {
        "ipykill",
        f"{release}.dist-info",
        f"{release}.data",
    }
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        *CARRIED,
        *modules,
        *(f"labextension/{name}" for name in extension),
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "tests/waiting.py",
    } <= packed
    assert not any("__pycache__" in name or name.startswith(".venv") for name in packed)


@pytest.mark.slow
def test_the_installed_wheel_loads(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    """In an environment that has its dependencies from this one."""
    _, wheel = distributions
    target = tmp_path / "fresh"
    venv.create(target)
    python = target / "bin/python"
    site = Path(
        run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=tmp_path).strip()
    )
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--target",
        site,
        wheel,
        cwd=tmp_path,
    )
    # Not `.pth` files of this environment: one of them may name this checkout.
    paths = [path for path in sys.path if path.endswith("-packages")]
    load = f"import sys; sys.path += {paths!r}\n{LOAD}"
    printed = run(python, "-c", load, cwd=tmp_path)
    assert Path(printed.splitlines()[-1]) == site / "ipykill"
