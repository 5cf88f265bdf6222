"""Jobs on the workers of a real Dask cluster, without a kernel."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ipykill
from ipykill.exceptions import JobAborted, JobError
from tests.overlays import ROOT
from tests.remote.test_process import PRINTED, lines
from tests.waiting import wait_for

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.slow

SMALL = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    options = SMALL | {"n_workers": 2}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    streams = sys.stdout, sys.stderr
    yield
    sys.stdout, sys.stderr = streams


def run(fn: Callable[..., Any], *args: Any, on: Any) -> ipykill.Job:
    sys.stdout = sys.stderr = PRINTED
    return ipykill.submit(fn, *args, on=on)


def increment(x: int) -> int:
    return x + 1


def mark(path: str, text: str) -> None:
    with open(path, "a") as file:
        file.write(f"{text}\n")


def marks(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def busy(path: str) -> None:
    try:
        mark(path, "on")
        while True:
            pass
    finally:
        mark(path, "cleaned")


def sleeper(path: str) -> None:
    try:
        mark(path, "on")
        time.sleep(1000)
    finally:
        mark(path, "cleaned")


def deaf(path: str) -> None:
    try:
        mark(path, "on")
        while True:
            try:
                time.sleep(0.001)
            except BaseException:
                pass
    finally:
        mark(path, "cleaned")


def in_c(path: str) -> None:
    import hashlib

    mark(path, "on")
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)


def idle(client: Any) -> bool:
    """No thread of a worker runs a task, and no job is there."""

    def busy() -> int:
        from ipykill.remote import task, work

        return len(task._visits) + len(work.manager.running())

    tables = client.run(lambda dask_worker: dict(dask_worker.active_threads))
    return not any(tables.values()) and not any(client.run(busy).values())


def test_the_value_the_error_and_what_is_refused(client: Any) -> None:
    assert run(divmod, 7, 2, on=client).result(60) == (3, 1)
    assert run(os.getpid, on=client).result(60) in client.run(os.getpid).values()
    with pytest.raises(ZeroDivisionError) as failure:
        run(eval, "1 / 0", on=client).result(60)
    assert "<string>" in str(failure.value.__cause__)
    with pytest.raises(JobError, match="cannot pickle"):
        run(print, threading.Lock(), on=client)
    with pytest.raises(JobError, match=r"its value \(lock\) cannot be sent"):
        run(threading.Lock, on=client).result(60)
    wait_for(lambda: idle(client), "the slots")


def test_output_arrays_and_what_a_task_may_do(client: Any) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.zeros(6_000_000)  # more than a piece

    def work(array: Any) -> Any:
        print("hello")
        array[5] = 1
        worker = distributed.get_worker().address
        inner = distributed.get_client().submit(increment, 1, pure=False).result()
        with distributed.worker_client() as own:
            inner += own.submit(increment, 1, pure=False).result()
        return worker, inner, array

    job = run(work, array, on=client)
    array[7] = 2  # after the launch: the job has a copy
    worker, inner, back = job.result(60)
    assert worker in client.run(os.getpid)
    assert inner == 4
    assert (back[5], back[7], array[5]) == (1, 0, 0)
    assert lines(job) == ["hello"]
    wait_for(lambda: idle(client), "the slots")


def test_stop_interrupt_and_progress(client: Any, tmp_path: Path) -> None:
    def polite(path: str) -> None:
        for _ in ipykill.track(range(10**9)):
            time.sleep(0.001)

    job = run(polite, str(tmp_path / "a"), on=client)
    wait_for(lambda: (it := job.info().progress) and it.done > 3, "progress")
    assert "test_client.py" in str(job.where()[0].place)
    job.stop()
    wait_for(job.done, "its end")
    assert job.state.value == "stopped"
    path = tmp_path / "b"
    job = run(sleeper, str(path), on=client)
    wait_for(lambda: marks(path), "its begin")
    job.interrupt()
    wait_for(job.done, "its end")
    assert (job.state.value, job.reason) == ("stopped", "interrupted")
    assert marks(path) == ["on", "cleaned"]


def test_output_without_end_does_not_delay_a_kill(client: Any) -> None:
    def flood() -> None:
        while True:
            print("x" * 100)

    job = run(flood, on=client)
    wait_for(lambda: lines(job), "the flood")
    assert job.kill(60)
    assert job.state.value == "killed"


def test_what_it_leaves_running_does_not_cost_its_value(client: Any) -> None:
    def leave() -> int:
        threading.Thread(target=time.sleep, args=(1000,), name="left", daemon=True).start()
        return 3

    def left() -> int:
        return sum(it.name == "left" for it in threading.enumerate())

    assert run(leave, on=client).result(60) == 3
    wait_for(lambda: not any(client.run(left).values()), "the end of its thread")


@pytest.mark.stress
@pytest.mark.once
def test_random_kills(client: Any, tmp_path: Path) -> None:
    workers = client.run(os.getpid)
    random.seed(7)
    kill_at_random(client, tmp_path, 20)
    wait_for(lambda: idle(client), "the slots")
    assert client.run(os.getpid) == workers


def kill_at_random(client: Any, folder: Path, number: int) -> None:
    for index in range(number):
        path = folder / str(index)
        others = client.map(increment, range(5), pure=False)
        job = run(random.choice([sleeper, busy, deaf]), str(path), on=client)
        if index % 3 == 1:
            wait_for(lambda path=path: marks(path), "its begin")
        time.sleep(random.random() * 0.06)
        assert job.kill(60), job.info()
        assert job.state.value == "killed", job.info()
        with pytest.raises(JobAborted):
            job.result()
        ended = marks(path)
        assert ended[-1:] != ["on"], ended
        assert client.gather(others) == list(range(1, 6))
        assert marks(path) == ended, "it has begun after its end"


def test_what_waits_for_a_slot_is_killed_and_never_begins(client: Any, tmp_path: Path) -> None:
    event = distributed.Event(client=client)
    names = [str(number) for number in range(4)]
    fillers = [client.submit(event.wait, pure=False, key=f"filler-{it}") for it in names]
    wait_for(lambda: sum(map(len, client.processing().values())) >= 4, "full workers")
    path = tmp_path / "mark"
    job = run(sleeper, str(path), on=client)
    assert job.kill(60)
    event.set()
    assert client.gather(fillers) == [True] * 4
    assert client.submit(increment, 1, pure=False).result() == 2
    assert (job.state.value, marks(path)) == ("killed", [])


def test_two_clients_of_a_cluster(client: Any, tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    with distributed.Client(client.scheduler.address, set_as_default=False) as other:
        jobs = [
            run(sleeper, str(path), on=it) for path, it in zip(paths, (client, other), strict=True)
        ]
        for path in paths:
            wait_for(lambda path=path: marks(path), "its begin")
        assert jobs[0].kill(60)
        assert marks(paths[1]) == ["on"]
    wait_for(jobs[1].done, "the end of the one whose client was closed")
    assert "its client was closed" in str(jobs[1].exception())
    wait_for(lambda: marks(paths[1]) == ["on", "cleaned"], "its cleanup")
    with pytest.raises(JobError, match="not started: this Client is closed"):
        run(increment, 1, on=other)


def test_a_worker_that_dies_is_told_and_the_code_is_not_run_again(
    client: Any, tmp_path: Path
) -> None:
    path = tmp_path / "mark"

    def die(path: str) -> None:
        mark(path, "on")
        os.kill(os.getpid(), signal.SIGKILL)

    job = run(die, str(path), on=client)
    assert "is gone: it has crashed, or was ended" in str(job.exception(60))
    # Wherever Dask runs its task again, that does not begin.
    assert run(increment, 1, on=client).result(60) == 2
    wait_for(lambda: len(client.nthreads()) == 2 and idle(client), "health")
    assert marks(path) == ["on"]


@pytest.mark.once
def test_a_hang_in_c_ends_with_its_worker_when_others_are_done(tmp_path: Path) -> None:
    before = ipykill.jobs.process_grace
    ipykill.jobs.process_grace = 0.3
    try:
        with distributed.LocalCluster(**SMALL) as cluster, distributed.Client(cluster) as client:
            path = tmp_path / "mark"
            event = distributed.Event("ipykill-others", client=client)
            other = client.submit(event.wait, pure=False)
            job = run(in_c, str(path), on=client)
            wait_for(lambda: marks(path), "its begin")
            old = client.run(os.getpid)
            assert not job.kill()
            told = "its worker is restarted when 1 other task there is over"
            wait_for(lambda: told in job.info().hindrance, "why")
            event.set()
            assert other.result(60)
            assert job.kill(60), job.info()
            assert job.state.value == "killed"
            assert "its worker was restarted" in "\n".join(lines(job))
            new = client.submit(os.getpid, pure=False).result(60)
            assert new not in old.values()
    finally:
        ipykill.jobs.process_grace = before


def test_workers_that_are_threads_of_this_process_are_refused() -> None:
    options = SMALL | {"processes": False}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        job = run(increment, 1, on=client)
        assert "is a thread of this process" in str(job.exception(60))


BARE = """
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

