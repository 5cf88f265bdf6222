"""What a person reads of many threads and of many jobs."""

import re

import pytest

from tests.kernel.background import LOOP, said, usage_error, wait_job
from tests.kernel.harness import Kernel

pytestmark = pytest.mark.usefixtures("loaded")


@pytest.mark.smoke
def test_where_shows_all_threads(kernel: Kernel) -> None:
    kernel.run("def work():\n    time.sleep(1000)")
    kernel.run(
        "%%bg -q -n parent\n"
        "threads = [threading.Thread(target=work, name=f'child-{n}') for n in range(2)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()"
    )
    text = ""
    while text.count("time.sleep(1000)") < 2 or "thread.join" not in text:
        text = said(kernel.run("%bgwhere"))
    lines = text.splitlines()
    assert lines[1].startswith("  cell [")
    assert [line for line in lines if line.startswith("  thread ")] == [
        "  thread child-0",
        "  thread child-1",
    ]
    tree = said(kernel.run("%bgjobs -l")).splitlines()
    assert "3 threads" in tree[2]
    for number, line in enumerate(tree[3:]):
        where = r"cell \[\d+\], line 2 \(time.sleep\)"
        assert re.fullmatch(rf"    └ child-{number}: {where}", line)
    assert "killed" in said(kernel.run("%bgkill -w 30"))
    assert "└" not in said(kernel.run("%bgjobs -l"))


def test_a_cell_that_awaits_is_stopped_and_says_where_it_is(kernel: Kernel) -> None:
    cell = kernel.run(
        "%%bg -q -n waits\n"
        "import asyncio\n"
        "async def task():\n"
        "    try:\n"
        "        await asyncio.sleep(1000)\n"
        "    finally:\n"
        "        await asyncio.sleep(0.01)\n"
        "        print('cleaned')\n"
        "print('begun')\n"
        "await asyncio.gather(task(), task())"
    )
    cell.wait_output("begun")
    text = ""
    while text.count("await asyncio.sleep(1000)") < 2:
        text = said(kernel.run("%bgwhere"))
    assert re.match(r"\[1\] waits: running for .* in cell \[\d+\], line 10", text)
    assert text.count("  task ") == 3
    assert "[1] waits: stop" in said(kernel.run("%bgstop"))
    assert wait_job(kernel, 1) == "stopped"
    cell.wait_output(lambda cell: cell.text().count("cleaned") == 2)
    assert cell.errors == []


def test_a_lock_that_is_left_is_told(kernel: Kernel) -> None:
    kernel.run("lock, rlock, other = threading.Lock(), threading.RLock(), threading.Lock()")
    cell = kernel.run(
        "%%bg -q -n taker\nlock.acquire(); rlock.acquire()\nprint('begun')\nwhile True: x = 1"
    )
    cell.wait_output("begun")
    kernel.run("other.acquire()")
    kernel.run("%bgkill -w 30")
    cell.wait_output("[1] rlock is still held by a thread of this job that is gone")
    cell.wait_output("[1] lock is still locked, and may be so for ever: this job used it")
    assert "other" not in cell.text()


def test_two_jobs_that_assign_the_same_variable_are_told_once(kernel: Kernel) -> None:
    kernel.run("%%bg -q -n first\nimport os\nfor i in range(10): total = i\nwhile True: x = 1")
    second = "%%bg -q -n second\nimport os\ntotal = 0\ni = 1\ny = 2"
    assert said(kernel.run(second)) == (
        "job 1 (first), which still runs, assigns i, total as well: each changes what the other "
        "works with; %%bg --private keeps the names of a job its own"
    )
    wait_job(kernel, 2)
    assert said(kernel.run(second)) == "", "once is enough"
    assert said(kernel.run("%%bg -q -n third\nimport os\nz = x")) == ""
    kernel.run("%bgkill -w 30 first")
    assert said(kernel.run("%%bg -q\ntotal = 1")) == ""


def test_of_many_jobs_that_assign_the_same_one_line_tells(kernel: Kernel) -> None:
    for number in range(7):
        kernel.run(f"%%bg -q -n k{number}\n{number}\nfor k in iter(int, 1): pass")
    told = said(kernel.run("%%bg -q\nfor k in range(3): pass"))
    assert told.startswith("job 1 (k0), job 2 (k1), job 3 (k2), job 4 (k3), job 5 (k4), ...,")
    assert "which still run, assign k as well" in told
    assert "\n" not in told
    kernel.run("%bgkill --all -w 30")


