"""Rows of jobs as the kernel tells of them, and what a page shows of them."""

import time
from typing import Any

from playwright.sync_api import Locator

from tests.browser.stage import Stage

PLACE = "cell [2], line 3 (time.sleep)"


def row(id: int, state: str = "running", **more: Any) -> dict[str, Any]:
    """A row as `feed.row` makes it."""
    return {"id": id, "name": f"job-{id}", "state": state, "started": time.time(), **more}


def over(id: int, state: str = "done", **more: Any) -> dict[str, Any]:
    return row(id, state, elapsed=1.5, **more)


def item(panel: Locator, id: int) -> Locator:
    return panel.get_by_role("listitem", name=f"job-{id} (job {id})")


def press(place: Locator, name: str) -> None:
    place.get_by_role("button", name=name, exact=True).click()


def spoken(stage: Stage) -> Locator:
    return stage.page.locator("[role=status][aria-live=polite]")
