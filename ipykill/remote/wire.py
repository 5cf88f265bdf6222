"""Messages between two processes of one machine; large buffers go as files in memory."""

from __future__ import annotations

import os
import pickle
import socket
import threading
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from .memory import Arrived, Shelf, receive
from .parcel import Parcel

__all__ = ["GONE", "Cargo", "Wire"]

GONE = (EOFError, OSError, ValueError, TypeError, AttributeError)
"""What `Wire` raises when the other side is gone, or this one was closed."""

_FDS = 200  # of one message of a socket


class Cargo(NamedTuple):
    """A parcel as it is sent, which no longer depends on the objects that were packed."""

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
    Any thread may send; one receives.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._connection = Connection(os.dup(sock.fileno()))
        self._lock = threading.RLock()

    def send(self, message: object, cargo: Cargo | None = None) -> None:
        """Send a message, and what goes with it."""
        files, spots = ([], []) if cargo is None else (cargo.shelf.files, cargo.shelf.spots)
        head = pickle.dumps((message, cargo is not None, len(files), spots))
        with self._lock:
            self._connection.send_bytes(head)
            if cargo is not None:
                self._connection.send_bytes(cargo.data)
            for start in range(0, len(files), _FDS):
                socket.send_fds(self._socket, [b"f"], files[start : start + _FDS])

    def receive(self) -> tuple[Any, Parcel | None, list[Arrived]]:
        """Wait for a message; return it, its parcel, and the parcel's large buffers."""
        message, has_parcel, number, spots = pickle.loads(self._connection.recv_bytes())
        if not has_parcel:
            return message, None, []
        data = self._connection.recv_bytes()
        files: list[int] = []
        while len(files) < number:
            _, some, _, _ = socket.recv_fds(self._socket, 1, min(_FDS, number - len(files)))
            if not some:
                raise EOFError
            files += some
        arrived = receive(files, spots)
        return message, Parcel(data, [it.mine for it in arrived]), arrived

    def close(self) -> None:
        """End it, for the other side too."""
        with self._lock:
            self._socket.close()
            self._connection.close()
