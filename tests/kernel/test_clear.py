"""A job that clears its output: the card stays, and what is not the job's."""

import time

import pytest

from tests.kernel.background import load, wait_job
from tests.kernel.harness import Kernel
from tests.waiting import wait_for

LOOPS = {
    "from IPython.display import clear_output\n"
    "for i in range(30):\n"
    "    clear_output(wait=True); print('epoch', i); display(f'plot {i}')": [
        "epoch 29",
        "'plot 29'",
    ],
    "print('at first'); display('shown')\nclear_output()\nprint('then')": ["then"],
    "clear_output(); print('one'); display('two')": ["one\n", "'two'"],
    "print('kept'); clear_output(wait=True)": ["kept\n"],
    "print('kept', file=sys.stderr); display('too')\n"
    "for i in range(3): display(i); clear_output(wait=True)": ["2"],
    # Fewer outputs than before, and more.
    "for i in range(5):\n"
    "    clear_output(wait=True)\n"
    "    for j in range(5 - i): display(f'{i} {j}')": ["'4 0'"],
    "for i in range(5):\n"
    "    clear_output(wait=i % 2)\n"
    "    for j in range(i): print(i, j); display(f'{i} {j}')": [
        *("4 0", "'4 0'", "4 1", "'4 1'", "4 2", "'4 2'", "4 3", "'4 3'"),
    ],
    # Names for displays.
    "for i in range(4):\n"
    "    clear_output(wait=True)\n"
    "    handle = display(i, display_id=True); display('next', display_id='mine')\n"
    "    handle.update(f'{i}!')": ["'3!'", "'next'"],
    "from IPython.display import update_display\n"
    "display('first', display_id='one')\n"
    "for i in range(3):\n"
    "    update_display(i, display_id='one'); clear_output(wait=True)\n"
    "    display('other'); display(i, display_id='one')": ["'other'", "2"],
    "for i in range(3): display(i, display_id='twin')\n"
    "for i in range(3): clear_output(wait=True); display('a'); display('b')": ["'a'", "'b'"],
    # Nested loops, and other threads.
    "for i in range(3):\n"
    "    clear_output(wait=True); print('outer', i)\n"
    "    for j in range(3): clear_output(wait=True); print('inner', i, j)": ["inner 2 2"],
    "def child():\n"
    "    for i in range(5): clear_output(wait=True); display(i)\n"
    "print('before'); thread = threading.Thread(target=child); thread.start(); thread.join()": [
        "4",
    ],
    # A long text, and one that is painted over.
    "for i in range(3):\n"
    "    clear_output(wait=True)\n"
    "    for j in range(300): print(i, j)\n"
    "print('end')": None,
    "for i in range(3):\n"
    "    clear_output(wait=True)\n"
    "    for j in range(50): print(f'\\r{j}/50', end='', flush=True)\n": ["49/50"],
}


@pytest.mark.slow
def test_loops_that_clear_keep_the_card_and_end_with_the_last_picture(any_kernel: Kernel) -> None:
    load(any_kernel)
    any_kernel.run("from IPython.display import clear_output")
    for code, expected in LOOPS.items():
        cell = any_kernel.run(f"%%bg -n loop\n{code}")
        assert wait_job(any_kernel, "loop") == "done"
        any_kernel.run("ipykill.jobs.clear()")
        if expected is None:
            lines = [f"2 {number}" for number in range(300)] + ["end"]
            expected_text = "\n".join(lines)
            wait_for(lambda: "end" in "".join(cell.page), "the end")  # noqa: B023
            assert cell.page[0] == "card"
            assert "\n".join(it.rstrip("\n") for it in cell.page[1:]) == expected_text
        else:
            want = ["card", *expected]
            what = f"{want} after {code}"
            wait_for(lambda: cell.page == want, what)  # noqa: B023


def test_a_live_plot_keeps_its_card_while_it_runs(kernel: Kernel) -> None:
    load(kernel)
    kernel.run("import matplotlib.pyplot as plt\nfrom IPython.display import clear_output")
    cell = kernel.run(
        "%%bg -n plot\nprint('starting')\ni = 0\n"
        "while True:\n"
        "    clear_output(wait=True); plt.plot([1, i]); plt.show(); i += 1"
    )
    kernel.run("while i < 5: time.sleep(0.01)")
    assert cell.page in (["card", "image"], ["card", "starting\n"])
    cell.wait_output(lambda cell: cell.page == ["card", "image"])
    assert kernel.run("ipykill.jobs['plot'].kill(30)").result == "True"
    kernel.run("ipykill.jobs['plot'].wait(30)")
    assert cell.page == ["card", "image"]
    assert len(cell.contents("clear_output")) <= 1


