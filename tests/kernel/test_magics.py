"""What a person types, and what they read."""

import re

import pytest

from tests.frames import shows_us
from tests.kernel.background import LOOP, SLEEP, load, said, usage_error, wait_job
from tests.kernel.harness import Kernel, plain

pytestmark = pytest.mark.usefixtures("loaded")


BAD_INPUT = [
    ("%bgkill nosuch", "no job 'nosuch'; there are: 1 (train), 2 (trace)"),
    ("%bgkill 7", "no job '7'; there are: 1 (train), 2 (trace)"),
    ("%bgkill tra", "'tra' fits 2 jobs, say which by its number: 1 (train), 2 (trace)"),
    ("%bgstop ?while", "'?while' fits 2 jobs"),
    ("%bgkill --force", "%bgkill: unrecognized arguments: --force; see %bgkill?"),
    ("%bgkill -w soon", "'soon' is not a duration; write 90, 30s, 10m or 1h30m"),
    ("%%bg -t 5x\n1", "'5x' is not a duration; write 90, 30s, 10m or 1h30m"),
    ("%%bg -t -1\n1", "%%bg:"),
    ("%%bg --frob\n1", "%%bg: unrecognized arguments: --frob; see %%bg?"),
    (
        "%%bg my job\n1",
        "%%bg: unrecognized arguments: my job; a name is given with -n; see %%bg?",
    ),
    ("%%bg -n\n1", "%%bg: argument -n/--name: expected one argument"),
    ("%%bg -n ''\n1", "the name after -n is empty; write one, or leave -n out"),
    ("%%bg -n 'a\n1", "No closing quotation"),
    ("%%bg -o 1x\n1", "'1x' is not the name of a variable"),
    ("%%bg -o class\n1", "'class' is not the name of a variable"),
    (
        "%%bg --log /nowhere/at/all\n1",
        "argument --log: cannot write '/nowhere/at/all': No such file",
    ),
    ("%%bg --after nosuch\n1", "no job 'nosuch'"),
    ("%%bg\n", "empty"),
    ("%%bg\n   \n", "the cell is empty"),
    ("%bg", "%bg needs a statement"),
    ("%bg -n x", "%bg needs a statement"),
    ("%bglog -n many", "'many' is not a number of lines"),
    ("%bgclear 1", "job 1 (train) is not over; stop it or wait for it first"),
    ("%bgwait -t never", "'never' is not a duration"),
    ("%%bg --log train.log\n1", "job 1 (train) still writes to 'train.log'; name another file"),
]


def test_bad_input_gets_one_line_and_changes_nothing(kernel: Kernel) -> None:
    kernel.run("%%bg -q -n train --log train.log\nwhile True: time.sleep(1000)")
    kernel.run("%%bg -q -n trace\nwhile True: time.sleep(1000)")
    for code, expected in BAD_INPUT:
        assert expected in usage_error(kernel, code), code


@pytest.mark.parametrize("spec", ["1", "%1", "train", "trai", "?model", "'?model = 1'", "%-"])
def test_a_spec_means_one_job(kernel: Kernel, spec: str) -> None:
    kernel.run(f"%%bg -q -n train\nmodel = 1\n{LOOP}")
    kernel.run(f"%%bg -q -n other\n{LOOP}")
    assert re.match(r"\[1\] train: killed after", said(kernel.run(f"%bgkill {spec}")))
    assert kernel.run("[job.state.value for job in ipykill.jobs]").result == "['killed', 'running']"


def test_without_a_spec_the_newest_running_job_is_meant(kernel: Kernel) -> None:
    kernel.run(f"%%bg -q -n train\n{LOOP}")
    kernel.run("%%bg -q -n short\n1")
    wait_job(kernel, 2)
    assert re.match(r"\[1\] train: killed after", said(kernel.run("%bgkill")))


@pytest.mark.smoke
def test_kill_says_where_and_runs_finally(kernel: Kernel) -> None:
    cell = kernel.run(
        "%%bg -q -n train\ntry:\n    while True:\n        x = 1\nfinally:\n    print('cleaned')"
    )
    line = said(kernel.run("%bgkill -w 30 train"))
    assert re.fullmatch(r"\[1\] train: killed after [\d.]+ m?s at cell \[\d+\], line [34]", line)
    cell.wait_output("cleaned")
    cell.wait_output("[1] train: killed")
    assert cell.errors == []
    assert cell.text("stderr") == ""


