"""A cell that runs long offers to go on in the background."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.harness import Lab
from tests.waiting import HANG_GUARD

expect.set_options(timeout=HANG_GUARD * 1000)

pytestmark = pytest.mark.slow

LOAD = "%load_ext ipykill\n%config BackgroundMagics.offer = 0.2"
TRAIN = "import time\nprint('epoch 1')\nwhile True: time.sleep(0.01)"


@pytest.fixture(autouse=True)
def no_page_errors(lab: Lab) -> Iterator[None]:
    yield
    ours = [line for line in lab.console_errors if re.search(r"blob:|ipykill|anywidget", line)]
    assert ours == []


@pytest.mark.parametrize("app", ["lab/tree", "notebooks"])
def test_the_card_below_a_cell_lets_it_go_on(lab: Lab, app: str) -> None:
    lab.open(LOAD, TRAIN, "print('next cell')", app=app)
    lab.run(0)
    lab.start(1)
    lab.start(2)
    offer = lab.cell(1).get_by_role("group", name="cell [2] in the foreground")
    expect(offer).to_contain_text("running")
    offer.get_by_role("button", name="Continue in background", exact=True).click()
    lab.wait_output(2, "next cell")
    card = lab.cell(1).get_by_role("group", name=re.compile("job 1"))
    expect(card).to_contain_text("in the background since")
    expect(offer).to_have_count(0)
    for _ in range(2):
        card.get_by_role("button", name=re.compile("^Kill")).click()
    expect(card).to_contain_text("killed")


def test_the_offer_leaves_no_trace_and_can_interrupt(lab: Lab) -> None:
    wait = "import threading\ngo = threading.Event()\ngo.wait(1)\nprint('over')"
    lab.open(LOAD, wait, "go.wait()")
    lab.run(0)
    lab.start(1)
    offer = lab.page.get_by_role("button", name="Continue in background")
    expect(offer).to_be_visible()
    lab.wait_output(1, "over")
    expect(offer).to_have_count(0)
    expect(lab.cell(1).locator(".jp-OutputArea-child")).to_have_count(1)
    lab.start(2)
    lab.cell(2).get_by_role("button", name="Interrupt", exact=True).click()
    lab.wait_output(2, "KeyboardInterrupt")


def test_the_panel_shows_the_cell_in_the_foreground(lab: Lab) -> None:
    lab.open("%load_ext ipykill\n%config BackgroundMagics.offer = 0\n%bgpanel", TRAIN, "1 + 1")
    lab.run(0)
    lab.start(1)
    panel = lab.page.get_by_role("region", name="Background jobs")
    row = panel.get_by_role("group", name="cell [2] in the foreground")
    expect(row).to_contain_text("runs in the foreground")
    row.get_by_role("button", name="Continue in background").click()
    expect(panel.get_by_role("listitem")).to_contain_text("running")
    expect(row).to_be_hidden()
    lab.run(2)
    assert lab.cell(1).get_by_role("button", name="Continue in background").count() == 0


def test_a_reload_of_the_page_leaves_a_detached_cell_as_it_is(lab: Lab) -> None:
    lab.open("%load_ext ipykill\n%config BackgroundMagics.offer = 0\n%bgpanel", TRAIN, "1 + 1")
    lab.run(0)
    lab.start(1)
    panel = lab.page.get_by_role("region", name="Background jobs")
    panel.get_by_role("button", name="Continue in background").click()
    expect(panel.get_by_role("listitem")).to_contain_text("running")
    lab.reload()
    expect(panel.get_by_role("listitem")).to_contain_text("running")
    lab.run(2)
    lab.wait_output(2, "2")
    for _ in range(2):
        panel.get_by_role("button", name=re.compile("^Kill")).first.click()
    expect(panel.get_by_role("listitem")).to_contain_text("killed")
