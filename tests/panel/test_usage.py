"""What jobs take of the machine is looked at while a panel is open, and not otherwise."""

import os
import subprocess
import sys
import threading

import pytest

from ipykill import JobManager
from ipykill.panel import usage as module
from ipykill.panel.service import Service
from ipykill.panel.usage import Usage
from tests.panel.conftest import FakeChannel, Start
from tests.waiting import wait_for

SPIN = "x = bytearray(60_000_000)\nwhile True: pass"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.05)


def seen(usage: Usage, manager: JobManager) -> dict[int, tuple[int, int]]:
    usage.refresh(manager)
    return usage.full()


def test_threads_and_processes_count_and_who_waits_uses_nothing(
    manager: JobManager, start: Start
) -> None:
    if sys.platform != "linux":
        pytest.skip("needs /proc")

    def spin() -> None:
        while True:
            pass

    idle = start()
    thread = manager.launch(spin, name="thread")
    # Below a shell: what a process has started counts as well.
    shell = [
        sys.executable,
        "-c",
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SPIN!r}])",
    ]
    process = manager.launch(lambda: subprocess.run(shell, check=False), name="process")
    usage = Usage()
    wait_for(lambda: seen(usage, manager).get(thread.id, (0,))[0] > 5, "the CPU time of a thread")
    wait_for(lambda: seen(usage, manager).get(process.id, (0, 0))[0] > 5, "that of a process")
    wait_for(lambda: seen(usage, manager)[process.id][1] > 60_000_000, "its memory")
    assert seen(usage, manager)[thread.id][1] == 0
    assert idle.id not in usage.full()
    manager.kill([thread, process], 30)
    wait_for(lambda: not seen(usage, manager), "nothing that is used")


def test_it_costs_nothing_while_no_panel_is_open(
    service: Service, channel: FakeChannel, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()
    monkeypatch.setattr(Usage, "refresh", lambda self, jobs: looked.set())
    rounds = threading.Semaphore(0)
    refresh = service._feed.refresh
    monkeypatch.setattr(service._feed, "refresh", lambda: (rounds.release(), refresh())[1])
    start()
    watch = {"do": "watch", "page": "page", "rev": -1}
    service.answer(watch)  # of a card, or of the status bar
    for _ in range(3):
        assert rounds.acquire(timeout=30)
    assert not looked.is_set()
    assert service.answer(watch | {"usage": True})["usage"] == {}
    assert looked.wait(30)
    service.answer(watch)
    looked.clear()
    for _ in range(3):
        assert rounds.acquire(timeout=30)
    assert not looked.is_set()


def test_a_process_that_others_started_is_not_counted() -> None:
    entries = {entry.pid: entry for entry in module.table()}
    if not entries:
        pytest.skip("needs /proc")
    mine = {it.pid for it in module._with_descendants({os.getpid()}, entries)}
    assert os.getpid() in mine
    assert os.getppid() not in mine
    assert module._with_descendants(set(), entries) == []
