"""Rows say what is true, and change only when that does."""

import asyncio
import json
import os
import subprocess
import threading

import pytest

import ipykill
from ipykill import JobManager
from ipykill.panel.feed import Details, Feed, plain
from tests.marks import shows_places
from tests.panel.conftest import Start
from tests.waiting import HANG_GUARD, wait_for


def test_a_row_holds_the_facts_and_nothing_empty(manager: JobManager, start: Start) -> None:
    job = start("train", cell=7)
    feed = Feed(manager)
    feed.refresh()
    (row,) = feed.full()["rows"]
    assert row.items() >= {"id": 1, "name": "train", "state": "running", "cell": 7}.items()
    assert row["started"] > 0
    assert not {"error", "elapsed", "asked", "requested", "reason"} & row.keys()
    job.stop()
    feed.refresh()
    (row,) = feed.full()["rows"]
    assert (row["state"], row["requested"]) == ("stopping", "stop")


def test_what_has_not_changed_is_not_told_again(manager: JobManager, start: Start) -> None:
    start()
    feed = Feed(manager)
    assert feed.refresh() is not None
    assert feed.refresh() is None
    assert feed.revision == 1


def test_a_change_names_only_what_changed(
    manager: JobManager, start: Start, may_end: threading.Event
) -> None:
    first, second = start("first"), start("second")
    feed = Feed(manager)
    feed.refresh()
    first.stop()
    changes = feed.refresh()
    assert changes is not None
    assert (changes["base"], changes["rev"]) == (1, 2)
    assert changes["rows"].keys() == {first.id}
    assert changes["rows"][first.id].keys() >= {"state", "requested", "asked"}
    assert "name" not in changes["rows"][first.id]
    assert feed.refresh() is None  # the moment it was asked does not jitter
    may_end.set()
    second.wait(30)
    first.wait(30)
    changes = feed.refresh()
    assert changes is not None
    assert changes["rows"][second.id]["state"] == "done"
    assert "elapsed" in changes["rows"][second.id]
    assert not feed.live


def test_cleared_jobs_are_gone(manager: JobManager, start: Start, may_end: threading.Event) -> None:
    job = start()
    feed = Feed(manager)
    feed.refresh()
    may_end.set()
    job.wait(30)
    manager.clear()
    changes = feed.refresh()
    assert changes is not None
    assert changes["gone"] == [job.id]
    assert feed.full()["rows"] == []


def test_who_was_shown_a_row_early_gets_it_whole(manager: JobManager, start: Start) -> None:
    job = start()
    feed = Feed(manager)
    feed.refresh()
    job.stop()
    assert feed.look(job)["state"] == "stopping"
    changes = feed.refresh()
    assert changes is not None
    assert changes["rows"][job.id]["id"] == job.id


def test_finished_jobs_are_not_looked_at_again(manager: JobManager, monkeypatch) -> None:
    job = manager.submit(lambda: None)
    job.wait(30)
    feed = Feed(manager)
    feed.refresh()
    monkeypatch.setattr(type(job), "info", lambda job, frames: 1 / 0)
    assert feed.refresh() is None


def test_a_large_value_is_told_as_long_as_it_is_kept(manager: JobManager) -> None:
    job = manager.submit(bytes, 20_000_000)
    job.wait(30)
    feed = Feed(manager)
    feed.refresh()
    (row,) = feed.full()["rows"]
    assert row["note"] == "keeps its value, 20 MB, until %bgclear 1"
    assert feed.refresh() is None
    job.forget("its cell was run again")
    assert (feed.refresh() or {})["rows"] == {1: {"note": None}}
    assert feed.refresh() is None


def test_a_clash_is_told_when_it_comes(manager: JobManager, start: Start) -> None:
    job = start()
    feed = Feed(manager)
    feed.refresh()
    job.clashes["i"] = 9
    changes = feed.refresh() or {}
    assert changes["rows"][1]["note"].startswith("assigned in the foreground as well: i (cell [9])")
    assert feed.refresh() is None


