"""Fixtures for a real JupyterLab in a real browser; one server and one browser for all tests."""

import re
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser import harness
from tests.browser.harness import JupyterServer, Lab, console_errors
from tests.browser.stage import Stage
from tests.overlays import INSTALLED, OVERLAYS, Overlay


# Not the whole session: while Playwright runs, this thread has an event loop, and tests elsewhere
# want their own.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    if harness.find_chromium() is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    with harness.chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def browser_context(chromium: Browser) -> BrowserContext:
    """Shared, so that JupyterLab's 20 MB of JavaScript are loaded once."""
    return chromium.new_context(viewport=harness.VIEWPORT)


@pytest.fixture(scope="package")
def jupyter_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with harness.jupyter_server(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


@pytest.fixture
def page(browser_context: BrowserContext) -> Iterator[Page]:
    page = browser_context.new_page()
    yield page
    page.close()


@pytest.fixture(scope="package")
def lab_page(browser_context: BrowserContext) -> Page:
    """Shared, so that JupyterLab is started once: a test opens a notebook in it."""
    return browser_context.new_page()


@pytest.fixture
def lab(lab_page: Page, jupyter_server: JupyterServer, tmp_path: Path) -> Iterator[Lab]:
    """A page of the shared server; the kernels it starts end with the test."""
    lab_page.clear_console_messages()
    lab_page.clear_page_errors()
    lab = Lab(lab_page, jupyter_server, tmp_path)
    yield lab
    lab.close()
    jupyter_server.shutdown_kernels()


@pytest.fixture(params=OVERLAYS, ids=lambda overlay: overlay.name)
def any_overlay(
    request: pytest.FixtureRequest, jupyter_server: JupyterServer, overlay_cache: Path
) -> Overlay:
    """Each supported kernel version, for `lab.open(..., kernel=any_overlay)`."""
    overlay = request.param
    if overlay != INSTALLED:
        jupyter_server.offer(overlay, overlay_cache)
    return overlay


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the browser showed when a test fails."""
    report = yield
    fixtures = getattr(item, "funcargs", {})
    page = fixtures.get("page") or fixtures.get("lab_page")
    if page and call.when == "call" and report.failed:
        file = Path(tempfile.mkdtemp(), "failure.png")
        page.screenshot(path=file)
        report.sections.append(("Screenshot", str(file)))
        report.sections.append(("Browser console", "\n".join(console_errors(page))))
    return report


@pytest.fixture
def stage(page: Page) -> Iterator[Callable[..., Stage]]:
    page.clock.install()
    yield lambda *rows, **options: Stage(page, *rows, **options)
    assert console_errors(page) == []


@pytest.fixture
def no_page_errors(lab: Lab) -> Iterator[None]:
    yield
    ours = [line for line in lab.console_errors if re.search(r"blob:|ipykill|anywidget", line)]
    assert ours == []
