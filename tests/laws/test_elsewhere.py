"""Where a part of the machinery cannot work it is off, says why, and the rest goes on.

Other systems and builds are played: in a process of its own, what they lack is taken away
before ipykill is imported.
"""

import sys

import pytest

from ipykill.kill import report
from ipykill.kill.switches import has_gil
from tests.laws.harness import PLAIN, in_python

pytestmark = pytest.mark.skipif(PLAIN, reason="nothing else is on")

ALL_LOADED = """
import asyncio, concurrent.futures.thread, ctypes, importlib.resources, multiprocessing.process
import os, platform, queue, signal, subprocess, sys, sysconfig, tempfile, threading, time
sysconfig.get_config_vars()
"""

THEN = """
import ipykill
from tests.laws.harness import assert_dies, start
from tests.waiting import wait_for

def one(n):
    return n + 1

def calls(started):
    started()
    n = 0
    while True:
        n = one(n)

def naps(started):
    started()
    while True:
        time.sleep(0.01)

about = ipykill.about()
print(about.safe, "|", about.safe_why, "|", about.wakes, "|", about.wakes_why)
for body in (calls, naps):
    job = start(body)
    if about.safe or (about.wakes and body is naps):
        assert_dies(job)
    else:  # rather than torn, it is left alone, and told
        job.kill()
        # CPython 3.12 calls the handler of the signal at the turn of a loop, where nothing is torn.
        turns = about.wakes and sys.version_info[:2] == (3, 12)
        reason = lambda: about.safe_why in (job.info().hindrance or "")
        wait_for(lambda: reason() or (turns and job.done()), "a reason")
assert ipykill.submit(lambda: 42).result(30) == 42
print(end="", flush=True)
os._exit(0)
"""

LATE = "by SIGURG, the way of Ctrl-C, as soon as the main thread looks for signals"
HOW = "by SIGURG, the way of Ctrl-C" if has_gil() else LATE
# What `%load_ext` says there besides.
NO_LOCK = [] if has_gil() else [f"ipykill: {report._NO_LOCK}"]
SAFE = "True | by sys.monitoring" if sys.version_info >= (3, 12) else "True | by opcode tracing"
WITHOUT_WAKING = (
    "True | by sys.monitoring"
    if sys.version_info >= (3, 12)
    else "False | CPython 3.11 needs the wake-up for that"
)


def about_without(what: str) -> str:
    """Take `what` away, kill two jobs and return what about() says."""
    return in_python(ALL_LOADED + what + THEN, IPYKILL_KILL="full").strip()


def test_here() -> None:
    assert about_without("") == f"{SAFE} | True | {HOW}"


def test_windows() -> None:
    said = about_without("""
sys.platform = "win32"
del os.fork, os.register_at_fork, signal.pthread_kill, signal.SIGURG, time.pthread_getcpuclockid
""")
    why = "this system cannot send a signal to one thread"
    assert said == f"{WITHOUT_WAKING} | False | {why}"


def test_processes_on_windows() -> None:
    said = in_python(
        ALL_LOADED
        + """
import multiprocessing.connection
for name in ("fork", "forkpty", "killpg", "pidfd_open", "waitid", "register_at_fork"):
    delattr(os, name)
for name in ("pthread_kill", "pthread_sigmask", "SIGURG", "SIGKILL", "SIGALRM", "alarm", "SIGCONT"):
    delattr(signal, name)
subprocess._CAN_USE_PIDFD_OPEN = False  # CPython 3.15 has asked already
sys.platform, kill = "win32", os.kill
def os_kill(pid, number):
    assert number == signal.SIGTERM, "it would send a Ctrl-C, or end the process at once"
    kill(pid, number)
os.kill = os_kill
import ipykill
started = []
def work():
    command = [sys.executable, "-c", "input()"]
    started.append(subprocess.Popen(command, stdin=-1, start_new_session=True))
job = ipykill.submit(work)
job.result(30), job.info(), job.interrupt(), job.kill()
print(job.info().state.value, started[0].wait(30))
try:
    ipykill.submit(work, on="process")
except ipykill.JobError as error:
    print(error)
sys.platform = "linux"
""",
        IPYKILL_KILL="full",
    )
    refusal = "jobs in a process of their own need Linux or macOS; use %%bg without --on"
    assert said.splitlines() == ["done -15", refusal]


def test_macos() -> None:
    said = about_without("""
sys.platform = "darwin"
del time.pthread_getcpuclockid
""")
    assert said == f"{SAFE} | True | {HOW}"


def test_a_cpython_that_does_not_export_its_runtime() -> None:
    said = about_without("""
class Library:
    _handle = ctypes.CDLL(None)._handle
    def __getattr__(self, name):
        if name.startswith("_Py"):
            raise AttributeError(name)
        return getattr(library, name)
    def __getitem__(self, name):
        return library[name]

library, ctypes.pythonapi = ctypes.pythonapi, Library()
class Char(ctypes.c_char):
    in_dll = None
def in_dll(library, name):
    raise ValueError(name)
Char.in_dll = in_dll
ctypes.c_char = Char
""")
    why = "this CPython does not export _PyRuntime"
    assert said == f"{WITHOUT_WAKING} | False | {why}"


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="it is not looked at")
def test_a_cpython_that_does_not_export_its_evaluation_loop() -> None:
    said = about_without("""
class Library:
    _handle = ctypes.pythonapi._handle
    def __getattr__(self, name):
        if name == "_PyEval_EvalFrameDefault":
            raise AttributeError(name)
        return getattr(library, name)
    def __getitem__(self, name):
        return library[name]

library, ctypes.pythonapi = ctypes.pythonapi, Library()
""")
    why = "this CPython does not export _PyEval_EvalFrameDefault"
    assert said == f"{WITHOUT_WAKING} | False | {why}"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="the first that is to be had so")
