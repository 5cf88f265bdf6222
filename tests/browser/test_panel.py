"""The panel and the cards as a person meets them: by what they read, and by role and name."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.cells import COUNT, PANEL, TRAIN, card, kill, panel, row
from tests.browser.harness import Lab
from tests.browser.rows import press
from tests.overlays import OVERLAYS, Overlay
from tests.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_page_errors")]


def test_a_job_is_watched_stopped_and_killed(lab: Lab) -> None:
    polite = "%%bg -n polite\nimport ipykill\nprint('waiting')\nwhile True: ipykill.sleep(1)"
    lab.open(PANEL, TRAIN, polite, "%%bg -n quick\n6 * 7", "%%bg -n wrong\n1 / 0")
    lab.run(0)
    expect(panel(lab.page)).to_contain_text("No background jobs")
    for index in range(1, 5):
        lab.run(index)
    expect(card(lab, 1)).to_contain_text("running")
    expect(card(lab, 1)).to_contain_text("cell [2], line")
    expect(card(lab, 1)).to_contain_text("epoch 1")
    expect(card(lab, 3)).to_contain_text("done")
    expect(card(lab, 4)).to_contain_text("failed")
    expect(card(lab, 4)).to_contain_text("ZeroDivisionError")
    expect(panel(lab.page)).to_contain_text("2 running")
    press(card(lab, 2), "Stop polite (job 2)")
    expect(card(lab, 2)).to_contain_text("stopped")
    press(row(lab.page, "train (job 1)"), "Kill train (job 1)")
    expect(row(lab.page, "train (job 1)")).to_contain_text("Kill?")
    press(row(lab.page, "train (job 1)"), "Kill train (job 1)")
    expect(row(lab.page, "train (job 1)")).to_contain_text("killed")
    expect(card(lab, 1)).to_contain_text("killed")
    expect(card(lab, 1).get_by_role("button", name="Kill")).to_have_count(0)
    expect(lab.page.get_by_role("status").filter(has_text="train (job 1) killed")).to_have_count(1)


# Notebook has the same connection to the kernel: which version that is makes no difference there.
@pytest.mark.parametrize(
    ("app", "any_overlay"),
    [*(("lab/tree", overlay) for overlay in OVERLAYS), ("notebooks", OVERLAYS[0])],
    indirect=["any_overlay"],
    ids=lambda it: getattr(it, "name", it),
)
def test_the_views_live_while_the_kernel_is_busy(lab: Lab, any_overlay: Overlay, app: str) -> None:
    loop, sleep = "while True: pass", "import time; time.sleep(1000)"
    lab.open(PANEL, COUNT, TRAIN, sleep, loop, app=app, kernel=any_overlay)
    for index in range(3):
        lab.run(index)
    train, count = card(lab, 2), card(lab, 1)
    expect(train).to_contain_text("running")
    lab.start(3)
    wait_for(lambda: lab.prompt(3) == "[*]:", "the cell to run")
    last = count.locator(".ipykill-last")
    begin = last.inner_text()
    expect(last).not_to_have_text(begin)  # what a job does is still shown
    kill(train, "train (job 2)")
    expect(train).to_contain_text("killed")
    expect(row(lab.page, "train (job 2)")).to_contain_text("killed")
    assert lab.prompt(3) == "[*]:"
    lab.interrupt_kernel()
    wait_for(lambda: lab.prompt(3) != "[*]:", "the end of the cell")
    lab.start(4)
    wait_for(lambda: lab.prompt(4) == "[*]:", "the cell to run")
    kill(count, "count (job 1)")
    expect(count).to_contain_text("killed")
    assert lab.prompt(4) == "[*]:"


def test_a_kill_works_while_the_kernel_computes(lab: Lab) -> None:
    svd = "print('begun')\nimport numpy as np; a = np.random.rand(9000, 9000); np.linalg.svd(a)"
    lab.open(PANEL, TRAIN, svd)
    lab.run(0)
    lab.run(1)
    lab.start(2)
    lab.wait_output(2, "begun")
    kill(card(lab, 1), "train (job 1)")
    expect(card(lab, 1)).to_contain_text("killed")
    assert lab.prompt(2) == "[*]:"


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_without_a_control_channel_the_buttons_still_work(lab: Lab, busy: bool) -> None:
    lab.open(PANEL, TRAIN, "while True: pass")
    lab.run(0)
    lab.run(1)
    lab.page.evaluate(
        "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
        ".sendControlMessage = undefined"
    )
    if busy:  # a subshell answers
        lab.start(2)
        wait_for(lambda: lab.prompt(2) == "[*]:", "the cell to run")
    kill(card(lab, 1), "train (job 1)")
    expect(card(lab, 1)).to_contain_text("killed")


def test_a_job_that_does_not_die_says_so(lab: Lab) -> None:
    deaf = (
        "%%bg -n deaf\nimport ipykill, threading\nenough = threading.Event()\n"
        "with ipykill.shield():\n    enough.wait()"
    )
    lab.open(PANEL, deaf, "enough.set()")
    lab.run(0)
    lab.run(1)
    kill(card(lab, 1), "deaf (job 1)")
    expect(card(lab, 1)).to_contain_text("Kill pending for")
    expect(card(lab, 1)).to_contain_text(": it is in a shield() block (cell [2], line 4)")
    expect(card(lab, 1)).to_contain_text("killing")
    lab.run(2)
    expect(card(lab, 1)).to_contain_text("killed")
    expect(card(lab, 1)).not_to_contain_text("Kill pending")


def test_the_log_is_live_and_beside_it_stack_and_source(lab: Lab) -> None:
    lab.open(PANEL, COUNT)
    lab.run_all()
    press(card(lab, 1), "Log of count (job 1)")
    pane = card(lab, 1).get_by_role("tabpanel")
    expect(pane).to_contain_text("line 1\nline 2\n")
    seen = len(pane.inner_text())
    wait_for(lambda: len(pane.inner_text()) > seen, "more of the log")
    lab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    press(card(lab, 1), "Copy log of count (job 1)")
    expect(card(lab, 1)).to_contain_text("Copied")
    assert "line 1\nline 2\n" in lab.page.evaluate("navigator.clipboard.readText()")
    card(lab, 1).get_by_role("tab", name="Stack").click()
    expect(pane).to_contain_text("time.sleep(0.05)")
    card(lab, 1).get_by_role("tab", name="Source").click()
    expect(pane).to_contain_text("while True:")
    press(card(lab, 1), "Log of count (job 1)")
    expect(pane).to_have_count(0)


def test_progress_is_a_bar_with_the_time_that_is_left(lab: Lab) -> None:
    code = (
        "%%bg -n bar\nimport ipykill, time\n"
        "for i in ipykill.track(range(10_000), description='steps'): time.sleep(0.05)"
    )
    lab.open(PANEL, code)
    lab.run_all()
    bar = card(lab, 1).get_by_role("progressbar", name="Progress of bar (job 1)")
    expect(bar).to_be_visible()
    expect(card(lab, 1)).to_contain_text(re.compile(r"steps · 0 % · \d+ of 10000 · .* left"))
    kill(card(lab, 1), "bar (job 1)")
    expect(card(lab, 1)).to_contain_text("killed")
    expect(card(lab, 1)).not_to_contain_text("left")


def test_a_reload_and_a_second_tab_show_the_same(
    lab: Lab, browser_context: BrowserContext, tmp_path: Path
) -> None:
    lab.open(PANEL, TRAIN)
    lab.run_all()
    lab.reload()
    expect(card(lab, 1)).to_contain_text("running")
    press(card(lab, 1), "Log of train (job 1)")
    expect(card(lab, 1).get_by_role("tabpanel")).to_contain_text("epoch 1")
    second = Lab(browser_context.new_page(), lab.server, tmp_path)
    second.goto(lab.page.url)
    kill(card(second, 1), "train (job 1)")
    expect(card(second, 1)).to_contain_text("killed")
    second.page.close()
    expect(card(lab, 1)).to_contain_text("killed")
    expect(row(lab.page, "train (job 1)")).to_contain_text("killed")


def test_the_job_of_a_cell_that_runs_again_stays_in_the_panel(lab: Lab) -> None:
    lab.open(PANEL, TRAIN)
    lab.run_all()
    lab.run(1)
    expect(card(lab, 1)).to_contain_text("job 2")
    kill(row(lab.page, "train (job 1)"), "train (job 1)")
    expect(row(lab.page, "train (job 1)")).to_contain_text("killed")
    expect(card(lab, 1)).to_contain_text("running")


def test_after_a_restart_the_old_view_does_nothing_wrong(lab: Lab) -> None:
    lab.open(PANEL, TRAIN, "%load_ext ipykill", TRAIN)
    lab.run(0)
    lab.run(1)
    expect(card(lab, 1)).to_contain_text("running")
    lab.restart_kernel()
    expect(panel(lab.page)).to_contain_text("The kernel was restarted")
    expect(card(lab, 1)).to_contain_text("gone")
    expect(card(lab, 1).get_by_role("button", name="Kill")).to_have_count(0)
    lab.run(2)
    lab.run(3)
    expect(card(lab, 3)).to_contain_text("running")
    expect(card(lab, 1)).to_contain_text("gone")
    expect(panel(lab.page)).to_contain_text("The kernel was restarted")
