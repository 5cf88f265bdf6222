"""What the views do when their buttons are pressed, on a page without Jupyter."""

import time
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.rows import PLACE, over, press, row

pytestmark = pytest.mark.slow


def test_a_second_click_on_the_same_spot_kills(stage) -> None:
    views = stage(row(1))
    panel = views.panel()
    kill = panel.get_by_role("button", name="Kill job-1 (job 1)")
    before = kill.bounding_box()
    kill.click()
    expect(kill).to_have_text("Kill?")
    assert kill.bounding_box() == before
    views.forget_requests()
    views.page.clock.fast_forward(3_100)
    expect(kill).to_have_text("Kill")
    assert views.requests == []
    kill.click()
    views.page.evaluate("document.activeElement.blur()")  # as front ends do by themselves
    kill.click()
    assert views.requests == ["kill"]


def test_an_interrupt_is_one_click_while_the_code_runs(stage) -> None:
    views = stage(row(1), row(2, "killing"), row(3, "done"))
    interrupt = views.panel().get_by_role("button", name="Interrupt")
    views.forget_requests()
    interrupt.click()  # there is one
    assert views.requests == ["interrupt"]


def test_what_is_pressed_is_clicked_wherever_it_moves_meanwhile(stage) -> None:
    views = stage(row(1))
    stop = views.panel().get_by_role("button", name="Stop job-1 (job 1)")
    mouse = views.page.mouse
    views.forget_requests()

    def press() -> None:
        box = stop.bounding_box()
        mouse.move(box["x"] + 5, box["y"] + 5)
        mouse.down()

    press()
    views.page.evaluate("document.body.style.paddingTop = '200px'")  # an output above has grown
    mouse.up()
    assert views.requests == ["stop"]
    press()
    mouse.move(5, 5)
    mouse.up()
    assert views.requests == ["stop"]  # taken back, as with any button


def test_the_question_says_how_many_jobs_it_is_about(stage) -> None:
    views = stage(row(1), row(2))
    kill_all = views.panel().get_by_role("button", name="Kill all jobs")
    kill_all.click()
    expect(kill_all).to_have_text("Kill 2?")
    views.change(row(3))
    expect(kill_all).to_have_text("Kill 3?")
    views.forget_requests()
    kill_all.click()
    expect(kill_all).to_have_text("Kill all")
    assert views.requests == ["kill_all"]


def test_an_overdue_stop_needs_one_click_to_kill(stage) -> None:
    views = stage(row(1, "stopping", requested="stop", asked=time.time()))
    card = views.card(row(1))
    views.forget_requests()
    press(card, "Kill job-1 (job 1)")
    assert views.requests == []
    views.page.clock.fast_forward(4_000)
    expect(card).to_contain_text("the code has not looked yet")
    expect(card.get_by_role("button", name="Kill job-1 (job 1)")).to_have_text("Kill")
    press(card, "Kill job-1 (job 1)")
    assert views.requests == ["kill"]


def test_a_kernel_that_does_not_answer_is_spoken_of(stage) -> None:
    views = stage(row(1))
    panel, card = views.panel(), views.card(row(1))
    views.forget_requests()
    press(card, "Stop job-1 (job 1)")
    assert views.requests == ["stop"]
    views.page.clock.fast_forward(1_100)
    for view in (panel, card):
        expect(view).to_contain_text("The kernel has not answered yet")
        expect(view).to_contain_text("running")
    views.change(row(1, "stopping", requested="stop", asked=time.time()))
    for view in (panel, card):
        expect(view).to_contain_text("stopping")
        expect(view).not_to_contain_text("not answered")
    press(panel, "Stop all jobs")
    views.page.clock.fast_forward(1_100)
    expect(panel).to_contain_text("The kernel has not answered yet")
    views.page.evaluate("stage.answers.clear = { error: 'ValueError: odd' }")
    views.change(over(1))
    press(panel, "Clear finished jobs")
    expect(panel).to_contain_text("ValueError: odd")


def test_a_card_shows_its_job_before_the_list_does_and_after(stage) -> None:
    views = stage()
    card = views.card(row(1, "pending"))
    expect(card).to_have_accessible_name("job-1 (job 1)")
    expect(card).to_contain_text("pending")
    expect(card).not_to_contain_text("waiting for its turn")
    views.change(row(1))
    expect(card).to_contain_text("running")
    views.change(over(1, "killed", place=PLACE))
    press(card, "Log of job-1 (job 1)")
    expect(card.get_by_role("tabpanel")).to_be_visible()
    views.change(gone=(1,))
    expect(card.get_by_role("button")).to_have_count(0)
    expect(card.get_by_role("tabpanel")).to_have_count(0)
    expect(card).to_contain_text("killed")
    expect(card).to_contain_text(PLACE)


def test_a_card_that_was_not_told_the_end_leaves_the_word_to_the_text(stage) -> None:
    views = stage(row(1))
    card = views.card(row(1))
    views.change(gone=(1,))
    expect(card).to_have_count(0)


