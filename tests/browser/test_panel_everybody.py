"""The panel for everybody: saved, without widgets, of many jobs, by keyboard, in the dark."""

import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.browser.cells import HOSTILE, LOOP, PANEL, TRAIN, card, kill, panel, row
from tests.browser.harness import Lab
from tests.browser.pictures import choose_theme
from tests.browser.rows import press

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_page_errors")]

CELLS = """() => window.jupyterapp.shell.currentWidget.content.widgets.map(
  ({ model }) => [model.type, model.sharedModel.getSource()])"""
NOTE_SAVES = """() => {
  window.saves = 0;
  window.jupyterapp.commands.commandExecuted.connect(
    // When it is saved: JupyterLab complains if the notebook is closed before.
    (_, { id, result }) => id === "docmanager:save" && result.then(() => (window.saves += 1)));
}"""


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


@pytest.mark.parametrize("app", ["lab/tree", "notebooks"])
def test_no_key_that_is_pressed_in_a_view_changes_the_notebook(lab: Lab, app: str) -> None:
    lab.open(PANEL, TRAIN, f"%%bg -n other\n{LOOP}", app=app)
    lab.run_all()
    first = row(lab.page, "other (job 2)")
    chip = panel(lab.page).get_by_role("button", name="2 running")
    header = panel(lab.page).get_by_role("button", name="Sort by state")
    keys = lab.page.keyboard
    cells = lab.page.evaluate(CELLS)
    for place in (
        lambda: first.click(position={"x": 4, "y": 4}),
        lambda: [chip.click(), chip.click()],
        lambda: [header.click() for _ in range(3)],
        lambda: panel(lab.page).focus(),
        lambda: card(lab, 1).get_by_role("button", name="Log").focus(),
    ):
        place()
        for key in "ddxabmyz00123MJ":
            keys.press(key)
        for key in ("Shift+ArrowDown", "Home", "Delete", "ArrowUp"):
            keys.press(key)
        assert lab.page.evaluate(CELLS) == cells
        lab.page.evaluate("document.activeElement.blur()")
    chip.click()
    keys.press("ArrowDown")
    expect(first).to_be_focused()
    header.click()
    keys.press("ArrowDown")
    expect(first).to_be_focused()
    lab.page.evaluate(NOTE_SAVES)
    keys.press("Control+s")
    lab.page.wait_for_function("window.saves === 1")


def test_the_list_of_keys_is_not_styled_as_output(lab: Lab) -> None:
    lab.open(PANEL, TRAIN)
    lab.run_all()
    press(panel(lab.page), "Keys")
    keys = panel(lab.page).get_by_role("group", name="List of keys")
    for line in keys.locator("> div").all():
        box, key = (it.bounding_box() for it in (line, line.locator("kbd")))
        assert box["height"] < 30
        assert box["y"] <= key["y"] < box["y"] + 8
    words = keys.get_by_text("open or close the log")
    expect(words).to_have_text("Enteropen or close the log")
    assert words.locator("kbd").evaluate("it => getComputedStyle(it).fontWeight") == "400"


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
