"""The messages to the front end, counted on a comm that leads nowhere."""

import threading
from typing import Any

import comm
import pytest
from comm.base_comm import BaseComm

from ipykill import JobManager, panel
from ipykill.panel import widget
from tests.panel.conftest import Start
from tests.waiting import wait_for

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def sent(monkeypatch) -> list[tuple[str, Any]]:
    """All messages: (`comm_open` and so on, what is in it)."""
    sent = []

    class Recorder(BaseComm):
        def publish_msg(self, msg_type: str, data: Any = None, **more: Any) -> None:
            sent.append((msg_type, data))

    def display(data: dict, *, raw: bool, display_id: str = "", update: bool = False) -> None:
        sent.append(("update_display_data" if update else "display_data", data))

    monkeypatch.setattr(comm, "create_comm", Recorder)
    monkeypatch.setattr(widget, "display", display)
    return sent


def kinds(sent: list[tuple[str, Any]]) -> list[str]:
    return [kind for kind, _ in sent]


def test_a_panel_of_500_jobs_is_three_messages(
    manager: JobManager, sent: list, may_end: threading.Event
) -> None:
    for number in range(500):
        manager.launch(may_end.wait, name=f"job {number}")
    widget.Panel(manager).show()
    assert kinds(sent) == ["comm_open", "display_data", "display_data"]
    state = sent[0][1]["state"]
    assert len(state["jobs"]["rows"]) == 500
    assert "layout" not in state  # it would be a model of its own
    assert VIEW in sent[2][1]


def test_a_card_is_a_small_model_and_a_text(
    manager: JobManager, sent: list, start: Start, may_end: threading.Event
) -> None:
    view = widget.Panel(manager)
    job = start("train")
    sent.clear()
    view.show_job(job)
    assert kinds(sent) == ["comm_open", "display_data", "display_data"], "text and view together"
    assert "[1] train: launched" in sent[1][1]["text/plain"]
    state = sent[0][1]["state"]
    assert state["model"] == view.model_id
    assert (state["row"]["id"], state["row"]["state"]) == (1, "running")
    assert len(str(state)) < 2000
    may_end.set()
    wait_for(lambda: "update_display_data" in kinds(sent), "the text of the end")
    (text,) = (data for kind, data in sent if kind == "update_display_data")
    assert "[1] train: done in" in text["text/plain"]


def test_a_run_that_nobody_watches_saves_the_end(
    manager: JobManager, sent: list, start: Start, may_end: threading.Event
) -> None:
    view = widget.Panel(manager)
    view.show_job(start())
    sent.clear()
    may_end.set()
    wait_for(lambda: "comm_msg" in kinds(sent), "the state at the end")
    (update,) = (data for kind, data in sent if kind == "comm_msg")
    assert update["method"] == "update"
    assert update["state"]["jobs"]["rows"][0]["state"] == "done"


def test_the_cards_of_forgotten_jobs_become_text(manager: JobManager, sent: list) -> None:
    view = widget.Panel(manager)
    job = manager.submit(int)
    view.show_job(job)
    job.wait(30)
    manager.clear()
    view.show_job(manager.submit(int))
    assert kinds(sent).count("comm_close") == 1


def test_only_so_many_cards_stay_live(manager: JobManager, sent: list, monkeypatch) -> None:
    monkeypatch.setattr(widget, "_CARDS", 3)
    view = widget.Panel(manager)
    for _ in range(5):
        job = manager.submit(int)
        view.show_job(job)
        job.wait(30)
    assert kinds(sent).count("comm_close") == 2


def test_a_front_end_without_a_control_channel_is_answered(
    manager: JobManager, sent: list, start: Start
) -> None:
    view = widget.Panel(manager)
    job = start()
    sent.clear()
    view._model._handle_custom_msg({"do": "stop", "id": job.id, "message": "m1"}, [])
    (answer,) = (data["content"] for kind, data in sent if kind == "comm_msg")
    assert answer["to"] == "m1"
    assert answer["reply"]["row"]["state"] == "stopping"


def test_a_page_that_is_older_than_the_kernel_ends_no_job(
    manager: JobManager, sent: list, start: Start, monkeypatch
) -> None:
    monkeypatch.setattr(panel, "_panels", {})
    shown = panel._panel(manager)
    job = start()
    request = {"do": "kill", "id": job.id}
    assert panel._answer(manager, request | {"model": "of another process"}) == {"stranger": True}
    assert job.requested is None
    assert panel._answer(manager, request | {"model": shown.model_id})["row"]["id"] == job.id
    assert job.requested == "kill"


def test_a_card_that_is_opened_late_shows_a_job_that_was_cleared(
    manager: JobManager, sent: list
) -> None:
    view = widget.Panel(manager)
    job = manager.submit(int)
    view.show_job(job)
    job.wait(30)
    manager.clear()
    assert view._cards[0].get_state()["row"]["state"] == "done"
