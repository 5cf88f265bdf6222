"""Where things stand in the views, from a sidebar to a wide cell, on a page without Jupyter."""

import time
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.rows import PLACE, item, over, press, row

pytestmark = [pytest.mark.slow, pytest.mark.once]

LONG = "a description of what it does that is rather long"
# Pairs of texts and buttons of which one lies on the other, and what is not wholly in the view.
FAULTS = """it => {
  const view = it.getBoundingClientRect();
  const leaves = [...it.querySelectorAll("button, span:not(:has(*))")].filter(
    (node) => node.textContent && node.checkVisibility() && node.getBoundingClientRect().width);
  const boxes = leaves.map((node) => [node.textContent, node.getBoundingClientRect()]);
  const faults = boxes.filter(([, box]) => box.right > view.right + 1 || box.left < view.left);
  boxes.forEach(([text, one], index) => boxes.slice(index + 1).forEach(([other, two]) => {
    const x = Math.min(one.right, two.right) - Math.max(one.left, two.left);
    const y = Math.min(one.bottom, two.bottom) - Math.max(one.top, two.top);
    if (x > 1 && y > 3) faults.push([text, other]);
  }));
  return faults.map(String);
}"""


def progress(**more: Any) -> dict[str, Any]:
    epoch = {"done": 497, "total": 2900, "description": "epoch 3", "left": 482, "rate": 5.2}
    return epoch | more


def kinds() -> list[dict[str, Any]]:
    asked = {"asked": time.time() - 60, "place": PLACE}
    return [
        row(1, place=PLACE, last="loss 0.1", progress=progress()),
        row(2, name="a very long name", progress=progress(description=LONG)),
        row(3, "stopping", requested="stop", **asked),
        row(4, "killing", requested="kill", hindrance="it is in cleanup", **asked),
        over(5, "failed", error="ZeroDivisionError: division by zero", again=True, place=PLACE),
    ]


def shown(locator: Locator) -> bool:
    return not locator.evaluate("it => it.scrollWidth > it.clientWidth")


@pytest.mark.parametrize("width", [260, 284, 300, 320, 440, 600, 830, 1085])
def test_nothing_lies_on_anything_else_and_the_time_left_is_shown(stage, width: int) -> None:
    views = stage(*kinds())
    views.page.set_viewport_size({"width": width + 16, "height": 900})
    panel = views.panel()
    views.tell(usage={1: [250, 0], 2: [3, 0]})
    expect(item(panel, 1)).to_contain_text("250 %")
    for it in panel.get_by_role("listitem").all():
        assert it.evaluate(FAULTS) == []
    for part in panel.locator(".ipykill-bar-text:has(> span)").all():
        left = part.locator(".ipykill-bar-left").bounding_box()
        box = panel.bounding_box()
        assert left["x"] + left["width"] < box["x"] + box["width"]
        assert shown(part)
    for job in kinds():
        assert views.card(job | {"cell": 7}).evaluate(FAULTS) == []


def test_in_a_notebook_beside_the_file_browser_names_can_be_read(stage) -> None:
    views = stage(*kinds())
    views.page.set_viewport_size({"width": 830 + 16, "height": 900})
    panel = views.panel()
    name = panel.get_by_role("listitem", name="a very long name")
    memory = panel.get_by_role("button", name="Sort by memory", include_hidden=True)
    expect(memory).to_be_hidden()
    expect(panel.get_by_role("button", name="Sort by steps")).to_be_visible()
    assert shown(name.locator(".ipykill-name"))
    assert shown(name.locator(".ipykill-meta"))
    assert name.bounding_box()["height"] < 40
    views.tell(usage={2: [3, 7e8]})
    expect(memory).to_be_visible()
    assert shown(name.locator(".ipykill-name"))
    views.tell(usage={2: [3, 0]})
    expect(panel).not_to_contain_text("700 MB")
    expect(memory).to_be_visible()  # no button moves away because a process has ended
    views.change(gone=(1, 2, 3, 4, 5))
    expect(panel).to_contain_text("No background jobs")
    views.change(row(6), row(7))
    expect(item(panel, 7)).to_be_visible()
    expect(memory).to_be_hidden()


