"""Bars of tqdm and rich: each stands on its line, and moves the bar of its job's card."""

import pytest

from ipykill.core.log import JobLog
from tests.kernel.background import load, wait_job
from tests.kernel.harness import Kernel

BAR = (
    "from tqdm import tqdm\n"
    "{0} = tqdm(total=5, desc='{0}', mininterval=0)\n"
    "{0}_open.set(); go.wait(30)\n"
    "for {0}_step in range(5): {0}.update()\n"
    "{0}.close()"
)


def test_bars_of_jobs_and_of_the_foreground_do_not_count_together(kernel: Kernel) -> None:
    load(kernel)
    kernel.run(
        "import tqdm as module\none_open, two_open, go, own_open = "
        "(threading.Event() for _ in range(4))"
    )
    cells = [kernel.run("%%bg -q\n" + BAR.format(name)) for name in ("one", "two")]
    kernel.run("one_open.wait(30); two_open.wait(30)")
    own = kernel.run("threading.Timer(0.1, go.set).start()\n" + BAR.format("own"))
    kernel.run("ipykill.jobs.wait(ipykill.jobs, 30)")
    for cell in [*cells, own]:
        cell.wait_output(lambda cell: "5/5" in cell.text("stderr"))
        assert "\x1b[A" not in cell.text("stderr"), "none is painted below another"
    killed = kernel.run(
        "%%bg -q -n killed\nfrom tqdm import tqdm\nbar = tqdm(total=5); bar.update()\n"
        "at = 1\nwhile True: time.sleep(0.01)"
    )
    kernel.run("while 'at' not in globals(): time.sleep(0.01)\nipykill.jobs['killed'].kill(30)")
    after = kernel.run("for _ in module.tqdm(range(3), desc='after'): pass")
    assert "\x1b[A" not in after.text("stderr")
    late = kernel.run("import gc; del bar; gc.collect()")
    killed.wait_output(lambda cell: "1/5" in cell.text("stderr"))
    assert late.text("stderr") == "", "what is left of a job's bar is its cell's"


def test_nested_bars_and_locks_of_jobs(kernel: Kernel) -> None:
    load(kernel)
    cell = kernel.run(
        "%%bg -q\nfrom tqdm import tqdm, trange\nfrom tqdm.contrib.concurrent import thread_map\n"
        "for i in trange(2, desc='outer'):\n    for j in trange(2, desc='inner'): pass\n"
        "print(sum(thread_map(abs, range(5))))\n"
        "import pickle\nlock = tqdm.get_lock()\nwith lock: tqdm.write('written')"
    )
    assert wait_job(kernel) == "done"
    cell.wait_output("10\nwritten\n")
    assert kernel.run("type(lock._foreground).__name__").result == "'TqdmDefaultWriteLock'"


@pytest.mark.parametrize("leave", [True, False])
def test_what_is_shown_of_nested_bars_is_what_was_painted(kernel: Kernel, leave: bool) -> None:
    load(kernel)
    cell = kernel.run(
        "%%bg -q\nfrom tqdm import trange\nfor i in trange(3, desc='outer'):\n"
        f"    for j in trange(4, desc='inner', leave={leave}): time.sleep(0.002)"
    )
    assert wait_job(kernel) == "done"
    cell.wait_output(lambda cell: "3/3" in cell.text("stderr"))
    shown = JobLog()
    shown.write(cell.text("stderr"))
    bars = [line.split(" ")[0] for line in shown.tail() if line.strip()]
    assert bars == ["inner:"] * 3 * leave + ["outer:"]


RICH = {
    "from rich.progress import Progress\n"
    "with Progress() as bars:\n"
    "    task = bars.add_task('[red]load[/red]', total=8)\n"
    "    inner = bars.add_task('inner', total=2)\n"
    "    bars.update(task, advance=2); at.set(); go.wait(30)\n"
    "    while True: bars.advance(inner, 0); time.sleep(0.001)": "(2, 8, 'load')",
    "from rich.progress import track\n"
    "for i in track(range(100), 'tracked'):\n"
    "    at.set(); go.wait(30); time.sleep(0.001)\n"
    "    if i == 98: i = track = None; done.wait(30)": "(0, 100.0, 'tracked')",
}


@pytest.mark.parametrize("code", RICH, ids=["progress", "track"])
def test_a_bar_of_rich_drives_the_job_and_is_a_checkpoint(kernel: Kernel, code: str) -> None:
    load(kernel)
    kernel.run("at, go, done = (threading.Event() for _ in range(3))")
    kernel.run(f"%%bg -q -n bar\n{code}")
    kernel.run("at.wait(30); p = ipykill.jobs['bar'].progress")
    assert kernel.run("p.done, p.total, p.description").result == RICH[code]
    kernel.run("job = ipykill.jobs['bar']; job.stop(); go.set(); done.set()")
    assert wait_job(kernel, "bar") == "stopped"
