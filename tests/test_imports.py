"""Imports go one way: from the user interface down to the primitives, never up."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.overlays import ROOT

PACKAGE = ROOT / "ipykill"

CORE = [
    {"exceptions"},
    {
        "contexts",
        "exits",
        "holding",
        "imports",
        "locks",
        "log",
        "names",
        "sizes",
        "source",
        "stack",
        "text",
        "title",
        "tracebacks",
        "waiting",
    },
    {"failure", "private", "processes", "stacks", "threads"},
    {"adoption", "agent", "kill", "family", "info", "interrupts", "services"},
    {"elsewhere"},
    {"job"},
    {"loop", "questions", "render", "spec"},
    {"manager"},
]
"""From the bottom up. A module may import its own layer and lower ones, without a cycle."""

INTERFACE = [
    {"capture", "cell", "figures", "leaving", "leftovers", "output", "progress", "widgets"}
    | {"rich_bars", "scripts", "tqdm_groups"},
    {"clashes", "completion", "options", "dask", "panel", "remote"},
    {"launcher"},
    {"foreground", "magics"},
    {"extension"},
    {"__init__"},
]

RANKS = {name: rank for rank, layer in enumerate(CORE + INTERFACE) for name in layer}


def module_name(file: Path) -> str:
    """The name in the layers: `kill` stands for all of `ipykill/kill/`."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = RANKS.keys() | {module_name(file) for file in FILES}


def imported(file: Path, source: str) -> Iterator[str]:
    """The dotted names that `source` imports, absolute, wherever in the file it does so."""
    package = ("ipykill", *file.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def own_imports(file: Path, source: str) -> set[str]:
    """The modules of ipykill that `source` imports, by their names in the layers."""
    parts = [name.split(".") for name in imported(file, source)]
    named = [rest[0] if rest else "__init__" for first, *rest in parts if first == "ipykill"]
    modules = {name if name in MODULES else "__init__" for name in named}
    return modules - {module_name(file)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_imports_its_own_layer_and_below(file: Path) -> None:
    name = module_name(file)
    assert name in RANKS, f"ipykill/{name} has no layer yet: add it to CORE or INTERFACE here"
    imports = own_imports(file, file.read_text())
    above = {other for other in imports & RANKS.keys() if RANKS[other] > RANKS[name]}
    assert not above, f"{name} must not import {sorted(above)}, which stand above it"


@pytest.mark.parametrize(
    "file",
    [file for file in FILES if RANKS.get(module_name(file), len(CORE)) < len(CORE)],
    ids=lambda file: str(file.relative_to(PACKAGE)),
)
def test_the_core_needs_the_standard_library_only(file: Path) -> None:
    roots = {name.split(".")[0] for name in imported(file, file.read_text())}
    assert roots <= {"ipykill", *sys.stdlib_module_names}


def test_there_is_no_cycle() -> None:
    graph: dict[str, set[str]] = {}
    for file in FILES:
        graph.setdefault(module_name(file), set()).update(own_imports(file, file.read_text()))
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("job.py", "from .threads import X", {"threads"}),
        ("job.py", "from . import magics, threads", {"magics", "threads"}),
        ("job.py", "def f():\n    import ipykill.panel.view", {"panel"}),
        ("job.py", "from ipykill import jobs", {"__init__"}),
        ("job.py", "import ipykill", {"__init__"}),
        ("kill/land.py", "from .wake import x\nfrom ..threads import y", {"threads"}),
        ("kill/land.py", "from .. import job", {"job"}),
        ("job.py", "import threading\nfrom concurrent import futures", set()),
    ],
)
def test_imports_are_recognised(file: str, source: str, expected: set[str]) -> None:
    assert own_imports(PACKAGE / file, source) == expected


def test_plain_python_loads_no_user_interface() -> None:
    code = "import sys, ipykill; print(*{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "ipykill" in loaded.split()
    assert not {"IPython", "ipywidgets", "traitlets", "anywidget"} & set(loaded.split())
