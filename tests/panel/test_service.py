"""What is sent to the views, how often, and that their requests are answered."""

import itertools
import threading
import time

from ipykill import Job, JobManager
from ipykill.panel import service as module
from ipykill.panel.service import Service
from tests.panel.conftest import FakeChannel, Start
from tests.waiting import wait_for


def watch(service: Service, **more: object) -> dict:
    return service.answer({"do": "watch", "page": "page", "rev": -1, **more})


def test_500_jobs_are_one_message(
    manager: JobManager, service: Service, channel: FakeChannel, may_end: threading.Event
) -> None:
    watch(service)
    for number in range(500):
        manager.launch(may_end.wait, name=f"job {number}")
    service.answer({"do": "leave", "page": "page"})
    wait_for(lambda: not service.refreshing, "the end of the refresh thread")
    channel.sent.clear()
    assert len(watch(service)["state"]["rows"]) == 500
    manager[250].stop()
    channel.wait_for(1)
    (message,) = channel.sent
    assert message["rows"].keys() == {250}


def test_where_no_thread_is_left_it_is_refreshed_when_one_is(
    service: Service, channel: FakeChannel, start: Start, monkeypatch
) -> None:
    def no_thread_left(thread):
        raise RuntimeError("can't start new thread")

    job = start()
    with monkeypatch.context() as patch:
        patch.setattr(module.ServiceThread, "start", no_thread_left)
        watch(service)
    watch(service)
    job.stop()
    channel.wait_for(1)


def test_nothing_is_sent_while_nothing_changes(
    service: Service, channel: FakeChannel, start: Start, monkeypatch
) -> None:
    rounds = threading.Semaphore(0)
    refresh = service._feed.refresh
    monkeypatch.setattr(service._feed, "refresh", lambda: (rounds.release(), refresh())[1])
    start()
    watch(service)
    for _ in range(5):
        assert rounds.acquire(timeout=30)
    assert channel.sent == []


def test_messages_keep_their_distance(
    service: Service, channel: FakeChannel, start: Start, monkeypatch
) -> None:
    pauses = []
    sleep = time.sleep
    monkeypatch.setattr(module.time, "sleep", lambda s: (pauses.append(s), sleep(s))[1])
    job = start()
    watch(service)
    for number in range(3):
        job.log.write(f"line {number}\n")
        channel.wait_for(number + 1)
    own = [pause for pause in pauses if pause >= module._INTERVAL]
    assert len(own) >= 2
    assert len(channel.sent) <= len(own) + 1


def test_the_texts_of_many_cards_keep_their_distance_and_let_the_views_be_told(
    service: Service, channel: FakeChannel, start: Start
) -> None:
    job = start()
    watch(service)
    said = []
    for _ in range(3):
        service.say(lambda: said.append(time.monotonic()))
    job.stop()
    wait_for(lambda: len(said) == 3, "the texts")
    assert all(b - a >= module._INTERVAL for a, b in itertools.pairwise(said))
    assert len(channel.sent) == 1
    service.answer({"do": "leave", "page": "page"})
    service.say(lambda: said.append(0.0))
    wait_for(lambda: len(said) == 4, "a text that nobody watches")


def test_without_a_view_no_thread_runs(
    service: Service, channel: FakeChannel, start: Start, monkeypatch
) -> None:
    assert not service.refreshing
    monkeypatch.setattr(module, "_LEASE", 0.0)  # a page that was closed without a word
    start()
    watch(service)
    wait_for(lambda: not service.refreshing, "the end of the refresh thread")
    monkeypatch.undo()
    watch(service)
    assert service.refreshing


def test_a_view_that_knows_the_revision_is_not_told_all(
    service: Service, channel: FakeChannel, start: Start
) -> None:
    start()
    state = watch(service)["state"]
    assert watch(service, rev=state["rev"]) == {}
    assert watch(service, rev=state["rev"] - 1)["state"]["rows"]


def test_a_second_view_takes_nothing_away_from_the_first(
    service: Service, channel: FakeChannel, start: Start
) -> None:
    job = start()
    first = watch(service)["state"]
    with service._lock:  # after its last look, and before the next one
        job.stop()
        second = service.answer({"do": "watch", "page": "second", "rev": -1})["state"]
        saved = service.whole()
    assert saved["rev"] == second["rev"] == first["rev"]
    channel.wait_for(1)
    assert channel.sent[0]["base"] == first["rev"]
    assert channel.sent[0]["rows"][job.id]["state"] == "stopping"
    service.answer({"do": "leave", "page": "second"})


