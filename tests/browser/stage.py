"""The views on a page of their own, without Jupyter: what the kernel says is up to the test."""

import time
from typing import Any

from playwright.sync_api import Locator, Page

from ipykill.panel import bundle

PAGE = """<!doctype html><meta charset="utf-8"><body></body>"""

# A model as anywidget hands it over, in a front end that has no control channel.
# Requests are kept, and answered with what the test has laid down for them.
START = """async ([script, state, offers, live]) => {
  const listeners = {};
  const kernel = { status: "idle" };
  const stage = (window.stage = { requests: [], answers: { watch: {} }, kernel });
  const whole = { comm_live: live, on: (event, listener) => (stage.changeLife = listener) };
  stage.end = () => {
    whole.comm_live = false;
    stage.changeLife();
  };
  stage.tell = (message) => listeners["msg:custom"]?.forEach((listener) => listener(message));
  const model = {
    get: (name) => state[name],
    on: (event, listener) => (listeners[event] ??= []).push(listener),
    widget_manager: offers ? { kernel, get_model: async () => whole } : undefined,
    send: (request) => {
      stage.requests.push(request);
      const reply = stage.answers[request.do];
      if (reply !== undefined) stage.tell({ to: request.message, reply });
    },
  };
  const source = new Blob([script], { type: "text/javascript" });
  const { default: views } = await import(URL.createObjectURL(source));
  views.initialize({ model });
  stage.show = (row) => {
    const el = document.body.appendChild(document.createElement("div"));
    const panel = globalThis[Symbol.for("ipykill.panels")].get("model");
    return row === null ? views.render({ model, el }) : panel.drawCard(el, row);
  };
}"""


class Stage:
    """A page whose rows are those that `feed.row` returns, or any others."""

    def __init__(
        self,
        page: Page,
        *rows: dict[str, Any],
        manager: bool = True,
        kernel: bool = True,
        given: float = 0.0,
    ) -> None:
        """Show nothing yet; without a `manager` the front end offers the bare model."""
        self.page = page
        self.revision = 0
        page.goto("about:blank")
        page.set_content(PAGE)
        page.add_style_tag(content=bundle.style())
        jobs = {"rev": 0, "now": time.time(), "rows": rows}
        page.evaluate(
            START,
            [bundle.script(), {"model": "model", "jobs": jobs, "given": given}, manager, kernel],
        )

    def panel(self) -> Locator:
        """Show the panel."""
        self.page.evaluate("() => { stage.show(null) }")
        return self.page.get_by_role("region", name="Background jobs")

    def card(self, row: dict[str, Any]) -> Locator:
        """Show the card of a job."""
        self.page.evaluate("row => { stage.show(row) }", row)
        return self.page.get_by_role("group").last

    def tell(self, **message: Any) -> None:
        """Say what the kernel might say."""
        self.page.evaluate("message => stage.tell(message)", message)

    def answer(self, kind: str, details: dict[str, Any]) -> None:
        """Answer the last request of this kind."""
        self.page.evaluate(
            """([kind, details]) => {
                const asked = stage.requests.filter((it) => it.do === kind).at(-1);
                stage.tell({ to: asked.message, reply: { details } });
            }""",
            [kind, details],
        )

    def change(self, *rows: dict[str, Any], gone: tuple[int, ...] = ()) -> None:
        """Say what has changed in rows since the last change."""
        self.revision += 1
        self.tell(
            base=self.revision - 1,
            rev=self.revision,
            now=time.time(),
            rows={row["id"]: row for row in rows},
            gone=list(gone),
        )

    @property
    def requests(self) -> list[str]:
        """What was asked for."""
        return [it["do"] for it in self.page.evaluate("stage.requests")]

    def restart(self) -> None:
        """Let the kernel end, as the front end tells it."""
        self.page.evaluate("() => { stage.end() }")

    def forget_requests(self) -> None:
        """Begin to count anew, after the first that says that a view is open."""
        self.page.wait_for_function("stage.requests.length > 0")
        self.page.evaluate("() => { stage.requests = [] }")
