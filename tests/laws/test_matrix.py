"""Every place where a job may run or wait, and be killed."""

import asyncio
import concurrent.futures
import functools
import hashlib
import http.client
import multiprocessing
import os
import queue
import select
import selectors
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import ipykill
from ipykill.kill import pursuit
from tests.laws.harness import HANG, assert_dies, kill
from tests.laws.scenarios import assert_no_child_since, children
from tests.waiting import wait_for

early_sleep = time.sleep
CASES: dict[str, tuple[Callable[[], object], bool]] = {}


def running(fn):
    CASES[fn.__name__] = fn, False
    return fn


def waiting(fn):
    CASES[fn.__name__] = fn, True
    return fn


# Running code


@running
def loop() -> None:
    while True:
        pass


@running
def nested_loops() -> None:
    while True:
        for i in range(100):
            for j in range(100):
                i + j


@running
def comprehension() -> None:
    [x * 2 for x in iter(int, 1)]


@running
def generator_expression() -> None:
    sum(x for x in iter(int, 1))


@running
def recursion() -> None:
    def down(n: int) -> int:
        return down(n - 1) + 1 if n else 0

    while True:
        down(200)


@running
def swallowing() -> None:
    while True:
        try:
            sum(range(10))
        except BaseException:
            pass


@running
def swallowing_bare_and_nested() -> None:
    while True:
        try:
            try:
                try:
                    sum(range(10))
                except:  # noqa: E722
                    pass
            except:  # noqa: E722
                pass
        except:  # noqa: E722
            pass


@running
def library() -> None:
    import statistics

    statistics.mean(float(x) for x in iter(int, 1))


@running
def library_alone() -> None:
    import itertools
    import statistics

    statistics.mean(itertools.count())


@running
def no_source() -> None:
    exec(compile("while True:\n  x = 1", "<no source>", "exec"), {})


@running
def sort_key() -> None:
    while True:
        sorted(range(100), key=lambda x: -x)


@running
def short_c_calls() -> None:
    while True:
        x = sorted(range(10_000))
        y = x[::-1]
        del y


ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select sum(i) from n"


@running
def sqlite_query() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(ENDLESS)


@running
def sqlite_query_of_a_shared_connection() -> None:
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        list(connection.execute(ENDLESS))


class Database:
    def __init__(self) -> None:
        self.cursor = sqlite3.connect(":memory:", check_same_thread=False).cursor()

    def query(self) -> None:
        self.cursor.execute(ENDLESS)


@running
def sqlite_query_of_a_shared_cursor() -> None:
    Database().query()


# Waiting


@waiting
def sleep() -> None:
    time.sleep(1000)


@waiting
def captured_sleep() -> None:
    early_sleep(1000)


@waiting
def swallowed_sleep() -> None:
    while True:
        try:
            time.sleep(1000)
        except BaseException:
            pass


@waiting
def lock() -> None:
    held = threading.Lock()
    held.acquire()
    held.acquire()


@waiting
def with_lock() -> None:
    held = threading.Lock()
    held.acquire()
    with held:
        pass


@waiting
def with_rlock_of_another_thread() -> None:
    held = threading.RLock()
    thread = threading.Thread(target=held.acquire)
    thread.start()
    thread.join()
    with held:
        pass


@waiting
def semaphore() -> None:
    threading.Semaphore(0).acquire()


@waiting
def with_condition() -> None:
    held = threading.Lock()
    held.acquire()
    with threading.Condition(held):
        pass


@waiting
def with_contextmanager() -> None:
    @contextmanager
    def held(lock: threading.Lock) -> Iterator[None]:
        lock.acquire()
        try:
            yield
        finally:
            lock.release()

    lock = threading.Lock()
    lock.acquire()
    with held(lock):
        pass


@waiting
def event() -> None:
    threading.Event().wait()


@waiting
def event_with_timeout() -> None:
    threading.Event().wait(1000)


@waiting
def condition() -> None:
    condition = threading.Condition()
    with condition:
        condition.wait()


@waiting
def barrier() -> None:
    threading.Barrier(2).wait()


@waiting
def queue_get() -> None:
    queue.Queue().get()


@waiting
def queue_put() -> None:
    full = queue.Queue(1)
    full.put(1)
    full.put(1)


@waiting
def simple_queue() -> None:
    queue.SimpleQueue().get()


@waiting
def join_own_child() -> None:
    thread = threading.Thread(target=time.sleep, args=(1000,))
    thread.start()
    thread.join()


@waiting
def future() -> None:
    concurrent.futures.Future().result()


@waiting
def with_executor() -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            pool.submit(time.sleep, 1000)


@waiting
def executor_map() -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(time.sleep, [1000] * 5))


@waiting
def recv() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.recv(1)


@waiting
def recv_with_timeout() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.settimeout(1000)
        left.recv(1)


@waiting
def accept() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.accept()