class Without(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "IPython":
            raise ModuleNotFoundError(name)

sys.path[:] = [it for it in sys.path if not Path(it, "ipykill").is_dir()]
sys.modules["IPython"] = None
from distributed.cli.dask_worker import main

main([{address!r}, "--no-nanny", "--no-dashboard", "--nthreads", "2", "--name", "bare"])
"""


def test_ipykill_is_brought_along_and_the_rest_is_compared(tmp_path: Path) -> None:
    options = {"n_workers": 0, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        code = BARE.format(address=cluster.scheduler_address)
        command = [sys.executable, "-P", "-c", code]
        environment = {name: it for name, it in os.environ.items() if name != "PYTHONPATH"}
        worker = subprocess.Popen(command, cwd=tmp_path, env=environment)
        try:
            client.wait_for_workers(1, timeout=60)
            where = "__import__('sys').modules.get('ipykill')"
            assert set(client.run(eval, where).values()) == {None}

            def work() -> tuple[str, str]:
                print("there")
                return ipykill.__file__, str(ipykill.current_job().state)

            job = run(work, on=client)
            assert "ipykill.zip" in job.result(60)[0]
            assert lines(job) == ["there"]
            path = tmp_path / "mark"
            source = f"open({str(path)!r}, 'w').write('on\\n')\nimport time\ntime.sleep(1000)"
            job = run(exec, source, on=client)
            wait_for(lambda: marks(path), "its begin")
            assert job.kill(60)
            client.run(exec, "import ipykill; ipykill.__version__ = '0.0.9'")
            job = run(eval, "1", on=client)
            assert "has ipykill 0.0.9, and here is" in str(job.exception(60))
        finally:
            worker.kill()
            worker.wait()


CLIENT = """
import sys
import time
from distributed import Client
import ipykill
from tests.remote import test_client

client = Client({address!r})
jobs = [ipykill.submit(it, {folder!r} + it.__name__, on=client)
        for it in (test_client.busy, test_client.sleeper)]
time.sleep(1000)
"""


def test_a_client_that_dies_leaves_no_orphan(client: Any, tmp_path: Path) -> None:
    code = CLIENT.format(address=client.scheduler.address, folder=f"{tmp_path}/")
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT)
    paths = [tmp_path / "busy", tmp_path / "sleeper"]
    for path in paths:
        wait_for(lambda path=path: marks(path), "its begin")
    process.kill()
    process.wait()
    for path in paths:
        wait_for(lambda path=path: marks(path) == ["on", "cleaned"], "its cleanup")
    wait_for(lambda: idle(client), "the slots")
