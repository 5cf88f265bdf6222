"""Signals while the main thread runs a job, and the cells another one.

CPython handles signals in the main thread. There an interrupt must not raise anything now, it is
meant for the cell in the foreground, wherever that runs; and what that cell asks of the main thread
(`signal.signal`) has to be done there in its name (`kill.in_main`).

To be heard while the main thread is in C code, which handles no signal, an interrupt is heard as
asyncio hears it: the C handler writes the signal's number to a socket (``set_wakeup_fd``), and a
thread reads it.
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

_PATIENCE = 0.3  # seconds for the main thread to answer
_really = inspect.unwrap(signal.signal)


class Signals:
    """Leads an interrupt to the cell in the foreground, while that is not in the main thread.

    Parameters
    ----------
    interrupt
        Interrupts that cell; called in a thread of its own, or in the main thread.
    is_stand_in
        Whether the calling thread runs the cells of the foreground.

    Threading
    ---------
    `away` is called in any thread, `back` in the main thread.
    """

    def __init__(self, interrupt: Callable[[], object], is_stand_in: Callable[[], bool]) -> None:
        self._interrupt = interrupt
        self._is_stand_in = is_stand_in
        self._away = False
        self._usual: Any = None
        self._ear: socket.socket | None = None
        self._fd = -1  # who was woken before
        self.handler: Any = None  # of SIGINT, which a cell has set

    def away(self) -> None:
        """Begin: the main thread runs a job."""
        if self._away:
            return
        self._away = True
        signal.signal = self._signal  # type: ignore[assignment]
        try:
            in_main.call(self._take, _PATIENCE)
        except TimeoutError:
            # It is in C code. When that returns, the handler that is still there would be called
            # before ours is. Until then an interrupt does nothing at all.
            _let_c_code_ignore(signal.SIGINT)

    def back(self) -> None:
        """End; in the main thread."""
        if not self._away:
            return
        self._away = False
        signal.signal = _really
        in_main.make_calls()
        if signal.getsignal(signal.SIGINT) == self._on_interrupt:
            _really(signal.SIGINT, self._usual)  # else the kernel has set its own
        if self._ear is not None:
            if (fd := signal.set_wakeup_fd(-1)) != self._rope.fileno():
                signal.set_wakeup_fd(fd)  # somebody else's
            elif self._fd != -1:
                signal.set_wakeup_fd(self._fd)
            self._rope.close()  # which ends the thread
            self._ear = None

    def _take(self) -> None:
        # In the main thread, in the handler of a signal.
        if not self._away:
            return
        self._usual = signal.getsignal(signal.SIGINT)
        _really(signal.SIGINT, self._on_interrupt)
        ear, rope = socket.socketpair()
        rope.setblocking(False)
        self._fd = signal.set_wakeup_fd(rope.fileno(), warn_on_full_buffer=False)
        self._ear, self._rope = ear, rope
        ServiceThread(functools.partial(self._listen, ear, self._fd), "interrupts").start()

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._ear is None:
            self._pass_on()

    def _listen(self, ear: socket.socket, other: int) -> None:
        with ear:
            self._hear(ear, other)

    def _hear(self, ear: socket.socket, other: int) -> None:
        while came := ear.recv(4096):
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
        """Stand for `signal.signal`."""
        if not self._is_stand_in():
            return _really(number, handler)
        if number == signal.SIGINT:
            before, self.handler = self.handler, handler
            return before or signal.default_int_handler
        return in_main.call(functools.partial(_really, number, handler), 60.0)


def _write(fd: int, data: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(fd, data)


def _let_c_code_ignore(number: int) -> None:
    """Let a function of C that does nothing be the handler of a signal; any thread may.

    Not SIG_IGN, which the processes that are started would inherit.
    """
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        libc.signal(number, ctypes.cast(libc.abs, ctypes.c_void_p))
