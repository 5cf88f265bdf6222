"""Take the pictures of the documents again: ``python -m tests.browser.pictures``.

They are what a person sees in JupyterLab, cut to the size of what they show.
"""

import re
from pathlib import Path

from playwright.sync_api import Locator, expect

from tests.browser.harness import Lab, labs
from tests.overlays import ROOT

IMAGES = ROOT / "docs" / "images"
PLAIN = ".jp-cell-toolbar { display: none !important }"
"""The buttons of the active cell have nothing to do with what a picture shows."""

HELPERS = """
def train_one_epoch(model):
    time.sleep(0.05)
    return 1 / (1 + len(losses))
losses, model = [], None
"""
NOTEBOOK = (
    "%load_ext ipykill\nimport threading, time, ipykill",
    HELPERS,
    '%%bg -n train\nfor epoch in ipykill.track(range(300), description="epoch"):\n'
    "    losses.append(train_one_epoch(model))",
    "%%bg -n stuck\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()  # nobody releases it",
    "%bgkill stuck",
    "losses[-1]",
    "%bgpanel",
)
JOBS = (
    "%load_ext ipykill\nimport queue, subprocess, time, ipykill",
    "%%bg -q -n parse\n{}['missing']",
    "%%bg -q -n listen\nqueue.Queue().get()",
    "%%bg -q -n train\n"
    'for epoch in ipykill.track(range(40), description="epoch"):\n'
    '    for batch in ipykill.track(range(50), description="batch"): time.sleep(0.01)\n'
    '    print(f"epoch {epoch}  loss {1 / (1 + epoch):.4f}")',
    "%%bg -q -n crawl\nwhile True:\n    time.sleep(0.5)",
    "%%bg -q -n encode\nsubprocess.run(['sleep', '600'])",
    "%%bg -q -n save\nwith ipykill.shield():\n    time.sleep(30)",
    "%bgpanel",
    "%bgkill listen\n%bgstop crawl\n%bgkill -w 0 save",
)
CONTINUE = (
    "%load_ext ipykill",
    "import time\nfor epoch in range(10_000):\n    time.sleep(0.5)\n"
    "    print(f'epoch {epoch}: loss {3 / (epoch + 2):.3f}')",
)


def choose_theme(lab: Lab, name: str) -> None:
    """Show JupyterLab in its light or its dark theme."""
    command = f"'apputils:change-theme', {{theme: 'JupyterLab {name}'}}"
    lab.page.evaluate(f"window.jupyterapp.commands.execute({command})")
    light = "true" if name == "Light" else "false"
    lab.page.wait_for_function(f"document.body.dataset.jpThemeLight === '{light}'")


def shot(lab: Lab, first: int, last: int, file: Path) -> None:
    """Take a picture of the cells from `first` to `last`."""
    lab.page.mouse.move(0, 0)
    lab.page.add_style_tag(content=PLAIN)
    top = lab.cell(first).bounding_box()
    bottom = lab.cell(last).bounding_box()
    assert top is not None
    assert bottom is not None
    clip = {"x": top["x"] + 36, "y": top["y"], "width": top["width"] - 36}
    lab.page.screenshot(
        path=file, clip={**clip, "height": bottom["y"] + bottom["height"] - top["y"]}
    )


def run(lab: Lab, cells: tuple[str, ...]) -> Locator:
    """Run the cells; return the panel when it has news. It shows jobs that it saw end."""
    lab.page.set_viewport_size({"width": 1500, "height": 1300})
    lab.open(*cells, app="notebooks")
    panel = lab.page.get_by_role("region", name="Background jobs")
    if cells[-1] == "%bgpanel":
        lab.run_all()
    else:
        for index in range(len(cells) - 1):
            lab.run(index)
        expect(panel.get_by_text("5 running")).to_be_visible()
        lab.run(len(cells) - 1)
    expect(panel.get_by_text("1 killed")).to_be_visible()
    expect(panel.get_by_role("listitem", name=re.compile("stuck|listen"))).to_be_visible()
    lab.page.wait_for_timeout(4000)
    return panel


def run_long(lab: Lab) -> None:
    """Run a cell for so long that it is offered to continue it in the background."""
    lab.page.set_viewport_size({"width": 1000, "height": 900})
    lab.open(*CONTINUE, app="notebooks")
    lab.run(0)
    lab.start(1)
    expect(lab.page.get_by_role("button", name="Continue in background")).to_be_visible()
    lab.wait_output(1, "epoch 8")


def main() -> None:
    with labs() as open_lab:
        with open_lab() as lab:
            run_long(lab)
            shot(lab, 0, 1, IMAGES / "continue.png")
        with open_lab() as lab:
            run(lab, NOTEBOOK)
            shot(lab, 2, 6, IMAGES / "notebook.png")
        with open_lab() as lab:
            panel = run(lab, JOBS)
            for theme, name in (("Dark", "panel-dark"), ("Light", "panel")):
                choose_theme(lab, theme)
                lab.page.mouse.move(0, 0)
                panel.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