def test_an_interrupt_is_raised_as_in_a_cell(kernel: Kernel) -> None:
    keeps = "try:\n    while True: x = 1\nexcept KeyboardInterrupt:\n    print('kept')\ngo.wait()"
    kernel.run("import threading\ngo = threading.Event()")
    cell = kernel.run(f"%%bg -q -n keeps\n{keeps}")
    kernel.run(f"%%bg -q -n passes\n{LOOP}")
    line = said(kernel.run("%bginterrupt passes"))
    assert re.fullmatch(r"\[2\] passes: stopped after .* at cell .* \(interrupted\)", line)
    line = said(kernel.run("%bginterrupt keeps"))
    assert re.fullmatch(r"\[1\] keeps: running for .*; interrupted, and goes on", line)
    cell.wait_output("kept")
    kernel.run("go.set()")
    assert wait_job(kernel, "keeps") == "done"
    assert cell.errors == []


def test_a_job_that_was_over_is_not_told_as_if_it_had_been_ended_now(kernel: Kernel) -> None:
    for command in "%bgkill", "%bgstop", "%bgkill --all", "%bgstop --all":
        assert usage_error(kernel, command) == "UsageError: no job is running"
    kernel.run(f"%%bg -q -n train\n{LOOP}")
    first = said(kernel.run("%bgkill -w 30 train"))
    assert first.startswith("[1] train: killed after")
    for command in "%bgkill train", "%bgstop 1", "%bgkill %+":
        again = said(kernel.run(command))
        assert again == first.replace("train:", "train was already over:"), command
    for command in "%bgkill", "%bgstop":
        assert usage_error(kernel, command) == "UsageError: no job is running"
    kernel.run(f"%%bg -q -n other\n{LOOP}")
    both = said(kernel.run("%bgkill -w 30 train other")).splitlines()
    assert both[0] == again
    assert both[1].startswith("[2] other: killed after")


def test_what_a_job_that_was_over_has_left_is_ended(kernel: Kernel) -> None:
    leave = "import subprocess\nprocess = subprocess.Popen(['sleep', '1000']); None"
    kernel.run(f"%%bg -q -n leaves\n{leave}")
    assert wait_job(kernel, "leaves") == "done"
    done = r"\[1\] leaves was already over: done in [\d.]+ m?s"
    hint = "; %bgkill 1 ends what it has left running"
    assert re.fullmatch(done + hint, said(kernel.run("%bgstop leaves")))
    assert re.fullmatch(done, said(kernel.run("%bgkill --no-children leaves")))
    ended = "; what it had left running is being ended"
    assert re.fullmatch(done + ended, said(kernel.run("%bgkill")))
    kernel.run("process.wait()")
    assert re.fullmatch(done, said(kernel.run("%bgkill leaves")))
    assert usage_error(kernel, "%bgkill") == "UsageError: no job is running"


def test_kill_all(kernel: Kernel) -> None:
    for number in range(3):
        kernel.run(f"%%bg -q -n job{number}\n{LOOP}")
    lines = said(kernel.run("%bgkill --all -w 30")).splitlines()
    assert len(lines) == 3
    assert all("killed after" in line for line in lines)
    assert "no job is running" in usage_error(kernel, "%bgkill --all")


def test_stop_asks_and_the_code_answers(kernel: Kernel) -> None:
    kernel.run("%%bg -q -n polite\nwhile True:\n    ipykill.sleep(1000)")
    assert "[1] polite: stopped after" in said(kernel.run("%bgstop"))
    kernel.run("%%bg -q -n asks -o out\nwhile not ipykill.stop_requested(): time.sleep(0.01)\n5")
    kernel.run("%bgstop asks")
    assert wait_job(kernel, "asks") == "done"
    assert kernel.run("out").result == "5"
    kernel.run(f"%%bg -q -n deaf\n{LOOP}")
    assert re.search(r"\[3\] deaf: stop asked .* ago; running in", said(kernel.run("%bgstop deaf")))
    assert "[3] deaf: killed after" in said(kernel.run("%bgkill -w 30 deaf"))


