"""Loading the extension where there is no notebook."""

import subprocess
import sys

import pytest

import ipykill
from tests.overlays import ROOT


def run_in_ipython(*cells: str) -> str:
    """Run cells in an IPython shell of a process of its own; what it printed."""
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        f"for cell in {list(cells)!r}:\n"
        "    shell.run_cell(cell, store_history=True).raise_error()\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_outside_ipython_it_says_what_to_do_instead() -> None:
    with pytest.raises(ipykill.JobError, match=r"need IPython; .* ipykill\.submit\(\)"):
        ipykill.load_ipython_extension(None)


def test_in_ipython_without_a_kernel_jobs_print_and_are_told() -> None:
    printed = run_in_ipython(
        "%load_ext ipykill",
        "%%bg -q -n train\nprint('printed', 6 * 7)",
        "%bgwait train",
        "%bgjobs",
        "%bgpanel",
        "%bglog train",
    )
    assert printed.count("printed 42\n") == 2
    assert "[1] train: done in" in printed
    assert "id  name   state  elapsed  cpu   where\n" in printed


def test_no_widgets_are_imported_without_a_kernel() -> None:
    printed = run_in_ipython(
        "%load_ext ipykill",
        "%%bg -n train\n1",
        "%bgwait",
        "import sys; print([name for name in ('ipywidgets', 'anywidget') if name in sys.modules])",
    )
    assert "[]" in printed


def test_in_a_terminal_nothing_of_jupyter_is_needed() -> None:
    printed = run_in_ipython(
        "import sys\nnames = 'zmq tornado ipykernel jupyter_client ipywidgets anywidget'.split()\n"
        "sys.modules |= dict.fromkeys(names)",
        "%load_ext ipykill",
        "%%bg --wait -q\nprint(6 * 7)",
        "%bgjobs -a",
        "%unload_ext ipykill",
    )
    assert "42" in printed


def test_wait_in_ipython_without_a_kernel_fails_as_the_job_failed() -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run_in_ipython("%load_ext ipykill", "%%bg --wait -q\n1 / 0")


def test_where_no_thread_can_be_started_a_line_says_so() -> None:
    printed = run_in_ipython(
        "%load_ext ipykill",
        # What Python does in a browser (Pyodide).
        "import threading\n"
        'def refuse(*args, **kwargs): raise RuntimeError("can\'t start new thread")\n'
        "for name in ('_start_new_thread', '_start_joinable_thread'):\n"
        "    if hasattr(threading, name): setattr(threading, name, refuse)",
        "%%bg -n train\n1",
        "%bgwait",
        "%bgjobs",
        "%bgpanel",
    )
    assert "JobError: no thread can be started for it: can't start new thread\n" in printed
    assert "[1] train: failed after" in printed
    assert "Traceback" not in printed


def test_one_switch_in_the_configuration_turns_off_what_is_private_to_cpython() -> None:
    printed = run_in_ipython(
        "%load_ext ipykill\nimport ipykill",
        "ipykill.about().level, ipykill.about().wakes",
        "%config BackgroundMagics.kill_level = 'public'",
        "about = ipykill.about(); about.level, about.wakes, about.wakes_why",
    )
    assert "('full', True)" in printed
    assert "('public', False, 'switched off')" in printed
