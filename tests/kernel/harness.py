"""Real kernels, driven as a front end drives them: over jupyter_client's channels."""

import contextlib
import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty
from typing import Self

from jupyter_client import BlockingKernelClient, KernelManager

from tests.kernel.nursery import ForkProvisioner
from tests.kernel.page import Page
from tests.waiting import HANG_GUARD, settle, wait_for

Message = dict
"""A Jupyter message: `header`, `parent_header`, `content`, ..."""


def plain(text: str) -> str:
    """`text` without terminal colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


class Cell:
    """One execute request and all that comes back for it, however late.

    Outputs are those whose parent is this request, so what a background job prints after its cell
    has ended is still found here, and nothing else is.
    """

    def __init__(self, kernel: "Kernel", msg_id: str) -> None:
        self._kernel = kernel
        self._msg_id = msg_id

    @property
    def messages(self) -> list[Message]:
        """The iopub messages of this cell so far, in order."""
        return list(self._kernel.iopub[self._msg_id])

    def contents(self, msg_type: str) -> list[dict]:
        return [m["content"] for m in self.messages if m["msg_type"] == msg_type]

    def text(self, stream: str = "stdout") -> str:
        return "".join(c["text"] for c in self.contents("stream") if c["name"] == stream)

    @property
    def displays(self) -> list[dict]:
        """The contents of `display()` calls, each with its newest `data`, as a front end shows."""
        shown = self.contents("display_data")
        return [c | self._kernel.updates.get(_display_id(c), {}) for c in shown]

    @property
    def result(self) -> str | None:
        """The plain text after `Out[n]:`."""
        results = self.contents("execute_result")
        return results[0]["data"]["text/plain"] if results else None

    @property
    def number(self) -> int:
        """The number in its prompt."""
        return self.contents("execute_input")[0]["execution_count"]

    @property
    def errors(self) -> list[dict]:
        """`ename`, `evalue` and `traceback` of each error shown in the cell."""
        return self.contents("error")

    @property
    def traceback(self) -> str:
        """All tracebacks shown in the cell, without colours."""
        return plain("\n".join("\n".join(error["traceback"]) for error in self.errors))

    @property
    def ended(self) -> bool:
        """The kernel has said that it is done with the request; never waits."""
        states = [content["execution_state"] for content in self.contents("status")]
        return "idle" in states

    @property
    def reply(self) -> dict:
        """The content of the execute reply; waits for it."""
        return self._kernel.reply("shell", self._msg_id)["content"]

    @property
    def status(self) -> str:
        """`"ok"` or `"error"`: how the cell itself ended, not its jobs. Waits for the end."""
        return self.reply["status"]

    @property
    def page(self) -> list[str]:
        """What a person sees below the cell now, in order: texts, and ``card``."""
        return self._kernel.page.below(self._msg_id)

    def wait(self, timeout: float = HANG_GUARD) -> Self:
        """Until the cell itself has ended: its reply and its idle status are here."""
        self._kernel.reply("shell", self._msg_id, timeout)
        wait_for(lambda: self.ended, "the idle status of a cell", timeout)
        return self

    def wait_output(
        self, expected: str | Callable[["Cell"], object], timeout: float = HANG_GUARD
    ) -> Self:
        """Until stdout contains `expected`, or until `expected(cell)` is true."""
        try:
            if isinstance(expected, str):
                wait_for(lambda: expected in self.text(), f"{expected!r} in stdout", timeout)
            else:
                wait_for(lambda: expected(self), "an output that fits", timeout)
        except AssertionError as error:
            error.add_note(f"the cell has {self!r}")
            raise
        return self

    def __repr__(self) -> str:
        outputs = [m["content"] for m in self.messages if m["msg_type"] not in _NO_OUTPUT]
        return f"<Cell {outputs}>"


class PortTaken(Exception):
    """The kernel could not begin, for another process has taken a port that was free."""


class Kernel:
    """A kernel process and its client.

    Threading: the pump thread alone reads iopub and appends to `iopub`; the shell and control
    sockets belong to the thread of the test.
    """

    def __init__(self, pythonpath: str, folder: Path) -> None:
        """Start a kernel that runs in `folder` and return once it answers."""
        # jupyter_client chooses ports that are free, and some other process may be quicker.
        for _ in range(2):
            with contextlib.suppress(PortTaken):
                self._start(pythonpath, folder)
                return
        self._start(pythonpath, folder)

    def _start(self, pythonpath: str, folder: Path) -> None:
        self._log = (folder / "kernel.log").open("w+")
        # jupyter_client sends SIGTERM after half of this time, by default 2.5 s. On a busy machine
        # that would end kernels that are about to end by themselves.
        self._manager = KernelManager(
            connection_file=str(folder / "connection.json"), shutdown_wait_time=2 * HANG_GUARD
        )
        if hasattr(os, "pidfd_open"):
            self._manager.provisioner = ForkProvisioner(
                kernel_spec=self._manager.kernel_spec, parent=self._manager
            )
        environment = {"PYTHONPATH": pythonpath, "IPYTHONDIR": str(folder / "ipython")}
        self._manager.start_kernel(
            env=os.environ | environment, cwd=str(folder), stdout=self._log, stderr=self._log
        )
        self._connect(self._manager.client())

    def _connect(self, client: BlockingKernelClient) -> None:
        self.iopub: defaultdict[str, list[Message]] = defaultdict(list)
        """Messages by the id of the request that caused them."""
        self.published: list[Message] = []
        """All of them, in order."""
        self.updates: dict[str, dict] = {}
        """The newest data of each display that was updated, by `display_id`."""
        self._replies: dict[str, Message] = {}
        self._client = client
        self._client.start_channels(hb=False)
        self._closing = threading.Event()
        self._pump = threading.Thread(target=self._read_iopub, name="iopub")
        self._pump.start()
        try:
            self._wait_until_connected()
        except BaseException:
            self.close()
            raise

    @property
    def log(self) -> str:
        """What the process itself wrote, past all cells."""
        return Path(self._log.name).read_text()

    @property
    def pid(self) -> int:
        return self._manager.provisioner.pid

    @property
    def alive(self) -> bool:
        return self._manager.is_alive()

    @property
    def page(self) -> Page:
        """What a person sees now."""
        return Page(self.published)

    def cell(self, code: str) -> Cell:
        """Send a cell; wait for nothing."""
        return Cell(self, self._client.execute(code))

    def run_in_background(self, code: str) -> Cell:
        """What the JupyterLab extension sends for "Run Cell in Background"."""
        session, channel = self._client.session, self._client.shell_channel
        content = {"code": f"%%bg\n{code}", "stop_on_error": True}
        message = session.msg("execute_request", content, metadata={"ipykill": "%%bg"})
        channel.send(message)
        return Cell(self, message["header"]["msg_id"]).wait()

    def run(self, code: str, timeout: float = HANG_GUARD) -> Cell:
        """Send a cell and wait until it has ended."""
        return self.cell(code).wait(timeout)

    def idle(self, timeout: float = HANG_GUARD) -> None:
        """Until every request sent so far has been dealt with."""
        Cell(self, self._client.kernel_info()).wait(timeout)

    def complete(self, code: str, cursor: int | None = None) -> list[str]:
        """What Tab offers at `cursor`, the end of `code` by default."""
        return self.reply("shell", self._client.complete(code, cursor))["content"]["matches"]

    def inspect(self, code: str, cursor: int | None = None) -> str:
        """The plain text of Shift-Tab; empty when there is none."""
        content = self.reply("shell", self._client.inspect(code, cursor))["content"]
        return plain(content["data"].get("text/plain", ""))

    def control(self, msg_type: str, content: dict, timeout: float = HANG_GUARD) -> dict:
        """Send a request on the control channel, which works while a cell runs; its reply."""
        message = self._client.session.msg(msg_type, content)
        self._client.control_channel.send(message)
        return self.reply("control", message["header"]["msg_id"], timeout)["content"]

    def press(self, widget: str, **data: object) -> None:
        """What a front end sends for a widget, by its variable: a click, or a new state."""
        number = str(self.run(f"{widget}.model_id").result).strip("'")
        event = {"method": "update", "state": data, "buffer_paths": []}
        click = {"method": "custom", "content": {"event": "click"}}
        content = {"comm_id": number, "data": event if data else click}
        message = self._client.session.msg("comm_msg", content)
        self._client.shell_channel.send(message)

    def asked(self, timeout: float = HANG_GUARD) -> str:
        """The prompt of the next question that the kernel asks; waits for it."""
        return self._client.get_stdin_msg(timeout=timeout)["content"]["prompt"]

    def answer(self, text: str) -> None:
        """Answer a question."""
        self._client.input(text)

    def interrupt(self) -> None:
        """What the square button does: SIGINT to the process group; when the cell has settled."""
        settle(self.pid)
        self._manager.interrupt_kernel()

    def restart(self) -> None:
        self._manager.restart_kernel()
        self._wait_until_connected()

    def shutdown(self) -> float:
        """Ask the kernel to end, and return the seconds until its process was gone."""
        start = time.monotonic()
        self._manager.shutdown_kernel()
        return time.monotonic() - start

    def close(self) -> None:
        """End the kernel at once, if it still lives."""
        self._disconnect()
        if self.alive:
            self._manager.shutdown_kernel(now=True)
        self._log.close()

    def _disconnect(self) -> None:
        self._closing.set()
        self._pump.join()
        self._client.stop_channels()

    @contextlib.contextmanager
    def second_client(self) -> Iterator["Kernel"]:
        """Another front end, which is connected to the same kernel."""
        client = BlockingKernelClient(connection_file=self._manager.connection_file)
        client.load_connection_file()
        other = object.__new__(Kernel)
        other._manager, other._log = self._manager, self._log
        other._connect(client)
        try:
            yield other
        finally:
            other._disconnect()

    def reply(self, channel: str, msg_id: str, timeout: float = HANG_GUARD) -> Message:
        """The reply to `msg_id`. Replies to other requests that come first are kept for later."""
        socket = getattr(self._client, f"{channel}_channel")
        deadline = time.monotonic() + timeout
        while msg_id not in self._replies:
            try:
                message = socket.get_msg(timeout=0.2)
            except Empty:
                if not self.alive:
                    raise AssertionError(f"the kernel died:\n{self.log}") from None
                if time.monotonic() > deadline:
                    what = f"waited {timeout:g} s in vain for a reply on the {channel} channel"
                    raise AssertionError(what) from None
            else:
                self._replies[message["parent_header"]["msg_id"]] = message
        return self._replies[msg_id]

    def _wait_until_connected(self) -> None:
        """Until shell and iopub both work.

        What a kernel publishes before our subscription has reached it is lost, so ask until an
        answer has come on both channels.
        """

        def answers() -> bool:
            cell = Cell(self, self._client.kernel_info())
            try:
                cell.wait(timeout=0.5)
            except AssertionError:
                return not self.alive
            return True

        wait_for(answers, "a kernel that answers")
        if not self.alive and "Address already in use" in self.log:
            raise PortTaken(self.log)
        assert self.alive, f"the kernel died:\n{self.log}"

    def _read_iopub(self) -> None:
        while not self._closing.is_set():
            try:
                message = self._client.iopub_channel.get_msg(timeout=0.05)
            except Empty:
                continue
            if message["msg_type"] == "update_display_data":
                content = message["content"]
                self.updates[_display_id(content)] = {"data": content["data"]}
            self.published.append(message)
            self.iopub[message["parent_header"].get("msg_id", "")].append(message)


_NO_OUTPUT = {"status", "execute_input"}


def _display_id(content: dict) -> str:
    return content.get("transient", {}).get("display_id", "")
