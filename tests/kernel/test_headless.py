"""Runs without a person: what a job shows is kept in its cell, and its error fails the run."""

import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert.preprocessors import ExecutePreprocessor

from tests.overlays import ROOT

LOAD = "%load_ext ipykill"
WORK = "import time; time.sleep(0.3); print('from the job'); display({'shown': 1}); 6 * 7"


def notebook(*cells: str) -> nbformat.NotebookNode:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    kernel = {"name": "python3", "display_name": "python3", "language": "python"}
    made.metadata["kernelspec"] = kernel
    return made


def shown(cell: nbformat.NotebookNode) -> list[str]:
    """What stands below a cell, without the job's card."""
    outputs = []
    for output in cell.outputs:
        text = output.get("text") or output.get("data", {}).get("text/plain", "")
        if text and not text.startswith("[1] "):
            outputs.append(output.get("ename") or text)
    return outputs


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What the kernels of a test start with; returns the folder of their configuration."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    folder = tmp_path / "ipython" / "profile_default"
    folder.mkdir(parents=True)
    return folder


def test_wait_keeps_what_the_job_shows(environment: Path) -> None:
    made = notebook(LOAD, f"%%bg --wait\n{WORK}", "print('later')")
    NotebookClient(made, timeout=60).execute()
    assert shown(made.cells[1]) == ["from the job\n", "{'shown': 1}", "42"]
    assert shown(made.cells[2]) == ["later\n"]


def test_the_jobs_error_fails_the_run_and_stands_in_its_cell(environment: Path) -> None:
    made = notebook(LOAD, "%%bg --wait\nprint('before')\n1 / 0", "print('never')")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        NotebookClient(made, timeout=60).execute()
    assert [output.get("ename") for output in made.cells[1].outputs][-1] == "ZeroDivisionError"
    assert "before\n" in shown(made.cells[1])
    assert made.cells[2].outputs == []


def test_a_whole_run_can_be_configured(environment: Path, tmp_path: Path) -> None:
    config = "c.BackgroundMagics.wait = True\n"
    (environment / "ipython_kernel_config.py").write_text(config)
    file = tmp_path / "run.ipynb"
    nbformat.write(notebook(LOAD, f"%%bg\n{WORK}", "%%bg -q\n1 / 0"), file)
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        ExecutePreprocessor(timeout=60).preprocess(nbformat.read(file, as_version=4))
    convert = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "notebook", "--execute"]
    command = [*convert, "--allow-errors", "--output", "done", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    made = nbformat.read(tmp_path / "done.ipynb", as_version=4)
    assert shown(made.cells[1]) == ["from the job\n", "{'shown': 1}", "42"]
    assert [output.get("ename") for output in made.cells[2].outputs][-1] == "ZeroDivisionError"


def test_papermill_keeps_output_and_stops_at_an_error(environment: Path, tmp_path: Path) -> None:
    config = "c.BackgroundMagics.wait = True\n"
    (environment / "ipython_kernel_config.py").write_text(config)
    made = notebook("number = 0", LOAD, f"%%bg\n{WORK} // number", "print('later')")
    made.cells[0].metadata["tags"] = ["parameters"]
    source, target = tmp_path / "run.ipynb", tmp_path / "done.ipynb"
    nbformat.write(made, source)
    papermill.execute_notebook(source, target, {"number": 2}, progress_bar=False)
    done = nbformat.read(target, as_version=4)
    assert shown(done.cells[3]) == ["from the job\n", "{'shown': 1}", "21"]
    assert shown(done.cells[4]) == ["later\n"]
    with pytest.raises(papermill.PapermillExecutionError, match="ZeroDivisionError"):
        papermill.execute_notebook(source, target, progress_bar=False)
    done = nbformat.read(target, as_version=4)
    assert [output.get("ename") for output in done.cells[-2].outputs][-1] == "ZeroDivisionError"
    assert done.cells[-1].outputs == []
