"""``%%bg --on client`` in a kernel: the same cell and the same card, on a worker of Dask."""

import pytest

from tests.kernel.background import load
from tests.kernel.harness import Kernel
from tests.kernel.test_on_process import ended, value
from tests.waiting import wait_for

pytest.importorskip("distributed")

pytestmark = pytest.mark.once


@pytest.fixture
def kernel(kernel: Kernel) -> Kernel:
    load(kernel)
    assert value(kernel, "'distributed' in sys.modules") == "False"
    cell = kernel.run(
        "import distributed\n"
        "cluster = distributed.LocalCluster(\n"
        "    n_workers=1, threads_per_worker=2, dashboard_address=None)\n"
        "client = distributed.Client(cluster)"
    )
    assert cell.status == "ok", cell
    return kernel


def test_a_cell_runs_on_a_worker(kernel: Kernel) -> None:
    kernel.run(
        "import os\n"
        "class Point:\n    def __init__(self, x): self.x = x\n"
        "    def far(self): return scale * self.x\n"
        "scale, kept, model, p, word = 10, [1], {'w': 0}, Point(2), 'world'\n"
        "same = kept\n"
        "def helper(y): return y * scale"
    )
    cell = kernel.run(
        "%%bg --on client -n far -o out\n"
        "import matplotlib.pyplot as plt\n"
        "pid = os.getpid(); model['w'] = helper(3); len(kept); q = Point(p.far())\n"
        "print('hello', q.x)\n"
        "!echo {word} $word\n"
        "plt.plot([1, 2]);\n"
        "get_ipython().run_cell_magic('time', '', 'timed = scale')\n"
        "await __import__('asyncio').sleep(0)\n"
        "q.x"
    )
    assert ended(kernel) == "'done'", cell
    cell.wait_output("hello 20").wait_output("world world")
    assert value(kernel, "pid in client.run(os.getpid).values(), model, out, kept is same") == (
        "(True, {'w': 30}, 20, True)"
    )
    assert value(kernel, "type(q) is Point is type(p), Point(3).far()") == "(True, 30)"
    data = [display["data"] for display in cell.displays]
    assert any("image/png" in it for it in data), data

    # Tab, and a variable that is no client.
    assert {"process", "client"} <= {*kernel.complete("%%bg --on ")}
    assert "jobs cannot run on 3" in kernel.run("n = 3\n").text() + kernel.run(
        "%%bg --on n\n1"
    ).text("stderr")

    # An error has its lines, a Kill its cleanup; the client's name may mean something else.
    cell = kernel.run("%%bg --on client\ndef f():\n    raise ValueError('oh')\nf()")
    assert ended(kernel, 2) == "'failed'"
    wait_for(lambda: cell.errors, "the error")
    assert "raise ValueError('oh')" in cell.traceback
    assert "ipykill" not in cell.traceback, cell.traceback
    cell = kernel.run(
        "%%bg --on client\nrounds = 0\nprint('begun')\ntry:\n    while True: rounds += 1\n"
        "finally: print('cleaned')"
    )
    cell.wait_output("begun")
    kernel.run("kept_client, client = client, None")
    assert value(kernel, "ipykill.jobs[3].kill(60), ipykill.jobs[3].state.value, rounds > 0") == (
        "(True, 'killed', True)"
    )
    cell.wait_output("cleaned")
    assert "not started: kept_client (Client): cannot pickle" in kernel.run(
        "%%bg --on kept_client\nkept_client"
    ).text("stderr")
    # Two jobs of one worker have variables of their own.
    for number in (1, 2):
        kernel.run(
            f"%%bg --on kept_client -o out{number}\nx = {number}\n"
            f"for _ in range(20): time.sleep(0.01); assert x == {number}\n"
            f"get_ipython().user_ns['x']"
        )
    assert value(kernel, "ipykill.jobs.wait(ipykill.jobs); out1, out2") == "(1, 2)"
