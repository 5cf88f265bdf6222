"""The panel and the cards as a person meets them: by what they read, and by role and name."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.harness import Lab
from tests.browser.pictures import choose_theme
from tests.overlays import OVERLAYS, Overlay
from tests.waiting import HANG_GUARD, wait_for

expect.set_options(timeout=HANG_GUARD * 1000)

PANEL = "%load_ext ipykill\n%bgpanel"
LOOP = "import time\nwhile True: time.sleep(0.01)"
TRAIN = f"%%bg -n train\nprint('epoch 1')\n{LOOP}"
COUNT = (
    "%%bg -n count\nimport time\ni = 0\nwhile True:\n"
    "    i += 1\n    print('line', i)\n    time.sleep(0.05)"
)
HOSTILE = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>"

pytestmark = pytest.mark.slow


def panel(page: Page) -> Locator:
    return page.get_by_role("region", name="Background jobs")


def card(lab: Lab, index: int) -> Locator:
    """The live card below a cell."""
    return lab.cell(index).get_by_role("group")


def row(page: Page, title: str) -> Locator:
    return panel(page).get_by_role("listitem", name=title)


def press(place: Locator, name: str) -> None:
    place.get_by_role("button", name=name, exact=True).click()


def kill(place: Locator, title: str) -> None:
    press(place, f"Kill {title}")
    press(place, f"Kill {title}")


@pytest.fixture(autouse=True)
def no_page_errors(lab: Lab) -> Iterator[None]:
    yield
    ours = [line for line in lab.console_errors if re.search(r"blob:|ipykill|anywidget", line)]
    assert ours == []


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


def test_a_saved_notebook_and_its_html_page_say_the_last_state(lab: Lab) -> None:
    lab.open(PANEL, "%%bg -n quick\nprint('hello')", TRAIN, f"%%bg -n '{HOSTILE[:58]}'\n1")
    for index in range(4):
        lab.run(index)
    expect(card(lab, 1)).to_contain_text("done")
    lab.restart_kernel()
    lab.reload()
    outputs = lab.page.locator(".jp-OutputArea-output:visible")
    expect(outputs.filter(has_text="[1] quick: done in")).to_be_visible()
    expect(outputs.filter(has_text="[2] train: launched 20")).to_be_visible()
    expect(outputs.filter(has_text="Background jobs at 20")).to_be_visible()
    expect(outputs.filter(has_text="Error displaying widget")).to_have_count(0)
    assert lab.page.evaluate("window.hacked") is None

    lab.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    (notebook,) = {file for file in lab.server.work.glob("*.ipynb") if file.name in lab.page.url}
    convert = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "html", str(notebook)]
    subprocess.run(convert, check=True, capture_output=True)
    lab.page.goto(notebook.with_suffix(".html").as_uri(), wait_until="domcontentloaded")
    expect(lab.page.get_by_text("[1] quick: done in")).to_be_visible()
    assert lab.page.evaluate("window.hacked") is None
    lab.console_errors.clear()  # that page wants scripts from the internet


def test_where_widgets_are_not_known_the_jobs_are_text_and_tables(lab: Lab) -> None:
    show = "import ipykill\nipykill.jobs"
    lab.open(PANEL, TRAIN, show, "%bgpanel", "%bgkill train")
    lab.page.evaluate(
        "window.jupyterapp.shell.currentWidget.content.rendermime"
        ".removeMimeType('application/vnd.jupyter.widget-view+json')"
    )
    for index in range(4):
        lab.run(index)
    shown = [lab.cell(index).locator(".jp-OutputArea") for index in range(4)]
    expect(shown[0]).to_contain_text("Start one with %%bg")
    expect(shown[1]).to_contain_text("[1] train: launched 20")
    for table in shown[2:]:
        expect(table.get_by_role("cell", name="train", exact=True)).to_be_visible()
    lab.run(4)
    expect(shown[1]).to_contain_text("[1] train: killed after")
    assert "\n\n" not in shown[1].inner_text().strip()  # nothing stands where the card would


def test_500_jobs_are_listed_and_filtered(lab: Lab) -> None:
    many = (
        "import ipykill, threading\nend = threading.Event()\n"
        "for i in range(500): ipykill.submit(end.wait, name=f'job-{i}')"
    )
    lab.open(f"{PANEL}\n{many}", "end.set()")
    lab.run(0)
    rows = panel(lab.page).get_by_role("listitem")
    expect(panel(lab.page)).to_contain_text("500 running")
    expect(row(lab.page, "job-499 (job 500)")).to_be_visible()
    assert rows.count() < 50  # of the list only a window is drawn
    panel(lab.page).get_by_role("searchbox", name="Filter jobs").fill("job-499")
    expect(rows).to_have_count(1)
    press(rows, "Stop job-499 (job 500)")
    expect(rows).to_contain_text("stopping")
    panel(lab.page).get_by_role("searchbox", name="Filter jobs").fill("")
    panel(lab.page).locator(".ipykill-scroller").evaluate("it => it.scrollTo(0, it.scrollHeight)")
    expect(row(lab.page, "job-0 (job 1)")).to_be_visible()
    lab.run(1)
    expect(panel(lab.page)).to_contain_text("500 done")
    press(panel(lab.page), "Clear finished jobs")
    expect(panel(lab.page)).to_contain_text("No background jobs")


def test_all_jobs_are_killed_after_a_question(lab: Lab) -> None:
    lab.open(PANEL, TRAIN, f"%%bg -n other\n{LOOP}")
    lab.run_all()
    press(panel(lab.page), "Kill all jobs")
    expect(panel(lab.page)).to_contain_text("Kill 2?")
    expect(panel(lab.page)).to_contain_text("2 running")
    press(panel(lab.page), "Kill all jobs")
    expect(panel(lab.page)).to_contain_text("2 killed")


def test_hostile_text_is_shown_as_text(lab: Lab) -> None:
    lab.open(
        PANEL,
        f"import ipykill\ndef work():\n    print({HOSTILE!r})\n    raise ValueError({HOSTILE!r})\n"
        f"job = ipykill.submit(work, name={HOSTILE!r}); job",
    )
    lab.run_all()
    expect(card(lab, 1)).to_contain_text("failed")
    expect(card(lab, 1)).to_contain_text(HOSTILE[:30])
    press(card(lab, 1), f"Log of {HOSTILE} (job 1)")
    for tab in ("Error", "Source", "Log"):
        card(lab, 1).get_by_role("tab", name=tab).click()
        expect(card(lab, 1).get_by_role("tabpanel")).to_contain_text("onerror")
    assert card(lab, 1).locator("img, script").count() == 0
    assert panel(lab.page).locator("img, script").count() == 0
    assert lab.page.evaluate("window.hacked") is None


def test_the_keyboard_is_enough(lab: Lab) -> None:
    lab.open(PANEL, TRAIN, f"%%bg -n other\n{LOOP}")
    lab.run_all()
    stop = row(lab.page, "other (job 2)").get_by_role("button", name="Stop other (job 2)")
    keys = lab.page.keyboard
    stop.focus()
    keys.press("ArrowDown")
    first = row(lab.page, "train (job 1)")
    expect(first.get_by_role("button", name="Stop train (job 1)")).to_be_focused()
    keys.press("Tab")
    expect(first.get_by_role("button", name="Interrupt train (job 1)")).to_be_focused()
    keys.press("Tab")
    expect(first.get_by_role("button", name="Kill train (job 1)")).to_be_focused()
    keys.press("Enter")
    expect(first).to_contain_text("Kill?")
    keys.press("Escape")
    expect(first).not_to_contain_text("Kill?")
    keys.press("Enter")
    keys.press("Enter")
    expect(first).to_contain_text("killed")
    expect(first.get_by_role("button", name="Log of train (job 1)")).to_be_focused()
    keys.press("Space")
    expect(first.get_by_role("tab", name="Source")).to_be_visible()
    keys.press("Tab")
    expect(first.get_by_role("button", name="Dismiss train (job 1)")).to_be_focused()
    keys.press("Tab")
    keys.press("ArrowRight")
    expect(first.get_by_role("tab", name="Source")).to_be_focused()
    keys.press("Escape")
    expect(first.get_by_role("button", name="Log of train (job 1)")).to_be_focused()
    assert lab.prompt(1) == "[2]:"  # no key was a command to the notebook


def test_the_dark_theme_is_followed(lab: Lab) -> None:
    lab.open(PANEL, TRAIN)
    lab.run_all()
    look = """it => [getComputedStyle(it).backgroundColor, getComputedStyle(it).color].map(
        color => color.match(/[\\d.]+/g).slice(0, 3).map(Number).reduce((a, b) => a + b))"""
    ground, text = card(lab, 1).locator("xpath=..").evaluate(look)
    assert ground > text
    try:
        choose_theme(lab, "Dark")
        ground, text = card(lab, 1).locator("xpath=..").evaluate(look)
        assert ground < text
    finally:
        choose_theme(lab, "Light")


def test_the_extension_is_reloaded_under_living_views(lab: Lab) -> None:
    lab.open(PANEL, TRAIN, "%reload_ext ipykill", "%unload_ext ipykill")
    for index in range(3):
        lab.run(index)
    kill(card(lab, 1), "train (job 1)")
    expect(card(lab, 1)).to_contain_text("killed")
    lab.run(1)
    press(card(lab, 1), "Stop train (job 2)")
    expect(card(lab, 1)).to_contain_text("stopping")
    lab.run(3)
    expect(card(lab, 1)).to_contain_text("killed")


def test_a_job_runs_again_in_its_cell_and_a_reload_is_told(lab: Lab) -> None:
    fails = "%%bg -n plot\nn = globals().get('n', 0) + 1\nprint('run', n)\n1 / 0"
    lab.open(PANEL, fails, TRAIN)
    for index in range(3):
        lab.run(index)
    press(card(lab, 1), "Run again plot (job 1)")
    lab.wait_output(1, "run 2")
    expect(card(lab, 1)).to_contain_text("job 3")
    lab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    press(row(lab.page, "plot (job 3)"), "Copy traceback of plot (job 3)")
    expect(row(lab.page, "plot (job 3)")).to_contain_text("Copied")
    assert "1 / 0\n" in lab.page.evaluate("navigator.clipboard.readText()")
    expect(row(lab.page, "train (job 2)")).to_contain_text("%")
    press(row(lab.page, "plot (job 1)"), "Dismiss plot (job 1)")
    expect(row(lab.page, "plot (job 1)")).to_have_count(0)
    lab.reload()
    expect(card(lab, 2)).to_contain_text("the log has the rest")
    expect(card(lab, 1)).not_to_contain_text("the log has the rest")