def test_the_same_text_again_is_told_and_keeps_the_number_of_its_cell(kernel: Kernel) -> None:
    code = f"%%bg -q\n{LOOP}"
    first = kernel.run(code)
    second = kernel.run(code)
    assert said(second) == (
        "job 1 (while True), which this cell started before, runs on beside the new one; "
        "%bgkill 1 ends it, %%bg --replace does so next time"
    )
    for number, cell in (1, first), (2, second):
        assert f"cell [{cell.number}], line" in said(kernel.run(f"%bgwhere {number}"))
    third = kernel.run("%%bg -q --replace\n" + LOOP)
    assert said(third) == ""
    states = kernel.run("[job.state.value for job in ipykill.jobs]").result
    assert states == "['killed', 'killed', 'running']"
    kernel.run("%bgkill --all -w 30")


def test_a_job_that_waits_for_itself_is_refused(kernel: Kernel) -> None:
    for code in ("%bgwait me", "ipykill.current_job().result()"):
        cell = kernel.run(f"%%bg -q -n me\n{code}")
        assert wait_job(kernel) == "failed"
        cell.wait_output(lambda cell: cell.errors)
        assert "(me) cannot wait for itself" in cell.traceback
    cell = kernel.run(
        "%%bg -q -n outer\n"
        "get_ipython().run_cell_magic('bg', '-q -n inner --after outer', '1')\n"
        "ipykill.jobs['inner'].result()"
    )
    assert wait_job(kernel, "outer") == "failed"
    cell.wait_output(lambda cell: cell.errors)
    assert "would wait for itself" in cell.traceback
    assert wait_job(kernel, "inner") == "skipped"
    assert "no job 'self'" in usage_error(kernel, "%%bg -n self --after self\n1")


def test_a_circle_of_after_and_replace_is_refused(kernel: Kernel) -> None:
    kernel.run(f"%%bg -q -n train\n{LOOP}")
    kernel.run("%%bg -q -n test --after train\n1")
    kernel.run("%%bg -q -n report --after test\n1")
    nothing = "UsageError: nothing ended or started: this would wait for"
    assert usage_error(kernel, "%%bg -q -n train --replace --after report\n2") == (
        f"{nothing} job 3 (report), which waits for job 2 (test), which waits for job 1 (train), "
        "which --replace ends"
    )
    assert usage_error(kernel, "%%bg -q -n train --replace --after train\n2") == (
        f"{nothing} job 1 (train), which --replace ends"
    )
    states = kernel.run("[job.state.value for job in ipykill.jobs]").result
    assert states == "['running', 'pending', 'pending']"


def test_jobs_start_after_others(kernel: Kernel) -> None:
    kernel.run("go = threading.Event(); order = []")
    kernel.run("%%bg -q -n first\ngo.wait(); order.append(1)")
    kernel.run("%%bg -q -n second --after first\norder.append(2)")
    assert "[2] second: waiting for first (job 1)" in said(kernel.run("%bgwhere second"))
    kernel.run("go.set()")
    assert wait_job(kernel, 2) == "done"
    assert kernel.run("order").result == "[1, 2]"
    cell = kernel.run("%%bg -q -n broken\n1 / 0")
    skipped = kernel.run("%%bg -q -n third --after broken first\n3")
    assert wait_job(kernel, 4) == "skipped"
    skipped.wait_output("[4] third: skipped: job 3 (broken) failed")
    assert cell.errors


def test_no_more_jobs_run_than_configured(kernel: Kernel) -> None:
    kernel.run("%config BackgroundMagics.max_running = 1\ngo = threading.Event()")
    kernel.run("%%bg -q -n first\ngo.wait()")
    kernel.run("%%bg -q -n second\n2")
    assert kernel.run("[job.state.value for job in ipykill.jobs]").result == (
        "['running', 'pending']"
    )
    kernel.run("go.set()")
    assert wait_job(kernel, 2) == "done"


def test_a_job_with_the_same_name_is_told_or_replaced(kernel: Kernel) -> None:
    kernel.run(f"%%bg -q -n train\n{LOOP}")
    same = (
        "job 1 (train), which has the same name, runs on beside the new one; %bgkill 1 ends it, "
        "{} --replace does so next time"
    )
    assert said(kernel.run("%bg -q -n train while True: x = 1")) == same.format("%bg")
    kernel.run("%bgkill -w 30 2")
    assert said(kernel.run("%%bg -q -n train\nwhile True: x = 1")) == same.format("%%bg")
    kernel.run("%bgkill -w 30 1")
    assert said(kernel.run("%%bg -q -n train --replace\n1")) == ""
    wait_job(kernel, 4)
    states = kernel.run("[(job.state.value, job.reason) for job in ipykill.jobs]").result
    assert states == ("[('killed', ''), ('killed', ''), ('killed', 'replaced'), ('done', '')]")
