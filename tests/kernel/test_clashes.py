"""A cell that assigns what a running job assigns: the job's card tells it."""

from tests.kernel.background import load, wait_job
from tests.kernel.harness import Kernel

TOLD = "{job.id: job.info().clashes for job in ipykill.jobs}"


def test_a_clash_is_told_in_the_card_and_not_in_the_way(any_kernel: Kernel) -> None:
    load(any_kernel)
    any_kernel.run("go = threading.Event()\ndef late(): return 1")
    launch = "%%bg{}\nimport os\nfor i in range(3): go.wait()\nmodel = i\nnames = 'a b'"
    any_kernel.run(launch.format(" -q"))
    any_kernel.run(launch.format(" -q --private"))
    assert any_kernel.run(TOLD).result == "{1: (), 2: ()}"
    quiet = any_kernel.run("for i in range(3): total = i\nimport os\ndef f(): model = 3")
    assert quiet.text() == quiet.text("stderr") == ""
    number = quiet.number
    assert any_kernel.run(TOLD).result == f"{{1: ('i (cell [{number}])',), 2: ()}}"
    any_kernel.run("i = 3")  # told once
    timed = any_kernel.run("%time model = late()")
    assert any_kernel.run(TOLD).result == (
        f"{{1: ('i (cell [{number}])', 'model (cell [{timed.number}])'), 2: ()}}"
    )
    any_kernel.run("nosuch(\n")
    any_kernel.run("await late()")
    other = any_kernel.run("%%bg -q\nnames = i")
    assert "which still runs, assigns names as well" in other.text()
    assert (
        f"('i (cell [{number}])', 'model (cell [{timed.number}])')" in any_kernel.run(TOLD).result
    )
    told = (
        f"assigned in the foreground as well: i (cell [{number}]), model (cell [{timed.number}]); "
        "each changes what the other works with; %%bg --private keeps the names of a job its own"
    )
    assert any_kernel.run("%bgjobs -l").text().count(told) == 1
    any_kernel.run("from ipykill.panel import feed\nimport time")
    assert any_kernel.run("feed.row(ipykill.jobs[1].info(), 0)['note']").result == repr(told)
    any_kernel.run("go.set()")
    assert wait_job(any_kernel, 1) == "done"
    any_kernel.run("i = 3")
    any_kernel.run("%unload_ext ipykill")
    assert any_kernel.run("get_ipython().ast_transformers").result == "[]"


def test_a_detached_cell_is_a_job_too(kernel: Kernel) -> None:
    load(kernel)
    kernel.run("go = threading.Event(); begun = threading.Event()")
    kernel.run(
        "def detach():\n    begun.wait()\n    ipykill.jobs.detach()\n"
        "threading.Thread(target=detach).start()"
    )
    kernel.run("begun.set()\nfor i in range(2): go.wait()\nafter = 1")
    assert kernel.run(TOLD).result == "{1: ()}"
    kernel.run("after = 2; go.set()")
    assert "('after (cell [" in str(kernel.run(TOLD).result)
    assert wait_job(kernel, 1) == "done"


def test_hundreds_of_jobs_do_not_delay_the_next_cell(kernel: Kernel) -> None:
    """The code that many run is read once, and not at all beside a cell that assigns nothing."""
    load(kernel)
    kernel.run(
        "from ipykill.ipython import clashes\n"
        "go, read, assigned = threading.Event(), [], clashes.assigned\n"
        "clashes.assigned = lambda codes: read.append(1) or assigned(codes)"
    )
    kernel.run("for _ in range(50): ipykill.submit(go.wait)")
    kernel.run("read.clear()")
    assert kernel.run("len(read)").result == "1"  # of this cell
    kernel.run("x = 1")
    assert kernel.run("len(read)").result == "4"  # of two more, and once of all jobs
    kernel.run("go.set()")
