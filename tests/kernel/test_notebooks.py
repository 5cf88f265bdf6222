"""Every notebook runs from top to bottom, and its jobs end as the notebook says."""

import os
from pathlib import Path

import nbclient
import nbformat
import pytest

from tests.overlays import INSTALLED, ROOT
from tests.waiting import HANG_GUARD

pytestmark = pytest.mark.once

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NEEDS = {
    "progress_and_plots": ["matplotlib", "tqdm"],
    "train_while_you_explore": ["matplotlib", "sklearn"],
}
ENDED = """from ipykill import jobs
jobs.wait(jobs, 60)
assert {job.state.value for job in jobs} <= {"done", "stopped", "killed"}, jobs
"""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom(
    path: Path, overlay_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in NEEDS.get(path.stem, ()):
        pytest.importorskip(module)
    monkeypatch.setenv("PYTHONPATH", INSTALLED.path(overlay_cache))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells), "kept without outputs"
    notebook.cells.append(nbformat.v4.new_code_cell(ENDED))
    # An error in a cell fails the test by itself, in a job it is an output of that cell.
    client = nbclient.NotebookClient(
        notebook, timeout=2 * HANG_GUARD, resources={"metadata": {"path": os.fspath(tmp_path)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.output_type == "error"]
