"""A Kill beside tools that watch threads: they keep what they have, and the job dies."""

import cProfile
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import pytest

import ipykill
from ipykill.kill import wake
from ipykill.kill.switches import has_gil
from tests.laws.harness import HANG, assert_dies, in_python, kill, start
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(not wake.works(), reason=f"no wake-up here: {wake.why_not()}")


def one(n: int) -> int:
    return n + 1


def loop() -> None:
    while True:
        pass


def calls() -> None:
    n = 0
    while True:
        n = one(n)


def sleeper() -> None:
    time.sleep(1000)


BODIES = pytest.mark.parametrize("body", [loop, calls, sleeper])


# Trace functions


@contextmanager
def traced(how: Callable[[Any], None]) -> Iterator[Callable[..., Any]]:
    def trace(frame: FrameType, event: str, arg: object) -> Any:
        return trace

    before = sys.gettrace()
    how(trace)
    try:
        yield trace
    finally:
        how(before)


@BODIES
def test_a_trace_function_in_main_stays(body) -> None:
    with traced(sys.settrace) as trace:
        kill(lambda started: (started(), body()), blocked=body is sleeper)
        found = sys.gettrace()
    assert found is trace


@BODIES
def test_a_trace_function_in_all_threads_stays(body) -> None:
    cleanup = []

    def work(started) -> None:
        try:
            started()
            body()
        finally:
            cleanup.append(sys.gettrace())

    with traced(threading.settrace) as trace:
        kill(work, blocked=body is sleeper)
    assert cleanup == [trace]


# Coverage

COVERAGE = """
import coverage, sys, time
tool = coverage.Coverage(data_file=None, include=["*/covered.py"])
tool.start()
import covered
from tests.laws.harness import assert_dies, asleep, start
for body, waits in ((covered.loop, False), (covered.calls, False), (covered.sleeper, True)):
    covered.turns = 0
    job = start(lambda started: covered.work(started, body))
    if waits:
        asleep(job)
    while not (waits or covered.turns):
        time.sleep(0.001)
    assert_dies(job)
covered.after()
tool.stop()
_, _, missing, _ = tool.analysis(covered.__file__)
print(missing)
"""

COVERED = """
import time

turns = 0

def one(n):
    return n + 1

def loop():
    global turns
    while True:
        turns += 1

def calls():
    global turns
    while True:
        turns = one(turns)

def sleeper():
    time.sleep(1000)

def work(started, body):
    try:
        started()
        body()
    finally:
        print("cleanup")

def after():
    return 1
"""


@pytest.mark.slow
@pytest.mark.parametrize("core", ["ctrace", "pytrace", "sysmon"])
def test_coverage_goes_on(core: str, tmp_path) -> None:
    pytest.importorskip("coverage")
    if core == "ctrace":
        pytest.importorskip("coverage.tracer", exc_type=ImportError)  # it is not built everywhere
    if core != "ctrace" and sys.version_info < (3, 12):
        pytest.skip("there is no sys.monitoring, and beside pytrace a Kill may take long")
    (tmp_path / "covered.py").write_text(COVERED)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    printed = in_python(COVERAGE, COVERAGE_CORE=core, PYTHONPATH=path)
    assert printed.splitlines() == ["cleanup"] * 3 + ["[]"]


# Profilers

safe_profiles = pytest.mark.skipif(
    not has_gil(),
    reason="there cProfile is not safe beside other threads: `disable` may never return",
)


@safe_profiles
@BODIES
def test_a_profile_of_the_job(body) -> None:
    found = []

    def work(started) -> None:
        profile = cProfile.Profile()
        profile.enable()
        try:
            started()
            body()
        finally:
            one(1)
            profile.disable()
            found.extend(entry.code for entry in profile.getstats())

    kill(work, blocked=body is sleeper)
    assert one.__code__ in found


@safe_profiles
def test_a_profile_of_main_goes_on() -> None:
    profile = cProfile.Profile()
    profile.enable()
    try:
        kill(lambda started: (started(), loop()))
        one(1)
    finally:
        profile.disable()
    assert one.__code__ in [entry.code for entry in profile.getstats()]


# A debugger

