"""JupyterLab and Notebook as a person uses them: a server, and a page in Chromium."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Browser, Dialog, Locator, Page, expect, sync_playwright

from tests.overlays import INSTALLED, ROOT, Overlay
from tests.waiting import HANG_GUARD, wait_for

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWPORT = {"width": 1280, "height": 900}
LAB = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1"]

SERVER_CONFIG = {
    "ServerApp": {"allow_root": True},
    "LabApp": {"expose_app_in_browser": True},
    "JupyterNotebookApp": {"expose_app_in_browser": True},
}
NO_NEWS = {"fetchNews": "false"}
"""JupyterLab then asks neither the person nor the network for news."""
NO_TOASTS = {"notifyFailed": False, "notifyAfter": 1e9}
"""Of ipykill: they would lie above what a test clicks on."""


CLOSE = """() => {
  for (const widget of [...(window.jupyterapp?.shell.widgets("main") ?? [])]) widget.dispose();
}"""
OPEN = """async (path) => {
  const { commands, serviceManager } = window.jupyterapp;
  await serviceManager.kernelspecs.refreshSpecs();  // a test may have offered one
  await commands.execute("docmanager:open", { path, factory: "Notebook" });
}"""
"""JupyterLab then shows another notebook without being loaded again."""
ANSWERS = """() => {
  const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
  const ask = async (mine, restarts) => {
    if (restarts) await kernel.restart();
    await kernel.requestExecute({ code: "", silent: true }).done;
    mine.answered = true;
  };
  const now = performance.now();
  const last = window.asked_?.kernel === kernel ? window.asked_ : null;
  if (!last || (!last.answered && now - last.at > 10000)) {
    window.asked_ = { kernel, at: now, answered: false };
    ask(window.asked_, last !== null).catch(() => {});
  }
  return window.asked_.answered && !kernel._futures.size;
}"""
"""Whether a new kernel has run something, and owes the page no answer. Before 7.4, ipykernel may
overlook what comes while it sends an answer (a raw send takes the edge of the shell socket's
descriptor), for ever or until more comes; as JupyterLab asks several things at the start, that is
one of some dozens of starts. A person restarts it then, and so does this."""


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def console_errors(page: Page) -> list[str]:
    """What the page reported as errors: `console.error` calls and uncaught exceptions."""
    messages = [m for m in page.console_messages(filter="all") if m.type == "error"]
    logged = [f"{message.text} ({message.location['url']})" for message in messages]
    return logged + [str(error) for error in page.page_errors(filter="all")]


class JupyterServer:
    """A Jupyter server whose settings and state live in a folder of their own."""

    def __init__(
        self,
        command: list[str],
        folder: Path,
        work: Path,
        environment: dict[str, str],
        timeout: float = HANG_GUARD,
    ) -> None:
        """Run `command` in `work`; return once it has a server that answers."""
        self.work = work
        self._data = folder / "data"
        self._log = folder / "server.log"
        self._runtime = folder / "runtime"
        _write_json(folder / "config/jupyter_server_config.json", SERVER_CONFIG)
        _write_json(
            folder / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings",
            NO_NEWS,
        )
        _write_json(folder / "settings/ipykill/plugin.jupyterlab-settings", NO_TOASTS)
        own = {
            "JUPYTER_CONFIG_DIR": folder / "config",
            "JUPYTER_DATA_DIR": self._data,
            "JUPYTER_RUNTIME_DIR": self._runtime,
            "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
            "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
            "IPYTHONDIR": folder / "ipython",
        }
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command,
                cwd=work,
                env=os.environ | {name: str(path) for name, path in own.items()} | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_for(self._answers, "a Jupyter server that answers", timeout)
        except BaseException:
            self.close()
            raise

    @property
    def log(self) -> str:
        return self._log.read_text()

    def offer(self, overlay: Overlay, cache: Path) -> None:
        """Let notebooks ask for a kernel of `overlay` by its name."""
        _write_json(
            self._data / "kernels" / overlay.name / "kernel.json", overlay.kernelspec(cache)
        )

    def shutdown_kernels(self) -> None:
        for session in self._request("GET", "api/sessions"):
            self._request("DELETE", f"api/sessions/{session['id']}")

    def close(self) -> None:
        """End the server and its kernels, as Ctrl-C twice does."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(HANG_GUARD)
            wait_for(lambda: not self._infos(), "the end of the server")

    def _answers(self) -> bool:
        """Learn the address; the file that tells it comes a moment before the server listens."""
        assert self._process.poll() is None, f"the server ended:\n{self.log}"
        try:
            (info,) = self._infos()
            facts = json.loads(info.read_text())
            self.url, self.token = facts["url"], facts["token"]
            self._request("GET", "api/status")
        except (OSError, ValueError):
            return False
        return True

    def _infos(self) -> list[Path]:
        """The file in which a running server tells its address; it is removed at the end."""
        return list(self._runtime.glob("jpserver-*.json"))

    def _request(self, method: str, path: str) -> list[dict]:
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=HANG_GUARD) as answer:
            return json.loads(answer.read() or "[]")


