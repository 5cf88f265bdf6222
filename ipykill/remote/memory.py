"""Large buffers as files in memory, which another process maps instead of reading them.

The receiver's mapping is private: the system copies a page when it is written. So the receiver
can also find out whether it has changed a buffer, by comparing it with the file.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["Arrived", "Shelf", "receive"]

_OWN = 64 << 20  # bytes; a buffer of this size has a file of its own, and is freed by itself
_AT_ONCE = 1 << 30  # how many bytes one system call writes
_PART = 1 << 18  # how many bytes are compared at once

Spot = tuple[int, int, int]  # the index of the file, the offset, and the number of bytes


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
        The place of each buffer.
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
        """Close the files."""
        files, self.files = self.files, []
        for file in files:
            os.close(file)

    __del__ = close


def _write(file: int, view: memoryview, at: int) -> None:
    done = 0
    while done < view.nbytes:
        done += os.pwrite(file, view[done : done + _AT_ONCE], at + done)


class Arrived(NamedTuple):
    """A buffer that arrived: a copy that this process may change, and the original."""

    mine: memoryview
    original: memoryview

    def changed(self) -> bool:
        """Whether the copy differs from the original."""
        mine, original = self
        return any(
            bytes(mine[at : at + _PART]) != original[at : at + _PART].tobytes()
            for at in range(0, mine.nbytes, _PART)
        )


def receive(files: Iterable[int], spots: Iterable[Spot]) -> list[Arrived]:
    """Map the buffers of a `Shelf`, and close the files."""
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
