"""Jobs that no cell launches, but what runs between cells: callbacks, timers, tasks."""

import pytest

from tests.kernel.background import load, wait_job
from tests.kernel.harness import Kernel
from tests.waiting import wait_for

SETUP = """
import asyncio, ipywidgets
from IPython.display import clear_output, display
button, out, slider = ipywidgets.Button(), ipywidgets.Output(), ipywidgets.IntSlider()
def work(what='work'):
    print('printed by', what); display(f'shown by {what}')
def submit(what='work'): ipykill.submit(work, what)
"""


def lines(page: list[str]) -> list[str]:
    """In no order: who prints first is up to the threads."""
    return sorted(line for text in page for line in text.splitlines())


@pytest.fixture(autouse=True)
def loaded(any_kernel: Kernel) -> None:
    load(any_kernel)
    assert any_kernel.run(SETUP).status == "ok"


def test_what_the_job_of_a_click_prints_is_below_the_newest_cell(any_kernel: Kernel) -> None:
    any_kernel.run("button.on_click(lambda _: submit('click'))")
    any_kernel.run("slider.observe(lambda change: submit('slider'), 'value')")
    newest = any_kernel.run("print('newest')")
    any_kernel._client.execute("1", silent=True)  # as front ends do; nobody sees such a cell
    any_kernel.press("button")  # which runs a cell first
    wait_for(lambda: "printed by click" in str(any_kernel.published), "what the click's job prints")
    any_kernel.press("slider", value=7)
    wait_for(lambda: "shown by slider" in str(any_kernel.published), "what the slider's job shows")
    pages = [any_kernel.page.below(number) for number in list(any_kernel.iopub)]
    (clicked,) = [page for page in pages if "printed by click" in str(page)]
    assert clicked[1:] == ["printed by click\n", "'shown by click'"], "below the cell of press()"
    (slid,) = [page for page in pages if "printed by slider" in str(page)]
    assert slid[1:] == ["printed by slider\n", "'shown by slider'"]
    assert newest.page == ["newest\n"]


@pytest.mark.parametrize(
    "callback",
    [
        "def callback(_):\n    with out: print('clicked'); submit('click')",
        "@out.capture()\ndef callback(_): print('clicked'); submit('click')",
    ],
)
def test_what_the_job_of_a_click_prints_goes_where_the_click_prints(
    any_kernel: Kernel, callback: str
) -> None:
    def shown() -> str:
        return "".join(any_kernel.page.in_widgets()[0])

    any_kernel.run(f"{callback}\nbutton.on_click(callback)")
    for clicks in (1, 2):
        any_kernel.press("button")
        # The job may be faster than the callback.
        wait_for(lambda: shown().count("shown by click") == clicks, "what the job shows")  # noqa: B023
        wait_for(lambda: shown().count("clicked") == clicks, "what is printed")  # noqa: B023
        assert shown().count("printed by click") == clicks
    assert any_kernel.run("print('still')").page == ["still\n"]


def test_a_job_of_a_cell_in_a_block_of_a_widget_prints_there(any_kernel: Kernel) -> None:
    cell = any_kernel.run("with out: submit('cell')\nprint('outside')")
    assert wait_job(any_kernel) == "done"
    wait_for(lambda: len(any_kernel.page.in_widgets()[0]) == 2, "what the job prints")
    assert any_kernel.page.in_widgets() == [["printed by cell\n", "'shown by cell'"]]
    assert cell.page == ["outside\n"]


def test_a_job_of_interact_prints_in_its_output(any_kernel: Kernel) -> None:
    any_kernel.run(
        "@ipywidgets.interact(n=(0, 10))\ndef square(n): print('n is', n); submit(f'n={n}')\n"
        "slider = square.widget.children[0]"
    )
    wait_job(any_kernel)
    wait_for(lambda: "shown by n=5" in str(any_kernel.page.in_widgets()), "what the job shows")
    any_kernel.press("slider", value=7)
    expected = ["'shown by n=7'", "n is 7", "printed by n=7"]
    wait_for(lambda: lines(any_kernel.page.in_widgets()[1]) == expected, "what the next job shows")


def test_jobs_of_timers_and_tasks_print_below_their_cell(any_kernel: Kernel) -> None:
    cell = any_kernel.run(
        "threading.Timer(0.1, submit, ['timer']).start()\n"
        "async def later(): await asyncio.sleep(0.1); submit('task')\n"
        "task = asyncio.get_running_loop().create_task(later())"
    )
    expected = ["'shown by task'", "'shown by timer'", "printed by task", "printed by timer"]
    cell.wait_output(lambda cell: lines(cell.page) == expected)
