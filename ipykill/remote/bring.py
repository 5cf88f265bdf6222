"""Finds out which workers of a Dask cluster can run a job, and installs ipykill there if needed."""

from __future__ import annotations

import asyncio
import functools
import io
import os
import sys
import uuid
import zipfile
from pathlib import Path
from typing import Any

from ..exceptions import JobError

__all__ = ["HERE", "workers_for"]

HERE = uuid.uuid4().hex
"""Together with the process id, identifies this process among those of all machines."""

_PATIENCE = 3.0  # seconds that a worker has to answer if another one has answered
_LONGEST = 30.0  # and if none has

# What a worker is asked first. It is source text, because the worker may not have ipykill. The
# worker evaluates it in its main thread, the only one that can install a signal handler.
_ASK = """(lambda sys, os, find, load: {
    "python": "%d.%d" % sys.version_info[:2],
    "cloudpickle": ".".join(load("cloudpickle").__version__.split(".")[:2]),
    "ipykill": (version := load("ipykill").__version__ if find("ipykill") else None),
    "process": (getattr(sys.modules.get("ipykill.remote.bring"), "HERE", None), os.getpid()),
    "ready": version == VERSION and load("ipykill.remote.task").prepare(),
})(*map(__import__, ("sys", "os")), __import__("importlib.util").util.find_spec,
   __import__("importlib").import_module)"""
_VERSION = sys.modules["ipykill"].__version__
_ASK = _ASK.replace("VERSION", repr(_VERSION))

_UNPACK = """
import atexit, importlib, os, shutil, sys, tempfile
folder = tempfile.mkdtemp(prefix="ipykill-")
atexit.register(shutil.rmtree, folder, ignore_errors=True)
path = os.path.join(folder, "ipykill.zip")
with open(path, "wb") as file:
    file.write(data)
sys.path.append(path)
importlib.invalidate_caches()
"""


async def workers_for(client: Any) -> list[str]:
    """Return the addresses of the workers of `client` that can run a job.

    For the event loop of the client.

    Raises
    ------
    JobError
        No worker can; the error says why.
    """
    if not await client.nthreads():
        # An adaptive cluster may start workers as soon as there is a task.
        await client.submit(int, pure=False, key=f"ipykill-{uuid.uuid4().hex}")
    found = await _ask(client, None)
    bare = [worker for worker, it in found.items() if _unlike(it) is None and not it["ipykill"]]
    if bare:
        await client.run(exec, _UNPACK, {"data": _package()}, workers=bare)
        found |= await _ask(client, bare)
    why = {worker: _unlike(it) for worker, it in found.items()}
    if fit := [worker for worker, reason in why.items() if reason is None]:
        return fit
    worker, reason = next(iter(why.items()), ("no worker", "answers"))
    msg = f"not started, as no worker can run it: {worker} {reason}"
    raise JobError(msg)


async def _ask(client: Any, workers: list[str] | None) -> dict[str, Any]:
    """Ask `workers`, by default all; leave out one that hangs, if another one answers."""
    try:
        asked = client.run(eval, _ASK, workers=workers, on_error="return")
        answers: dict[str, Any] = await asyncio.wait_for(asked, _PATIENCE)
    except TimeoutError:
        names = await client.nthreads(workers)
        single = [client.run(eval, _ASK, workers=[it], on_error="return") for it in names]
        tasks = [asyncio.ensure_future(it) for it in single]
        first = asyncio.FIRST_COMPLETED
        done, late = await asyncio.wait(tasks, timeout=_LONGEST, return_when=first)
        if late and done:
            done = done | (await asyncio.wait(late, timeout=_PATIENCE))[0]
        for task in tasks:
            task.cancel()  # those that have not answered
        answers = functools.reduce(lambda all, task: all | task.result(), done, {})
    return answers


def _unlike(there: Any) -> str | None:
    """Return why a worker with this answer cannot run our jobs, None if it can."""
    import cloudpickle

    if isinstance(there, BaseException):
        return f"says {type(there).__name__}: {there}"
    if there["process"] == (HERE, os.getpid()):
        return "is a thread of this process; use %%bg without --on, or a cluster of processes"
    here = {
        "python": ".".join(map(str, sys.version_info[:2])),
        "cloudpickle": ".".join(cloudpickle.__version__.split(".")[:2]),
        "ipykill": _VERSION,
    }
    for what, version in here.items():
        if there[what] not in (version, None):
            return f"has {what} {there[what]}, and here is {version}; install the same there"
    return None


@functools.cache
def _package() -> bytes:
    """Return ipykill as a zip file from which it can be imported."""
    stream = io.BytesIO()
    root = Path(__file__).parent.parent
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(root.rglob("*.py")):
            file.write(path, path.relative_to(root.parent))
    return stream.getvalue()
