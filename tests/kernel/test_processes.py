"""The processes of jobs in a kernel: `!`, `%%bash`, interrupts, what the magics say."""

import re

import pytest

from tests.kernel.background import load, wait_job
from tests.kernel.harness import Kernel
from tests.waiting import wait_for

WAYS = {
    "command": "!sleep 1234",
    "captured": "found = !sleep 1234",
    "bash": "%%bash\nsleep 1234",
    "script": "%%script sh\nsleep 1234",
    "subprocess": "import subprocess; subprocess.run(['sleep', '1234'])",
    "system": "import os; os.system('sleep 1234')",
}

FIND = """
import psutil
def sleepers():
    me = psutil.Process()
    return [it.pid for it in me.children(recursive=True) if "1234" in it.cmdline()
            and it.name() == "sleep" and it.status() != "zombie"]
"""


def start(kernel: Kernel, way: str) -> None:
    """Run a cell in the background, until its process runs and the job knows it."""
    load(kernel)
    assert kernel.run(FIND).status == "ok"
    kernel.run(f"%%bg -q -n {way}\n{WAYS[way]}")
    runs = "bool(sleepers() and ipykill.jobs[1].processes)"
    wait_for(lambda: kernel.run(runs).result == "True", "the process")


@pytest.mark.parametrize("way", WAYS)
def test_it_survives_an_interrupt_and_ends_with_its_job(kernel: Kernel, way: str) -> None:
    start(kernel, way)
    cell = kernel.cell("print('waiting', flush=True); time.sleep(1000)")
    cell.wait_output("waiting")
    kernel.interrupt()
    assert cell.wait().errors[0]["ename"] == "KeyboardInterrupt"
    assert kernel.run("len(sleepers())").result == "1"
    assert kernel.run("ipykill.jobs[1].state.value").result == "'running'"
    assert kernel.run("ipykill.jobs[1].kill(60)").result == "True"
    assert kernel.run("sleepers()").result == "[]"
    assert kernel.run("ipykill.jobs[1].processes").result == "()"
    assert kernel.run("ipykill.jobs[1].state.value").result == "'killed'"


@pytest.mark.smoke
def test_an_interrupt_spares_them_on_every_version(any_kernel: Kernel) -> None:
    start(any_kernel, "bash")
    cell = any_kernel.cell("print('waiting', flush=True); time.sleep(1000)")
    cell.wait_output("waiting")
    any_kernel.interrupt()
    assert cell.wait().errors[0]["ename"] == "KeyboardInterrupt"
    assert any_kernel.run("len(sleepers())").result == "1"
    assert any_kernel.run("ipykill.jobs[1].kill(60)").result == "True"
    assert any_kernel.run("sleepers()").result == "[]"


def test_a_killed_bash_cell_spares_those_of_others(kernel: Kernel) -> None:
    start(kernel, "bash")
    second = kernel.run(
        "%%bg -q -n second\n%%bash\nsleep 1234 & pid=$!\necho go\nwait $pid\necho end"
    )
    second.wait_output("go")
    assert kernel.run("ipykill.jobs[1].kill(60)").result == "True"
    assert kernel.run("len(sleepers())").result == "1"
    kernel.run("import os, signal; os.kill(sleepers()[0], signal.SIGTERM)")
    second.wait_output("end")
    assert wait_job(kernel, 2) == "done"
    assert kernel.run("%%bash\necho still").text() == "still\n", "its loop serves all"
    assert kernel.log.count("Traceback") == 0


def test_the_magics_tell_of_them_and_may_spare_them(kernel: Kernel) -> None:
    start(kernel, "subprocess")
    listed = kernel.run("%bgjobs -l").text()
    assert re.search(r"└ process \d+: sleep 1234$", listed, re.MULTILINE), listed
    kernel.run("%bgkill --no-children subprocess")
    assert wait_job(kernel, 1) == "killed"
    assert kernel.run("len(sleepers())").result == "1"
    kernel.run("%bgkill 1")
    wait_for(lambda: kernel.run("sleepers()").result == "[]", "its end")


def test_the_grace_period_is_configured(kernel: Kernel) -> None:
    load(kernel)
    kernel.run("%config BackgroundMagics.process_grace = 0.1")
    kernel.run("%%bg -q\n!trap '' TERM HUP INT; echo on; while true; do sleep 0.05; done")
    wait_for(lambda: "on" in kernel.run("%bglog 1").text(), "the command")
    assert kernel.run("ipykill.jobs[1].kill(2)").result == "True"


def test_they_end_with_the_kernel(kernel: Kernel) -> None:
    import psutil

    start(kernel, "subprocess")
    pid = int(kernel.run("sleepers()[0]").result or "")
    assert kernel.shutdown() < 5
    wait_for(lambda: not psutil.pid_exists(pid), "its end")


def test_a_fork_in_a_job_does_not_disturb_the_kernel(kernel: Kernel) -> None:
    load(kernel)
    cell = kernel.run(
        "%%bg -q -n forks\nimport os\nif not (pid := os.fork()):\n    raise ValueError('child')\n"
        "print(os.waitpid(pid, 0)[1])"
    )
    assert wait_job(kernel, "forks") == "done"
    cell.wait_output("256")
    assert cell.errors == []
    assert kernel.run("6 * 7").result == "42"
