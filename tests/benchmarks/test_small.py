"""The benchmarks run; what they say is not judged here."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.contenders import PEERS
from tests.overlays import ROOT

pytestmark = pytest.mark.once


@pytest.mark.slow
def test_all_tables_are_printed(overlay_cache: Path) -> None:
    PEERS.path(overlay_cache)  # skips where nothing can be installed
    command = [sys.executable, "-m", "tests.benchmarks", "--small", "--cache", str(overlay_cache)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n## ") == 6
    assert "| AcquireTry | 0 |" in done.stdout