def test_many_ends_that_nobody_watches_are_few_messages(
    manager: JobManager, service: Service, channel: FakeChannel, monkeypatch
) -> None:
    asleep, more = threading.Event(), threading.Event()
    monkeypatch.setattr(module.time, "sleep", lambda seconds: (asleep.set(), more.wait(30)))
    for _ in range(50):
        manager.submit(int).wait(30)
        service.end()
        assert asleep.wait(30)
    more.set()
    wait_for(lambda: not service.refreshing, "the end of the refresh thread")
    assert len(channel.whole) == 2  # the first at once, and the state at the end
    assert len(channel.whole[-1]["rows"]) == 50
    assert channel.sent == []


def test_what_concerns_all_jobs_is_done_once_though_asked_twice(
    service: Service, channel: FakeChannel, start: Start
) -> None:
    request = {"do": "kill_all", "message": "m1"}
    earlier = start()
    assert service.answer(request) == {}
    later = start()
    assert service.answer(request) == {}  # on the other channel, when the kernel got to it
    assert earlier.requested == "kill"
    assert later.requested is None


def test_the_end_of_the_last_job_is_the_state_that_is_saved(
    service: Service, channel: FakeChannel, start: Start, may_end: threading.Event
) -> None:
    start()
    watch(service)
    may_end.set()
    wait_for(lambda: channel.whole, "the whole state")
    assert channel.whole[-1]["rows"][0]["state"] == "done"


def test_a_job_that_settles_later_than_it_ends_is_saved_as_ended(
    manager: JobManager, service: Service, channel: FakeChannel, monkeypatch
) -> None:
    may_settle, reached = threading.Event(), threading.Event()

    class Slow:
        def enter(self, job: Job) -> None: ...
        def leave(self, job: Job) -> None: ...
        def finish(self, job: Job, error: object) -> None:
            reached.set()
            may_settle.wait(30)

    manager.host = lambda job: Slow()
    watch(service)
    job = manager.submit(int)
    service.answer({"do": "details", "id": 1, "page": "page"})
    assert reached.wait(30)
    wait_for(lambda: service._feed.states == {1: "done"}, "the row to tell the end")
    job.log.write("its last line\n")
    may_settle.set()
    wait_for(lambda: channel.whole, "the whole state")
    assert channel.whole[-1]["rows"][0]["state"] == "done"
    assert any("its last line" in str(it.get("details")) for it in channel.sent)


def test_stop_and_kill_are_answered_with_the_effect(
    service: Service, channel: FakeChannel, start: Start
) -> None:
    job = start()
    reply = service.answer({"do": "stop", "id": job.id})
    assert reply["row"]["state"] == "stopping"
    reply = service.answer({"do": "kill", "id": job.id})
    assert reply["row"]["state"] in ("killing", "killed")
    assert job.requested == "kill"


def test_a_request_acts_on_the_job_with_this_id_or_on_none(
    manager: JobManager, service: Service, channel: FakeChannel, start: Start
) -> None:
    manager.submit(int).wait(30)
    manager.clear()
    other = start(name="1")
    for what in "stop", "kill", "details":
        reply = service.answer({"do": what, "id": 1, "page": "page"})
        assert reply == {"error": "job 1 is not in the list any more"}
    for strange in "1", "%+", "all", "", True, None, 1.0, [2]:
        assert "error" in service.answer({"do": "kill", "id": strange}), strange
    assert other.requested is None


def test_with_a_filter_what_is_shown_is_stopped_killed_and_cleared(
    manager: JobManager, service: Service, channel: FakeChannel, start: Start
) -> None:
    jobs = [start() for _ in range(3)]
    assert service.answer({"do": "stop_all", "ids": [2, 17]}) == {}
    assert [job.requested for job in jobs] == [None, "stop", None]
    assert service.answer({"do": "kill_all", "ids": [2, 3]}) == {}
    assert [job.requested for job in jobs] == [None, "kill", "kill"]
    assert manager.wait(jobs[1:], 30) == []
    assert service.answer({"do": "clear", "ids": [1, 3]}) == {}
    assert [job.id for job in manager] == [1, 2]
    assert service.answer({"do": "kill_all", "ids": []}) == {}
    assert jobs[0].requested is None