def test_what_a_job_that_is_over_has_left_can_be_killed(stage) -> None:
    views = stage(over(1))
    card = views.card(over(1))
    left = [{"pid": 4711, "command": "sleep 1000", "running": True}]
    views.page.evaluate(
        "left => { stage.answers.details = { details: left } }", {"processes": left}
    )
    expect(card.get_by_role("button", name="Kill job-1 (job 1)")).to_have_count(0)
    views.forget_requests()
    press(card, "Log of job-1 (job 1)")
    card.get_by_role("tab", name="Processes").click()
    expect(card.get_by_role("tabpanel")).to_contain_text("4711  sleep 1000")
    press(card, "Kill job-1 (job 1)")
    press(card, "Kill job-1 (job 1)")
    assert views.requests == ["details", "kill"]
    views.tell(details={1: {"processes": []}})
    expect(card.get_by_role("button", name="Kill job-1 (job 1)")).to_have_count(0)


def lines(start: int, end: int) -> dict[str, Any]:
    return {"start": start, "lines": [f"line {number}" for number in range(start, end)]}


def shown(first: int, last: int) -> str:
    return "\n".join(f"line {number}" for number in range(first, last))


def test_a_log_has_its_beginning_whatever_overtakes_it(stage) -> None:
    views = stage(row(1))
    card = views.card(row(1))
    press(card, "Log of job-1 (job 1)")
    pane = card.get_by_role("tabpanel")
    # The kernel had said number 1 to 4 of the log when it was asked, and then 6 and 7.
    views.tell(details={1: {"base": 3, "number": 4, "log": lines(30, 40)}})
    views.tell(details={1: {"base": 4, "number": 6, "log": lines(40, 60)}})
    views.tell(details={1: {"base": 6, "number": 7, "log": lines(60, 70)}})
    expect(pane).to_have_text("")
    views.answer("details", {"number": 5, "source": "code", "log": lines(0, 50)})
    expect(pane).to_have_text(shown(0, 70), use_inner_text=True)
    views.tell(details={1: {"base": 6, "number": 7, "log": lines(60, 70)}})
    views.tell(details={1: {"base": 7, "number": 8, "log": lines(70, 80)}})
    expect(pane).to_have_text(shown(0, 80), use_inner_text=True)
    # A message is missing.
    views.forget_requests()
    views.tell(details={1: {"base": 9, "number": 10, "log": lines(95, 100)}})
    views.tell(details={1: {"base": 10, "number": 11, "log": lines(100, 105)}})
    assert views.requests == ["details"]
    views.answer("details", {"number": 12, "source": "code", "log": lines(0, 110)})
    expect(pane).to_have_text(shown(0, 110), use_inner_text=True)


def test_a_log_that_is_closed_is_let_go(stage) -> None:
    views = stage(row(1))
    for _ in range(2):
        views.card(row(1))
    card, other = map(views.page.get_by_role("group").nth, range(2))
    for place in (card, other):
        press(place, "Log of job-1 (job 1)")
    views.answer("details", {"number": 1, "source": "code", "log": lines(0, 5)})
    press(card, "Log of job-1 (job 1)")
    expect(other.get_by_role("tabpanel")).to_have_text(shown(0, 5), use_inner_text=True)
    press(other, "Log of job-1 (job 1)")
    views.tell(details={1: {"base": 1, "number": 2, "log": lines(5, 9)}})
    kept = "globalThis[Symbol.for('ipykill.panels')].get('model').jobs.details.size"
    assert views.page.evaluate(kept) == 0
    press(card, "Log of job-1 (job 1)")
    views.answer("details", {"number": 3, "source": "code", "log": lines(0, 9)})
    expect(card.get_by_role("tabpanel")).to_have_text(shown(0, 9), use_inner_text=True)


def test_the_stack_names_threads_and_tasks_and_what_hinders_them(stage) -> None:
    frame = {"place": PLACE, "function": "work", "source": "time.sleep(1)"}
    threads = [
        {"name": "the job's own thread", "depth": 0, "hindrance": "", "stack": [frame]},
        {"name": "worker", "depth": 1, "hindrance": "it is in cleanup", "stack": [frame]},
    ]
    views = stage(row(1))
    card = views.card(row(1))
    press(card, "Log of job-1 (job 1)")
    views.tell(details={1: {"threads": threads}})
    card.get_by_role("tab", name="Stack").click()
    pane = card.get_by_role("tabpanel", name="Stack of job-1 (job 1)")
    expect(pane).to_have_text(
        f"the job's own thread\n{PLACE}, in work\n    time.sleep(1)\n"
        f"  worker: it is in cleanup\n  {PLACE}, in work\n      time.sleep(1)\n",
        use_inner_text=True,
    )
    press(card, "Copy stack of job-1 (job 1)")
    expect(card).to_contain_text("Selected")  # here nothing may write to the clipboard
    assert "worker: it is in cleanup" in views.page.evaluate("String(getSelection())")
