"""The page objects drive the real thing."""

import pytest

from tests.browser.harness import Lab
from tests.overlays import OVERLAYS, Overlay

CELLS = ("x = 6 * 7", "print('the answer', x)", "1 / 0")


@pytest.mark.parametrize("app", ["lab/tree", "notebooks"])
def test_cells_run_and_survive_a_reload(lab: Lab, app: str) -> None:
    lab.open(*CELLS[:2], app=app)
    lab.run_all()
    assert lab.output(1) == "the answer 42\n"
    lab.run(1)
    assert lab.prompt(1) == "[3]:"
    lab.reload()
    assert lab.output(1) == "the answer 42\n"
    lab.run(1)
    assert lab.prompt(1) == "[4]:"
    if app == "lab/tree":
        assert lab.console_errors == []  # Notebook 7.6 has some of its own


def test_errors_interrupt_and_restart(lab: Lab) -> None:
    lab.open(*CELLS, "import time\nprint('started')\ntime.sleep(1000)")
    lab.run(2)
    lab.wait_output(2, "ZeroDivisionError")
    lab.start(3)
    lab.wait_output(3, "started")
    assert lab.prompt(3) == "[*]:"
    lab.interrupt_kernel()
    lab.wait_output(3, "KeyboardInterrupt")
    lab.restart_kernel()
    lab.run(1)
    lab.wait_output(1, "NameError")


@pytest.mark.parametrize("any_overlay", [OVERLAYS[-1]], indirect=True)
def test_a_notebook_can_ask_for_another_kernel(lab: Lab, any_overlay: Overlay) -> None:
    lab.open("import ipykernel; ipykernel.__version__", kernel=any_overlay)
    lab.run(0)
    assert dict(any_overlay.packages)["ipykernel"] in lab.output(0)


def test_widgets_are_shown_and_clicked(lab: Lab) -> None:
    lab.open(
        "import ipywidgets as w\n"
        "button, label = w.Button(description='Press'), w.Label('waiting')\n"
        "button.on_click(lambda _: setattr(label, 'value', 'pressed'))\n"
        "w.HBox([button, label])"
    )
    lab.run(0)
    lab.cell(0).get_by_role("button", name="Press").click()
    lab.wait_output(0, "pressed")
