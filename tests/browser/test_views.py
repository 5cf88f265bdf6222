"""What the views make of what the kernel says, on a page without Jupyter."""

import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.rows import PLACE, item, over, press, row, spoken

pytestmark = pytest.mark.slow


def test_a_row_has_a_word_and_a_name_for_everything(stage) -> None:
    progress = {"done": 3, "total": 4, "description": "epoch", "left": 65, "rate": 0.5}
    progress["inner"] = {"done": 3, "total": 40, "description": "batch", "left": 6}
    facts = {"place": PLACE, "last": "loss 0.1", "cell": 7, "cpu": 2.5, "threads": 4}
    panel = stage(row(1, **facts, progress=progress)).panel()
    expect(item(panel, 1)).to_match_aria_snapshot(
        """
        - listitem "job-1 (job 1)":
          - text: /job-1 job 1 running loss 0.1 0 %/
          - progressbar "Progress of job-1 (job 1)"
          - progressbar "Inner progress of job-1 (job 1)"
          - text: /epoch · 75 % · 3 of 4 · 1 min 05 s left \\d s 0.5\\/s/
          - button "Log of job-1 (job 1)"
          - button "Stop job-1 (job 1)"
          - button "Kill job-1 (job 1)"
        """
    )


@pytest.mark.parametrize("width", [240, 1600])
def test_nothing_is_cut_off_in_a_sidebar_nor_lost_in_a_wide_cell(stage, width: int) -> None:
    progress = {"done": 3, "total": 4, "description": "a long description", "left": 65}
    rows = [
        row(1, place=PLACE, last="last " * 40, cell=7, cpu=2.5, threads=4, progress=progress),
        row(2, "killing", requested="kill", asked=time.time() - 9, hindrance="it is in C " * 9),
        *(over(number, state) for number, state in enumerate(("done", "failed", "killed"), 3)),
    ]
    views = stage(*rows)
    views.page.set_viewport_size({"width": width, "height": 900})
    panel = views.panel()
    press(panel, "Log of job-1 (job 1)")
    views.card(rows[0])
    sideways = "it => it.scrollWidth > it.clientWidth"
    assert not views.page.locator("html").evaluate(sideways)
    for part in (".ipykill-scroller", ".ipykill-head", ".ipykill-tools"):
        assert not panel.locator(part).evaluate(sideways)
    right = panel.bounding_box()
    assert right is not None
    for button in panel.get_by_role("button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= right["x"] + right["width"]
    bar = item(panel, 1).get_by_role("progressbar").bounding_box()
    assert bar is not None
    assert bar["width"] > 100
    failed = views.card(over(9, "failed", error="ValueError: " + "much to say " * 20))
    error, box = (it.bounding_box() for it in (failed.get_by_text("ValueError"), failed))
    assert error is not None
    assert box is not None
    assert error["x"] + error["width"] < box["x"] + box["width"] - 5  # or it seems to end there


def test_the_newest_is_on_top_and_what_is_finished_is_folded(stage) -> None:
    views = stage(over(1), over(2, "killed", place=PLACE), row(3), row(4))
    panel = views.panel()
    rows = panel.get_by_role("listitem")
    names = [it.get_attribute("aria-label") for it in rows.all()]
    assert names == ["job-4 (job 4)", "job-3 (job 3)", None]
    press(panel, "Show 2 finished")
    names = [it.get_attribute("aria-label") for it in rows.all()]
    assert names == ["job-4 (job 4)", "job-3 (job 3)", None, "job-2 (job 2)", "job-1 (job 1)"]
    press(panel, "Hide 2 finished")
    press(panel, "1 killed")
    expect(rows).to_have_count(1)
    expect(item(panel, 2)).to_contain_text(PLACE)
    press(panel, "1 killed")
    views.change(over(4))
    expect(item(panel, 4)).to_contain_text("done")  # for a while it keeps its place
    views.page.clock.fast_forward(25_000)
    expect(item(panel, 4)).to_have_count(0)
    expect(panel).to_contain_text("Show 3 finished")
    views.change(row(5), over(6, "failed"))  # so quickly that nobody was told that it ran
    expect(item(panel, 5)).to_be_visible()
    expect(item(panel, 6)).to_contain_text("failed")


def test_a_failure_stays_until_it_was_seen(stage) -> None:
    views = stage(over(1, "failed", error="KeyError: 3"), row(2), row(3), row(4))
    panel = views.panel()
    expect(item(panel, 1)).to_contain_text("KeyError: 3")  # from before the page was opened
    views.change(over(2, "failed"), over(3))
    expect(item(panel, 2)).to_contain_text("failed")
    for _ in range(3):
        views.page.clock.fast_forward(25_000)
    expect(item(panel, 3)).to_have_count(0)
    item(panel, 4).hover()
    views.page.clock.fast_forward(10_000)
    expect(item(panel, 1)).to_contain_text("KeyError: 3")
    for _ in range(2):
        views.page.clock.fast_forward(15_000)
    expect(item(panel, 1)).to_have_count(0)
    expect(panel).to_contain_text("Show 3 finished")
    panel.get_by_role("button", name="Kill all").hover()
    views.change(over(5, "failed"))
    for _ in range(3):
        views.page.clock.fast_forward(25_000)
    expect(item(panel, 5)).to_contain_text("failed")
    views.card(over(5, "failed")).hover()
    for _ in range(2):
        views.page.clock.fast_forward(25_000)
    expect(item(panel, 5)).to_have_count(0)


def test_a_row_that_grows_is_not_seen_on_top_of_the_next(stage) -> None:
    views = stage(row(1), row(2))
    panel = views.panel()
    expect(item(panel, 1)).to_be_visible()
    # Called after the panel's own, before the picture.
    views.page.evaluate(
        """() => {
          const [upper, lower] = document.querySelectorAll(".ipykill-list > li");
          stage.gaps = [];
          const look = () => stage.gaps.push(
            lower.getBoundingClientRect().top - upper.getBoundingClientRect().bottom);
          new ResizeObserver(look).observe(upper);
        }"""
    )
    views.page.wait_for_function("stage.gaps.length === 1")
    views.change(
        row(
            2,
            "killing",
            requested="kill",
            place=PLACE,
            hindrance="in C code " * 50,
            asked=time.time() - 60,
        )
    )
    views.page.wait_for_function("stage.gaps.length > 1")
    assert all(gap >= -0.5 for gap in views.page.evaluate("stage.gaps"))


def test_of_ten_thousand_jobs_only_a_window_is_drawn(stage) -> None:
    views = stage(*(over(number) for number in range(1, 10_001)), row(10_001))
    panel = views.panel()
    rows = panel.get_by_role("listitem")
    expect(panel).to_contain_text("10000 done")
    expect(rows).to_have_count(2)
    press(panel, "Show 10000 finished")
    expect(item(panel, 10_000)).to_be_visible()
    assert rows.count() < 50
    panel.locator(".ipykill-scroller").evaluate("it => it.scrollTo(0, it.scrollHeight)")
    expect(item(panel, 1)).to_be_visible()
    assert rows.count() < 50
    views.change(row(10_002))
    expect(panel).to_contain_text("2 running")


def test_changes_are_said_politely_and_not_one_by_one(stage) -> None:
    views = stage(*map(row, range(1, 9)))
    views.panel()
    views.card(row(1))
    expect(spoken(views)).to_have_count(1)
    views.change(over(1, "killed"), row(2, "stopping"))
    expect(spoken(views)).to_have_text("job-1 (job 1) killed; job-2 (job 2) stopping")
    views.change(row(3, "killing", hindrance="it is in cleanup"))
    expect(spoken(views)).to_have_text("job-3 (job 3) killing")
    views.change(row(3, "killing"))
    views.change(row(3, "killing", hindrance="it is in cleanup"))
    expect(spoken(views)).to_have_text("job-3 (job 3) still lives: it is in cleanup")
    views.change(*(over(number) for number in range(4, 8)), over(8, "failed"))
    expect(spoken(views)).to_have_text("4 jobs done; 1 job failed")


def test_the_keyboard_keeps_its_place(stage) -> None:
    views = stage(over(1), *map(row, range(2, 5)))
    panel = views.panel()
    press(panel, "Show 1 finished")
    stop = item(panel, 2).get_by_role("button", name="Stop")
    stop.focus()
    views.change(over(4), row(5))
    expect(item(panel, 4)).to_contain_text("done")
    expect(stop).to_be_focused()
    views.page.clock.fast_forward(25_000)  # now that row goes below this one
    expect(panel).to_contain_text("Hide 2 finished")
    expect(stop).to_be_focused()
    views.change(over(2))
    expect(item(panel, 2).get_by_role("button", name="Log")).to_be_focused()
    chip = panel.get_by_role("button", name="2 running")
    chip.focus()
    views.change(row(3, "stopping"))
    expect(panel.get_by_role("button", name="1 running")).to_be_focused()
    panel.get_by_role("button", name="Kill all jobs").focus()
    views.change(over(3, "killed"), over(5, "killed"))
    expect(panel).to_be_focused()


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_who_wants_no_motion_sees_none(stage, page: Page, motion: Any) -> None:
    page.emulate_media(reduced_motion=motion)
    endless = {"done": 3, "total": None, "description": "", "left": None}
    card = stage(row(1, progress=endless)).card(row(1))
    expect(card).to_contain_text("running")
    moving = card.evaluate("it => it.getAnimations({ subtree: true }).length")
    assert moving == (0 if motion == "reduce" else 1)


def test_a_view_says_that_it_is_open_and_rarely_so_to_a_busy_kernel(stage) -> None:
    views = stage(row(1))
    views.panel()
    views.forget_requests()
    for _ in range(4):
        views.page.clock.fast_forward(15_000)
    assert views.requests == ["watch"] * 4
    views.forget_requests()
    views.page.evaluate("() => { stage.kernel.status = 'busy' }")
    for _ in range(21):
        views.page.clock.fast_forward(15_000)
    assert views.requests == ["watch"]
    views.page.evaluate("() => { dispatchEvent(new Event('pagehide')) }")
    assert views.requests == ["watch", "leave"]


def test_what_was_saved_is_shown_without_a_kernel_as_what_it_is(stage) -> None:
    views = stage(row(1), over(2), kernel=False)
    panel, card = views.panel(), views.card(row(1))
    for view in (panel, card):
        expect(view).to_contain_text("No kernel; this was true on")
    expect(panel.get_by_text("No kernel")).to_have_count(1)
    expect(card).to_contain_text("running")
    assert [it.inner_text() for it in card.get_by_role("button").all()] == []
    text = card.inner_text()
    views.page.clock.fast_forward(30_000)
    assert card.inner_text() == text  # the clock of what is saved stands still
    assert views.requests == []


def test_after_a_restart_of_the_kernel_nothing_is_asked_of_it(stage) -> None:
    views = stage(row(1), over(2))
    panel, card = views.panel(), views.card(row(1))
    views.forget_requests()
    views.restart()
    expect(panel).to_contain_text("The kernel was restarted; its jobs ended with it.")
    expect(card).to_contain_text("gone")
    expect(card).to_contain_text("this job ended with it")
    expect(spoken(views)).to_contain_text("The kernel was restarted")
    assert [it.inner_text() for it in card.get_by_role("button").all()] == []
    views.page.clock.fast_forward(600_000)
    assert views.requests == []


def test_a_front_end_may_offer_nothing_but_the_model(stage) -> None:
    views = stage(row(1), manager=False)
    card = views.card(row(1))
    views.forget_requests()
    press(card, "Stop job-1 (job 1)")
    assert views.requests == ["stop"]


def test_a_message_that_was_lost_is_made_up_for(stage) -> None:
    views = stage(row(1))
    panel = views.panel()
    state = {"rev": 7, "now": time.time(), "rows": [row(1, "stopping"), row(2)]}
    views.page.evaluate("state => { stage.answers.watch = { state } }", state)
    views.tell(base=6, rev=7, now=time.time(), rows={1: {"state": "stopping"}}, gone=[])
    expect(item(panel, 1)).to_contain_text("stopping")
    expect(item(panel, 2)).to_contain_text("running")


def test_a_note_stands_in_the_card_and_in_the_row(stage) -> None:
    note = "assigned in the foreground as well: i (cell [9])"
    kept = "keeps its value, 200 MB, until %bgclear 2"
    views = stage(row(1, note=note), over(2, note=kept))
    panel = views.panel()
    expect(item(panel, 1)).to_contain_text(note)
    press(panel, "Show 1 finished")
    expect(item(panel, 2)).to_contain_text(kept)
    card = views.card(over(2, note=kept))
    expect(card).to_contain_text(kept)
    views.change(over(2))
    expect(item(panel, 2)).not_to_contain_text(kept)
    views.change(over(2, note=kept))
    expect(card).to_contain_text(kept)
    views.change(gone=(2,))
    expect(card).not_to_contain_text(kept)
