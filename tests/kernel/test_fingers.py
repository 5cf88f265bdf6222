"""What Tab offers of our objects, and what a traceback shows of us: nothing."""

import pytest

from tests.frames import shows_us
from tests.kernel.background import load, wait_job
from tests.kernel.harness import Cell, Kernel

JOB = {
    *("id", "name", "source", "cell", "state", "requested", "reason", "started", "elapsed"),
    *("cpu_time", "progress", "log", "threads", "processes", "info", "where", "stop", "interrupt"),
    *("kill", "timeout", "wait", "done", "result", "exception", "add_done_callback"),
}
WAITS = [
    "job.result()",
    "job.wait()",
    "ipykill.jobs.wait([job])",
    "ipykill.jobs.kill([job], None)",
    "ipykill.sleep(1000)",
    "for _ in ipykill.every(1000): pass",
    "%bgwait",
    "sys.stdout.flush()",
    "print('late')",
]
# Prints when the main thread stands still, and makes what writes to a stream stand still as well.
STANDS_STILL = """
import sys, time, threading
from ipykernel.iostream import OutStream

def tell():
    main, looks, before = threading.main_thread().ident, 0, None
    while looks < 5:
        frame = sys._current_frames()[main]
        place = frame, frame.f_lasti
        looks = looks + 1 if place == before else 0
        before = place
        time.sleep(0.01)
    OutStream.flush, sys.stdout.write = usual
    print("begun", flush=True)

def wait(*_):
    if threading.current_thread() is threading.main_thread():
        time.sleep(1000)

def begin():
    global usual
    usual = OutStream.flush, sys.stdout.write
    threading.Thread(target=tell).start()
    OutStream.flush = sys.stdout.write = wait
"""


@pytest.mark.parametrize("jedi", [True, False])
def test_tab_offers_what_a_user_needs_and_nothing_else(any_ipython: Kernel, jedi: bool) -> None:
    load(any_ipython)
    any_ipython.run(f"%config Completer.use_jedi = {jedi}")
    any_ipython.run("%%bg -q -n train\nwith ipykill.shield(): time.sleep(1000)")
    any_ipython.run("%%bg -q -n 'two words'\n1")
    any_ipython.run("jobs = ipykill.jobs; job = jobs[1]; public = ipykill.__all__")
    any_ipython.run("from ipykill import current_job")

    def offered(code: str) -> set[str]:
        return {it.rpartition(".")[2] for it in any_ipython.complete(code)}

    assert offered("job.") == JOB
    assert offered("job.st") == {"state", "started", "stop"}
    for code in (
        *("jobs[1].", "ipykill.jobs['two words'].", "x = [jobs[1].", "current_job()."),
        *("ipykill.submit(print, (1)).", "jobs.submit(f).", "ipykill.current_job()."),
    ):
        assert offered(code) == JOB, code
    assert offered("ipykill.jobs[1].st") == {"state", "started", "stop"}
    for code in "public[0].", "jobs.running().", "jobs.running()[0].nosuch", "nosuch[1].":
        assert "where" not in offered(code), code
    names = any_ipython.run("sorted(public)").result
    assert sorted(offered("ipykill.")) == eval(names or "")
    assert {"kill_all", "submit"} <= offered("jobs.")
    assert not {"launch", "host"} & offered("jobs.")
    assert offered("job.log.") == {"path", "tail"}
    for jobs in "jobs", "ipykill.jobs":
        assert any_ipython.complete(f'{jobs}["t') == ["train", "two words"]


def raised(cell: Cell) -> str:
    assert cell.errors, cell
    assert not shows_us(cell.traceback)
    return cell.traceback


def test_tracebacks_have_no_frame_of_ours(any_ipython: Kernel) -> None:
    load(any_ipython)
    any_ipython.run("def fail():\n    return 1 / 0")
    failed = any_ipython.run("%%bg -q -n fails\nfail()")
    wait_job(any_ipython, 1)
    failed.wait_output(lambda cell: cell.errors)
    assert "return 1 / 0" in raised(failed)
    for code in "ipykill.jobs[1].result()", "await ipykill.jobs[1]":
        for _ in range(2):
            text = raised(any_ipython.run(code))
            assert code in text
            assert text.count("in fail()") == 1
            assert "run_code" not in text
    assert "fail()" in raised(any_ipython.run("%%bg --wait -q\nfail()"))
    assert "nosuch" in raised(any_ipython.run("ipykill.jobs['nosuch']"))
    thread = any_ipython.run(
        "%%bg -q -n parent\nt = threading.Thread(target=fail); t.start(); t.join()"
    )
    thread.wait_output(lambda cell: "ZeroDivisionError" in cell.text("stderr"))
    assert "in fail" in thread.text("stderr").replace("\x1b[35m", "")
    assert not shows_us(thread.text("stderr"))


def test_an_interrupt_shows_the_line_of_the_user(kernel: Kernel) -> None:
    load(kernel)
    kernel.run("%%bg -q -n deaf\nwith ipykill.shield(): time.sleep(1000)")
    kernel.run(f"job = ipykill.jobs[1]\n{STANDS_STILL}")
    for code in WAITS:
        cell = kernel.cell(f"begin()\n{code}").wait_output("begun")
        kernel.interrupt()
        cell.wait()
        text = raised(cell)
        assert "KeyboardInterrupt" in text
        assert code in text or code == "%bgwait"