def test_a_job_that_waits_for_others_says_for_which(
    manager: JobManager, service: Service, channel: FakeChannel, start: Start
) -> None:
    first, second = start(name="first"), start(name="second")
    manager.launch(int, name="third", after=[first, second])
    assert watch(service)["state"]["rows"][2]["waits"] == "first (job 1), second (job 2)"
    first.kill(30)
    wait_for(lambda: service._feed.states[3] == "skipped", "the third to be skipped")


def test_all_jobs_are_stopped_killed_and_cleared(
    manager: JobManager,
    service: Service,
    channel: FakeChannel,
    start: Start,
) -> None:
    jobs = [start() for _ in range(3)]
    assert service.answer({"do": "stop_all"}) == {}
    assert {job.requested for job in jobs} == {"stop"}
    assert service.answer({"do": "kill_all"}) == {}
    assert {job.requested for job in jobs} == {"kill"}
    assert manager.wait(jobs, 30) == []
    assert all(job.done() for job in jobs)
    assert service.answer({"do": "clear"}) == {}
    assert len(manager) == 0


def test_the_details_of_a_job_are_followed_while_they_are_open(
    service: Service, channel: FakeChannel, start: Start
) -> None:
    job = start()
    job.log.write("before\n")
    watch(service)
    details = service.answer({"do": "details", "id": job.id, "page": "page"})["details"]
    assert details["log"]["lines"] == ["before"]
    job.log.write("after\n")

    def lines() -> list[str]:
        found = [m["details"][job.id] for m in channel.sent if "details" in m]
        return [line for it in found if "log" in it for line in it["log"]["lines"]]

    wait_for(lambda: "after" in lines(), "the new line")
    assert "before" not in lines()


def test_senseless_requests_are_answered_in_words(
    service: Service, channel: FakeChannel, caplog
) -> None:
    assert service.answer({"do": "kill", "id": 12})["error"] == "job 12 is not in the list any more"
    assert "sing" in service.answer({"do": "sing"})["error"]
    assert "ValueError" in service.answer({"do": "kill", "id": "x"})["error"]


def test_a_refresh_that_fails_does_not_end_the_panel(
    service: Service, channel: FakeChannel, start: Start, monkeypatch, caplog
) -> None:
    job = start()
    watch(service)
    failed = threading.Event()

    def fail(content: object) -> None:
        failed.set()
        monkeypatch.undo()
        raise RuntimeError

    monkeypatch.setattr(channel, "send", fail)
    job.stop()
    assert failed.wait(30)
    job.log.write("more\n")
    channel.wait_for(1)
    assert "could not be refreshed" in caplog.text


def test_a_trouble_that_lasts_is_told_once(
    service: Service, channel: FakeChannel, start: Start, monkeypatch, caplog
) -> None:
    rounds = threading.Semaphore(0)

    def fail() -> None:
        rounds.release()
        raise RuntimeError("of one kind")

    job = start()
    watch(service)
    with monkeypatch.context() as patch:
        patch.setattr(service._feed, "refresh", fail)
        for _ in range(4):
            assert rounds.acquire(timeout=30)
    job.log.write("more\n")
    channel.wait_for(1)
    assert caplog.text.count("could not be refreshed") == 1


def test_an_interrupt_that_is_asked_for_on_both_channels_comes_once(
    manager: JobManager, service: Service
) -> None:
    caught, began, over = [], threading.Event(), threading.Event()

    def work() -> None:
        while not over.is_set():
            try:
                while not over.is_set():
                    began.set()
            except KeyboardInterrupt:
                caught.append(1)

    job = manager.submit(work)
    assert began.wait(30)
    request = {"do": "interrupt", "id": job.id, "message": "one"}
    for _ in range(2):
        assert service.answer(request)["row"]["state"] == "running"
        wait_for(lambda: len(caught) == 1 and not job.interrupt_pending, "the interrupt")
    over.set()
    assert job.wait(30)
