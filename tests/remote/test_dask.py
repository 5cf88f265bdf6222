"""`ipykill.dask.CancelRunning` on a real cluster: what is cancelled ends, all else goes on."""

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_for

distributed = pytest.importorskip("distributed")

import ipykill.dask  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        client.register_plugin(ipykill.dask.CancelRunning())
        yield client


def mark(path: str, text: str) -> None:
    Path(f"{path}.new").write_text(text)
    os.replace(f"{path}.new", path)


def sleeper(path: str) -> None:
    mark(path, "on")
    try:
        time.sleep(1000)
    finally:
        mark(path, "cleaned")


def busy(path: str) -> None:
    mark(path, "on")
    try:
        while True:
            pass
    finally:
        mark(path, "cleaned")


def deaf(path: str) -> None:
    mark(path, "on")
    try:
        while True:
            try:
                time.sleep(0.001)
            except BaseException:
                pass
    finally:
        mark(path, "cleaned")


def seceded(path: str) -> None:
    distributed.secede()
    sleeper(path)


def lock_holder(path: str) -> None:
    with distributed.Lock("ipykill-test"):
        sleeper(path)


def is_on(path: Path) -> Callable[[], bool]:
    return lambda: path.exists() and path.read_text() == "on"


def is_clean(path: Path) -> Callable[[], bool]:
    return lambda: path.exists() and path.read_text() == "cleaned"


def idle(client: Any) -> bool:
    """No thread of a worker runs a task, as the workers say."""
    tables = client.run(lambda dask_worker: dict(dask_worker.active_threads))
    return not any(tables.values())


def increment(x: int) -> int:
    return x + 1


@pytest.mark.parametrize("task", [sleeper, busy, deaf, seceded, lock_holder])
def test_a_cancelled_task_ends_with_its_cleanup(client: Any, tmp_path: Path, task: Any) -> None:
    workers = client.run(os.getpid)
    path = tmp_path / "mark"
    future = client.submit(task, str(path), pure=False)
    wait_for(is_on(path), "the task")
    future.cancel()
    wait_for(is_clean(path), "its cleanup")
    wait_for(lambda: idle(client), "the slot")
    assert client.run(os.getpid) == workers
    assert client.gather(client.map(increment, range(50), pure=False)) == list(range(1, 51))


def test_others_are_left_alone(client: Any, tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(4)]
    futures = [client.submit(sleeper, str(path), pure=False) for path in paths]
    for path in paths:
        wait_for(is_on(path), "the task")
    for future, path in zip(futures[:3], paths, strict=False):
        future.cancel()
        wait_for(is_clean(path), "its cleanup")
    assert paths[3].read_text() == "on"
    assert client.submit(increment, 1, pure=False).result(30) == 2
    futures[3].cancel()
    wait_for(is_clean(paths[3]), "its cleanup")


def _tasks(dask_scheduler: Any) -> list[Any]:
    return list(dask_scheduler.tasks)


def test_what_is_submitted_again_runs_again(client: Any, tmp_path: Path) -> None:
    path = tmp_path / "mark"
    first = client.submit(sleeper, str(path), key="again")
    wait_for(is_on(path), "the task")
    first.cancel()
    wait_for(lambda: "again" not in client.run_on_scheduler(_tasks), "the cancelling")
    # The scheduler tells the client, too, that the key is cancelled, and distributed takes that for
    # a later future of the same key. A result comes on the same way, and so after it.
    client.submit(increment, 1, pure=False).result(30)
    again = client.submit(increment, 1, key="again")
    assert again.result(30) == 2


def test_a_client_that_goes_ends_its_tasks(client: Any, tmp_path: Path) -> None:
    path = tmp_path / "mark"
    with distributed.Client(client.scheduler.address, set_as_default=False) as other:
        kept = other.submit(sleeper, str(path), pure=False)
        wait_for(is_on(path), "the task")
    wait_for(is_clean(path), "its cleanup")
    del kept


def test_values_and_errors_are_as_without(client: Any) -> None:
    assert client.submit(divmod, 7, 2).result(30) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        client.submit(divmod, 7, 0).result(30)
    assert client.submit(lambda: distributed.get_worker().address).result(30) in client.run(
        lambda: 0
    )


def nested() -> int:
    with distributed.worker_client() as inner:
        return sum(inner.gather(inner.map(increment, range(3), pure=False)))


def test_a_task_may_submit_tasks(client: Any) -> None:
    assert client.submit(nested, pure=False).result(30) == 6


@pytest.mark.stress
@pytest.mark.once
def test_random_cancels(client: Any, tmp_path: Path) -> None:
    workers = client.run(os.getpid)
    random.seed(7)
    for number in range(40):
        path = tmp_path / str(number)
        others = client.map(increment, range(10), pure=False)
        future = client.submit(random.choice([sleeper, busy, deaf]), str(path), pure=False)
        if number % 2:
            wait_for(is_on(path), "the task")
        time.sleep(random.random() * 0.02)
        future.cancel()
        if number % 2:
            wait_for(is_clean(path), "its cleanup")
        assert client.gather(others) == list(range(1, 11))
    wait_for(lambda: idle(client), "the slots")
    assert client.run(os.getpid) == workers
    started = [path for path in tmp_path.iterdir() if path.suffix != ".new"]
    assert {path.read_text() for path in started} == {"cleaned"}


def in_c(path: str) -> None:
    import hashlib

    mark(path, "on")
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)


@pytest.mark.once
def test_what_cannot_be_ended_is_told_and_its_worker_restarted(tmp_path: Path) -> None:
    options = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        client.register_plugin(ipykill.dask.CancelRunning(hard=0.5))
        path = tmp_path / "mark"
        other = client.submit(time.sleep, 1.5, pure=False)
        future = client.submit(in_c, str(path), pure=False)
        wait_for(is_on(path), "the task")
        before = client.run(os.getpid)
        future.cancel()
        assert other.result(30) is None  # it is not cut off
        old = set(before.values())
        wait_for(lambda: client.submit(os.getpid, pure=False).result(60) not in old, "a new worker")
