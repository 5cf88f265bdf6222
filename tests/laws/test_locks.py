"""Locks are taken in the order that CONTRIBUTING tells."""

import ast

import pytest

from tests.laws.harness import in_python

ORDER = {
    ("kill.pursuit", "kill.target"),  # who kills looks where a thread is
    ("kill.pursuit", "kill.looking"),  # CPython 3.11: and nobody collects garbage meanwhile
    ("kill.standins", "kill.target"),  # who lends the main thread's identity asks whether it lives
}
"""The modules of a lock that is held while another one is taken."""

RECORDS = """
import sys, threading

real, held, edges = threading.RLock, threading.local(), set()

def in_handler():
    # The signal that wakes a waiting thread may interrupt the main thread anywhere.
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_name != "_on_signal":
        frame = frame.f_back
    return frame is not None

class Recording:
    def __init__(self):
        self.lock = real()
        self.site = sys._getframe(1).f_globals["__name__"].removeprefix("ipykill.")

    def acquire(self, *args, **kwargs):
        taken = self.lock.acquire(*args, **kwargs)
        if taken:
            stack = vars(held).setdefault("stack", [])
            if not in_handler():
                edges.update((outer.site, self.site) for outer in stack if outer is not self)
            stack.append(self)
        return taken

    def release(self):
        held.stack.reverse()
        held.stack.remove(self)
        held.stack.reverse()
        self.lock.release()

    def _is_owned(self):
        return self.lock._is_owned()

    def _recursion_count(self):
        return self.lock._recursion_count()

    __enter__ = acquire

    def __exit__(self, *args):
        self.release()

threading.RLock = Recording
import ipykill
threading.RLock = real
"""

USES = """
import asyncio, contextlib, io, queue, subprocess, time
from concurrent.futures import ThreadPoolExecutor
from ipykill import jobs

def spins():
    while True: pass

def pools():
    with ThreadPoolExecutor(2) as pool: list(pool.map(time.sleep, [100, 100]))

async def awaits():
    await asyncio.gather(*(asyncio.sleep(100) for _ in range(3)))

def prints():
    while True:
        print("a line")
        ipykill.sleep(0.001)

def fails():
    raise ValueError(Looks())

class Looks:
    def __del__(self): jobs.snapshot()

with contextlib.redirect_stdout(io.StringIO()):
    calls = [spins, pools, awaits, prints, fails, lambda: queue.Queue().get(),
             lambda: subprocess.run(["sleep", "100"]), lambda: time.sleep(100)]
    made = [ipykill.submit(call) for call in calls]
    jobs.launch(spins, name="later", after=[made[0]])
    for _ in range(5):
        jobs.snapshot()
        [job.where() for job in made]
    made[3].stop()
    made[7].interrupt()
    assert made[0].kill(30)
    assert jobs.kill_all(30)
    jobs.clear()
    jobs.max_running = 1
    assert not jobs.wait([ipykill.submit(time.sleep, 0.01) for _ in range(5)], 30)
print(edges)
"""


@pytest.mark.slow
def test_locks_are_taken_in_the_written_order() -> None:
    printed = in_python(RECORDS + USES)
    assert ast.literal_eval(printed.splitlines()[-1]) <= ORDER