def test_a_deadline_stops_and_then_kills(kernel: Kernel) -> None:
    kernel.run("%config BackgroundMagics.grace = 0.1")
    kernel.run("%%bg -q -n polite -t 0.1\nwhile True: ipykill.checkpoint()")
    kernel.run(f"%%bg -q -n deaf -t 100ms\n{LOOP}")
    assert wait_job(kernel, 1) == "stopped"
    assert wait_job(kernel, 2) == "killed"
    cell = kernel.run("ipykill.jobs[2].result()")
    assert cell.errors[0]["ename"] == "JobTimeout"
    assert "(timeout)" in said(kernel.run("%bgwhere 2"))


def test_wait_ends_with_the_jobs_or_with_the_time(kernel: Kernel) -> None:
    kernel.run("go = threading.Event()")
    kernel.run("%%bg -q -n first\ngo.wait()")
    kernel.run(f"%%bg -q -n second\n{LOOP}")
    for time in "100ms", "0":
        assert "[1] first: running" in said(kernel.run(f"%bgwait -t {time} first"))
    kernel.run("go.set()")
    assert "[1] first: done" in said(kernel.run("%bgwait --any first second"))
    kernel.run("%bgkill -w 30 second")
    assert said(kernel.run("%bgwait")) == "no job is running"


@pytest.mark.parametrize("code", ["%bgwait", "%%bg --wait -n second\nwhile True: x = 1"])
def test_an_interrupt_ends_the_waiting_and_not_the_job(kernel: Kernel, code: str) -> None:
    kernel.run("%%bg -q -n train\nwhile True: x = 1")
    kernel.run(
        "modules = [sys.modules['ipykill.base.waiting'], sys.modules['ipykill.core.manager']]\n"
        "wait_any = modules[0].wait_any\n"
        "def told(latches, timeout=None):\n"
        "    print('waiting', flush=True)\n"
        "    return wait_any(latches, timeout)\n"
        "for module in modules: module.wait_any = told"
    )
    cell = kernel.cell(code).wait_output("waiting")
    kernel.interrupt()
    cell.wait()
    assert cell.errors[0]["ename"] == "KeyboardInterrupt"
    assert "the waiting was interrupted, the jobs were not" in cell.traceback
    assert not shows_us(cell.traceback)
    states = kernel.run("{job.state.value for job in ipykill.jobs}").result
    assert states == "{'running'}"


def test_jobs_are_listed(kernel: Kernel) -> None:
    assert "No background jobs" in said(kernel.run("%bgjobs"))
    for _ in range(12):
        kernel.run("%%bg -q -n short\nprint('last words')")
        wait_job(kernel)
    kernel.run(f"%%bg -q -n train\n{LOOP}")
    table = said(kernel.run("%bgjobs"))
    assert table.splitlines()[0].split() == ["id", "name", "state", "elapsed", "cpu", "where"]
    assert len([line for line in table.splitlines() if "done" in line]) == 10
    assert "(2 earlier finished jobs: %bgjobs -a)" in table
    assert re.search(r"13 +train +running .*cell \[\d+\], line [23]", table)
    assert len(said(kernel.run("%bgjobs -a")).splitlines()) == 14
    assert "last words" in said(kernel.run("%bgjobs -l"))
    assert said(kernel.run("%bgclear")) == "12 finished jobs forgotten"
    assert kernel.run("len(ipykill.jobs)").result == "1"


def test_how_a_job_ended_is_not_its_last_output(kernel: Kernel) -> None:
    silent = kernel.run(f"%%bg -q -n silent --log silent.log\n{LOOP}")
    speaks = kernel.run("%%bg -q -n speaks\nprint('a word', end='')\nwhile True: time.sleep(0.01)")
    speaks.wait_output("a word")
    kernel.run("%bgkill --all -w 30")
    silent.wait_output("[1] silent: killed after")
    speaks.wait_output("a word\n[2] speaks: killed after")
    table = said(kernel.run("%bgjobs -l"))
    assert re.search(r"^    cell \[\d+\]( · 1 thread)?$", table, re.MULTILINE), table
    assert re.search(r"^    cell \[\d+\]( · 1 thread)? · a word$", table, re.MULTILINE), table
    assert said(kernel.run("%bglog silent")) == "job 1 (silent) has printed nothing"
    assert said(kernel.run("%bglog speaks")) == "a word"
    assert kernel.run("open('silent.log').read()").result == "''"


