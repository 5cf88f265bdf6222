"""What a Kill may break: each scenario is code to be killed in, and what must hold after.

`body` runs in a job, for ever, and is killed at a random moment. `check` runs when the job is
dead, in a thread that was never killed, and raises `AssertionError` for what was left broken.
"""

import concurrent.futures
import contextlib
import importlib
import io
import logging
import os
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from ipykill.threads import ServiceThread
from tests.laws.harness import HANG
from tests.waiting import wait_for


def is_free(lock, what: str) -> None:
    assert lock.acquire(timeout=HANG), f"{what} is still held"
    lock.release()


def others() -> int:
    """How many threads there are, those of ipykill's own service not counted."""
    return sum(not isinstance(thread, ServiceThread) for thread in threading.enumerate())


def children() -> list[str]:
    """The child processes of this process, zombies too."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the thread has ended
            found += (task / "children").read_text().split()
    return found


def assert_no_child_since(before: list[str]) -> None:
    """Assert that there are no children but those there were `before`, of other tests perhaps."""
    left = set(children()) - set(before)
    assert not left, f"child processes are left: {list(map(_status, left))}"


def _status(pid: str) -> str:
    """What a process is and does, in the words of `/proc`."""
    try:
        return Path("/proc", pid, "stat").read_text()[:60]
    except OSError:
        return f"{pid}, which has gone meanwhile"


class Scenario:
    """One scenario, made anew for each kill, in the main thread."""

    def setup(self) -> None:
        """Prepare what `body` uses."""

    def body(self) -> None:
        """Do once what is repeated for ever."""
        raise NotImplementedError

    def check(self) -> None:
        """Assert that nothing is broken; the job is dead."""
        raise NotImplementedError

    def meanwhile(self) -> None:
        """Use the same things in another thread, while the job runs; again and again."""

    def run(self) -> None:
        while True:
            self.body()

    @contextlib.contextmanager
    def company(self, patience: float = HANG) -> Iterator[None]:
        """Within, another thread does `meanwhile`, if the scenario has one."""
        over = False

        def again() -> None:
            while not over:
                self.meanwhile()

        peer = threading.Thread(target=again, daemon=True)
        if type(self).meanwhile is not Scenario.meanwhile:
            peer.start()
        try:
            yield
        finally:
            over = True
            if peer.ident is not None:
                peer.join(patience)
                assert not peer.is_alive(), "another thread hangs"


def random_moment(rng: random.Random) -> None:
    """Wait, asleep or busy, for up to 4 ms; most often for much less."""
    moment = time.perf_counter() + rng.random() ** 2 * 0.004
    if rng.random() < 0.5:
        time.sleep(max(moment - time.perf_counter(), 0))
    while time.perf_counter() < moment:
        pass


class WithLock(Scenario):
    def setup(self) -> None:
        self.lock = threading.Lock()
        self.n = 0

    def body(self) -> None:
        with self.lock:
            self.n += 1

    def check(self) -> None:
        is_free(self.lock, "the lock")


class WithContendedLock(WithLock):
    def meanwhile(self) -> None:
        with self.lock:
            self.n -= 1


class WithRLock(WithLock):
    def setup(self) -> None:
        self.lock = threading.RLock()
        self.n = 0

    def body(self) -> None:
        with self.lock:
            with self.lock:
                self.n += 1

    def meanwhile(self) -> None:
        with self.lock:
            self.n -= 1


class AcquireTry(WithLock):
    def body(self) -> None:
        self.lock.acquire()
        try:
            self.n += 1
        finally:
            self.lock.release()


class ContendedAcquireTry(AcquireTry):
    def meanwhile(self) -> None:
        with self.lock:
            self.n -= 1


class BlockedAcquireTry(AcquireTry):
    """Killed while it waits for a lock that is released at about the same moment."""

    def meanwhile(self) -> None:
        with self.lock:
            for _ in range(2000):
                self.n -= 1


class WithLockAroundALoop(WithLock):
    def body(self) -> None:
        with self.lock:
            for _ in range(20):
                self.n += 1
                if self.n % 7:
                    continue
                self.n += 1


class WithLockAroundConditions(WithLock):
    """What ends with a jump back if something is so: CPython 3.12 forgets its handler."""

    def body(self) -> None:
        with self.lock:
            for _ in range(20):
                [number for number in range(20) if number < 0]
                while self.n < 0:
                    pass
                for number in range(20):
                    if number < 0:
                        self.n += 1


class ContextManagerFunction(WithLock):
    @contextlib.contextmanager
    def held(self):
        self.lock.acquire()
        try:
            yield
        finally:
            self.lock.release()

    def body(self) -> None:
        with self.held():
            self.n += 1


class ContextManagerClass(WithLock):
    def setup(self) -> None:
        super().setup()
        self.entered = self.exited = 0

    def __enter__(self) -> None:
        self.lock.acquire()
        self.entered += 1

    def __exit__(self, *_: object) -> None:
        self.exited += 1
        self.lock.release()

    def body(self) -> None:
        with self:
            self.n += 1

    def check(self) -> None:
        super().check()
        assert self.entered == self.exited


class ContextManagerOfOtherNames(WithLock):
    """What a ``with`` calls need not be called ``__enter__``."""

    def take(self):
        self.lock.acquire()
        self.n += 1

    def drop(self, *error):
        self.n += 1
        self.lock.release()

    class Held:
        def __init__(self, scenario):
            self.take, self.drop = scenario.take, scenario.drop

        def enter(self):
            self.take()
            return self

        def leave(self, *error):
            len(error)
            self.drop()

        __enter__, __exit__ = enter, leave

    def body(self) -> None:
        with self.Held(self):
            self.n += 1


class ExitStack(ContextManagerClass):
    def body(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self)
            stack.callback(int)
            self.n += 1


class Finally(Scenario):
    """Nested finally blocks run, completely and once."""

    def setup(self) -> None:
        self.began = self.inner = self.outer = 0

    def body(self) -> None:
        for _ in range(3):
            self.began += 1
            try:
                try:
                    len(str(self.began))
                finally:
                    for _ in range(3):
                        self.inner += 1
            finally:
                self.outer += 1
                self.outer += 1
                self.outer += 1

    def check(self) -> None:
        # The beginning itself may be the last thing that is done.
        assert self.inner == self.outer
        assert self.outer % 3 == 0
        assert self.began * 3 - self.inner in (0, 3)


class FinallyThatGoesOn(WithLock):
    """A finally block is not over when it has caught an error of its own."""

    def body(self) -> None:
        self.lock.acquire()
        try:
            self.n += 1
        finally:
            for number in range(3):
                try:
                    if number:
                        raise OSError
                except OSError:
                    pass
            for _ in range(20):
                self.n += 1
            self.lock.release()


class Rollback(Scenario):
    def setup(self) -> None:
        self.account = [100, 0]

    def body(self) -> None:
        before = list(self.account)
        try:
            for _ in range(5):
                self.account[0] -= 1
                self.account[1] += 1
            raise ValueError
        except BaseException as error:
            for i, amount in enumerate(before):
                self.account[i] = amount
            if not isinstance(error, ValueError):
                raise

    def check(self) -> None:
        assert self.account == [100, 0]


class Conditions(Scenario):
    def setup(self) -> None:
        self.condition = threading.Condition()

    def body(self) -> None:
        with self.condition:
            self.condition.notify()
            self.condition.wait(0.0001)

    def meanwhile(self) -> None:
        with self.condition:
            self.condition.notify_all()

    def check(self) -> None:
        is_free(self.condition, "the condition")
        assert not self.condition._waiters


class Events(Scenario):
    def setup(self) -> None:
        self.event = threading.Event()

    def body(self) -> None:
        self.event.wait(0.0001)
        self.event.set()
        self.event.wait()
        self.event.clear()

    def check(self) -> None:
        is_free(self.event._cond, "the event's lock")
        assert not self.event._cond._waiters


class Semaphores(Scenario):
    def setup(self) -> None:
        self.semaphore = threading.Semaphore(2)

    def body(self) -> None:
        with self.semaphore:
            with self.semaphore:
                pass

    def check(self) -> None:
        assert self.semaphore._value == 2, f"the semaphore is at {self.semaphore._value}"
        is_free(self.semaphore._cond, "the semaphore's lock")


class Queues(Scenario):
    def setup(self) -> None:
        self.queue = queue.Queue()

    def body(self) -> None:
        self.queue.put(1)
        self.queue.get()
        self.queue.task_done()

    def meanwhile(self) -> None:
        self.queue.qsize()

    def check(self) -> None:
        is_free(self.queue.mutex, "the queue's lock")
        self.queue.put(2)
        assert self.queue.get(timeout=HANG)


class SimpleQueues(Scenario):
    def setup(self) -> None:
        self.queue = queue.SimpleQueue()

    def body(self) -> None:
        self.queue.put(1)
        self.queue.get()

    def check(self) -> None:
        self.queue.put(2)
        assert self.queue.get(timeout=HANG)


class Logging(Scenario):
    def setup(self) -> None:
        self.logger = logging.getLogger("ipykill.fuzz")
        self.logger.propagate = False
        self.handler = logging.StreamHandler(io.StringIO())
        self.logger.handlers = [self.handler]
        self.logger.setLevel(logging.INFO)

    def body(self) -> None:
        self.logger.info("a line with %s", 1)

    def meanwhile(self) -> None:
        self.logger.info("another line")

    def check(self) -> None:
        is_free(self.handler.lock, "the handler's lock")
        is_free(logging._lock, "the lock of logging")


class RedirectStdout(Scenario):
    def setup(self) -> None:
        self.stdout = sys.stdout

    def body(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            len("some work")

    def check(self) -> None:
        found, sys.stdout = sys.stdout, self.stdout
        assert found is self.stdout, "stdout is still redirected"


class CatchWarnings(Scenario):
    def setup(self) -> None:
        self.before = (warnings.filters, warnings.showwarning)

    def body(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")

    def check(self) -> None:
        found = (warnings.filters, warnings.showwarning)
        warnings.filters, warnings.showwarning = self.before
        assert found == self.before, "the warning filters are not put back"


class TemporaryDirectories(Scenario):
    def setup(self) -> None:
        self.base = tempfile.mkdtemp()

    def body(self) -> None:
        with tempfile.TemporaryDirectory(dir=self.base) as folder:
            Path(folder, "file").touch()

    def check(self) -> None:
        assert os.listdir(self.base) == []
        os.rmdir(self.base)


class Files(Scenario):
    """No descriptor is left open, nor closed by the finalizer (which would warn)."""

    def setup(self) -> None:
        self.count = len(os.listdir("/proc/self/fd"))

    def body(self) -> None:
        with open(os.devnull) as file:
            file.read()
        read, write = os.pipe()
        try:
            os.set_blocking(read, False)
        finally:
            os.close(read)
            os.close(write)

    def check(self) -> None:
        # Fewer, when something of an earlier test is freed meanwhile. More for a moment, when a
        # thread of an earlier test opens a file; one that the body has left open stays open.
        wait_for(lambda: len(os.listdir("/proc/self/fd")) <= self.count, "the files to be closed")


class Imports(Scenario):
    """No import lock is held and no half-imported module left."""

    names = ("colorsys", "sched", "netrc", "this_is_no_module", "rlcompleter", "tabnanny")

    def body(self) -> None:
        for name in self.names:
            sys.modules.pop(name, None)
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
            try:
                import colorsys

                colorsys.rgb_to_hsv
            except ImportError:
                pass

    def check(self) -> None:
        import _imp

        assert not _imp.lock_held()
        locks = sys.modules["_frozen_importlib"]._module_locks
        held = [
            name for name, ref in list(locks.items()) if (lock := ref()) is not None and lock.owner
        ]
        assert not held, f"import locks are held: {held}"
        for name in self.names:
            module = sys.modules.get(name)
            assert module is None or not getattr(module.__spec__, "_initializing", False)


class Subprocesses(Scenario):
    def setup(self) -> None:
        self.others = children()

    def body(self) -> None:
        subprocess.run(["sleep", "0.002"], check=True)

    def check(self) -> None:
        assert_no_child_since(self.others)


class WaitingSubprocesses(Subprocesses):
    def body(self) -> None:
        with subprocess.Popen(["sleep", "1000"], stdout=subprocess.PIPE) as process:
            process.communicate()


class Executors(Scenario):
    def setup(self) -> None:
        self.threads = others()

    def body(self) -> None:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(str, range(3)))
            pool.submit(len, "x").result()

    def check(self) -> None:
        wait_for(lambda: others() <= self.threads, "the pool's threads to end", HANG)


class Threads(Scenario):
    def setup(self) -> None:
        self.threads = others()

    def body(self) -> None:
        thread = threading.Thread(target=len, args=("x",))
        thread.start()
        thread.join()

    def check(self) -> None:
        assert others() <= self.threads


class Futures(Scenario):
    def setup(self) -> None:
        self.future = concurrent.futures.Future()

    def body(self) -> None:
        with contextlib.suppress(TimeoutError):
            self.future.result(0.0001)

    def check(self) -> None:
        is_free(self.future._condition, "the future's lock")
        assert not self.future._condition._waiters


class SharedNumber(Scenario):
    """Two statements that belong together, in a lock, with a callback from C in the middle."""

    def setup(self) -> None:
        self.lock = threading.Lock()
        self.a = self.b = 0

    def key(self, value: int) -> int:
        return -value

    def body(self) -> None:
        with self.lock:
            try:
                sorted([3, 1, 2], key=self.key)
            finally:
                self.a += 1
                self.b += 1

    def check(self) -> None:
        is_free(self.lock, "the lock")
        assert self.a == self.b


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in list(globals().values())
    if isinstance(scenario, type) and issubclass(scenario, Scenario) and scenario is not Scenario
}
