"""Makes the `RemoteCall` that runs a cell or a function elsewhere."""

from __future__ import annotations

import functools
import linecache
import sys
from collections.abc import Callable, Iterable
from typing import Any

from ..base import stack
from ..cells.cell import Cell
from ..exceptions import JobError
from .call import Engine, RemoteCall
from .taking import CallLuggage, CellLuggage

__all__ = ["cell_call", "engine_for", "function_call"]


def engine_for(on: object) -> Engine:
    """Return the engine that runs jobs on `on`.

    Raises
    ------
    JobError
        There is no engine for that.
    """
    if on == "process":
        from .process import ProcessEngine

        return ProcessEngine()
    distributed = sys.modules.get("distributed")  # a caller that has a Client has imported it
    if distributed is not None and isinstance(on, distributed.Client):
        from .cluster import ClusterEngine

        return ClusterEngine(on)
    msg = f"jobs cannot run on {on!r}; what works is 'process', or a distributed.Client"
    raise JobError(msg)


def function_call(on: object, call: Callable[[], object], name: str) -> RemoteCall:
    """Return a call that runs `call` elsewhere."""
    describe = functools.partial(_describe, None, name, None)
    remote = RemoteCall(engine_for(on), CallLuggage(call), describe=describe)
    remote.pack()
    return remote


def cell_call(
    shell: Any, cell: Cell, on: object, *, name: str, number: int, later: bool
) -> RemoteCall:
    """Return a call that runs `cell` elsewhere.

    Parameters
    ----------
    on
        ``process``, or a `distributed.Client`.
    later
        Whether it starts later, and its variables are copied only then.

    Raises
    ------
    JobError
        It cannot run there.
    """
    namespace: dict[str, Any] = cell.namespace
    engine = engine_for(on)
    hidden = getattr(shell, "user_ns_hidden", {})
    luggage = CellLuggage(namespace, cell.parts, hidden, cell.variable)
    describe = functools.partial(_describe, shell, name, number)
    remote = RemoteCall(engine, luggage, describe=describe, publish=_publisher(shell))
    if not later:
        remote.pack()
    return remote


def _describe(shell: Any, name: str, number: int | None, files: Iterable[str]) -> dict[str, Any]:
    """Return what the other side has to know: the job's name; labels and text of files of cells."""
    known = () if shell is None else getattr(shell.compile, "_filename_map", ())
    cells = [file for file in files if file in known]
    return {
        "name": name,
        "cell": number,
        "labels": {file: label for file in cells if (label := stack.cell_label(file))},
        "sources": {file: "".join(linecache.getlines(file)) for file in cells},
    }


def _publisher(shell: Any) -> Callable[[str, dict[str, Any]], None]:
    def publish(kind: str, content: dict[str, Any]) -> None:
        if kind == "clear_output":
            shell.display_pub.clear_output(wait=content["wait"])
        else:
            update = kind == "update_display_data"
            shell.display_pub.publish(**content, update=update)

    return publish