def test_text_is_plain_and_bounded() -> None:
    assert plain("\x1b[31mred\x1b[0m\x00\u202e<b>", 80) == "red  <b>"
    assert plain("\x1b]8;;http://x\x07link\x1b]8;;\x07", 80) == "link"
    assert plain("\x1b]0;a title " + "x" * 1000 + "\x07text", 50) == ""
    assert plain("\x1bPq#0;2;0;0;0~~@@vv\x1b\\a picture\tand", 50) == "a picture\tand"
    assert len(plain("x" * 1000, 50)) == 50


def test_rows_are_json_whatever_the_names(manager: JobManager) -> None:
    name = "<img src=x onerror=alert(1)>\ud800\x1b[2J" + "n" * 10_000
    manager.launch(lambda: None, name=name).wait(30)
    feed = Feed(manager)
    feed.refresh()
    text = json.dumps(feed.full())
    assert len(text) < 1000
    json.loads(text.encode())


def test_a_log_grows_by_its_new_lines(manager: JobManager, start: Start) -> None:
    job = start()
    job.log.write("one\ntwo\npart")
    details = Details()
    full = details.full(job)
    assert full["log"] == {"start": 0, "lines": ["one", "two", "part"]}
    assert details.refresh(job) is None
    job.log.write("ial\nnext\n")
    assert (details.refresh(job) or {})["log"] == {"start": 2, "lines": ["partial", "next"]}
    job.log.write("\rbar 1")
    job.log.write("\rbar 2")
    assert (details.refresh(job) or {})["log"] == {"start": 4, "lines": ["bar 2"]}
    assert details.refresh(job) is None


def test_what_is_said_of_details_is_numbered_so_that_it_can_be_put_in_order(
    manager: JobManager, start: Start
) -> None:
    job, other = start(), start()
    details = Details()
    job.log.write("one\n")
    first = details.full(job)
    job.log.write("two\n")
    changes = [details.refresh(job) or {}]
    details.full(other)
    second = details.full(job)
    job.log.write("three\n")
    changes.append(details.refresh(job) or {})
    assert first["number"] == changes[0]["base"] < changes[0]["number"] < second["number"]
    assert changes[0]["number"] == changes[1]["base"]
    assert second["number"] < changes[1]["number"]
    details.keep(set())
    job.log.write("four\n")
    anew = details.refresh(job) or {}
    assert anew["base"] == 0
    assert anew["number"] > changes[1]["number"]
    assert anew["log"] == {"start": 0, "lines": ["one", "two", "three", "four"]}


def test_lines_that_are_painted_over_are_sent_again(manager: JobManager, start: Start) -> None:
    job = start()
    details = Details()
    job.log.write("".join(f"{number}\n" for number in range(150)))
    details.full(job)
    job.log.write("\x1b[2A\rbar\n\n")
    log = (details.refresh(job) or {})["log"]
    assert log["start"] + len(log["lines"]) == 150
    assert log["lines"][-2:] == ["bar", "149"]
    assert details.refresh(job) is None
    job.log.write("\x1b[3A\rup here")
    assert (details.refresh(job) or {})["log"]["lines"][-3:] == ["up here", "bar", "149"]
    job.log.write("\n\n\nnext")
    assert (details.refresh(job) or {})["log"] == {
        "start": 147,
        "lines": ["up here", "bar", "149", "next"],
    }


def test_a_second_reader_of_a_log_takes_no_line_from_the_first(
    manager: JobManager, start: Start
) -> None:
    job = start()
    details = Details()
    details.full(job)
    job.log.write("one\n")
    assert details.full(job)["log"]["lines"] == ["one"]
    assert (details.refresh(job) or {})["log"] == {"start": 0, "lines": ["one"]}


def test_of_a_flood_only_the_end_is_sent(manager: JobManager, start: Start) -> None:
    job = start()
    details = Details()
    details.full(job)
    job.log.write("x\n" * 50_000 + "last\n")
    log = (details.refresh(job) or {})["log"]
    assert log["start"] + len(log["lines"]) == 50_001
    assert len(log["lines"]) == 1000
    assert log["lines"][-1] == "last"


