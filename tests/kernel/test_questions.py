"""A job asks nobody, and says so at once; the foreground asks as ever."""

import pytest

from tests.frames import shows_us
from tests.kernel.background import load, wait_job
from tests.kernel.harness import Kernel

NOBODY = "nobody can answer a background job"


@pytest.mark.smoke
def test_a_question_of_a_job_is_an_error_at_once(any_kernel: Kernel) -> None:
    # In a cell these are the kernel's own functions.
    any_kernel.run("from getpass import getpass as early_getpass; early_input = input")
    load(any_kernel)
    any_kernel.run("import getpass, concurrent.futures\ngo = threading.Event()")
    asks = {
        "input('name? ')": "input() in job 1 (asks)",
        "getpass.getpass()": "getpass() in job 2 (asks)",
        "early_input()": "input() in job 3 (asks)",
        "with concurrent.futures.ThreadPoolExecutor() as pool: pool.submit(input).result()": (
            "input() in job 4 (asks)"
        ),
        "early_getpass()": "getpass() in job 5 (asks)",
    }
    for number, (code, expected) in enumerate(asks.items(), 1):
        # Once while no cell runs, and once while one does: ipykernel has other functions then.
        cell = any_kernel.run(f"%%bg -q -n asks\n{code}")
        assert wait_job(any_kernel, number) == "failed"
        cell.wait_output(lambda cell: cell.errors)
        assert f"EOFError: {expected}: {NOBODY}" in cell.traceback
        assert not shows_us(cell.traceback)
    cell = any_kernel.run("%%bg -q -n idle\ngo.wait()\nprint(repr(input))\ninput('name? ')")
    any_kernel.run("go.set()")
    any_kernel.idle()
    cell.wait_output(lambda cell: cell.errors)
    assert f"EOFError: input() in job 6 (idle): {NOBODY}" in cell.traceback


def test_the_foregrounds_questions_are_not_touched(any_kernel: Kernel) -> None:
    load(any_kernel)
    any_kernel.run("%%bg -q\nwhile True: time.sleep(0.01)")
    for code in ("input('name? ')", "import getpass; getpass.getpass('name? ')"):
        cell = any_kernel.cell(code)
        assert any_kernel.asked() == "name? "
        any_kernel.answer("Ada")
        assert cell.wait().result == "'Ada'"
    any_kernel.run("%unload_ext ipykill")
    cell = any_kernel.cell("input()")
    any_kernel.asked()
    any_kernel.answer("Grace")
    assert cell.wait().result == "'Grace'"


def test_a_debugger_in_a_job_says_what_to_do_instead(any_kernel: Kernel) -> None:
    load(any_kernel)
    codes = ["breakpoint()\nprint('passed')", "import pdb; pdb.set_trace()\nprint('passed')"]
    for number, code in enumerate([*codes, "%debug 1"], 1):
        cell = any_kernel.run(f"%%bg -q -n bug\n{code}")
        wait_job(any_kernel, number)
        told = f"pdb in job {number} (bug): no prompt leads to a background job"
        cell.wait_output(lambda cell, told=told: told in cell.traceback or told in cell.text())
        assert "passed" not in cell.text()


def test_a_failed_job_is_debugged_in_the_foreground(kernel: Kernel) -> None:
    load(kernel)
    kernel.run("%%bg -q\nwrong = 40 + 3\nassert wrong == 42")
    wait_job(kernel)
    assert kernel.run("ipykill.jobs[1].result()").status == "error"
    cell = kernel.cell("%debug")
    assert "ipdb>" in kernel.asked()
    kernel.answer("p wrong")
    kernel.asked()
    kernel.answer("q")
    assert "43" in cell.wait().text()
