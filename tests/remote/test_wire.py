"""What two processes say to each other, and what is told if they cannot."""

import pickle
import socket

import pytest

from ipykill.remote import child
from ipykill.remote.wire import Gone, Wire


def wires() -> tuple[Wire, Wire]:
    one, other = socket.socketpair()
    return Wire(one), Wire(other)


def test_who_is_gone_is_told_apart_from_what_cannot_be_sent() -> None:
    one, other = wires()
    with pytest.raises((AttributeError, pickle.PicklingError)) as raised:
        one.send(lambda: None)
    assert not isinstance(raised.value, Gone)
    one.send(("a", 1))
    assert other.receive() == (("a", 1), None, [])
    other.close()
    with pytest.raises(Gone):
        other.receive()
    with pytest.raises(Gone):
        one.receive()
    one.close()
    with pytest.raises(Gone):
        one.send(("a", 1))


def test_an_end_that_cannot_be_sent_is_told() -> None:
    class Full:
        def end(self) -> None:
            raise OSError(28, "No space left on device")

    told: list[tuple] = []
    child._send_end(wires()[0], Full(), lambda *message: told.append(message))
    why = "what it left could not be sent: OSError: [Errno 28] No space left on device"
    assert told == [("lost", why)]