DEBUGGER = """
import json, os, socket, sys, threading, time
main = threading.current_thread()
main.pydev_do_not_trace = True  # it plays the part of the editor
import debugpy

class Editor:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")
        self.seq = 0

    def send(self, command, **arguments):
        self.seq += 1
        message = {"seq": self.seq, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(message).encode()
        self.socket.sendall(b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body)

    def until(self, key, value):
        while True:
            size = 0
            while line := self.file.readline().strip():
                if line.lower().startswith(b"content-length"):
                    size = int(line.split(b":")[1])
            message = json.loads(self.file.read(size))
            if message.get(key) == value:
                return message

editor = Editor(debugpy.listen(("127.0.0.1", 0))[1])
editor.send("initialize", adapterID="test")
editor.until("command", "initialize")
editor.send("attach", justMyCode=False)
editor.until("event", "initialized")
editor.send("configurationDone")
editor.until("command", "configurationDone")
debugpy.wait_for_client()

from tests.laws.harness import HANG, assert_dies, asleep, start
from tests.laws.test_tools import calls, loop, sleeper
from tests.waiting import wait_for

for body in (loop, calls, sleeper):
    job = start(lambda started: (started(), body()))
    if body is sleeper:
        asleep(job)
    assert_dies(job)

def stops(started):
    started()
    debugpy.breakpoint()
    while True:
        pass

job = start(stops)
thread = editor.until("event", "stopped")["body"]["threadId"]
job.kill()
why = wait_for(lambda: job.info().hindrance, "a reason")
assert "debugger" in why, why
# The service threads are not stopped, so other jobs still die.
editor.send("continue", threadId=thread)
assert_dies(job)
print("all died")
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.slow
def test_under_a_debugger(tmp_path) -> None:
    pytest.importorskip("debugpy")
    script = tmp_path / "debugged.py"  # debugpy stops only in code that has a file
    script.write_text(DEBUGGER)
    path = os.pathsep.join(sys.path)
    printed = in_python(str(script), PYTHONPATH=path, PYDEVD_DISABLE_FILE_VALIDATION="1")
    assert printed.splitlines()[-1] == "all died"


# All ids of sys.monitoring in use


@contextmanager
def no_tool_id() -> Iterator[None]:
    monitoring: Any = sys.monitoring
    taken = [number for number in range(6) if monitoring.get_tool(number) is None]
    for number in taken:
        monitoring.use_tool_id(number, f"tool {number}")
    try:
        yield
    finally:
        for number in taken:
            monitoring.free_tool_id(number)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there is no sys.monitoring")
def test_without_a_free_tool_id_running_code_waits_for_one_and_it_is_told() -> None:
    job = start(lambda started: (started(), loop()))
    with no_tool_id():
        about = ipykill.about()
        assert not about.safe
        assert about.safe_why == "all tool ids of sys.monitoring are in use"
        job.kill()
        # CPython 3.12 calls the handler of the signal at the turn of a loop, where nothing is torn.
        turns = sys.version_info[:2] == (3, 12)
        reason = wait_for(lambda: job.info().hindrance or (turns and job.done()), "a reason", HANG)
        assert reason is True or about.safe_why in str(reason)
        kill(lambda started: (started(), sleeper()), blocked=True)
        assert turns or not job.done()
    assert ipykill.about().safe
    assert_dies(job)
    kill(lambda started: (started(), loop()))


# Subinterpreters


@pytest.mark.skipif(sys.version_info < (3, 12), reason="a busy subinterpreter freezes CPython 3.11")
def test_beside_a_subinterpreter() -> None:
    printed = in_python("""
import os, sys, threading
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
    run = interpreters.exec
else:
    import _xxsubinterpreters as interpreters
    run = interpreters.run_string
from tests.laws.harness import kill
from tests.laws.test_tools import calls, loop, sleeper

idle, busy = interpreters.create(), interpreters.create()
code = "import time\\nwhile True:\\n    time.sleep(0.0001)"
threading.Thread(target=run, args=(busy, code), daemon=True).start()
for _ in range(20):
    for body in (loop, calls, sleeper):
        kill(lambda started: (started(), body()), blocked=body is sleeper)
print("all died", flush=True)
os._exit(0)
""")
    assert printed == "all died\n"


# faulthandler


def test_faulthandler_keeps_its_timer_and_its_handlers(tmp_path) -> None:
    printed = in_python(f"""
import faulthandler, signal, sys
from tests.laws.harness import kill
from tests.laws.test_tools import loop, sleeper
from tests.waiting import wait_for

with open({str(tmp_path / "dump")!r}, "w+") as file:
    faulthandler.enable(file)
    faulthandler.register(signal.SIGUSR1, file)
    faulthandler.dump_traceback_later(0.5, file=file)
    for _ in range(20):
        kill(lambda started: (started(), sleeper()), blocked=True)
        kill(lambda started: (started(), loop()))
    assert faulthandler.is_enabled()
    def dumped():
        # Not by `file`: to seek there moves the place where the timer's thread writes.
        return open(file.name).read()
    assert "Timeout" in wait_for(lambda: "Timeout" in dumped() and dumped(), "the timer")
    file.truncate(0)
    signal.raise_signal(signal.SIGUSR1)
    assert "most recent call first" in dumped()
""")
    assert printed == ""


# A fork in the job


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_job_forks_while_it_is_being_killed() -> None:
    """The child has no other threads; jobs of its own can be killed there."""
    codes = []

    def work(started) -> None:
        try:
            started()
            loop()
        finally:
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    kill(lambda started: (started(), sleeper()), blocked=True)
                    kill(lambda started: (started(), loop()))
                    code = 0
                finally:
                    os._exit(code)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    kill(work)
    assert codes == [0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_job_that_forks_all_the_time() -> None:
    def work(started) -> None:
        started()
        while True:
            pids[:] = [os.fork()]
            if pids == [0]:
                os._exit(0)
            os.waitpid(pids[0], 0)

    for _ in range(10):
        pids: list[int] = []
        kill(work)
        for pid in pids:  # one that the job did not come to wait for
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
