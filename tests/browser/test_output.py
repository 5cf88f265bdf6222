"""What jobs print and show, as a person sees it."""

import pytest
from playwright.sync_api import expect

from tests.benchmarks.output import FLOODS, cost
from tests.browser.harness import Lab
from tests.overlays import INSTALLED, OVERLAYS, Overlay

LOAD = "%load_ext ipykill\nimport ipykill, ipywidgets, sys, threading, time\ngo = threading.Event()"
NEWEST_AND_OLDEST = [INSTALLED, OVERLAYS[-1]] if len(OVERLAYS) > 1 else [INSTALLED]


# How much of each flood; the others are those of tests/kernel/test_output_floods.py.
PARTS = {"120 000": 0.1, "flushed": 0.1, "displays": 0.1, "50 MB": 1, "repaints": 0.02, "ANSI": 0.1}
CHOSEN = {name: part for name in FLOODS for key, part in PARTS.items() if key in name}


@pytest.mark.parametrize("flood", CHOSEN)
def test_a_flood_harms_nobody(lab: Lab, flood: str) -> None:
    job = cost(lab, FLOODS[flood], CHOSEN[flood], job=True)  # it checks the foreground's own output
    assert not job.limited
    assert job.whole
    # Milliseconds in which the page stands still; a slow machine is asked what it takes without us.
    assert job.work < 200 or 2 * job.work < cost(lab, FLOODS[flood], CHOSEN[flood], job=False).work
    assert job.messages < 700
    assert job.bytes < 3_000_000
    assert job.memory < 700


@pytest.mark.parametrize("any_overlay", NEWEST_AND_OLDEST, indirect=True, ids=lambda it: it.name)
def test_widgets_of_a_job_live_in_its_cell(lab: Lab, any_overlay: Overlay) -> None:
    lab.open(
        LOAD,
        "%%bg -q\n"
        "from IPython.display import display\n"
        "from tqdm.notebook import tqdm\n"
        "bar = ipywidgets.IntProgress(description='the bar')\n"
        "label = ipywidgets.Label('at first')\n"
        "display(ipywidgets.HBox([bar, label]))\n"
        "go.wait()\n"
        "for i in tqdm(range(20), desc='notebook'): bar.value = i * 5 + 5\n"
        "label.value = 'at last'\n"
        "slider = ipywidgets.IntSlider(value=3, description='n')\n"
        "display(ipywidgets.interactive(lambda n: print('square', n * n), n=slider))\n",
        "go.set()\nipykill.jobs[1].wait(30)",
        "slider.value = 7",
        kernel=any_overlay,
    )
    lab.run(0)
    lab.run(1)
    below = lab.cell(1).locator(".jp-OutputArea-output")
    expect(below.get_by_text("at first")).to_be_visible()
    lab.run(2)
    expect(below.get_by_text("at last")).to_be_visible()
    expect(below.get_by_text("20/20")).to_be_visible()
    lab.run(3)
    lab.wait_output(1, "square 49")
    assert "square" not in lab.output(2) + lab.output(3)
    lab.screenshot("widgets")


@pytest.mark.parametrize("any_overlay", NEWEST_AND_OLDEST, indirect=True, ids=lambda it: it.name)
def test_an_output_widget_takes_what_its_job_shows_and_nothing_else(
    lab: Lab, any_overlay: Overlay
) -> None:
    lab.open(
        LOAD,
        "out = ipywidgets.Output(layout={'border': '1px solid'}); out",
        "%%bg -q\n"
        "print('before')\n"
        "with out:\n"
        "    print('inside'); display('shown')\n"
        "    inside = True; go.wait()\n"
        "    1 / 0\n"
        "print('after')",
        "while 'inside' not in globals(): time.sleep(0.01)\nprint('foreground')\ngo.set()",
        "ipykill.jobs[1].wait(30); print(ipykill.jobs[1].state.value)",
        kernel=any_overlay,
    )
    lab.run_all()
    lab.wait_output(2, "after")
    lab.wait_output(1, "ZeroDivisionError")
    assert lab.output(2).split() == ["before", "after"]
    assert "inside" in lab.output(1)
    assert "'shown'" in lab.output(1)
    assert lab.output(3) == "foreground\n"
    assert lab.output(4) == "done\n"
    lab.screenshot("output-widget")