@contextmanager
def silent_server() -> Iterator[int]:
    """A server that accepts (the system does) and never answers; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@waiting
def connect() -> None:
    # A full backlog: the system leaves further connections waiting.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        clients = [socket.socket() for _ in range(8)]
        for client in clients[:-1]:
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        clients[-1].connect(server.getsockname())


@waiting
def tls_handshake() -> None:
    with silent_server() as port, socket.create_connection(("127.0.0.1", port)) as raw:
        ssl.create_default_context().wrap_socket(raw, server_hostname="localhost")


@waiting
def urllib_request() -> None:
    with silent_server() as port:
        urllib.request.urlopen(f"http://127.0.0.1:{port}")


@waiting
def http_client() -> None:
    with silent_server() as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/")
        connection.getresponse()


@waiting
def requests() -> None:
    with silent_server() as port:
        import requests

        requests.get(f"http://127.0.0.1:{port}")


@waiting
def select_() -> None:
    left, right = socket.socketpair()
    with left, right:
        select.select([left], [], [])


@waiting
def selector() -> None:
    left, right = socket.socketpair()
    with left, right, selectors.DefaultSelector() as selector:
        selector.register(left, selectors.EVENT_READ)
        selector.select()


@waiting
def asyncio_sleep() -> None:
    asyncio.run(asyncio.sleep(1000))


@waiting
def asyncio_to_thread() -> None:
    async def main() -> None:
        await asyncio.to_thread(time.sleep, 1000)

    asyncio.run(main())


@running
def asyncio_busy() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    asyncio.run(main())


@waiting
def pipe() -> None:
    read, write = os.pipe()
    try:
        os.read(read, 1)
    finally:
        os.close(read)
        os.close(write)


@waiting
def pipe_as_file() -> None:
    read, write = os.pipe()
    with open(read), open(write, "w"):
        with open(read, closefd=False) as file:
            file.readline()


@waiting
def fifo() -> None:
    path = Path(os.environ["PYTEST_TMP"], f"fifo{threading.get_ident()}")
    os.mkfifo(path)
    with open(path):
        pass


@waiting
def subprocess_run() -> None:
    subprocess.run(["sleep", "1000"])


@waiting
def subprocess_check_output() -> None:
    subprocess.check_output(["sleep", "1000"])


@waiting
def subprocess_wait() -> None:
    subprocess.Popen(["sleep", "1000"]).wait()


@waiting
def subprocess_wait_with_timeout() -> None:
    subprocess.Popen(["sleep", "1000"]).wait(1000)


@waiting
def subprocess_communicate() -> None:
    pipe = subprocess.PIPE
    subprocess.Popen(["sleep", "1000"], stdout=pipe, stderr=pipe).communicate()


@waiting
def waitpid() -> None:
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            os.waitpid(process.pid, 0)
        finally:
            process.kill()


@waiting
def multiprocessing_pool() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.map(time.sleep, [1000])


@waiting
def ipykill_sleep() -> None:
    ipykill.sleep(1000)


@pytest.mark.parametrize("name", CASES)
def test_it_dies(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "requests":
        pytest.importorskip("requests")
    monkeypatch.setenv("PYTEST_TMP", str(tmp_path))
    fn, blocked = CASES[name]

    @functools.wraps(fn)
    def body(started: Callable[[], None]) -> None:
        started()
        fn()

    before = children()
    kill(body, blocked=blocked)
    if name.startswith("subprocess"):
        assert_no_child_since(before)


@pytest.mark.parametrize("name", ["with_condition", "with_contextmanager", "semaphore"])
def test_it_dies_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although it waits in an ``__enter__``: not only when nothing else has helped."""
    monkeypatch.setattr(pursuit, "_LIBRARIES", 2 * HANG)

    def body(started: Callable[[], None]) -> None:
        started()
        CASES[name][0]()

    kill(body, blocked=True)


@pytest.mark.slow
def test_a_query_of_others_is_not_interrupted() -> None:
    """Of a connection that the job knows, but that is not what it waits for."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    go, results = threading.Event(), []
    connection.create_function("pause", 0, lambda: go.wait(HANG) and 1)
    other = threading.Thread(
        target=lambda: results.append(connection.execute("select pause()").fetchall()),
        daemon=True,
    )
    other.start()
    data = os.urandom(30_000_000)

    def body() -> None:
        connection.row_factory
        zlib.compress(data, 9)

    job = ipykill.submit(body)
    wait_for(lambda: job.cpu_time > 0.01, "the C call", HANG)
    job.kill()
    wait_for(lambda: job.info().hindrance or job.done(), "the reaper to have tried", HANG)
    go.set()
    other.join(HANG)
    assert results == [[(1,)]]
    assert job.wait(HANG)


@pytest.mark.slow
def test_a_pool_of_processes_that_has_just_started() -> None:
    """Its handler threads live as long as ``Pool.__exit__`` needs them."""
    context = multiprocessing.get_context("fork")

    def work() -> None:
        with context.Pool(2) as pool:
            pool.map(time.sleep, [1000, 1000])

    for _ in range(5):
        before = set(multiprocessing.active_children())
        job = ipykill.submit(work)
        wait_for(lambda: set(multiprocessing.active_children()) - before, "a worker", HANG)  # noqa: B023
        assert_dies(job)
        assert set(multiprocessing.active_children()) <= before


@pytest.mark.slow
def test_a_connection_that_was_closed_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    def body(started) -> None:
        connection = sqlite3.connect(":memory:")
        connection.close()
        started()
        # Half a second in which nothing can be raised, and the call mentions the connection.
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000, None if connection else 1)
        while True:
            pass

    kill(body)
    assert caplog.records == []
