"""Large buffers as files in memory, which another process maps instead of reading them.

What arrives is private to who maps it: a page is copied when it is written. So the receiver
can also tell, by comparing, whether a buffer is as it came.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["Arrived", "Shelf", "receive"]

_OWN = 64 << 20  # bytes; such a buffer has a file of its own, and is freed alone
_AT_ONCE = 1 << 30  # that one system call writes
_PART = 1 << 18  # that are compared at once

Spot = tuple[int, int, int]  # which file, from where, how many bytes


def _file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("ipykill", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:  # macOS
        return os.dup(file.fileno())


class Shelf:
    """Copies of buffers in files.

    Attributes
    ----------
    files
        The open files.
    spots
        Where each buffer is.
    """

    def __init__(self, buffers: Iterable[Any]) -> None:
        self.files: list[int] = []
        self.spots: list[Spot] = []
        sizes: list[int] = []
        common: int | None = None
        for buffer in buffers:
            view = memoryview(buffer).cast("B")
            which = None if view.nbytes >= _OWN else common
            if which is None:
                which = len(self.files)
                self.files.append(_file())
                sizes.append(0)
                common = common if view.nbytes >= _OWN else which
            start = sizes[which]
            _write(self.files[which], view, start)
            self.spots.append((which, start, view.nbytes))
            sizes[which] = start + -(-view.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        for file, size in zip(self.files, sizes, strict=True):
            os.ftruncate(file, size)

    def close(self) -> None:
        """Let go of the files."""
        files, self.files = self.files, []
        for file in files:
            os.close(file)

    __del__ = close


def _write(file: int, view: memoryview, at: int) -> None:
    done = 0
    while done < view.nbytes:
        done += os.pwrite(file, view[done : done + _AT_ONCE], at + done)


class Arrived(NamedTuple):
    """A buffer that arrived: as this process may change it, and as it came."""

    mine: memoryview
    original: memoryview

    def changed(self) -> bool:
        """Whether it differs from what came."""
        mine, original = self
        return any(
            bytes(mine[at : at + _PART]) != original[at : at + _PART].tobytes()
            for at in range(0, mine.nbytes, _PART)
        )


def receive(files: Iterable[int], spots: Iterable[Spot]) -> list[Arrived]:
    """Map what a `Shelf` holds, and close the files."""
    maps: list[tuple[memoryview, memoryview]] = []
    for file in files:
        try:
            mine = mmap.mmap(file, 0, flags=mmap.MAP_PRIVATE)
            original = mmap.mmap(file, 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        finally:
            os.close(file)
        maps.append((memoryview(mine), memoryview(original)))
    return [
        Arrived(*(view[start : start + size] for view in maps[which]))
        for which, start, size in spots
    ]
