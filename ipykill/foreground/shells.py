"""The interface to ipykernel 7: decides which thread is the kernel's main shell.

While the main thread runs a cell that has become a job, a *stand-in* is the shell: a thread with
an event loop of its own, which gets the requests of the main shell and runs the cells. When the
job has ended, the main thread waits until no cell runs, finishes what IPython and the kernel
still have to do for its own cell, and is the shell again. A cell of a stand-in can become a job
in the same way.

Parts of ipykernel that are used; `why_not` checks that they exist when ipykill is loaded:

`Kernel.dispatch_shell`
    ipykernel calls it for each request of the main shell, in the shell's thread and with the
    shell's lock (`_main_asyncio_lock`) held. It is wrapped here, to know which requests wait, and
    which one is being handled; nothing else is changed as long as no cell is detached.
`SubshellManager._shell_channel_to_main`
    The pair of sockets on which requests reach the main thread. When a cell is detached, the main
    thread is in the cell and reads nothing, so the thread that sends the requests takes back
    those that wait there.
`SubshellManager.get_shell_channel_to_subshell_socket`, `_send_on_shell_channel`
    Where requests go, and how replies are sent. While a stand-in is the shell, requests go to it.
`ShellChannelThread.parent_thread`
    The thread that has to be the shell. From the first detached cell on, it and the lock are
    replaced by objects that act according to the calling thread, see `shell`.
`Session.send`
    When a cell is detached, its reply and status are sent at once. Those that ipykernel would
    send when the code has ended are held back here.

Threading
---------
`turn` guards everything here. One thread at a time handles a request (`dealing`); a detached cell
does not count. A thread that has to finish a detached cell comes before other requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..base import locks
from ..exceptions import JobError
from ..threads import ServiceThread
from .shell import LockHere, Shell, ThreadHere, shell_here

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop

__all__ = ["Shells", "why_not"]

_PATIENCE = 2.0  # seconds to wait for the thread that gets the requests
_HELD_BACK = ("execute_reply", "status")


class Shells:
    """The main thread and its stand-ins, one of which is the shell.

    Attributes
    ----------
    main
        The main thread.
    holder
        The thread that is the shell.
    dealing : Shell or None
        The thread that handles a request, unless that is a cell which has become a job.
    """

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.channel = kernel.shell_channel_thread
        self.manager = self.channel.manager
        self.main = self.holder = Shell(
            threading.main_thread(), kernel.io_loop, kernel._main_asyncio_lock
        )
        self.all = [self.main]
        self._lock = locks.RLock()
        self.turn = threading.Condition(self._lock)
        self.dealing: Shell | None = None
        self._finishing = 0  # how many threads finish a detached cell, or wait to do so
        self._waiting: dict[int, Any] = {}  # requests received and not yet handled, by id()
        self._moved: dict[int, Any] = {}  # requests that another shell has got as well, by id()
        self._replied: set[str] = set()  # message ids of detached cells whose reply has been sent
        self._on_end: Callable[[], None] = lambda: None
        self.closing = False

    # As long as no cell is detached

    def install(self) -> None:
        """Begin to note which requests are received and handled."""
        self._dispatch = self.kernel.dispatch_shell
        self.kernel.dispatch_shell = self._deal_with
        stream = self.manager._shell_channel_to_main.to_stream
        self._receive = stream._recv_callback
        stream.on_recv(self._note, copy=False)
        self.dealing = self.main  # the cell that loads ipykill

    def uninstall(self) -> bool:
        """Undo `install`, if the main thread is the shell; return whether it is."""
        if self.holder is not self.main:
            return False
        vars(self.kernel).pop("dispatch_shell", None)
        self.channel.parent_thread = self.main.thread
        self.kernel._main_asyncio_lock = self.main.lock
        self.manager._shell_channel_to_main.to_stream.on_recv(self._receive, copy=False)
        return True

    def _note(self, msg: Any) -> Any:
        self._waiting[id(msg)] = msg
        return self._receive(msg)

    async def _deal_with(self, msg: Any, /, subshell_id: Any = None, **how: Any) -> None:
        if subshell_id is not None or (me := shell_here(self.all)) is None:
            await self._dispatch(msg, subshell_id=subshell_id, **how)
        elif how.get("concurrent"):  # a message of a widget, handled while a cell awaits
            self._waiting.pop(id(msg), None)
            if self._moved.pop(id(msg), None) is None:
                await self._dispatch(msg, subshell_id=None, **how)
        elif self.begin(me, msg):
            try:
                await self._dispatch(msg, subshell_id=None, **how)
            finally:
                self.end(me)

    def here(self) -> Shell | None:
        """Return the shell whose thread is calling."""
        return shell_here(self.all)

    def begin(self, me: Shell, msg: Any) -> bool:
        """Note that the shell `me` handles `msg`; return False if another shell has got it."""
        with self._lock:
            if self._finishing:
                self.turn.wait_for(lambda: not self._finishing or me is self.dealing)
            if self._moved.pop(id(msg), None) is not None:
                return False
            self._waiting.pop(id(msg), None)
            self.dealing = me
            return True

    def end(self, me: Shell) -> None:
        """Note that the shell `me` has handled its request."""
        with self._lock:
            if self.dealing is not me:
                return
            finishing = self._finishing
            self.dealing = None
            me.on_interrupt = None
            if me.busy:
                me.busy = False
                self._finishing -= 1
                on_end, self._on_end = self._on_end, lambda: None
                on_end()
            if finishing:
                self.turn.notify_all()

    # Detaching

    def next(self) -> Shell:
        """Return a free shell; make a new one if none is free."""
        free = next(
            (shell for shell in self.all if not shell.busy and shell is not self.dealing), None
        )
        if free is not None:
            return free
        from tornado.ioloop import IOLoop  # in a terminal it may not be installed

        ready: queue.SimpleQueue[tuple[IOLoop, asyncio.Lock]] = queue.SimpleQueue()

        def run() -> None:
            io_loop = IOLoop(make_current=False)
            ready.put((io_loop, asyncio.Lock()))
            io_loop.start()

        thread = ServiceThread(run, f"shell-{len(self.all)}")
        thread.pydev_do_not_trace = thread.is_pydev_daemon_thread = False  # it runs cells
        thread.start()
        shell = Shell(thread, *ready.get())
        self.all.append(shell)
        return shell

    def redirect(self) -> None:
        """Let requests come here from now on, instead of to the socket of the main thread.

        For the thread that detaches the cell, while the main thread is in that cell.

        Raises
        ------
        JobError
            The thread that sends them does not answer.
        """
        if self.redirected:
            return
        self._get_socket = self.manager.get_shell_channel_to_subshell_socket
        done = threading.Event()

        # Runs in the thread that sends requests, and first takes those that wait in the socket.
        def redirect() -> None:
            self.manager.get_shell_channel_to_subshell_socket = self._socket
            socket = self.manager._shell_channel_to_main.to_socket
            while socket.poll(0):
                self.send_multipart(socket.recv_multipart(copy=False))
            done.set()

        self.channel.io_loop.add_callback(redirect)
        if not done.wait(_PATIENCE):
            msg = "the kernel's thread for requests does not answer"
            raise JobError(msg)

    @property
    def redirected(self) -> bool:
        """Whether requests come here."""
        return "get_shell_channel_to_subshell_socket" in vars(self.manager)

    def move(self, after: Shell, context: contextvars.Context) -> None:
        """Make `after` the shell; the cell of the present one, run in `context`, is detached."""
        with self.turn:
            was = self.holder
            was.busy = True
            self._reply(context)
            self.dealing = None
            if after is not self.main:
                after.context, after.before = context.copy(), context
            self._hold(after)
            self.turn.notify_all()

    def _reply(self, context: contextvars.Context) -> None:
        """Send the reply and the status for the cell that ran in `context`."""
        kernel = self.kernel
        parent = context.run(kernel.get_parent, "shell")
        ident = context.run(kernel._get_shell_context_var, kernel._shell_parent_ident)
        content = {
            "status": "ok",
            "execution_count": kernel.execution_count - 1,
            "user_expressions": {},
            "payload": [],
        }
        metadata = kernel.finish_metadata(parent, kernel.init_metadata(parent), content)
        reply = kernel.session.msg("execute_reply", content, parent=parent, metadata=metadata)
        parts = kernel.session.serialize(reply, ident)
        self.channel.io_loop.add_callback(self.manager._send_on_shell_channel, parts)
        kernel._publish_status("idle", "shell", parent=parent)
        if not self._replied:
            self._send = kernel.session.send
            kernel.session.send = self._send_unless_said
        self._replied.add(parent["header"]["msg_id"])

    def _send_unless_said(
        self,
        stream: Any,
        kind: Any,
        content: Any = None,
        parent: Any = None,
        *rest: Any,
        **more: Any,
    ) -> Any:
        if kind in _HELD_BACK and parent:
            header = parent.get("header", parent)
            if header.get("msg_id") in self._replied:
                return self.kernel.session.msg(kind, {"status": "ok"}, parent=parent)
        return self._send(stream, kind, content, parent, *rest, **more)

    def _hold(self, shell: Shell) -> None:
        self.holder = shell
        if shell is self.main:
            vars(self.manager).pop("get_shell_channel_to_subshell_socket", None)
            vars(self.kernel).pop("_cancel_on_sigint", None)
        else:
            self.channel.parent_thread = ThreadHere(self.all)
            self.kernel._main_asyncio_lock = LockHere(self.all)
            self.kernel._cancel_on_sigint = self._cancel_on_interrupt
        moved, self._waiting = self._waiting, {}
        self._moved |= moved
        for msg in moved.values():
            self._give(shell, list(msg))

    def _give(self, shell: Shell, msg: Any) -> None:
        self._waiting[id(msg)] = msg
        shell.loop.call_soon_threadsafe(self._start, shell, msg)

    def _start(self, shell: Shell, msg: Any) -> None:
        # One context for all requests of a shell, as in ipykernel (`_async_in_context`).
        if shell is self.main:
            task = asyncio.ensure_future(self._receive(msg))
        else:
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._main(shell, msg), context=shell.context)
        task.add_done_callback(self._log_error)

    async def _main(self, shell: Shell, msg: Any) -> None:
        if self.holder is shell:
            await self.kernel.shell_main(None, msg)
        else:
            self._moved.pop(id(msg), None)

    def _log_error(self, task: asyncio.Future[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.kernel.log.error("a request of the shell failed", exc_info=error)

    def _socket(self, subshell_id: str | None) -> Any:
        return self if subshell_id is None else self._get_socket(subshell_id)

    @contextlib.contextmanager
    def _cancel_on_interrupt(self, future: asyncio.Future[Any]) -> Iterator[None]:
        """Let an interrupt cancel a cell that awaits in a stand-in, which gets no signal."""
        here = self.here()
        assert here is not None
        here.on_interrupt = lambda: here.loop.call_soon_threadsafe(future.cancel)
        try:
            yield
        finally:
            here.on_interrupt = None

    # This object replaces the socket by which requests reach the shell.

    def send_multipart(self, msg: Any, copy: bool = True) -> None:
        """Give a request to the shell."""
        with self.turn:
            self._give(self.holder, msg)

    def send(self, part: bytes, copy: bool = True) -> None:
        """Give the shell a message of one part."""
        import zmq

        self.send_multipart([zmq.Frame(part)])

    # When the job has ended

    def finish(self, me: Shell, on_end: Callable[[], None]) -> None:
        """Wait until no cell runs; then let `me` handle the rest of the request of its cell.

        If `me` is the main thread, it is the shell again. `on_end` is called when the request is
        handled.
        """
        with self.turn:
            self._finishing += 1
            self.turn.wait_for(lambda: self.dealing is None or self.closing)
            self.dealing = me
            self._on_end = on_end
            if me is self.main and self.holder is not me:
                self.holder.carry_over()
                self._hold(me)

    def close(self) -> None:
        """Let threads that have to finish a cell wait no longer: the kernel ends."""
        with self.turn:
            self.closing = True
            self.turn.notify_all()

    def forget(self, context: contextvars.Context) -> None:
        """Hold back no more messages of the cell that ran in `context`."""
        with self.turn:
            parent = context.run(self.kernel.get_parent, "shell")
            self._replied.discard(parent["header"]["msg_id"])
            if not self._replied:
                vars(self.kernel.session).pop("send", None)


def why_not(kernel: Any) -> str:
    """Return why no other thread can be the shell of this kernel, empty if one can."""
    if kernel is None:
        return "only a Jupyter kernel can let a cell go on in the background"
    channel = getattr(kernel, "shell_channel_thread", None)
    if channel is None or not getattr(kernel, "_supports_kernel_subshells", False):
        return (
            "a running cell can go on in the background with ipykernel 7 and newer; this one has "
            "a single thread for all requests"
        )
    manager = channel.manager
    needed = {
        kernel: "dispatch_shell shell_main get_parent _get_shell_context_var _shell_parent_ident "
        "_main_asyncio_lock io_loop _publish_status session finish_metadata init_metadata",
        channel: "parent_thread io_loop",
        manager: "get_shell_channel_to_subshell_socket _send_on_shell_channel "
        "_shell_channel_to_main",
        manager._shell_channel_to_main: "to_socket to_stream",
        manager._shell_channel_to_main.to_stream: "_recv_callback on_recv",
    }
    for owner, names in needed.items():
        for name in names.split():
            if not hasattr(owner, name):
                return (
                    f"this version of ipykernel is not known to ipykill: it has no "
                    f"{type(owner).__name__}.{name}"
                )
    return ""