def test_where_shows_the_users_frames(kernel: Kernel) -> None:
    kernel.run("def wait_long():\n    time.sleep(1000)")
    kernel.run("%%bg -q -n sleeper\nwait_long()")
    lines = []
    while not any("time.sleep" in line for line in lines):
        lines = said(kernel.run("%bgwhere")).splitlines()
    assert re.match(
        r"\[1\] sleeper: running for .* in cell \[\d+\], line 2 \(time.sleep\)", lines[0]
    )
    assert re.fullmatch(r"  cell \[\d+\], line 2, in <module>", lines[1])
    assert lines[2] == "    wait_long()"
    assert re.fullmatch(r"  cell \[\d+\], line 2, in wait_long", lines[3])
    assert lines[4] == "    time.sleep(1000)"
    assert len(lines) == 5


def test_help_tells_the_options(kernel: Kernel) -> None:
    for command in ("%bgkill", "%bgstop", "%bgwait", "%%bg", "%bgjobs", "%bglog"):
        (payload,) = kernel.run(f"{command}?").reply["payload"]
        text = plain(payload["data"]["text/plain"])
        assert f"%{command.lstrip('%')}" in text
        assert "options:" in text or "positional arguments:" in text


OPTIONS = [
    "-n",
    "--name",
    "--on",
    "-t",
    "--timeout",
    "--after",
    "--replace",
    "-o",
    "--out",
    "--wait",
]
OPTIONS += ["--log", "--private", "-q", "--quiet"]
TAB = [
    ("%bgkill --", ["--all", "--wait", "--no-children"]),
    ("%bgkill --no", ["--no-children"]),
    ("%bgkill ", ["train", "1", "2", "all"]),
    ("%bgkill tr", ["train"]),
    ("%bgkill -w 5 tr", ["train"]),
    ("bgkill tr", ["train"]),
    ("1\n%bgstop ", ["train", "1", "2", "all"]),
    ("%bglog ", ["train", "short", "1", "2", "3", "all"]),
    ("%bgjobs ", ["-a", "--all", "-l", "--long"]),
    ("%%bg ", OPTIONS),
    ("%%bg -", OPTIONS),
    ("%%bg --after ", ["train", "1", "2", "all"]),
    ("%%bg --after 1 tr", ["train"]),
    ("%%bg -q --l", ["--log"]),
    ("%bg -", OPTIONS),
    ("%bg --after tr", ["train"]),
    ("%bg -q --l", ["--log"]),
    ("%bgk", ["%bgkill"]),
]
# Where no option and no SPEC may stand, it is as on any line.
TAB_OF_IPYTHON = [
    ("%%bg --log tra", "train.csv"),
    ("%bg print(train_", "train_data"),
    ("%bg --after 1 print(train_", "train_data"),
    ("%bg print(1, -", "None"),
]


def test_tab_completes_options_and_jobs_and_nothing_else(any_ipython: Kernel) -> None:
    load(any_ipython)
    assert any_ipython.run("get_ipython().Completer.use_jedi").result == "True"
    any_ipython.run("train_data = 1; open('train.csv', 'w').close()")
    any_ipython.run(f"%%bg -q -n train\n{SLEEP}")
    any_ipython.run(f"%%bg -q -n 'two words'\n{SLEEP}")
    any_ipython.run("%%bg -q -n short\n1")
    wait_job(any_ipython, 3)
    for line, expected in TAB:
        assert sorted(any_ipython.complete(line)) == sorted(expected), line
    for line, expected in TAB_OF_IPYTHON:
        assert expected in any_ipython.complete(line), line


def test_tab_forgets_the_magics_when_they_are_unloaded(kernel: Kernel) -> None:
    before = kernel.run("get_ipython().Completer.custom_matchers[:-1]").result
    kernel.run("%reload_ext ipykill")
    assert kernel.complete("%bgjobs --l") == ["--long"]
    kernel.run("%unload_ext ipykill")
    assert kernel.run("get_ipython().Completer.custom_matchers").result == before
    assert kernel.complete("%bgjobs --l") != ["--long"]
