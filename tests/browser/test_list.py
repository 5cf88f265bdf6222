"""The list of jobs: its order, its columns, its keys, and that everybody can use it."""

import time

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.browser.rows import PLACE, item, over, press, row
from tests.browser.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.once]

INNER = {"done": 3, "total": 9, "description": "batch", "left": 2, "rate": 7}
OUTER = {"done": 3, "total": 4, "description": "epoch", "left": 65, "rate": 0.5, "inner": INNER}
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]}}
# What a whole page has, a stage has not.
RULES["rules"] = {
    name: {"enabled": False}
    for name in (
        "document-title",
        "html-has-lang",
        "page-has-heading-one",
        "landmark-one-main",
        "region",
    )
}
DARK = {
    "ui-font-color1": "#fff",
    "ui-font-color2": "rgb(255 255 255 / 70%)",
    "border-color2": "#424242",
    "layout-color1": "#111",
    "layout-color2": "#424242",
    "brand-color1": "#1976d2",
    "error-color1": "#d32f2f",
    "warn-color1": "#f57c00",
    "success-color1": "#388e3c",
}
"""JupyterLab's own."""


def names(panel: Locator) -> list[str | None]:
    return [it.get_attribute("aria-label") for it in panel.get_by_role("listitem").all()]


def titles(*ids: int) -> list[str | None]:
    return [f"job-{id} (job {id})" for id in ids]


def many_kinds(views: Stage) -> Locator:
    panel = views.panel()
    views.tell(usage={1: [250, 0], 2: [3, 7e8]})
    return panel


def kinds() -> list[dict]:
    return [
        row(1, place=PLACE, last="loss 0.1", cpu=2.5, threads=4, progress=OUTER),
        row(2, name="twin", note="assigned in the foreground as well: i (cell [9])"),
        row(3, "pending", name="twin", waits="job-1 (job 1)"),
        row(4, "stopping", requested="stop", asked=60, place=PLACE),
        row(5, "killing", requested="kill", asked=60, hindrance="it is in cleanup"),
        *(over(id, state, again=True) for id, state in ((6, "killed"), (7, "stopped"))),
        over(8, "failed", error="KeyError: 3", again=True),
        over(9, "skipped", reason="job 8 (job-8) failed"),
    ]


