"""A pool of `multiprocessing` that a killed job has made is terminated, wherever it is kept."""

import os
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.processes.programs import runs
from tests.waiting import HANG_GUARD

# How the job keeps the pool, and what it does with it when it is killed.
KEPT = {
    "idle": "kept = make(2)",
    "used": "kept = make(2); kept.map(abs, range(9))",
    "at work": "kept = make(2); kept.map_async(time.sleep, [1000] * 4)",
    "in an object": "others['pool'] = kept = make(2)",
}
PROGRAM = """
import multiprocessing.pool, sys, threading, time, ipykill
kept, others, began = None, {{}}, threading.Event()
def work():
    global kept
    {keeps}
    began.set()
    {goes_on}
def use():
    try:
        kept.map(abs, [1])
    except ValueError as error:
        print(error)
if __name__ == "__main__":
    make = {make}
    job = ipykill.submit(work)
    assert began.wait({guard})
    print(job.kill({guard}), multiprocessing.active_children())
    use()
"""
MAKES = {
    "fork": "multiprocessing.get_context('fork').Pool",
    "spawn": "multiprocessing.get_context('spawn').Pool",
    "threads": "multiprocessing.pool.ThreadPool",
}


def run(program: str, tmp_path) -> str:
    path = tmp_path / "program.py"
    path.write_text(program)
    ended = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, timeout=2 * HANG_GUARD
    )
    assert ended.returncode == 0
    assert "Error" not in ended.stderr  # what multiprocessing calls when the interpreter exits
    return ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("how", KEPT)
def test_it_is_terminated_and_the_interpreter_exits(how, make, tmp_path):
    program = PROGRAM.format(
        keeps=KEPT[how], goes_on="time.sleep(1000)", make=MAKES[make], guard=HANG_GUARD
    )
    assert run(program, tmp_path) == "True []\nPool not running\n"


@pytest.mark.slow
def test_one_that_a_job_has_left_behind_is_terminated_by_a_kill_afterwards(tmp_path):
    program = PROGRAM.format(
        keeps=KEPT["at work"], goes_on="pass", make=MAKES["fork"], guard=HANG_GUARD
    )
    assert run(program, tmp_path) == "True []\nPool not running\n"


@pytest.mark.slow
def test_processes_that_ignore_sigterm_are_killed(tmp_path):
    program = PROGRAM.format(
        keeps="""
    from ipykill.processes import timing
    timing.grace = 0.1
    kept = make(1, ignore)
    kept.map(abs, [1])
    kept.map_async(time.sleep, [1000])""",
        goes_on="time.sleep(1000)",
        make=MAKES["fork"],
        guard=HANG_GUARD,
    )
    ignore = "import signal\ndef ignore():\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    assert run(ignore + program, tmp_path) == "True []\nPool not running\n"


def test_functions_that_ipykill_wraps_can_be_given_to_a_pool(jobs):
    jobs.submit(int).result(HANG_GUARD)
    names = ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system", "popen", "spawnv")
    functions = [*(getattr(os, name) for name in names), signal.signal, signal.set_wakeup_fd]
    functions += [threading.Thread.start, subprocess.Popen.wait, ThreadPoolExecutor.submit]
    assert pickle.loads(pickle.dumps(functions)) == functions


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the process table is not to be seen there")
def test_what_its_processes_have_started_ends_as_well(tmp_path):
    path = tmp_path / "pid"
    program = PROGRAM.format(
        keeps=f"""
    import os, pathlib
    kept = make(1)
    kept.apply_async(os.system, ("echo $$ > {path}; exec sleep 1000",))
    while not pathlib.Path("{path}").exists() or not pathlib.Path("{path}").read_text():
        time.sleep(0.001)""",
        goes_on="time.sleep(1000)",
        make=MAKES["fork"],
        guard=HANG_GUARD,
    )
    assert run(program, tmp_path) == "True []\nPool not running\n"
    assert not runs(int(path.read_text()))
