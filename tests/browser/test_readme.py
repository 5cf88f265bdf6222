"""A person follows the README: one command, and the quickstart notebook runs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests import readme
from tests.browser.harness import JupyterServer, Lab
from tests.overlays import ROOT
from tests.waiting import wait_for

NOTEBOOK = "notebooks/quickstart.ipynb"
INSTALL = 600.0
"""Seconds that the installation may take: a slow network is no failure of ours."""


def copy_checkout(target: Path) -> None:
    """Copy what a commit of the working tree would hold: no caches, no virtual environment."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_lab_command_opens_a_quickstart_that_works(page: Page, tmp_path: Path) -> None:
    checkout = tmp_path / "ipykill"
    copy_checkout(checkout)
    opened = tmp_path / "opened"
    opener = tmp_path / "browser"
    opener.write_text(f'#!/bin/sh\necho "$1" > {opened}.part\nmv {opened}.part {opened}\n')
    opener.chmod(0o755)
    # The README's `python3` is the one of this test run, not of its virtual environment.
    path = f"{Path(sys._base_executable).parent}:/usr/bin:/bin"
    server = JupyterServer(
        ["sh", "-c", readme.command("jupyter lab")],
        tmp_path / "jupyter",
        checkout,
        {"BROWSER": f"{opener} %s", "PATH": path},
        timeout=INSTALL,
    )
    try:
        wait_for(opened.exists, "JupyterLab to open a browser")
        # The server prints the address, for who has no browser there.
        printed_url = f"/lab/tree/{NOTEBOOK}?token="
        wait_for(
            lambda: printed_url in (tmp_path / "jupyter/server.log").read_text(), "its address"
        )
        lab = Lab(page, server, tmp_path)
        lab.goto(opened.read_text().strip())
        assert Path(NOTEBOOK).name in page.url
        lab.run_all(timeout=120)
        print(lab.screenshot("quickstart"))
        errors = page.locator("[data-mime-type='application/vnd.jupyter.error']")
        assert errors.all_text_contents() == []
        assert lab.console_errors == []
        # The extension of JupyterLab is part of an editable install too.
        assert page.evaluate("window.jupyterapp.commands.hasCommand('ipykill:show')")
        # `%%bg` itself prints nothing, so what stands on stdout comes from the job.
        printed = lab.cell(first_background_cell()).locator("[data-mime-type$='jupyter.stdout']")
        expect(printed.first).to_be_visible()
    finally:
        server.close()


def first_background_cell() -> int:
    cells = json.loads((ROOT / NOTEBOOK).read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return next(index for index, source in enumerate(code) if source.startswith("%%bg"))
