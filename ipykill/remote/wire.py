"""Messages between two processes of one machine; large buffers go as files in memory."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from ..base import locks
from .memory import Arrived, Shelf, receive
from .parcel import Parcel

__all__ = ["Cargo", "Gone", "Wire"]

_FDS = 200  # how many file descriptors one message of a socket carries


# What the standard library raises when the other side is gone, or this one was closed.
_CLOSED = (EOFError, OSError, ValueError, TypeError, AttributeError)


class Gone(Exception):
    """Nobody is at the other side any more, or this one was closed."""


class Cargo(NamedTuple):
    """A copy of a parcel, ready to be sent, that later changes of its objects do not affect."""

    data: Any
    shelf: Shelf

    @classmethod
    def of(cls, parcel: Parcel) -> Cargo:
        """Copy a parcel."""
        return cls(parcel.data, Shelf(parcel.buffers))


class Wire:
    """One end of a pair of sockets.

    Threading
    ---------
    Any thread may call `send`, only one thread `receive`.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._connection = Connection(os.dup(sock.fileno()))
        self._lock = locks.RLock()  # a Ctrl-C may come while the main thread sends

    def send(self, message: object, cargo: Cargo | None = None) -> None:
        """Send a message, and a parcel with it.

        Raises
        ------
        Gone
            Nobody receives it. Other errors say that the message cannot be pickled.
        """
        files, spots = ([], []) if cargo is None else (cargo.shelf.files, cargo.shelf.spots)
        head = pickle.dumps((message, cargo is not None, len(files), spots))
        with self._lock, _gone_if_closed():
            self._connection.send_bytes(head)
            if cargo is not None:
                self._connection.send_bytes(cargo.data)
            for start in range(0, len(files), _FDS):
                socket.send_fds(self._socket, [b"f"], files[start : start + _FDS])

    def receive(self) -> tuple[Any, Parcel | None, list[Arrived]]:
        """Wait for a message; return it, its parcel, and the parcel's large buffers.

        Raises
        ------
        Gone
            Nobody sends any more. Other errors say that the message cannot be unpickled.
        """
        with _gone_if_closed():
            head = self._connection.recv_bytes()
        message, has_parcel, number, spots = pickle.loads(head)
        if not has_parcel:
            return message, None, []
        with _gone_if_closed():
            data = self._connection.recv_bytes()
            files = self._receive_files(number)
        arrived = receive(files, spots)
        return message, Parcel(data, [it.mine for it in arrived]), arrived

    def _receive_files(self, number: int) -> list[int]:
        files: list[int] = []
        while len(files) < number:
            _, some, _, _ = socket.recv_fds(self._socket, 1, min(_FDS, number - len(files)))
            if not some:
                raise EOFError
            files += some
        return files

    def close(self) -> None:
        """Close the connection; the other side notices."""
        with self._lock:
            self._socket.close()
            self._connection.close()


@contextlib.contextmanager
def _gone_if_closed() -> Iterator[None]:
    try:
        yield
    except _CLOSED as error:
        raise Gone from error
