"""``%%bg --on process`` in a kernel: what goes, what comes back, what is shown, how it ends."""

import os
import re
import signal
from collections.abc import Callable

import pytest

from tests.kernel.background import load
from tests.kernel.harness import Kernel
from tests.overlays import INSTALLED
from tests.waiting import wait_for


@pytest.fixture
def kernel(kernel: Kernel) -> Kernel:
    load(kernel)
    return kernel


def ended(kernel: Kernel, number: int = 1) -> str:
    """The state of the job when it is over."""
    return kernel.run(
        f"ipykill.jobs.wait([ipykill.jobs[{number}]]); ipykill.jobs[{number}].state.value"
    ).result


def value(kernel: Kernel, code: str) -> str | None:
    cell = kernel.run(code)
    assert not cell.errors, cell.traceback
    return cell.result


def test_variables_go_there_and_come_back(kernel: Kernel) -> None:
    kernel.run(
        "import os\n"
        "class Point:\n    def __init__(self, x): self.x = x\n"
        "    def far(self): return scale * self.x\n"
        "scale, kept, model, p = 10, [1], {'w': 0}, Point(2)\n"
        "same = kept\n"
        "def helper(y):\n    global count\n    count = y\n    return y * scale"
    )
    cell = kernel.run(
        "%%bg --on process -o out\n"
        "pid = os.getpid()\nmodel['w'] = helper(3)\nlen(kept)\nq = Point(p.far())\n"
        "def made(): return scale + pid * 0\n"
        "import fractions\nprint('hello', q.x)\nq.x"
    )
    assert ended(kernel) == "'done'", cell
    assert value(kernel, "pid != os.getpid(), model, out, count, kept is same") == (
        "(True, {'w': 30}, 20, 3, True)"
    )
    assert value(kernel, "type(q) is Point is type(p), Point(3).far(), fractions.__name__") == (
        "(True, 30, 'fractions')"
    )
    assert (
        value(kernel, "scale = 5; made(), made.__globals__ is globals(), helper(1)")
        == "(5, True, 5)"
    )
    cell.wait_output("hello 20")


def test_a_rerun_does_not_ship_the_last_results(kernel: Kernel) -> None:
    kernel.run("import threading\nresult = threading.Lock()")
    kernel.run("%%bg --on process\nresult = 3\nprint(result)")
    assert ended(kernel) == "'done'"
    assert value(kernel, "result") == "3"


def test_what_cannot_be_sent_is_named_at_launch(kernel: Kernel) -> None:
    kernel.run("import threading\nlock = threading.Lock()")
    cell = kernel.run("%%bg --on process\nwith lock: pass")
    text = cell.text("stderr")
    assert "not started: lock (lock): cannot pickle" in text, cell
    assert value(kernel, "len(ipykill.jobs)") == "0"


def test_what_cannot_come_back_is_named(kernel: Kernel) -> None:
    cell = kernel.run("%%bg --on process\nimport threading\nlock = threading.Lock()\nn = 4")
    assert ended(kernel) == "'done'"
    cell.wait_output("stays behind, as it cannot be sent: lock (lock)")
    assert value(kernel, "n, 'lock' in globals()") == "(4, False)"


def test_a_variable_assigned_meanwhile_is_told(kernel: Kernel) -> None:
    kernel.run("import time\nboth, data = 1, [1]")
    cell = kernel.run(
        "%%bg --on process\nboth = 2\ndata.append(2)\n"
        "while not ipykill.stop_requested(): time.sleep(0.01)"
    )
    kernel.run("both, data = 7, [8]")
    kernel.run("ipykill.jobs[1].stop()")
    assert ended(kernel) == "'done'"
    cell.wait_output("both was assigned here meanwhile; it is now what the job left")
    cell.wait_output("not replaced, for they were assigned here meanwhile: data")
    assert value(kernel, "both, data") == "(2, [8])"


def test_displays_plots_and_commands(kernel: Kernel) -> None:
    kernel.run("word = 'world'")
    cell = kernel.run(
        "%%bg --on process\n"
        "import matplotlib.pyplot as plt\n"
        "from IPython.display import HTML, display\n"
        "display(HTML('<b>x</b>'))\n"
        "!echo hello {word}\n"
        "plt.plot([1, 2]);\n"
        "import os\n_ = os.system('echo from C')\n"
        "{'last': 1}"
    )
    assert ended(kernel) == "'done'", cell
    cell.wait_output("hello world").wait_output("from C")
    data = [display["data"] for display in cell.displays]
    assert any("<b>x</b>" in it.get("text/html", "") for it in data)
    assert any("image/png" in it for it in data), data
    assert any("{'last': 1}" in it.get("text/plain", "") for it in data)


