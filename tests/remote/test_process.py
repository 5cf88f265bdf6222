"""Jobs in a process of their own, without a kernel."""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ipykill
from ipykill.exceptions import JobAborted, JobError
from ipykill.output.errors import format_error
from tests.overlays import ROOT
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="processes of jobs need POSIX"),
]


class Printed:
    """Stands for the standard streams, and knows which job printed what."""

    def __init__(self) -> None:
        self.texts: dict[ipykill.Job | None, str] = {}

    def write(self, text: str) -> int:
        job = ipykill.current_job()
        self.texts[job] = (self.texts.get(job, "") + text)[-10_000:]
        return len(text)

    def flush(self) -> None:
        pass


PRINTED = Printed()


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    streams = sys.stdout, sys.stderr
    yield
    sys.stdout, sys.stderr = streams


def lines(job: ipykill.Job) -> list[str]:
    return PRINTED.texts.get(job, "").splitlines()


def run(fn: Callable[..., Any], *args: Any, **options: Any) -> ipykill.Job:
    sys.stdout = sys.stderr = PRINTED
    return ipykill.submit(fn, *args, on="process", **options)


def call_back(word: str) -> str:
    print("printed", word)
    return f"{word} {os.getpid() != int(os.environ.get('IPYKILL_TEST_PID', '0'))}"


class Picky(Exception):
    """Cannot be unpickled, as its `__init__` wants more than a message."""

    def __init__(self, message: str, more: int) -> None:
        super().__init__(message)


def refuse() -> None:
    raise Picky("not like this", 1)


def test_of_an_error_that_cannot_be_unpickled_the_text_comes() -> None:
    error = run(refuse).exception(60)
    assert isinstance(error, JobError)
    assert str(error).endswith("Picky: not like this")
    assert "in refuse" in str(error.__cause__)
    assert "in refuse" in "\n".join(format_error(None, error))


def test_the_value_the_error_and_what_is_refused() -> None:
    job = run(call_back, "x")
    assert job.result(60) == "x True"
    with pytest.raises(ZeroDivisionError) as failure:
        run(eval, "1 / 0").result(60)
    assert "1 / 0" in str(failure.value.__cause__) or "<string>" in str(failure.value.__cause__)
    with pytest.raises(JobError, match="cannot pickle"):
        run(print, threading.Lock())
    with pytest.raises(JobError, match=r"its value \(lock\) cannot be sent"):
        run(threading.Lock).result(60)
    with pytest.raises(JobError, match="jobs cannot run on 3"):
        ipykill.submit(print, on=3)
    assert run(sys.exit, 0).exception(60) is None
    assert isinstance(run(sys.exit, 3).exception(60), SystemExit)


def test_a_coroutine_function_runs_on_a_loop() -> None:
    async def main() -> int:
        import asyncio

        await asyncio.sleep(0)
        return 3

    assert run(main).result(60) == 3


def test_a_job_that_ends_its_process_says_so() -> None:
    assert "exit code 3, as os._exit() does" in str(run(os._exit, 3).exception(60))
    code = "__import__('ctypes').string_at(0)"
    assert "SIGSEGV, a crash in C code" in str(run(eval, code).exception(60))


def test_what_waits_for_the_end_of_the_interpreter_runs(tmp_path: Path) -> None:
    def leave(folder: str) -> None:
        import atexit

        atexit.register(lambda: (Path(folder) / "left").touch())

    run(leave, str(tmp_path)).result(60)
    assert (tmp_path / "left").exists()


def test_what_it_leaves_running_does_not_cost_its_value() -> None:
    def leave() -> int:
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        return subprocess.Popen(["sleep", "1"]).pid

    assert run(leave).result(60) > 0


def test_an_interrupted_job_is_stopped() -> None:
    job = run(sleeper)
    wait_for(lambda: lines(job), "its begin")
    job.interrupt()
    wait_for(job.done, "its end")
    assert (job.state.value, job.reason) == ("stopped", "interrupted")


def test_what_it_started_ends_with_it() -> None:
    def start() -> None:
        process = subprocess.Popen(["sleep", "1000"])
        print(process.pid)
        time.sleep(1000)

    job = run(start)
    wait_for(lambda: lines(job), "the process")
    pid = int(lines(job)[0])
    assert job.kill(60)
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "its end")


@pytest.mark.once
def test_so_it_does_when_nothing_else_ends_the_job() -> None:
    def start() -> None:
        import re

        process = subprocess.Popen(["sleep", "1000"])
        print(process.pid, flush=True)
        re.match(r"(a*)*b", "a" * 64)  # with the interpreter's lock

    job = run(start)
    wait_for(lambda: lines(job), "the process")
    pid = int(lines(job)[0])
    before = ipykill.jobs.process_grace
    ipykill.jobs.process_grace = 0.3
    try:
        assert not job.kill()
        wait_for(lambda: "its process is ended in" in job.info().hindrance or job.done(), "why")
        assert job.kill(60)
    finally:
        ipykill.jobs.process_grace = before
    assert job.state.value == "killed"
    assert "its process was ended by SIGKILL" in "\n".join(lines(job))
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "its end")


def test_large_arrays_are_copies_and_come_back_if_they_were_changed() -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.zeros(3_000_000)

    def change(array: Any) -> Any:
        array[5] = 1
        return array

    job = run(change, array)
    array[7] = 2  # after the launch: the job has a copy
    back = job.result(60)
    assert (back[5], back[7], array[5]) == (1, 0, 0)
    back[0] = 3
    assert back.sum() == 4


def test_output_without_end_does_not_delay_a_kill() -> None:
    def flood() -> None:
        while True:
            print("x" * 100)

    job = run(flood)
    wait_for(lambda: lines(job), "the flood")
    start = time.monotonic()
    assert job.kill(60)
    assert time.monotonic() - start < 10


def busy() -> None:
    print("on")
    while True:
        pass


def sleeper() -> None:
    print("on")
    time.sleep(1000)


def deaf() -> None:
    print("on")
    while True:
        try:
            time.sleep(0.001)
        except BaseException:
            pass


def cleaner() -> None:
    print("on")
    try:
        time.sleep(1000)
    finally:
        print("cleaned")


@pytest.mark.stress
@pytest.mark.once
def test_random_kills() -> None:
    random.seed(7)
    for number in range(6):
        job = run(random.choice([busy, sleeper, deaf, cleaner]))
        if number % 3:
            wait_for(lambda job=job: lines(job) or job.done(), "its first line")
        time.sleep(random.random() * 0.4 * (number % 3 != 1))
        assert job.kill(60), job.info()
        assert job.state.value == "killed"
        with pytest.raises(JobAborted):
            job.result()
        if "cleaned" in job.source and lines(job)[:1] == ["on"]:
            assert lines(job) == ["on", "cleaned"]
    assert run(max, 1, 2).result(60) == 2


def test_nothing_of_it_is_imported_before_it_is_asked_for() -> None:
    code = (
        "import sys, ipykill; ipykill.submit(print).wait();"
        "print([it for it in sys.modules if 'ipykill.remote' in it or 'cloudpickle' in it])"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    text = subprocess.run(command, env=environment, capture_output=True, text=True).stdout
    assert text.split("\n")[-2] == "[]", text


def test_without_cloudpickle_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(JobError, match="pip install cloudpickle"):
        run(print)
