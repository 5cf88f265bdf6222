"""Jobs whose end the test decides, and a channel that keeps what is sent."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ipykill import Job, JobManager
from ipykill.kill.switches import has_gil
from ipykill.panel.service import Service
from tests.waiting import wait_for

Start = Callable[..., Job]


@pytest.fixture
def manager() -> Iterator[JobManager]:
    manager = JobManager()
    yield manager
    manager.kill_all(30)


@pytest.fixture
def may_end() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def start(manager: JobManager, may_end: threading.Event) -> Start:
    """Start a job that runs until `may_end`, and wait until it stands there."""

    def start(name: str = "job", **options: Any) -> Job:
        def work() -> None:
            may_end.wait()

        job = manager.launch(work, name=name, **options)
        if has_gil():  # else its place is not known
            wait_for(lambda: "may_end.wait" in job.info().place, "the job to wait")
        return job

    return start


class FakeChannel:
    """Keeps the messages, and the state as a front end would save it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.sent: list[dict[str, Any]] = []
        self.whole: list[dict[str, Any]] = []

    def send(self, content: dict[str, Any]) -> None:
        self.sent.append(content)

    def send_whole(self) -> None:
        self.whole.append(self.service.whole())

    def wait_for(self, count: int) -> None:
        wait_for(lambda: len(self.sent) + len(self.whole) >= count, f"{count} messages")


@pytest.fixture
def service(manager: JobManager) -> Iterator[Service]:
    service = Service(manager)
    yield service
    service.answer({"do": "leave", "page": "page"})
    wait_for(lambda: not service.refreshing, "the end of the refresh thread")


@pytest.fixture
def channel(service: Service) -> FakeChannel:
    channel = FakeChannel(service)
    service.connect(channel)
    return channel
