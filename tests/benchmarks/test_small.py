"""The benchmarks run; what they say is not judged here."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import PARTS
from tests.benchmarks.contenders import PEERS
from tests.browser.harness import find_chromium
from tests.overlays import ROOT

pytestmark = pytest.mark.once
IN_A_BROWSER = ("panel", "output")


def printed(cache: Path, *parts: str) -> str:
    PEERS.path(cache)  # skips where nothing can be installed
    command = [sys.executable, "-m", "tests.benchmarks", *parts, "--small", "--cache", str(cache)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_tables_of_kills_and_costs_are_printed(overlay_cache: Path) -> None:
    tables = printed(overlay_cache, *(part for part in PARTS if part not in IN_A_BROWSER))
    assert tables.count("\n## ") == 12
    assert "| AcquireTry | 0 |" in tables


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(find_chromium() is None, reason="needs Chromium")
def test_the_tables_of_the_panel_and_of_output_are_printed(overlay_cache: Path) -> None:
    tables = printed(overlay_cache, *IN_A_BROWSER)
    assert tables.count("\n## ") == 2
    assert "yes / yes |" in tables