@pytest.mark.parametrize("width", [320, 1000])
def test_a_click_on_a_column_sorts_and_a_third_takes_it_back(stage, page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    views = stage(row(1), row(2, place=PLACE), row(3))
    panel = many_kinds(views)
    cpu = panel.get_by_role("button", name="Sort by cpu")
    expect(item(panel, 1)).to_contain_text("250 %")
    expect(item(panel, 2)).to_contain_text("700 MB")
    for order in ((1, 2, 3), (3, 2, 1), (3, 2, 1)):
        cpu.click()
        assert names(panel) == titles(*order)
    expect(cpu).to_have_attribute("aria-pressed", "false")
    panel.get_by_role("button", name="Sort by job").click()
    assert names(panel) == titles(1, 2, 3)


def test_jobs_of_one_name_stand_together_and_many_are_folded(stage) -> None:
    fetches = [row(id, name="fetch") for id in (1, 3, 5, 7)]
    views = stage(row(2), row(6), *fetches)
    panel = views.panel()
    rows = panel.get_by_role("listitem")
    group = panel.get_by_role("button", name="4 jobs")
    expect(rows).to_have_count(7)
    expect(rows.first).to_contain_text("fetch · 4 jobs: 4 running", use_inner_text=True)
    press(panel, "Kill all jobs")
    group.click()
    expect(rows).to_have_count(3)
    expect(panel).to_contain_text("Kill 6?")
    panel.get_by_role("searchbox", include_hidden=True).fill("fetch")
    views.page.evaluate("stage.requests.length = 0")
    press(panel, "Stop all jobs")
    asked = views.page.evaluate("stage.requests")
    assert sorted(asked[0]["ids"]) == [1, 3, 5, 7]


def test_a_failure_is_on_top_with_all_that_is_wanted_then(stage) -> None:
    views = stage(
        over(1, "failed", error="KeyError: 3", again=True), row(2), over(3, "killed", again=True)
    )
    panel = views.panel()
    assert names(panel)[:2] == titles(1, 2)
    views.forget_requests()
    press(item(panel, 1), "Run again job-1 (job 1)")
    press(item(panel, 1), "Copy traceback of job-1 (job 1)")
    press(item(panel, 1), "Dismiss job-1 (job 1)")
    asked = views.page.evaluate("stage.requests")
    assert [it["do"] for it in asked] == ["again", "traceback", "clear"]
    assert asked[2]["ids"] == [1]
    press(panel, "Show 1 finished")
    expect(item(panel, 3).get_by_role("button", name="Run again")).to_be_visible()
    expect(item(panel, 2).get_by_role("button", name="Run again")).to_have_count(0)


def test_what_cannot_run_again_says_why(stage) -> None:
    views = stage(
        over(1, "failed", error="KeyError: 3"),
        over(2, "killed", cell=4),
        over(3, "stopped", again=True),
        row(4),
    )
    panel = views.panel()
    press(panel, "Show 2 finished")
    for id, why in (1, "submit() keeps no arguments"), (2, "run its cell again"):
        expect(item(panel, id).get_by_title(why)).to_be_visible()
    expect(panel.get_by_title("again")).to_have_count(2)


def test_a_row_is_one_line_where_there_is_no_more_to_say(stage) -> None:
    views = stage(row(1, place=PLACE), row(2, place=PLACE, last="loss 0.1"), over(3, last="42"))
    panel = views.panel()
    heights = [item(panel, id).bounding_box()["height"] for id in (1, 2)]
    assert heights[0] < 32 < heights[1] < 55


def test_letters_do_what_buttons_do(stage) -> None:
    views = stage(*map(row, range(1, 4)))
    panel = views.panel()
    keys = views.page.keyboard
    views.forget_requests()
    panel.focus()
    keys.press("ArrowDown")
    expect(item(panel, 3)).to_be_focused()
    keys.press("ArrowDown")
    expect(item(panel, 2)).to_be_focused()
    keys.press("s")
    keys.press("k")
    expect(item(panel, 2)).to_contain_text("Kill?")
    keys.press("k")
    keys.press("Enter")
    expect(item(panel, 2).get_by_role("tabpanel")).to_be_visible()
    keys.press("Enter")
    expect(item(panel, 2).get_by_role("tabpanel")).to_have_count(0)
    assert views.requests == ["stop", "kill", "details"]
    keys.press("?")
    expect(panel).to_contain_text("open or close the log")
    keys.press("/")
    expect(panel.get_by_role("searchbox")).to_be_focused()
    keys.type("job-1")
    expect(panel.get_by_role("listitem")).to_have_count(1)
    keys.press("ArrowDown")
    expect(item(panel, 1)).to_be_focused()


def test_a_card_says_that_its_text_ended_with_the_page(stage) -> None:
    views = stage(row(1), given=time.time())
    expect(views.card(row(1, shown=time.time() - 60))).to_contain_text("the log has the rest")
    expect(views.card(row(1, shown=time.time() + 60))).not_to_contain_text("the log has the rest")


def test_after_a_restart_one_line_speaks_for_all_rows(stage) -> None:
    views = stage(row(1), row(2))
    panel = views.panel()
    views.forget_requests()
    views.restart()
    expect(panel.get_by_text("The kernel was restarted")).to_have_count(1)


@pytest.mark.parametrize("look", ["light", "dark", "contrast", "narrow"])
def test_axe_finds_nothing(stage, page: Page, look: str) -> None:
    if look == "narrow":
        page.set_viewport_size({"width": 320, "height": 900})
    if look == "contrast":
        page.emulate_media(forced_colors="active")
    views = stage(*kinds())
    style = "".join(f"--jp-{name}: {value};" for name, value in DARK.items())
    page.add_style_tag(content=f"body {{ {style} background: #111 }}" if look == "dark" else "i {}")
    panel = many_kinds(views)
    panel.get_by_role("button", name="Keys").click()
    panel.get_by_role("button", name="Log of job-1").click()
    panel.get_by_role("button", name="Show").click()
    views.card(kinds()[0])
    views.card(kinds()[7])
    page.clock.fast_forward(1100)
    found = Axe().run(page, options=RULES)
    problems = [
        (it["id"], node["html"][:150], node["failureSummary"][:300])
        for it in found.response["violations"]
        for node in it["nodes"]
    ]
    assert problems == []
