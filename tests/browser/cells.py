"""Cells whose jobs a person watches, and where they see them."""

from playwright.sync_api import Locator, Page, expect

from tests.browser.harness import Lab
from tests.browser.rows import press
from tests.waiting import HANG_GUARD

expect.set_options(timeout=HANG_GUARD * 1000)

PANEL = "%load_ext ipykill\n%bgpanel"
LOOP = "import time\nwhile True: time.sleep(0.01)"
TRAIN = f"%%bg -n train\nprint('epoch 1')\n{LOOP}"
COUNT = (
    "%%bg -n count\nimport time\ni = 0\nwhile True:\n"
    "    i += 1\n    print('line', i)\n    time.sleep(0.05)"
)
HOSTILE = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>"


def panel(page: Page) -> Locator:
    return page.get_by_role("region", name="Background jobs")


def card(lab: Lab, index: int) -> Locator:
    """The live card below a cell."""
    return lab.cell(index).get_by_role("group")


def row(page: Page, title: str) -> Locator:
    return panel(page).get_by_role("listitem", name=title)


def kill(place: Locator, title: str) -> None:
    press(place, f"Kill {title}")
    press(place, f"Kill {title}")
