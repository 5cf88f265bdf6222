"""Every notebook runs from top to bottom, ends its jobs as it says, and shows what makes sense."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import nbclient
import nbformat
import pytest

from tests.overlays import INSTALLED, ROOT
from tests.waiting import HANG_GUARD

pytestmark = pytest.mark.once

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NEEDS = {
    "cpu_bound_in_a_process": ["cloudpickle"],
    "dask_tasks_that_can_be_killed": ["distributed"],
    "progress_and_plots": ["matplotlib", "tqdm"],
    "train_while_you_explore": ["matplotlib", "sklearn"],
}
ENDED = """from ipykill import jobs
jobs.wait(jobs, 60)
assert {job.state.value for job in jobs} <= {"done", "stopped", "killed"}, jobs
"""

# What a reader is to see, asked of the kernel after the last cell.
OUTCOMES = {
    "cpu_bound_in_a_process": """
assert len(primes) == how_many == 6057
assert found == {"largest": 59999}
assert rounds > 0
assert [job.state.value for job in jobs] == ["done", "killed", "killed"]
""",
    "dask_tasks_that_can_be_killed": """
assert results == [n**2 for n in range(10)]
assert (folder / "a").read_text() == "cleaned up"
assert how_many == len(squares) == 1000
assert rounds > 0
assert [job.state.value for job in jobs] == ["done", "killed"]
""",
    "cleanup_shields_and_stop": """
assert not Path(folder).exists()
assert account < 1000 == account + savings
assert steps > 1
assert [job.state.value for job in jobs] == ["killed", "killed", "done", "stopped", "killed"]
""",
    "continue_in_background": """
assert [job.state.value for job in jobs] == ["done", "killed"]
assert so_far < total == sum(range(100)), (so_far, total)
assert jobs[1].log.tail() == [*(f"at {n}" for n in range(0, 100, 20)), "the sum is 4950"]
assert left == ["cleaned up"]
""",
    "killing_the_unkillable": """
assert {job.state.value for job in jobs} == {"killed"}
assert held.locked()
assert server.fileno() == client.fileno() == -1
assert process.poll() == -15
assert caught == 5 * ["JobKilled"], caught
assert alive == 0 < len(threads)
""",
    "progress_and_plots": """
assert {job.state.value for job in jobs} == {"done"}
assert 0 < progress.done <= progress.total == len(means) == 150, progress
assert progress.left < 60, progress
""",
    "quickstart": """
assert [job.state.value for job in jobs] == ["done", "killed", "done"]
assert last_step > 1
""",
    "train_while_you_explore": """
assert [job.state.value for job in jobs] == ["stopped", "killed"]
assert best[0] > 0.9, (len(tried), best)
assert machine.score(X_test, y_test) > 0.9, best
assert model.score(X_test, y_test) > 0.5, len(history)
""",
}
# What a cell says for want of anything better.
SILLY = re.compile(r"has printed nothing|<string>|nobody gets here|\bNone\b|\bnan\b")


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
    notebook.cells.append(nbformat.v4.new_code_cell(ENDED + OUTCOMES[path.stem]))
    # An error in a cell fails the test by itself, in a job it is an output of that cell.
    client = nbclient.NotebookClient(
        notebook, timeout=2 * HANG_GUARD, resources={"metadata": {"path": os.fspath(tmp_path)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.output_type == "error"]
    for cell in notebook.cells:
        said = "\n".join(_texts(cell))
        assert not SILLY.search(said), f"{cell.source}\n\nsays\n\n{said}"


def _texts(cell: nbformat.NotebookNode) -> Iterator[str]:
    """The text of each output of a cell."""
    for output in cell.get("outputs", ()):
        if output.output_type == "stream":
            yield output.text
        elif "data" in output:
            yield output.data.get("text/plain", "")