class Lab:
    """A page with one notebook in it. Cells are counted from 0, markdown cells left out."""

    def __init__(self, page: Page, server: JupyterServer, artifacts: Path) -> None:
        self.page = page
        self.server = server
        self.artifacts = artifacts
        page.set_default_timeout(HANG_GUARD * 1000)
        page.on("dialog", self._accept)

    def _accept(self, dialog: Dialog) -> None:
        dialog.accept()

    def close(self) -> None:
        """Close the notebook without a question; the page stays for the next one."""
        self.page.remove_listener("dialog", self._accept)
        self.page.evaluate(CLOSE)

    def open(self, *cells: str, app: str = "lab/tree", kernel: Overlay = INSTALLED) -> None:
        """Make a notebook of code cells and open it in JupyterLab, or `app="notebooks"`."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        name = "python3" if kernel == INSTALLED else kernel.name
        notebook.metadata["kernelspec"] = {"name": name, "display_name": name}
        count = len(list(self.server.work.glob("*.ipynb")))
        file = self.server.work / f"notebook-{count}.ipynb"
        nbformat.write(notebook, file)
        if app == "lab/tree" and self.page.url.startswith(f"{self.server.url}lab"):
            self.page.evaluate(CLOSE)
            self.page.evaluate(OPEN, file.name)
            self.page.wait_for_url(re.compile(re.escape(file.name)))
            self.wait_ready()
        else:
            self.goto(f"{self.server.url}{app}/{file.name}?token={self.server.token}&reset")
        self.page.wait_for_function(ANSWERS, polling=200)

    def goto(self, url: str) -> None:
        """Open the page of a notebook and wait until its kernel can be used."""
        self.page.goto(url)
        self.wait_ready()

    def wait_ready(self) -> None:
        """Until the notebook is shown and has its kernel, which may be busy."""
        self.page.wait_for_function(
            "window.jupyterapp?.shell.currentWidget?.sessionContext?.isReady"
        )
        expect(self.cell(0)).to_be_visible(timeout=HANG_GUARD * 1000)

    @property
    def console_errors(self) -> list[str]:
        return console_errors(self.page)

    def cell(self, index: int) -> Locator:
        """The whole code cell; look inside it for buttons, text, widgets."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(index)

    def prompt(self, index: int) -> str:
        """`[3]:` for a cell that has ended, `[*]:` for one that waits or runs."""
        return self.cell(index).locator(".jp-InputPrompt").text_content() or ""

    def output(self, index: int) -> str:
        """The text of all outputs of a cell, a line break between any two."""
        outputs = self.cell(index).locator(".jp-OutputArea-output")
        return "\n".join(outputs.all_text_contents())

    def wait_output(self, index: int, text: str, timeout: float = HANG_GUARD) -> None:
        wait_for(lambda: text in self.output(index), f"{text!r} below cell {index}", timeout)

    def source(self, index: int) -> str:
        """What is written in a cell."""
        return self._with_cell(index, "cell.model.sharedModel.getSource()")

    def select(self, index: int) -> None:
        """Make a cell the active one, with the keyboard's focus on it."""
        self._with_cell(index, "notebook.activate()")

    def start(self, index: int) -> None:
        """Run a cell; wait for nothing."""
        # Not with the mouse and the keyboard: when the output of an earlier cell grows at that
        # moment, a click lands in another cell.
        run = "void window.jupyterapp.commands.execute('notebook:run-cell')"
        self._with_cell(index, run)

    def _with_cell(self, index: int, what: str) -> Any:
        """Make a cell the active one, and evaluate `what` with `cell` and `notebook`."""
        function = f"""index => {{
            const notebook = window.jupyterapp.shell.currentWidget.content;
            const cells = notebook.widgets;
            const cell = cells.filter(cell => cell.model.type === "code")[index];
            notebook.activeCellIndex = cells.indexOf(cell);
            return {what};
        }}"""
        return self.page.evaluate(function, index)

    def run(self, index: int, timeout: float = HANG_GUARD) -> None:
        """Run a cell and wait until it has ended."""
        before = self.prompt(index)
        self.start(index)
        wait_for(
            lambda: self._ended(index) and self.prompt(index) != before,
            f"the end of cell {index}",
            timeout,
        )

    def run_all(self, timeout: float = HANG_GUARD) -> None:
        """Choose Run All Cells and wait until every cell that has not run yet has ended."""
        self.command("notebook:run-all-cells")
        self.wait_all(timeout)

    def wait_all(self, timeout: float = HANG_GUARD) -> None:
        count = self.page.locator(".jp-Notebook .jp-CodeCell").count()
        wait_for(lambda: all(map(self._ended, range(count))), "the end of all cells", timeout)

    def command(self, name: str) -> None:
        """Run a command of the front end, as its menu item would."""
        self.page.evaluate("name => { window.jupyterapp.commands.execute(name) }", name)

    def restart_kernel(self) -> None:
        self._session("context => context.restartKernel()")

    def interrupt_kernel(self) -> None:
        self._session("context => context.session.kernel.interrupt()")

    def reload(self) -> None:
        """Save and load the page again; the kernel lives on."""
        self.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
        # Else JupyterLab may also bring back the notebook of the test before, closed just now.
        self.page.goto(self.page.url.partition("?")[0] + "?reset")
        self.wait_ready()

    def screenshot(self, name: str) -> Path:
        file = self.artifacts / f"{name}.png"
        self.page.screenshot(path=file)
        return file

    def _ended(self, index: int) -> bool:
        return bool(re.search(r"\[\d+\]:", self.prompt(index)))

    def _session(self, function: str) -> None:
        context = "window.jupyterapp.shell.currentWidget.sessionContext"
        self.page.evaluate(f"async () => {{ await ({function})({context}) }}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium, which has to be there."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(),
            args=CHROMIUM_FLAGS,
            ignore_default_args=["--hide-scrollbars"],  # a person has them
        )
        yield browser
        browser.close()


@contextmanager
def jupyter_server(folder: Path) -> Iterator[JupyterServer]:
    """A JupyterLab server that has this ipykill, as its kernels do; it works in `folder`."""
    work = folder / "work"
    work.mkdir()
    # This comes first, whatever is installed. A copy: not every server follows links out of it.
    shutil.copytree(ROOT / "labextension", folder / "share/labextensions/ipykill")
    environment = {"PYTHONPATH": str(ROOT), "JUPYTER_PATH": str(folder / "share")}
    server = JupyterServer(LAB, folder, work, environment)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def labs() -> Iterator[Callable[[], AbstractContextManager[Lab]]]:
    """For what is not a test: yields what opens a new page of one server and browser."""
    folder = Path(tempfile.mkdtemp())
    with jupyter_server(folder) as server, chromium() as browser:
        context = browser.new_context(viewport=VIEWPORT)

        @contextmanager
        def lab() -> Iterator[Lab]:
            page = context.new_page()
            yield Lab(page, server, folder)
            page.close()
            server.shutdown_kernels()

        yield lab


def _write_json(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
