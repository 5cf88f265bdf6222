"""Signals while the main thread runs a job, and another thread runs the cells.

CPython handles signals in the main thread. An interrupt must not raise anything there now, because
it is meant for the cell in the foreground, which runs in another thread. And if that cell calls
`signal.signal`, which only the main thread may do, the call has to be made there (`kill.in_main`).

While the main thread is in C code, it runs no signal handler of Python. So interrupts are received
as asyncio does it: the C handler writes the signal's number to a socket (``set_wakeup_fd``), and
another thread reads it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import inspect
import os
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

from ..kill import in_main
from ..threads import ServiceThread

__all__ = ["Signals"]

_PATIENCE = 0.3  # seconds that the main thread has to make a call
_really = inspect.unwrap(signal.signal)


class Signals:
    """Passes interrupts to the cell in the foreground, while that is not in the main thread.

    Parameters
    ----------
    interrupt
        Interrupts that cell; called in a service thread, or in the main thread.
    is_stand_in
        Tells whether the calling thread runs the cells of the foreground.

    Threading
    ---------
    Any thread may call `away`, only the main thread `back`.
    """

    def __init__(self, interrupt: Callable[[], object], is_stand_in: Callable[[], bool]) -> None:
        self._interrupt = interrupt
        self._is_stand_in = is_stand_in
        self._away = False
        self._usual: Any = None
        self._reader: socket.socket | None = None
        self._fd = -1  # the wakeup fd that was set before
        self.handler: Any = None  # the handler of SIGINT that a cell of a stand-in has set

    def away(self) -> None:
        """Begin to pass interrupts on: the main thread runs a job from now on."""
        if self._away:
            return
        self._away = True
        signal.signal = self._signal  # type: ignore[assignment]
        try:
            in_main.call(self._take, _PATIENCE)
        except TimeoutError:
            # The main thread is in C code. When that returns, Python would call the old handler
            # before ours is set. So until then an interrupt does nothing at all.
            _let_c_code_ignore(signal.SIGINT)

    def back(self) -> None:
        """Stop passing interrupts on; for the main thread."""
        if not self._away:
            return
        self._away = False
        self.handler = None
        signal.signal = _really
        in_main.make_calls()
        if signal.getsignal(signal.SIGINT) == self._on_interrupt:
            _really(signal.SIGINT, self._usual)  # if not, the kernel has set its own meanwhile
        if self._reader is not None:
            if (fd := signal.set_wakeup_fd(-1)) != self._writer.fileno():
                signal.set_wakeup_fd(fd)  # other code has set it
            elif self._fd != -1:
                signal.set_wakeup_fd(self._fd)
            self._writer.close()  # which ends the thread
            self._reader = None

    def _take(self) -> None:
        # The main thread calls this, in a signal handler.
        if not self._away:
            return
        self._usual = signal.getsignal(signal.SIGINT)
        _really(signal.SIGINT, self._on_interrupt)
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        self._fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._reader, self._writer = reader, writer
        ServiceThread(functools.partial(self._listen, reader, self._fd), "interrupts").start()

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._reader is None:
            self._pass_on()

    def _listen(self, reader: socket.socket, other: int) -> None:
        with reader:
            self._hear(reader, other)

    def _hear(self, reader: socket.socket, other: int) -> None:
        while came := reader.recv(4096):
            if other != -1:
                _write(other, came)
            if signal.SIGINT in came:
                self._pass_on()

    def _pass_on(self) -> None:
        if callable(self.handler) and self.handler is not signal.default_int_handler:
            with contextlib.suppress(TimeoutError):
                in_main.call(functools.partial(self.handler, signal.SIGINT, None), _PATIENCE)
        elif self.handler != signal.SIG_IGN:
            self._interrupt()

    def _signal(self, number: Any, handler: Any) -> Any:
        """Replace `signal.signal`."""
        if not self._is_stand_in():
            return _really(number, handler)
        if number == signal.SIGINT:
            before, self.handler = self.handler, handler
            return signal.default_int_handler if before is None else before
        return in_main.call(functools.partial(_really, number, handler), 60.0)


def _write(fd: int, data: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(fd, data)


def _let_c_code_ignore(number: int) -> None:
    """Make a harmless C function the handler of a signal; any thread may call this.

    Not SIG_IGN, which child processes would inherit.
    """
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        libc.signal(number, ctypes.cast(libc.abs, ctypes.c_void_p))