@pytest.mark.parametrize(("count", "memory"), [(4, 7e8), (40, 7e8), (40, 0)])
def test_titles_stand_over_their_columns_also_beside_a_scroll_bar(
    stage, count: int, memory: float
) -> None:
    rows = [row(id, place=PLACE, progress=progress()) for id in range(1, count)]
    views = stage(*rows)
    views.page.set_viewport_size({"width": 1100, "height": 900})
    panel = views.panel()
    views.tell(usage={count - 1: [250, memory]})
    first = item(panel, count - 1)
    expect(first).to_contain_text("250 %")
    edges = {"state": 0, "time": 1, "cpu": 1, "memory": 1, "rate": 1}
    for key, right in edges.items():
        if key == "memory" and not memory:
            continue
        title, cell = (
            it.bounding_box()
            for it in (panel.locator(f".ipykill-column-{key}"), first.locator(f".ipykill-{key}"))
        )
        difference = title["x"] - cell["x"] + right * (title["width"] - cell["width"])
        assert abs(difference) < 1.5, key


def test_a_row_that_is_pointed_at_looks_like_one_and_its_buttons_like_buttons(stage) -> None:
    views = stage(row(1, progress=progress()), row(2))
    views.page.add_style_tag(
        content="body { --jp-layout-color1: white; --jp-layout-color2: silver }"
    )
    panel = views.panel()
    item(panel, 1).hover(position={"x": 60, "y": 15})
    color = "it => getComputedStyle(it).backgroundColor"
    bars, stop, around = (
        it.evaluate(color)
        for it in (
            item(panel, 1).locator(".ipykill-progress"),
            item(panel, 1).get_by_role("button", name="Stop"),
            item(panel, 1),
        )
    )
    assert bars == "rgba(0, 0, 0, 0)"
    assert stop == "rgb(255, 255, 255)"
    assert around not in (bars, stop)


def test_stacked_numbers_say_what_they_are_and_steps_end_with_their_job(stage) -> None:
    views = stage(row(1, progress=progress()), row(2))
    views.page.set_viewport_size({"width": 500, "height": 900})
    panel = views.panel()
    cpu = item(panel, 1).locator(".ipykill-cpu")
    expect(item(panel, 1)).to_contain_text("5.2/s")
    assert "CPU" in cpu.evaluate("it => getComputedStyle(it, '::before').content")
    views.change(over(1, "stopped", progress=progress()))
    expect(item(panel, 1)).to_contain_text("stopped")
    expect(item(panel, 1)).not_to_contain_text("5.2/s")


def test_what_cannot_help_is_not_offered(stage) -> None:
    views = stage(row(1, "killing"), row(2))
    panel = views.panel()
    expect(item(panel, 1).get_by_role("button", name="Kill")).to_be_visible()
    expect(item(panel, 1).get_by_role("button", name="Stop")).to_have_count(0)
    expect(panel.get_by_title("Show only jobs in the state “killing”")).to_be_visible()


def test_the_name_of_a_job_comes_before_its_history(stage) -> None:
    since = time.mktime((2026, 11, 30, 16, 29, 1, 0, 0, 0))
    name = "for n in range(100_000): work(n)"
    views = stage()
    views.page.set_viewport_size({"width": 830 + 16, "height": 900})
    card = views.card(row(1, name=name, cell=7, detached=since))
    expect(card).to_contain_text("in the background since 16:29:01")
    assert shown(card.locator(".ipykill-name"))
    failed = views.card(over(2, "failed", error="KeyError: 3"))
    size = "it => getComputedStyle(it).fontSize"
    copy, log = (failed.get_by_role("button", name=it) for it in ("Copy traceback", "Log"))
    assert copy.evaluate(size) == log.evaluate(size)


def test_the_line_of_the_finished_says_where_failures_are(stage) -> None:
    panel = stage(over(1), row(2)).panel()
    press(panel, "Show 1 finished")
    expect(panel.get_by_title("Failed jobs go here once they were seen")).to_be_visible()