def test_clearing_spares_what_is_not_the_jobs_own(any_kernel: Kernel) -> None:
    load(any_kernel)
    any_kernel.run(
        "from IPython.display import clear_output, display\ngo = threading.Event()\n"
        "def work(n):\n"
        "    display(f'first {n}'); go.wait(30); clear_output(); display(f'last {n}')"
    )
    cell = any_kernel.run(
        "print('text of its own'); one = ipykill.submit(work, 1); two = ipykill.submit(work, 2)\n"
        "display('own display'); display(one); two"
    )
    any_kernel.run("go.set()")
    assert wait_job(any_kernel, 1) == wait_job(any_kernel, 2) == "done"
    wait_for(lambda: "last" in str(cell.page) and "first" not in str(cell.page), "the end")
    assert sorted(cell.page) == [
        *("'last 1'", "'last 2'", "'own display'", "card", "card", "text of its own\n"),
    ]
    cell = any_kernel.run(
        "%%bg -n outer\ndisplay(1); ipykill.submit(print, 'inner').wait()\n"
        "clear_output(); display(2)"
    )
    assert wait_job(any_kernel, "outer") == "done"
    cell.wait_output(lambda cell: "2" in cell.page)
    assert sorted(cell.page) == ["2", "card", "inner\n"]


def test_an_error_and_the_last_words_clear_nothing(kernel: Kernel) -> None:
    load(kernel)
    kernel.run("from IPython.display import clear_output")
    cell = kernel.run("%%bg -n fails\ndisplay('last plot'); clear_output(wait=True); 1 / 0")
    assert wait_job(kernel) == "failed"
    cell.wait_output(lambda cell: cell.page == ["card", "'last plot'", "ZeroDivisionError"])
    cell = kernel.run(
        "%%bg -q -n dies\ndisplay('last plot'); clear_output(wait=True); here = 1\ntime.sleep(1000)"
    )
    kernel.run("while 'here' not in globals(): time.sleep(0.01)\nipykill.jobs['dies'].kill(30)")
    wait_job(kernel, "dies")
    cell.wait_output(lambda cell: "killed after" in cell.page[-1])
    assert cell.page[0] == "'last plot'"


def test_a_picture_that_a_kill_has_cut_short_leaves_the_last_one(kernel: Kernel) -> None:
    load(kernel)
    kernel.run("sys.modules['ipykill.output.region']._GRACE = 1000.0")
    kernel.run("sys.modules['ipykill.output.region']._LONGEST = 1000.0")
    cell = kernel.run(
        "%%bg -n plot\nfrom IPython.display import clear_output\n"
        "for i in range(2):\n"
        "    clear_output(wait=True); print('epoch', i)\n"
        "    if i: here = 1; time.sleep(1000)\n"
        "    display('picture')"
    )
    kernel.run("while 'here' not in globals(): time.sleep(0.01)\nipykill.jobs['plot'].kill(30)")
    assert wait_job(kernel, "plot") == "killed"
    kernel.idle()
    cell.wait_output(lambda cell: cell.page == ["card", "epoch 1", "'picture'"])


def test_a_widget_is_cleared_as_ever(any_kernel: Kernel) -> None:
    load(any_kernel)
    any_kernel.run("import ipywidgets; out = ipywidgets.Output()")
    cell = any_kernel.run(
        "%%bg -n widget\nfrom IPython.display import clear_output\nprint('in the cell')\n"
        "with out: print('first')\n"
        "out.clear_output()\n"
        "for i in range(3):\n"
        "    out.clear_output(wait=True)\n"
        "    with out: print(i); display('shown')\n"
        "with out:\n"
        "    for i in range(3): clear_output(wait=True); display(i)"
    )
    assert wait_job(any_kernel) == "done"
    wait_for(lambda: any_kernel.page.in_widgets() == [["2"]], "the last state of the widget")
    assert cell.page == ["card", "in the cell\n"]


@pytest.mark.slow
def test_a_loop_of_plots_sends_no_more_than_a_page_bears(kernel: Kernel) -> None:
    load(kernel)
    cell = kernel.run(
        "%%bg -n fast\nfrom IPython.display import clear_output\nend = time.monotonic() + 2\n"
        "i = 0\nwhile time.monotonic() < end:\n"
        "    clear_output(wait=True); print(i); display(i); i += 1\n"
    )
    start = time.monotonic()
    assert wait_job(kernel) == "done"
    took = time.monotonic() - start
    last = kernel.run("print(i - 1)").text()
    cell.wait_output(lambda cell: cell.page == ["card", last.strip(), last.strip()])
    assert len(cell.messages) < 400 + 150 * took