def test_an_error_is_shown_with_the_lines_of_the_cell(kernel: Kernel) -> None:
    cell = kernel.run(
        "%%bg --on process\nclass Mine(Exception): pass\ndef f():\n    raise Mine('oh')\nf()"
    )
    assert ended(kernel) == "'failed'"
    wait_for(lambda: cell.errors, "the error")
    assert "Mine: oh" in cell.traceback
    assert "raise Mine('oh')" in cell.traceback
    assert "ipykill" not in cell.traceback, cell.traceback
    assert value(kernel, "type(ipykill.jobs[1].exception()).__name__") == "'Mine'"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import os; os._exit(3)", "exit code 3, as os._exit() does"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV, a crash in C code"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "SIGKILL, which the system sends when",
        ),
    ],
)
def test_a_process_that_ends_by_itself(kernel: Kernel, code: str, told: str) -> None:
    kernel.run("keep = 1")
    cell = kernel.run(f"%%bg --on process\n{code}")
    assert ended(kernel) == "'failed'"
    wait_for(lambda: cell.errors, "the error")
    assert told in cell.traceback
    assert value(kernel, "keep") == "1"


def test_stop_kill_interrupt(kernel: Kernel) -> None:
    kernel.run("import time")
    loop = "try:\n  while 1:\n    done.append(1); time.sleep(0.01)\nfinally:\n  print('cleaned')"
    kernel.run("done = []")
    cell = kernel.run(f"%%bg --on process -n a\n{loop}")
    where = "print(ipykill.jobs['a'].info().place)"
    wait_for(lambda: "time.sleep" in kernel.run(where).text(), "its place")
    assert "line 4" in kernel.run(where).text()
    assert "time.sleep(0.01)" in kernel.run("%bgwhere a").text()
    assert (
        value(kernel, "ipykill.jobs['a'].kill(30), ipykill.jobs['a'].state.value")
        == "(True, 'killed')"
    )
    cell.wait_output("cleaned")
    assert value(kernel, "len(done) > 1") == "True"
    kernel.run("%%bg --on process -n b\nfor i in ipykill.track(range(10**6)): time.sleep(0.01)")
    wait_for(
        lambda: value(kernel, "(ipykill.jobs['b'].info().progress or 0) and 1") == "1", "progress"
    )
    kernel.run("ipykill.jobs['b'].stop()")
    assert ended(kernel, 2) == "'stopped'"
    assert value(kernel, "i > 1") == "True"
    kernel.run(
        "%%bg --on process -n c\nx = 0\ntry:\n    x = 1\n    print('in')\n"
        "    time.sleep(1000)\nexcept KeyboardInterrupt:\n    x = 2"
    )
    wait_for(lambda: value(kernel, "ipykill.jobs['c'].log.last") == "'in'", "its line")
    kernel.run("ipykill.jobs['c'].interrupt()")
    assert ended(kernel, 3) == "'done'"
    assert value(kernel, "x") == "2"


@pytest.mark.once
@pytest.mark.parametrize(
    "code", ["re.match(r'(a*)*b', 'a' * 64)", "hashlib.pbkdf2_hmac('md5', b'', b'', 2**31 - 1)"]
)
def test_what_nothing_else_ends_is_ended_with_its_process(kernel: Kernel, code: str) -> None:
    kernel.run("%config BackgroundMagics.process_grace = 0.5")
    printed = "print('on'); print('and on'); print('half a line', end='')"
    cell = kernel.run(f"%%bg --on process\nimport re, hashlib\n{printed}\n{code}")
    cell.wait_output("on\nand on\nhalf a line")  # though the code keeps the interpreter's lock
    assert (
        value(kernel, "ipykill.jobs[1].kill(30), ipykill.jobs[1].state.value") == "(True, 'killed')"
    )
    cell.wait_output("half a line\n[1] its process was ended by SIGKILL")


def test_options(kernel: Kernel) -> None:
    kernel.run("import asyncio, time")
    kernel.run("%%bg -n first\ntime.sleep(0.3); n = 20")
    kernel.run("n = 1")
    kernel.run(
        "%%bg --on process --after first -o two --log log.txt\n"
        "await asyncio.sleep(0)\nprint('x'); n + 1"
    )
    assert ended(kernel, 2) == "'done'"
    assert value(kernel, "two, open('log.txt').read()") == "(21, 'x\\n')"
    cell = kernel.run("%%bg --on process -t 1s\ntime.sleep(1000)")
    kernel.run("ipykill.jobs.grace = 0.1")
    assert ended(kernel, 3) == "'killed'"
    cell = kernel.run("%%bg --on process --wait\nw = 1/0")
    assert cell.status == "error"
    assert "ZeroDivisionError" in cell.traceback
    assert "process" in kernel.complete("%%bg --on pr")
    assert "jobs cannot run on 'nothing'" in kernel.run("%%bg --on nothing\n1").text("stderr")


def test_nobody_is_orphaned(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel(INSTALLED)
    load(kernel)
    kernel.run("import os, time")
    cell = kernel.run("%%bg --on process\nprint('pid', os.getpid())\nwhile True: pass")
    cell.wait_output(lambda it: re.search(r"pid \d+\n", it.text()))
    pid = int(re.search(r"pid (\d+)", cell.text())[1])
    os.kill(kernel.pid, signal.SIGKILL)

    def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] == "Z"

    wait_for(gone, "the end of the process")
