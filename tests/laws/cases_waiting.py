"""Every place where a job may wait."""

import asyncio
import concurrent.futures
import http.client
import multiprocessing
import os
import queue
import select
import selectors
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ipykill
from tests.laws.cases import waiting

early_sleep = time.sleep


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
