"""The widgets: one model of all jobs per kernel, and one small model per card."""

from __future__ import annotations

import contextvars
import functools
import time
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from IPython.display import display

from ..core.job import Job
from ..core.manager import JobManager
from . import bundle, static
from .feed import row
from .service import Service

_HERE = Path(__file__).parent
_CARDS = 200  # how many cards stay live; those of earlier finished jobs become text

_VIEW = "application/vnd.jupyter.widget-view+json"

Card = Callable[[], list[dict[str, Any]]]
"""Returns the contents of the two display messages that show a card once more."""


class _Widget(anywidget.AnyWidget):  # type: ignore[misc]
    # A layout of ipywidgets would cost each widget another model, and another message.
    layout = traitlets.Any(None)

    def view(self) -> dict[str, Any]:
        """Return a MIME bundle that shows a view of this widget."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return {_VIEW: view, "text/plain": ""}

    def show(self, display_id: str | None = None) -> None:
        """Show a view of this widget below the cell that runs."""
        display(self.view(), raw=True, display_id=display_id)


class JobsModel(_Widget):
    """The model of all jobs. Its `jobs` are all rows, for a front end that opens or saves it.

    Later changes are sent as messages, see `Service`.
    """

    _esm = bundle.script()
    _css = bundle.style()

    model = traitlets.Unicode().tag(sync=True)
    jobs = traitlets.Dict().tag(sync=True, to_json=lambda value, widget: widget.service.whole())
    # When a page got this model; sent once to each page.
    given = traitlets.Float().tag(sync=True, to_json=lambda value, widget: time.time())

    def __init__(self, service: Service) -> None:
        self.service = service
        number = uuid.uuid4().hex
        super().__init__(model_id=number, model=number)
        self.on_msg(self._on_message)
        _let_any_subshell_answer(self.comm)

    def _on_message(self, _: object, content: dict[str, Any], buffers: object) -> None:
        # A request of a front end that got no answer on the control channel, see js/channel.js.
        self.send({"to": content.get("message"), "reply": self.service.answer(content)})

    def send_whole(self) -> None:
        """Send all rows to all views."""
        self.send_state("jobs")


class CardModel(_Widget):
    """The model of a card: which job it shows. Changes of the job come with the `JobsModel`.

    `row` is the job's row at the moment when a front end opens the card. For a job that was
    cleared, the front end gets nothing else. It also has the time when the card was first shown: a
    page that was opened later does not get the text that the job prints below the card.
    """

    _esm = (_HERE / "card_view.js").read_text(encoding="utf-8")

    model = traitlets.Unicode().tag(sync=True)
    row = traitlets.Dict().tag(
        sync=True,
        to_json=lambda value, card: row(card.job.info(), time.time()) | {"shown": card.shown},
    )

    def __init__(self, model: str, job: Job) -> None:
        self.job = job
        self.shown = time.time()
        self.again: Card = list
        self.renew: Callable[[dict[str, Any]], None] = lambda bundle: None  # replaces its text
        super().__init__(model=model)


class OfferModel(_Widget):
    """The model of the button that continues the running cell in the background."""

    _esm = (_HERE / "card_view.js").read_text(encoding="utf-8")

    model = traitlets.Unicode().tag(sync=True)
    row = traitlets.Dict().tag(sync=True)


def _let_any_subshell_answer(comm: Any) -> None:
    """Let ipykernel 7.4 handle a message of the front end while the main thread is busy.

    ipykernel 7.4 remembers the subshell of a comm's last message, None for the main shell, and
    sends later messages there (`ipykernel.comm.comm.BaseComm._reply_subshell_for`). Without that
    method it does as 7.2 did, and uses the subshell that the front end asks for.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = None


def _display_id() -> str:
    return f"ipykill-{uuid.uuid4().hex}"


class Panel:
    """Shows jobs as live views, in a front end that may or may not know widgets.

    Threading
    ---------
    The thread that runs a cell calls `show` and `show_job`. A thread of the manager calls the
    callbacks at the end of a job; they display in a copy of the context of `show_job`, because
    ipykernel 7.0 displays nothing outside a cell's context.
    """

    def __init__(self, manager: JobManager) -> None:
        self.service = Service(manager)
        self._manager = manager
        self._model = JobsModel(self.service)
        self._cards: deque[CardModel] = deque()
        self.service.connect(self._model)

    @property
    def model_id(self) -> str:
        """The id by which views name this panel in their requests."""
        return self._model.model

    @property
    def script(self) -> str:
        """The JavaScript of the views, for a front end that shows jobs by itself."""
        return str(self._model._esm)

    @property
    def style(self) -> str:
        """The style sheet of the views."""
        return str(self._model._css)

    def show(self) -> None:
        """Show all jobs below the cell that runs."""
        update = self._show_static(static.panel(self._manager.snapshot()), _display_id())
        self.service.tell = lambda: update(static.panel(self._manager.snapshot()))
        self.service.told()
        self._model.show()

    def show_job(self, job: Job) -> Card:
        """Show one job below the cell that runs."""
        # Made first, so that the two outputs are neighbours.
        card = CardModel(self.model_id, job)
        number = _display_id()
        card.renew = self._show_static(static.job(job.info()), number)
        card.show()
        self._cards.append(card)
        self._close_cards()

        def again() -> list[dict[str, Any]]:
            bundles = [(static.job(card.job.info()), {"display_id": number}), (card.view(), {})]
            return [{"data": it, "metadata": {}, "transient": name} for it, name in bundles]

        card.again = again
        self._follow(card)
        return again

    def pass_on(self, job: Job, new: Job) -> Card | None:
        """Let the cards of `job` show `new` from now on; return the last of them."""
        cards = [card for card in self._cards if card.job is job]
        for card in cards:
            card.job = new
            card.send_state("row")
            self._follow(card)
        return cards[-1].again if cards else None

    def _follow(self, card: CardModel) -> None:
        """Replace the text above a card when its job ends."""

        def over(job: Job) -> None:
            if card.job is job:
                self.service.say(functools.partial(card.renew, static.job(job.info())))
            self.service.end()

        if not card.job.done():
            card.job.add_done_callback(over)

    def offer(self, cell: int, since: float) -> Callable[[], None]:
        """Show a button that detaches the running cell; return a function that hides it again."""
        card = OfferModel(model=self.model_id, row={"foreground": {"cell": cell, "since": since}})
        number = f"ipykill-{uuid.uuid4().hex}"
        card.show(number)
        context = contextvars.copy_context()

        def withdraw() -> None:
            context.copy().run(display, {}, raw=True, display_id=number, update=True)
            card.close()

        return withdraw

    def _show_static(self, bundle: dict[str, Any], number: str) -> Callable[[dict[str, Any]], None]:
        """Show a text as the display `number`; return a function that replaces it by another."""
        display(bundle, raw=True, display_id=number)
        context = contextvars.copy_context()

        def update(bundle: dict[str, Any]) -> None:
            context.copy().run(display, bundle, raw=True, display_id=number, update=True)

        return update

    def _close_cards(self) -> None:
        """Close the cards of forgotten jobs, and the oldest cards; their texts stay."""
        spare = len(self._cards) - _CARDS
        kept: deque[CardModel] = deque()
        for card in self._cards:
            if card.job in self._manager and (spare <= 0 or not card.job.done()):
                kept.append(card)
            else:
                spare -= 1
                card.close()
        self._cards = kept
