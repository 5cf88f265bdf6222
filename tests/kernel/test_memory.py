"""What a kernel still holds of the user's objects when jobs are over: they are counted."""

import pytest

from tests.kernel.background import load, wait_job
from tests.kernel.harness import Kernel
from tests.waiting import wait_for

COUNT = """
import gc, weakref
made = []
class Array: pass
def make():
    array = Array()
    made.append(weakref.ref(array))
    return array
def left():
    gc.collect()
    return sum(it() is not None for it in made)
def fail():
    array = make()
    array.nosuch
def hang():
    array = make()
    while True: time.sleep(0.01)
"""


def wait_left(kernel: Kernel, count: int) -> None:
    wait_for(lambda: kernel.run("left()").result == str(count), f"{count} arrays that are left")
    assert kernel.run("bool(made)").result == "True"


@pytest.fixture(autouse=True)
def loaded(kernel: Kernel) -> None:
    load(kernel)
    kernel.run(COUNT)


def test_of_failed_cells_the_newest_keeps_its_frames(any_ipython: Kernel) -> None:
    load(any_ipython)
    any_ipython.run(COUNT)
    for number in range(1, 4):
        cell = any_ipython.run("%%bg\nfail()")
        wait_job(any_ipython, number)
        cell.wait_output(lambda cell: cell.errors)
        wait_left(any_ipython, 1)
    where = any_ipython.run("%bgwhere 1").text()
    assert ", line 13: AttributeError: 'Array' object has no" in where
    any_ipython.run("%bgclear")
    wait_left(any_ipython, 0)
    assert any_ipython.run("[type(it).__name__ for it in Out.values()]").result.count("'Job'") == 3


def test_a_value_is_kept_until_its_cell_is_run_again_or_it_is_cleared(kernel: Kernel) -> None:
    kernel.run("get_ipython().get_parent = lambda: {'metadata': {'cellId': 'one'}}")
    for number in range(1, 3):
        kernel.run("%%bg -q\nmake()")
        wait_job(kernel, number)
        wait_left(kernel, 1)
    kernel.run("%%bg\nmake()  # changed")
    wait_job(kernel, 3)
    wait_left(kernel, 1)
    kernel.run("get_ipython().get_parent = lambda: {'metadata': {'cellId': 'other'}}")
    kernel.run("for n in range(2): get_ipython().run_cell_magic('bg', '-q', 'make()')")
    wait_job(kernel, 5)
    wait_left(kernel, 3)
    assert kernel.run("type(ipykill.jobs[5].result())").result == "__main__.Array"
    error = kernel.run("ipykill.jobs[1].result()").errors[0]
    assert error["ename"] == "JobError"
    assert error["evalue"] == "job 1 (make()) has no value any more: its cell was run again"
    kernel.run("%bgclear 4")
    wait_left(kernel, 2)
    kernel.run("%bgclear")
    wait_left(kernel, 0)


def test_killed_stopped_and_awaiting_cells_keep_nothing(kernel: Kernel) -> None:
    kernel.run("%%bg\nhang()")
    kernel.run("%%bg\nimport asyncio\narray_ = make()\nawait asyncio.sleep(1000)")
    kernel.run("%%bg\ntry:\n    hang()\nfinally:\n    fail()")
    wait_for(lambda: kernel.run("len(made)").result == "3", "the jobs to work")
    kernel.run("%bgkill --all -w 30")
    assert kernel.run("{job.state.value for job in ipykill.jobs}").result == "{'killed'}"
    wait_left(kernel, 1)  # the variable
    kernel.run("del array_")
    wait_left(kernel, 0)


def test_a_large_value_is_told(kernel: Kernel) -> None:
    kernel.run("import numpy")
    kernel.run("%%bg -q -n large\nnumpy.zeros(25_000_000)")
    kernel.run("%%bg -q -n small\nnumpy.zeros(25)")
    wait_job(kernel, 1)
    wait_job(kernel, 2)
    kept = "keeps its value, 200 MB, until %bgclear 1 or the next run of its cell"
    table = kernel.run("%bgjobs -l").text()
    assert table.count("keeps") == 1
    assert f"cell [{kernel.run('1').number - 4}]" in table
    assert kept in table
    assert kernel.run("%bgwhere 1").text().endswith("; it " + kept + "\n")
    kernel.run("ipykill.jobs[1].forget('')")
    assert "keeps" not in kernel.run("%bgjobs -l").text()


def test_a_cell_of_the_foreground_leaves_nothing_to_the_garbage_collector(kernel: Kernel) -> None:
    kernel.run("gc.disable()")
    for _ in range(10):
        kernel.run("x = 1")
    cells = "[it for it in gc.get_objects() if type(it).__name__ == 'RunningCell']"
    assert kernel.run(f"len({cells})").result == "1"  # the cell that asks