@shows_places
def test_details_show_source_stack_and_error(manager: JobManager, start: Start) -> None:
    details = Details()
    running = details.full(start())
    assert running["threads"][0]["name"] == "the job's own thread"
    assert running["threads"][0]["stack"][-1]["function"] == "wait"
    assert running["error"] is None

    class Odd(Exception):
        def __str__(self) -> str:
            raise ValueError

    def fail() -> None:
        raise Odd

    begin = threading.Event()
    failed = manager.submit(lambda: (begin.wait(), fail()))
    assert details.full(failed)["error"] is None
    begin.set()
    failed.wait(30)
    assert (details.refresh(failed) or {})["error"]["type"] == "Odd"
    assert "error" not in (details.refresh(failed) or {})
    failed = manager.submit(fail)
    failed.wait(30)
    full = Details().full(failed)
    assert full["error"]["type"] == "Odd"
    assert full["error"]["stack"][-1]["function"] == "fail"
    assert "raise Odd" in full["source"]
    assert "threads" not in full


def test_a_job_that_waits_costs_no_walk_through_its_stack(
    manager: JobManager, start: Start, monkeypatch
) -> None:
    job = start()
    feed = Feed(manager)
    feed.refresh()
    looks = []
    info = type(job).info
    monkeypatch.setattr(type(job), "info", lambda job, frames: (looks.append(job), info(job))[1])
    assert feed.refresh() is None
    assert looks == []
    job.log.write("news")
    assert (feed.refresh() or {})["rows"][job.id] == {"last": "news"}


def test_a_coroutine_is_where_its_task_is(manager: JobManager) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    loops = []

    async def work() -> None:
        loops.append(asyncio.get_running_loop())
        await gates[0].wait()
        await gates[1].wait()

    feed = Feed(manager)
    job = manager.submit(work)

    def place() -> str:
        feed.refresh()
        return feed.full()["rows"][0].get("place", "")

    def task() -> str:
        found = Details().full(job)["threads"]
        return "".join(it["stack"][0]["source"] for it in found if it["name"].startswith("task "))

    wait_for(lambda: task() == "await gates[0].wait()", "the first wait")
    first = place()
    loops[0].call_soon_threadsafe(gates[0].set)
    wait_for(lambda: place() != first, "the next place")
    loops[0].call_soon_threadsafe(gates[1].set)
    assert job.wait(HANG_GUARD)


def test_the_threads_that_a_job_left_are_told_of(manager: JobManager, may_end) -> None:
    def wait() -> None:
        may_end.wait()

    job = manager.submit(lambda: threading.Thread(target=wait, name="left").start())
    assert job.wait(HANG_GUARD)
    assert [it["name"] for it in Details().full(job)["threads"]] == ["left"]
    assert job.kill(HANG_GUARD)


@pytest.mark.skipif(os.name != "posix", reason="there is no sleep")
def test_what_hinders_a_kill_is_told_though_nothing_moves(manager: JobManager) -> None:
    begun, enough = threading.Event(), threading.Event()

    def work() -> None:
        with ipykill.shield():
            begun.set()
            enough.wait()

    feed = Feed(manager)
    job = manager.submit(work)
    assert begun.wait(HANG_GUARD)
    job.kill(0)
    feed.refresh()  # too early to say why it lives

    def told() -> object:
        feed.refresh()
        return feed.full()["rows"][0].get("hindrance")

    assert "in a shield() block" in str(wait_for(told, "the hindrance"))
    enough.set()
    assert job.wait(HANG_GUARD)


def test_details_tell_of_processes_also_of_a_job_that_is_over(manager: JobManager) -> None:
    job = manager.submit(lambda: subprocess.Popen(["sleep", "1000"]))
    child = job.result(30)
    details = Details()
    told = [{"pid": child.pid, "command": "sleep 1000", "running": True}]
    assert details.full(job)["processes"] == told
    assert details.refresh(job) is None
    assert job.kill(30)
    assert (details.refresh(job) or {})["processes"] == []
    assert details.full(job)["processes"] == []
