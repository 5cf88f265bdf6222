"""The JupyterLab extension: status, sidebar, commands and notifications, in Lab and Notebook."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.harness import NO_TOASTS, Lab
from tests.waiting import HANG_GUARD, wait_for

expect.set_options(timeout=HANG_GUARD * 1000)

pytestmark = pytest.mark.slow

LOAD = "%load_ext ipykill"
SLEEP = "import time\ntime.sleep(1000)"
BUSY = f"print('begun')\n{SLEEP}"
COMMANDS = (
    "Run Cell in Background",
    "Continue Running Cell in Background",
    "Stop Newest Job",
    "Kill Newest Job",
    "Show Background Jobs",
)
APPS = pytest.mark.parametrize("app", ["lab/tree", "notebooks"])

CONSOLE = """async (code) => {
  const { commands, shell } = window.jupyterapp;
  const kernelPreference = { name: "python3", autoStartDefault: true };
  const panel = await commands.execute("console:create", { kernelPreference, activate: true });
  await panel.sessionContext.ready;
  await panel.console.inject(code);
}"""
SETTINGS = """async (values) => {
  const { _services, _plugins } = window.jupyterapp.pluginRegistry;
  const [, id] = [..._services].find(([token]) => token.name.endsWith(":ISettingRegistry"));
  const settings = await _plugins.get(id).service.load("ipykill:plugin");
  for (const [name, value] of Object.entries(values)) {
    await (value === null ? settings.remove(name) : settings.set(name, value));
  }
}"""
LOSE_ONE = """() => {
  const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
  kernel.sendControlMessage = (message) => {
    delete kernel.sendControlMessage;
    window.lost = message.content.do;
    return { done: new Promise(() => null), isDisposed: true };
  };
}"""
AWAY = """() => {
  const desktop = (window.desktop = { asked: 0, shown: [], real: window.Notification });
  window.Notification = class {
    static permission = "default";
    static async requestPermission() {
      desktop.asked += 1;
      return (this.permission = "granted");
    }
    constructor(title) {
      desktop.shown.push(title);
    }
  };
  Object.defineProperty(document, "hidden", { get: () => true, configurable: true });
}"""
BACK = """() => {
  delete document.hidden;
  window.Notification = window.desktop.real;
  // At once, because some of them are about to go by themselves.
  const close = "[title='Hide notification'], [aria-label='Hide notification']";
  for (const button of document.querySelectorAll(close)) button.click();
}"""


@pytest.fixture(autouse=True)
def quiet_page(lab: Lab) -> Iterator[None]:
    """No error of ours, and none of a kernel that is asked what it does not know."""
    yield
    lab.page.evaluate("window.jupyterapp.shell.collapseRight()")
    lab.page.evaluate(SETTINGS, NO_TOASTS | {"desktop": None})
    ours = [line for line in lab.console_errors if re.search(r"blob:|ipykill|anywidget", line)]
    assert ours == []
    assert "UNKNOWN CONTROL" not in lab.server.log


def status(lab: Lab) -> Locator:
    return lab.page.locator("#ipykill-status button")


def sidebar(lab: Lab) -> Locator:
    return lab.page.locator("#ipykill-sidebar")


def press_twice(button: Locator) -> None:
    for _ in range(2):
        button.click()


def answer(lab: Lab, question: str, key: str) -> None:
    """Press a key in a dialog of the front end."""
    dialog = lab.page.get_by_role("dialog", name=question)
    expect(dialog.locator(":focus")).to_have_count(1)
    lab.page.keyboard.press(key)
    expect(dialog).to_have_count(0)


def test_the_status_counts_and_opens_the_panel(lab: Lab) -> None:
    lab.open(LOAD, f"%%bg -n train\n{SLEEP}", "%%bg -n bad\n1 / 0")
    lab.run(0)
    expect(sidebar(lab)).to_be_hidden()
    expect(status(lab)).to_be_hidden()
    lab.run(1)
    expect(status(lab)).to_have_text("▶ 1")
    lab.run(2)
    expect(status(lab)).to_have_text("▶ 1  ⚠ 1")
    said = "1 background job is not over yet (1 running), 1 failed"
    expect(status(lab)).to_have_attribute("title", f"{said}; click to show")
    status(lab).click()
    panel = sidebar(lab).get_by_role("region", name="Background jobs")
    panel.get_by_role("button", name="Stop train").click()
    expect(status(lab)).to_have_accessible_name(re.compile(r"over yet \(1 stopping\), 1 failed"))
    expect(status(lab)).to_have_text("▶ 1  ⚠ 1")
    press_twice(panel.get_by_role("button", name="Kill train"))
    expect(status(lab)).to_have_text("⚠ 1")
    expect(lab.cell(1).get_by_role("group", name="train")).to_contain_text("killed")
    print(lab.screenshot("sidebar"))
    panel.get_by_role("button", name="Clear finished").click()
    expect(status(lab)).to_be_hidden()
    expect(panel).to_contain_text("No background jobs")


@APPS
def test_a_cell_runs_in_the_background_as_it_is(lab: Lab, app: str) -> None:
    """Also where ipykill is not loaded yet."""
    text = "print('first line')\n1 / 0  # on line 2"
    lab.open(text, BUSY, f"%%bg -n named\n{SLEEP}", app=app)
    lab.select(0)
    lab.page.keyboard.press("Control+Shift+Enter")
    lab.wait_output(0, "first line")
    lab.wait_output(0, "line 2\n      1 print('first line')\n----> 2 1 / 0")
    assert lab.source(0) == text
    assert lab.prompt(0) == "[1]:"
    expect(status(lab)).to_have_text("⚠ 1")
    status(lab).click()
    expect(sidebar(lab)).to_contain_text("ZeroDivisionError")
    lab.select(2)
    lab.command("ipykill:run")
    expect(lab.cell(2).get_by_role("group", name="named")).to_contain_text("running")
    lab.command("ipykill:stop")
    expect(lab.cell(2).get_by_role("group", name="named")).to_contain_text("stopping")
    lab.command("ipykill:kill")
    answer(lab, "Kill named (job 2)?", "Enter")
    expect(lab.cell(2).get_by_role("group", name="named")).to_contain_text("killed")
    lab.start(1)
    lab.wait_output(1, "begun")
    lab.command("ipykill:detach")
    wait_for(lambda: lab.prompt(1) == "[3]:", "the cell to go on in the background")
    expect(lab.cell(1).get_by_role("group", name=re.compile("job 3"))).to_contain_text("running")


def test_the_sidebar_follows_the_kernel(lab: Lab) -> None:
    lab.open(LOAD, f"%%bg -n train\n{SLEEP}", BUSY)
    lab.command("ipykill:show")
    expect(sidebar(lab)).to_contain_text("ipykill is not loaded in this kernel.")
    lab.run(0)
    lab.run(1)
    expect(sidebar(lab)).to_contain_text("train")
    # Another kernel, of a console.
    lab.page.evaluate(CONSOLE, f"{LOAD}\nget_ipython().run_cell_magic('bg', '-n other', '1 / 0')")
    expect(status(lab)).to_have_text("⚠ 1")
    expect(sidebar(lab)).to_contain_text("other")
    expect(sidebar(lab)).not_to_contain_text("train")
    lab.page.get_by_role("tab", name=re.compile(r"notebook-\d+\.ipynb")).click()
    expect(sidebar(lab)).to_contain_text("train")
    # A page that is loaded while the kernel is busy, and so answers on the control channel only.
    lab.start(2)
    lab.wait_output(2, "begun")
    lab.reload()
    expect(status(lab)).to_have_text("▶ 1")
    # A new kernel process, and ipykill is loaded in it by the button.
    lab.restart_kernel()
    expect(status(lab)).to_be_hidden()
    lab.command("ipykill:show")
    expect(sidebar(lab)).to_contain_text("ipykill is not loaded in this kernel.")
    sidebar(lab).get_by_role("button", name="Load ipykill").click()
    expect(sidebar(lab)).to_contain_text("No background jobs")
    lab.run(1)
    expect(sidebar(lab)).to_contain_text("train")


def test_a_question_that_is_lost_is_asked_again(lab: Lab) -> None:
    lab.open(LOAD, f"%%bg -n train\n{SLEEP}")
    lab.page.evaluate(LOSE_ONE)
    lab.run(0)
    lab.run(1)
    expect(status(lab)).to_have_text("▶ 1")
    assert lab.page.evaluate("window.lost") == "hello"


def test_what_ends_out_of_sight_is_told(lab: Lab) -> None:
    lab.open(LOAD, f"%%bg -n train\n{SLEEP}", "%%bg -n quick\npass", "%%bg -n bad\n1 / 0")
    toasts = lab.page.locator(".Toastify__toast")
    lab.page.evaluate(SETTINGS, {"notifyAfter": 0, "notifyFailed": None})
    for index in range(4):
        lab.run(index)
    expect(toasts).to_contain_text("bad: failed after")
    expect(toasts).to_have_count(1)  # `quick` has ended before it, in sight
    toasts.get_by_role("button", name="Hide notification").click()
    lab.command("launcher:create")
    expect(lab.cell(1)).to_be_hidden()
    lab.command("ipykill:kill")
    answer(lab, "Kill train (job 1)?", "Enter")
    toast = toasts.filter(has_text="train: killed after")
    expect(toast).to_be_visible()
    print(lab.screenshot("toast"))
    toast.get_by_role("button", name="Show").click()
    expect(lab.cell(1)).to_be_visible()
    expect(sidebar(lab)).to_be_visible()


def test_what_ends_within_a_second_is_told_in_one_toast(lab: Lab) -> None:
    bad = "import ipykill\nfor i in range({}): ipykill.submit(lambda: 1 / 0, name=f'bad {{i}}')"
    lab.open(LOAD, bad.format(6), bad.format(2))
    toasts = lab.page.locator(".Toastify__toast")
    lab.page.evaluate(SETTINGS, {"notifyFailed": None})
    lab.run(0)
    for cell, words in (1, "6 jobs have ended: 6 failed"), (2, "2 failed (bad 0, bad 1)"):
        lab.run(cell)
        expect(toasts).to_contain_text(words)
        expect(toasts).to_have_count(1)
        toasts.get_by_role("button", name="Hide notification").click()
        expect(toasts).to_have_count(0)


@APPS
def test_a_key_that_was_pressed_by_mistake_kills_nothing(lab: Lab, app: str) -> None:
    lab.open(LOAD, f"%%bg -n train\n{SLEEP}", app=app)
    lab.run(0)
    lab.run(1)
    card = lab.cell(1).get_by_role("group", name="train")
    expect(status(lab)).to_have_text("▶ 1")  # before that, the command has nothing to kill
    for key, state in ("Escape", "running"), ("Enter", "killed"):
        expect(card).to_contain_text("running")
        lab.select(1)
        lab.page.keyboard.press("g")
        lab.page.keyboard.press("k")
        answer(lab, "Kill train (job 1)?", key)
        expect(card).to_contain_text(state)


def test_the_desktop_tells_if_the_user_wants_it(lab: Lab) -> None:
    lab.open(LOAD, "%%bg -n bad\n1 / 0", "%%bg -n worse\n2 / 0")
    lab.run(0)
    lab.page.evaluate(SETTINGS, {"notifyFailed": None})
    lab.page.evaluate(AWAY)
    try:
        lab.run(1)
        lab.page.locator(".jp-toast-message", has_text="bad: failed after").wait_for()
        assert lab.page.evaluate("[desktop.asked, ...desktop.shown]") == [0]
        lab.page.evaluate(SETTINGS, {"desktop": True})
        lab.page.wait_for_function("desktop.asked === 1")
        lab.run(2)
        lab.page.wait_for_function("/^worse: failed after/.test(desktop.shown)")
    finally:
        lab.page.evaluate(BACK)


def test_the_commands_are_in_the_menus_and_the_palette(lab: Lab) -> None:
    lab.open("1")
    lab.cell(0).click(button="right")
    menu = lab.page.get_by_role("menu")
    expect(menu.get_by_text("Run Cell in Background")).to_be_visible()
    print(lab.screenshot("context-menu"))
    lab.page.keyboard.press("Escape")
    lab.page.get_by_role("menuitem", name="Kernel", exact=True).click()
    for name in COMMANDS:
        expect(menu.get_by_text(name)).to_be_visible()
    print(lab.screenshot("kernel-menu"))
    lab.page.keyboard.press("Escape")
    lab.command("apputils:activate-command-palette")
    palette = lab.page.locator(".jp-ModalCommandPalette")
    palette.locator("input").fill("background jobs")
    for name in COMMANDS:
        enabled = "Newest" not in name  # what cannot be done now is not in the palette
        expect(palette.get_by_role("menuitem", name=name)).to_have_count(int(enabled))
    lab.page.keyboard.press("Escape")
