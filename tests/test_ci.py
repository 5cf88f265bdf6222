"""CI runs what the README tells people to run."""

import os

from tests import readme
from tests.overlays import ROOT


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = ROOT / ".ci/run"
    assert readme.command("pytest") in script.read_text().splitlines()
    assert os.access(script, os.X_OK)
