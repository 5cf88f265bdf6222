"""The text that stands where no live view does."""

import threading
from html.parser import HTMLParser

from ipykill import JobManager
from ipykill.panel import static
from tests.panel.conftest import Start

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.add(tag)


def test_a_text_stays_true_when_nobody_updates_it(start: Start, may_end: threading.Event) -> None:
    job = start("train")
    assert static.sentence(job.info()).startswith("[1] train: launched 20")
    may_end.set()
    job.wait(30)
    assert static.sentence(job.info()).startswith("[1] train: done in ")


def test_hostile_text_is_text(manager: JobManager) -> None:
    def fail() -> None:
        raise ValueError(HOSTILE)

    job = manager.launch(fail, name=HOSTILE, source=HOSTILE)
    job.wait(30)
    for bundle in (static.job(job.info()), static.panel(manager.snapshot())):
        assert not Tags(bundle["text/html"]).found & {"script", "img"}
        assert "&lt;script&gt;" in bundle["text/html"]


def test_the_first_line_is_what_a_front_end_shows_for_a_hidden_output(manager: JobManager) -> None:
    job = manager.submit(int)
    job.wait(30)
    first = static.job(job.info())["text/html"].splitlines()[0]
    assert first == static.sentence(job.info())
    first = static.panel(manager.snapshot())["text/html"].splitlines()[0]
    assert first.startswith("Background jobs at 20")


def test_many_jobs_are_a_short_text(manager: JobManager) -> None:
    jobs = [manager.submit(int) for _ in range(150)]
    manager.wait(jobs, 30)
    text = static.panel(manager.snapshot())["text/plain"]
    assert "without 100 earlier ones" in text
    assert len(text.splitlines()) == 52