def test_a_free_threading_build() -> None:
    """Its engine serves a build with a lock as well."""
    said = about_without("""
config = sysconfig.get_config_var
sysconfig.get_config_var = lambda name: 1 if name == "Py_GIL_DISABLED" else config(name)
""")
    assert said == f"True | by sys.monitoring | True | {LATE}"


def test_another_python() -> None:
    said = about_without("sys.implementation.name = 'other'\n")
    assert said == "False | this is not CPython | False | this is not CPython"


def test_another_bytecode() -> None:
    said = about_without("import dis\ndis.opmap = {**dis.opmap, 'PUSH_EXC_INFO': 0}\n")
    assert said == f"{SAFE} | True | {HOW}"


NOT_SO = "a finally block is found, and its copies"


def test_a_claim_that_fails_is_told_and_nothing_is_torn() -> None:
    """What is guarded is left alone, the rest dies: a wait, a function, a loop without a try."""
    printed = in_python(f"""
import threading, time
from ipykill.kill import claims, codemap
claims.CLAIMS[{NOT_SO!r}] = lambda: False
claims.failed.cache_clear()
import ipykill
from tests.laws.harness import HANG, asleep, assert_dies, start
from tests.waiting import wait_for
print(ipykill.about())
lock, over = threading.Lock(), []

def guarded(started):
    started()
    while not over:
        lock.acquire()
        try:
            len("work")
        finally:
            lock.release()

def loops(started):
    started()
    while True:
        pass

def waits(started):
    started()
    time.sleep(1000)

for body in (loops, waits):
    assert_dies(start(body))
job = start(guarded)
job.kill()
print(wait_for(lambda: job.info().hindrance, "a reason"))
assert not job.done()
over.append(1)
assert job.wait(HANG)
assert lock.acquire(timeout=HANG)
""")
    assert NOT_SO in printed.splitlines()[1]
    assert NOT_SO in printed.splitlines()[-1]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there is no sys.monitoring")
def test_the_extension_says_it_once() -> None:
    printed = in_python("""
import sys
from IPython.core.interactiveshell import InteractiveShell
[sys.monitoring.use_tool_id(number, 'other') for number in range(6)]
shell = InteractiveShell.instance()
shell.run_cell("%load_ext ipykill").raise_error()
""")
    assert printed.splitlines() == [
        "ipykill: code that runs is not reached here (all tool ids of sys.monitoring are in use); "
        "a job dies when it waits or ends",
        *NO_LOCK,
    ]


def test_the_extension_says_what_waits() -> None:
    printed = in_python(
        ALL_LOADED
        + """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
sys.platform = "win32"
del signal.pthread_kill, signal.SIGURG
shell.run_cell("%load_ext ipykill").raise_error()
os._exit(print(end="", flush=True) or 0)
"""
    )
    said = (
        "ipykill: a call that waits is not woken here (this system cannot send a signal to one "
        "thread); a job dies when that returns"
    )
    assert said in printed.splitlines()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there is no sys.monitoring")
def test_tool_ids_that_are_taken_before_the_import() -> None:
    said = about_without("[sys.monitoring.use_tool_id(number, 'other') for number in range(6)]\n")
    why = "all tool ids of sys.monitoring are in use"
    assert said == f"False | {why} | True | {HOW}"


def test_imported_in_another_thread() -> None:
    """The handler is installed by the first launch in main."""
    printed = in_python("""
import threading
def load():
    global ipykill
    import ipykill
    print(ipykill.about().wakes_why)
thread = threading.Thread(target=load)
thread.start()
thread.join()
from tests.laws.harness import kill
from tests.laws.test_tools import sleeper
kill(lambda started: (started(), sleeper()), blocked=True)
print(ipykill.about().wakes_why)
""")
    assert printed.splitlines() == [
        "ipykill was not imported in the main thread",
        HOW,
    ]


def test_the_public_level() -> None:
    """Nothing that is private: running code dies, a call that waits ends by itself first."""
    printed = in_python(
        """
import ipykill, os, sys, time
from tests.laws.harness import HANG, asleep, assert_dies, start
from tests.laws.test_tools import calls, loop
from tests.waiting import wait_for
print(ipykill.about().wakes_why)
for body in (loop, calls) if sys.version_info >= (3, 12) else ():
    assert_dies(start(lambda started: (started(), body())))
go = []
def naps(started):
    started()
    lock.acquire()
    while True:
        pass
import threading
lock = threading.Lock()
lock.acquire()
job = start(naps)
asleep(job)
job.kill()
print(wait_for(lambda: job.info().hindrance, "a reason"))
lock.release()
if sys.version_info >= (3, 12):
    assert_dies(job)
print(end="", flush=True)
os._exit(0)
""",
        IPYKILL_KILL="public",
    )
    why = "a call that waits is not woken here (switched off); it dies when that returns"
    if sys.version_info < (3, 12):
        needs = "CPython 3.11 needs the wake-up for that"
        why = f"code that runs is not reached here ({needs}); a job dies when it ends"
    assert printed.splitlines() == ["switched off", why]
