"""``%%bg --private``: what a cell assigns is its own until it has ended well."""

import pytest

from tests.kernel.background import load, wait_job
from tests.kernel.harness import Kernel

WAIT = "reached.set(); go.wait()"


@pytest.fixture(autouse=True)
def loaded(kernel: Kernel) -> None:
    load(kernel)
    kernel.run("go, reached = threading.Event(), threading.Event(); x = 1")


def test_names_are_published_at_the_end_of_a_job_that_is_done(any_ipython: Kernel) -> None:
    load(any_ipython)
    any_ipython.run("go, reached = threading.Event(), threading.Event(); x = 1")
    cell = any_ipython.run(
        "%%bg --private -o value\nx = x + 1\ndef double(): return 2 * x, y\n"
        f"class Point: start = x\nfor i in range(3): y = i\n{WAIT}\ny += z\n"
        "print(double(), Point.start)\ny"
    )
    any_ipython.run("reached.wait()")
    assert any_ipython.run("x, 'y' in globals(), 'double' in globals()").result == (
        "(1, False, False)"
    )
    any_ipython.run("z = 10  # seen by the job\nfor i in range(7): pass\ngo.set()")
    assert wait_job(any_ipython, 1) == "done"
    cell.wait_output("(4, 12) 2")
    assert any_ipython.run("x, y, value, double(), Point.start, i").result == (
        "(2, 12, 12, (4, 12), 2, 6)"
    )
    any_ipython.run("x = 50")
    assert any_ipython.run("double()").result == "(100, 12)"


def test_only_a_job_that_is_done_publishes(kernel: Kernel) -> None:
    ends = {
        "1/0": "failed",
        "ipykill.current_job().stop(); ipykill.checkpoint()": "stopped",
        "ipykill.current_job().kill(); time.sleep(100)": "killed",
        "raise SystemExit(1)": "failed",
        "raise SystemExit": "done",
        "quit()": "done",
        "import asyncio\nawait asyncio.sleep(0)": "done",
        "%time x = 5": "done",
        "def end(): global x; x = 5\n%time end()": "done",
    }
    for number, (end, state) in enumerate(ends.items(), 1):
        cell = f"x = 5\n{end}"
        kernel.run(f"x = 1\nget_ipython().run_cell_magic('bg', '-q --private', {cell!r})")
        assert wait_job(kernel, number) == state, end
        assert kernel.run("x").result == ("5" if state == "done" else "1"), end


def test_a_kill_leaves_nothing(kernel: Kernel) -> None:
    kernel.run(f"%%bg -q --private\nx = []\nwhile True: x.append(1); {WAIT}; time.sleep(0.01)")
    kernel.run("reached.wait(); go.set()")
    kernel.run("%bgkill")
    assert wait_job(kernel, 1) == "killed"
    assert kernel.run("x").result == "1"


def test_who_waits_for_it_sees_its_names(kernel: Kernel) -> None:
    kernel.run(f"%%bg -q --private -n first\n{WAIT}\nmodel = 'fitted'")
    kernel.run("%%bg -q --private -n second --after first\nresult = model.upper()")
    kernel.run("go.set()")
    assert kernel.run("%bgwait first\nmodel").result == "'fitted'"
    assert kernel.run("%bgwait second\nresult").result == "'FITTED'"
    kernel.run("%%bg -q --private --wait\nthird = 3")
    assert kernel.run("third").result == "3"
    kernel.run("%bg --private fourth = 4")
    kernel.run("%bgwait")
    assert kernel.run("fourth").result == "4"


def test_capture_runs_within(kernel: Kernel) -> None:
    kernel.run(f"%%bg -q --private\n%%capture out\nx = 6\nprint('hidden')\n{WAIT}")
    kernel.run("reached.wait()")
    assert kernel.run("x").result == "1"
    kernel.run("go.set()")
    assert wait_job(kernel, 1) == "done"
    assert kernel.run("x").result == "6"


def test_what_cannot_be_private_is_refused(kernel: Kernel) -> None:
    for line, code, words in (
        ("", "del x", "it deletes x, which it does not assign; do that in another cell, or leave"),
        ("", "%%time\nx = 2", "is run in the shared namespace; write %time before a statement"),
        ("--on process", "x = 2", "a job in another process has copies of the names, or leave"),
    ):
        cell = kernel.run(f"%%bg --private {line}\n{code}")
        assert "UsageError: not started: " in cell.text("stderr")
        assert words in cell.text("stderr")
    assert kernel.run("len(ipykill.jobs), x").result == "(0, 1)"


def test_it_is_no_race(kernel: Kernel) -> None:
    kernel.run(f"%%bg -q\nx = 2; {WAIT}; x = 2")
    assert kernel.run(f"%%bg -q --private\nx = 3; {WAIT}").text() == ""
    assert "keeps the names of a job its own" in kernel.run("%%bg -q\nx = 4").text()
    assert "'--private'" in str(kernel.complete("%%bg --pr"))
    assert "only if it ends well (not failed, stopped or" in " ".join(
        kernel.inspect("%%bg").split()
    )
    kernel.run("go.set()")
