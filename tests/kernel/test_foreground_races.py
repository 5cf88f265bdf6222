"""A cell is detached at the worst of moments, by several at once."""

import pytest

from tests.kernel.background import load
from tests.kernel.foreground import detach, kill, running, subshell, value, wait_main
from tests.kernel.harness import Kernel

# Threads that belong to no cell, and detach the cell that passes `begin` at the same time.
ASKERS = """
import random, sys
begin, done = threading.Barrier(4), threading.Barrier(4)
said, then = [], lambda job: None
def ask():
    while True:
        begin.wait()
        try:
            job = ipykill.jobs.detach()
            then(job)
            said.append(job)
        except Exception as error:
            said.append(error)
        done.wait()
for _ in range(3): threading.Thread(target=ask, daemon=True).start()
sys.setswitchinterval(1e-5)
"""
# What they said, once they are through with it.
SAID = (
    "jobs = [it for it in said if isinstance(it, ipykill.Job)]\n"
    "errors = {str(it).rpartition(': ')[2] for it in said if it not in jobs}\n"
    "said.clear(); ipykill.jobs.wait(jobs, 20)\n"
    "print(len(jobs), sorted(errors), [job.state.value for job in jobs])"
)
TOO_LATE = {
    "the cell is in the background already",
    "it has just ended",
    "no cell runs",
    "it is displaying a value",
}


def asked(kernel: Kernel, code: str) -> tuple[int, set[str], list[str]]:
    """Detach a cell; how many jobs that made, why not more of them, and their states."""
    cell = kernel.cell(f"begin.wait()\n{code}").wait()
    assert subshell(kernel, "done.wait()") == "ok"  # no cell, which they would detach
    after = kernel.run(SAID)
    assert (cell.status, after.status) == ("ok", "ok"), (cell, after)
    assert cell.errors == []
    assert after.number == cell.number + 1
    number, _, rest = after.text().strip().partition(" ")
    errors, _, states = rest.rpartition(" [")
    return int(number), set(eval(errors)), eval(f"[{states}")


def test_of_those_who_detach_a_cell_at_once_one_does(kernel):
    load(kernel)
    kernel.run(ASKERS)
    for _ in range(8):
        number, errors, states = asked(kernel, "while not said: time.sleep(0)")
        assert (number, states) == (1, ["done"])
        assert errors <= TOO_LATE
    assert value(kernel, "len(ipykill.jobs)") == "8"
    wait_main(kernel)


def test_in_the_last_moment_of_a_cell(kernel):
    load(kernel)
    kernel.run(ASKERS)
    jobs = 0
    for _ in range(25):
        number, errors, states = asked(kernel, "time.sleep(random.random() * 0.002)")
        assert number < 2
        assert errors <= TOO_LATE
        assert states == ["done"] * number
        jobs += number
    assert value(kernel, "len(ipykill.jobs)") == str(jobs)
    wait_main(kernel)


@pytest.mark.parametrize("code", ["while True: pass", "threading.Event().wait()"])
def test_killed_in_the_moment_in_which_it_is_detached(kernel, code):
    load(kernel)
    kernel.run(f"{ASKERS}\nthen = lambda job: job.kill()")
    for _ in range(8):
        number, errors, states = asked(kernel, code)
        assert (number, states) == (1, ["killed"])
        assert errors <= TOO_LATE
    wait_main(kernel)


@pytest.mark.parametrize("first", ["detach", "interrupt"])
@pytest.mark.parametrize("where", ["in main", "in a stand-in"])
def test_interrupted_while_it_is_detached(kernel, first, where):
    load(kernel)
    if where == "in a stand-in":
        running(kernel, "threading.Event().wait()")
        assert detach(kernel) == {}
    for _ in range(6):
        cell = running(kernel, "while True: pass")
        if first == "interrupt":
            kernel.interrupt()
        answer = detach(kernel)
        if first == "detach":
            kernel.interrupt()
        if "error" in answer:
            assert any(why in answer["error"] for why in ("interrupted", *TOO_LATE))
            assert cell.wait().status == "error"
            assert [error["ename"] for error in cell.errors] == ["KeyboardInterrupt"]
            continue
        assert cell.wait().status == "ok"
        kernel.idle()
        if first == "detach":
            assert value(kernel, "[*ipykill.jobs][-1].state.value") == "running"
        # The main thread may have heard the interrupt when it was the cell's still.
        kernel.run("job = [*ipykill.jobs][-1]; job.wait(0.05); job.kill(20)")
        end = value(kernel, "job.state.value, job.reason")
        assert end in ("('killed', '')", "('stopped', 'interrupted')")
        assert cell.errors == []
    if where == "in a stand-in":
        assert value(kernel, "ipykill.jobs[1].state.value") == "running"
        kill(kernel)
    wait_main(kernel)
