"""A worker that is gone, of which Dask goes on to hope for half a minute that it answers."""

import asyncio
from typing import Any

import pytest
from tornado.ioloop import IOLoop

pytest.importorskip("distributed")

from ipykill.remote import cluster
from ipykill.remote.report import Report
from tests.waiting import HANG_GUARD

WORKER = "tcp://10.0.0.1:1"


class Client:
    """A client whose calls of a worker that is gone never return."""

    id = "c"
    status = "running"

    def __init__(self) -> None:
        self.loop = IOLoop.current()
        self.workers = {WORKER: 1}
        self.restarts = 0

    async def run(self, function: Any, *args: Any, workers: list[str]) -> dict[str, Any]:
        if function is cluster.task.others:
            return {WORKER: 0}
        await asyncio.Event().wait()
        raise AssertionError

    async def nthreads(self) -> dict[str, int]:
        return dict(self.workers)

    async def restart_workers(self, workers: list[str], raise_for_error: bool) -> dict[str, str]:
        self.restarts += 1
        if WORKER not in self.workers:
            raise KeyError(WORKER)  # as distributed 2026.8 does
        self.workers.clear()
        return {WORKER: "OK"}


class Call:
    """What the engine tells of the job."""

    def __init__(self) -> None:
        self.posted: list[tuple[Any, ...]] = []

    def post(self, *message: Any) -> None:
        self.posted.append(message)


def test_a_restart_is_told_even_if_dask_goes_on_to_call_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "_GONE", 0.02)

    async def main() -> tuple[Client, Call]:
        client, call = Client(), Call()
        monkeypatch.setattr(cluster.ClusterLink, "_begin", lambda self, cargo, meta: None)
        link = cluster.ClusterLink(client, call, None, {})
        link._address, link._attempt = WORKER, "1"
        following = asyncio.ensure_future(link._follow())
        await asyncio.sleep(0)
        for _ in range(3):  # as `process_grace` has it asked again while no end comes
            await link._restart(Report())
        with pytest.raises(Exception, match=r"its worker tcp://10\.0\.0\.1:1 is gone"):
            await asyncio.wait_for(following, HANG_GUARD)
        call.post("told", link._ended_by)
        return client, call

    client, call = asyncio.run(main())
    assert client.restarts == 1
    assert call.posted == [
        ("told", "its worker was restarted; what the job had computed is gone with it")
    ]
