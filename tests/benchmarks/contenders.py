"""ipykill and its peers: each starts a function in a thread, and kills it.

Each peer is used at its best: with all that it can patch, asked again every 0.1 s until the
thread is dead, with the exception that it recommends. An import of a peer may change the
process, so each runs in one of its own (`tests.benchmarks.child`).
"""

import contextlib
import ctypes
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.overlays import Overlay

PEERS = Overlay(
    "peers",
    (
        ("ipython-bg", "0.2"),
        ("kthread", "0.2.3"),
        ("stopit", "1.1.2"),
        ("func_timeout", "4.3.5"),
        ("interruptible-threading", "0.0.1"),
        ("setuptools", "80.9.0"),  # stopit imports pkg_resources
    ),
)
AGAIN = 0.1  # seconds after which a peer is asked again


def default_cache() -> Path:
    """Where the peers stay installed from one run to the next."""
    return Path(tempfile.gettempdir(), "ipykill-benchmarks")


class Ipykill:
    def __init__(self) -> None:
        import ipykill

        self._jobs = ipykill.jobs

    def start(self, fn: Callable[[], object]) -> None:
        self._job = self._jobs.submit(fn)
        self.thread: threading.Thread = self._job.thread

    def kill(self, timeout: float) -> bool:
        """Return whether it is dead within `timeout` seconds."""
        return self._job.kill(timeout)


class Recipe:
    """The well-known recipe: ``PyThreadState_SetAsyncExc``, again and again."""

    thread: threading.Thread

    def start(self, fn: Callable[[], object]) -> None:
        self.thread = threading.Thread(target=fn, daemon=True)
        self.thread.start()

    def ask(self) -> None:
        ident = ctypes.c_ulong(self.thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))

    def kill(self, timeout: float) -> bool:
        """Return whether it is dead within `timeout` seconds."""
        end = time.monotonic() + timeout
        while self.thread.is_alive() and (left := end - time.monotonic()) > 0:
            with contextlib.suppress(ValueError, SystemError, threading.ThreadError):
                self.ask()
            self.thread.join(min(AGAIN, left))
        return not self.thread.is_alive()


class IpythonBg(Recipe):
    def __init__(self) -> None:
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        config = Config()
        config.HistoryManager.enabled = False
        self._shell = InteractiveShell.instance(config=config)
        self._shell.extension_manager.load_extension("ipython_bg")

    def start(self, fn: Callable[[], object]) -> None:
        import ipython_bg

        self._shell.user_ns["fn"] = fn
        self._shell.run_line_magic("bg", "fn()")
        self._number = len(ipython_bg.jobslist)
        self.thread = ipython_bg.jobslist[-1][2]

    def ask(self) -> None:
        self._shell.run_line_magic("kill", str(self._number))


class Kthread(Recipe):
    def start(self, fn: Callable[[], object]) -> None:
        from kthread import KThread

        self.thread = KThread(target=fn, daemon=True)
        self.thread.start()

    def ask(self) -> None:
        self.thread.kill()


class Stopit(Recipe):
    def ask(self) -> None:
        import stopit

        stopit.async_raise(self.thread.ident, stopit.TimeoutException)


class FuncTimeout(Recipe):
    _reapers: tuple[threading.Thread, ...] = ()

    def start(self, fn: Callable[[], object]) -> None:
        from func_timeout.StoppableThread import StoppableThread

        self.thread = StoppableThread(target=fn, daemon=True)
        self.thread.start()
        self._asked = False

    def ask(self) -> None:
        if not self._asked:  # it asks again by itself
            from func_timeout.exceptions import FunctionTimedOut

            class TimedOut(FunctionTimedOut):
                def __init__(self) -> None:
                    super().__init__("", 0, None, (), {})

            self._asked = True
            self.thread.stop(TimedOut, raiseEvery=AGAIN)

    def kill(self, timeout: float) -> bool:
        dead = super().kill(timeout)
        for thread in threading.enumerate():  # its own helper is no leftover of the job
            if dead and type(thread).__name__ == "JoinThread":
                thread.join(1)
        return dead


class Interruptible(Recipe):
    def __init__(self) -> None:
        from interruptible_threading import InterruptibleThread

        self._thread_class = InterruptibleThread
        InterruptibleThread.install_patches(monkeypatch_socket=True)

    def start(self, fn: Callable[[], object]) -> None:
        self.thread = self._thread_class(target=fn, daemon=True)
        self.thread.start()

    def ask(self) -> None:
        self.thread.interrupt(recursive=True)


CONTENDERS: dict[str, type[Ipykill | Recipe]] = {
    "ipykill": Ipykill,
    "ipython-bg": IpythonBg,
    "kthread": Kthread,
    "stopit": Stopit,
    "func_timeout": FuncTimeout,
    "interruptible-threading": Interruptible,
    "plain recipe": Recipe,
}
