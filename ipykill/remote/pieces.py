"""Parcels cut into pieces, so that no message is large and others can be sent in between."""

from __future__ import annotations

from collections.abc import Iterator

from .parcel import Parcel

__all__ = ["Joined", "cut", "sizes"]

PIECE = 4 << 20  # bytes; Dask takes several times as long for each byte of a larger message


def sizes(parcel: Parcel) -> list[int]:
    """Return how many bytes each part of `parcel` has."""
    return [memoryview(part).nbytes for part in (parcel.data, *parcel.buffers)]


def cut(parcel: Parcel) -> Iterator[bytes]:
    """Yield copies of the pieces of `parcel`, in order."""
    for part in (parcel.data, *parcel.buffers):
        view = memoryview(part).cast("B")
        for start in range(0, view.nbytes, PIECE):
            yield bytes(view[start : start + PIECE])


class Joined:
    """A parcel that arrives in pieces; its buffers will be writable."""

    def __init__(self, sizes: list[int]) -> None:
        self._parts = [bytearray(size) for size in sizes]
        self._which = self._at = 0

    @property
    def whole(self) -> bool:
        """Whether all of it has arrived."""
        while self._which < len(self._parts) and self._at == len(self._parts[self._which]):
            self._which, self._at = self._which + 1, 0
        return self._which == len(self._parts)

    def add(self, piece: bytes) -> None:
        """Add the next piece."""
        assert not self.whole
        self._parts[self._which][self._at : self._at + len(piece)] = piece
        self._at += len(piece)

    def parcel(self) -> Parcel:
        """Return the parcel, when it is whole."""
        return Parcel(self._parts[0], [*self._parts[1:]])
