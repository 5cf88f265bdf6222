"""Finds out whether a variable was changed in place, by comparing a mark before and one after.

The mark of an object is a hash of its pickle. Large buffers that came with the job's code are not
hashed: at the end their original content is still there to compare with (`memory`).
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from .memory import Arrived
from .parcel import Surroundings, pack

__all__ = ["Marks"]

_FIXED = (BuiltinFunctionType, FunctionType, ModuleType, type, str, bytes, int, float, complex)


class Marks:
    """The marks of the variables that were sent to a job, from the time when they arrived."""

    def __init__(
        self, names: dict[str, object], around: Surroundings, arrived: Iterable[Arrived]
    ) -> None:
        self._around = around
        self._arrived = {}
        for it in arrived:
            if (key := _address(it.mine)) is not None:
                self._arrived[key] = it
        self._before = {
            name: mark
            for name, thing in names.items()
            if not isinstance(thing, _FIXED) and (mark := self._mark(thing, fresh=True)) is not None
        }

    def changed(self, names: dict[str, object]) -> set[str]:
        """Return which of the variables that were sent differ from what came."""
        return {
            name
            for name, mark in self._before.items()
            if name in names and self._mark(names[name]) != mark
        }

    def _mark(self, thing: object, *, fresh: bool = False) -> object:
        """Return a value that changes when `thing` does; None if `thing` cannot be pickled."""
        try:
            parcel = pack(thing, self._around)
        except Exception:
            return None
        parts: list[object] = [hashlib.blake2b(parcel.data, digest_size=16).digest()]
        for buffer in parcel.buffers:
            key = _address(buffer)
            arrived = None if key is None else self._arrived.get(key)
            if arrived is None:
                parts.append(hashlib.blake2b(buffer, digest_size=16).digest())
            else:
                parts.append((key, False if fresh else arrived.changed()))
        return tuple(parts)


def _address(buffer: Any) -> tuple[int, int] | None:
    """Return the address and the length of a buffer; None if it is read-only."""
    view = memoryview(buffer)
    if view.readonly:
        return None
    return ctypes.addressof(ctypes.c_char.from_buffer(view)), view.nbytes
