"""A cell that runs in the foreground goes on in the background."""

import pytest

from tests.kernel.background import load, printed, wait_job
from tests.kernel.foreground import (
    CANNOT,
    LOOP,
    detach,
    detached,
    kill,
    release,
    running,
    value,
    wait_main,
    wait_ready,
)
from tests.kernel.harness import Kernel
from tests.overlays import INSTALLED
from tests.waiting import wait_for


def test_a_cell_goes_on_and_the_next_cells_run(any_new_kernel):
    kernel = any_new_kernel
    load(kernel)
    cell = running(kernel, LOOP)
    queued = [kernel.cell(f"print({i}, n > 0); {i}") for i in range(3)]
    assert detach(kernel) == {}
    number = cell.wait().number
    assert [it.wait().number for it in queued] == [number + 1, number + 2, number + 3]
    assert [it.text() for it in queued] == ["0 True\n", "1 True\n", "2 True\n"]
    assert [it.result for it in queued] == ["0", "1", "2"]
    assert value(kernel, "ipykill.jobs[1].state.value") == "running"
    assert value(kernel, "ipykill.jobs[1].cell") == str(number)
    before = value(kernel, "n")
    wait_for(lambda: value(kernel, "n") != before, "the code to go on")
    kill(kernel)
    assert value(kernel, "ipykill.jobs[1].state.value") == "killed"
    wait_main(kernel)
    assert cell.errors == []


@pytest.mark.parametrize(
    "code",
    [
        LOOP,
        "time.sleep(1000)",
        "lock = threading.Lock()\nlock.acquire()\nlock.acquire()",
        "import queue\nqueue.Queue().get()",
        "import subprocess\nsubprocess.run(['sleep', '1000'])",
        "!echo started; sleep 1000",
        "%time time.sleep(1000)",
        "import socket\na, b = socket.socketpair()\na.recv(1)",
        "while True:\n    try: time.sleep(0.01)\n    except BaseException: pass",
        "t = threading.Thread(target=time.sleep, args=(1000,))\nt.start()\nt.join()",
        "import asyncio\nthreading.Thread(target=asyncio.run, args=[asyncio.sleep(1000)]).start()\n"
        "time.sleep(1000)",
    ],
)
def test_it_is_killed_wherever_it_is(kernel, code):
    load(kernel)
    kernel.run("before = set(threading.enumerate())")
    cell = detached(kernel, code)
    if "started" in code:  # IPython ends it as Ctrl-C does, which a shell that begins does not hear
        cell.wait_output("started")
    kill(kernel)
    assert value(kernel, "ipykill.jobs[1].state.value, ipykill.jobs[1].threads") == "('killed', [])"
    # The cell's own are plain threads; pyzmq starts one of a class of its own when it likes.
    left = "{t.name for t in set(threading.enumerate()) - before if type(t) is threading.Thread"
    left += " and t.name.startswith('Thread')}"
    assert value(kernel, left) == "set()"
    assert cell.errors == []


def test_its_finally_blocks_run(kernel):
    load(kernel)
    detached(kernel, "try: time.sleep(1000)\nfinally: print('cleaned'); done = 1")
    kill(kernel)
    assert value(kernel, "done, ipykill.jobs[1].log.tail()") == "(1, ['runs', 'cleaned'])"


def test_an_error_afterwards_is_shown_in_its_cell_and_aborts_nothing(kernel):
    load(kernel)
    cell = detached(kernel, "go = threading.Event()\ngo.wait()\n1/0")
    cells = [kernel.cell("go.set()"), *(kernel.cell(str(i)) for i in range(5))]
    assert [it.wait().status for it in cells] == ["ok"] * 6
    assert wait_job(kernel, 1) == "failed"
    assert [error["ename"] for error in cell.errors] == ["ZeroDivisionError"]
    assert "ipykill" not in cell.traceback
    assert "interactiveshell" not in cell.traceback
    assert "4 1/0" in cell.traceback
    last = kernel.run("ipykill.jobs[1].result()")
    assert last.errors[0]["ename"] == "ZeroDivisionError"


def test_the_foreground_keeps_its_history(kernel):
    load(kernel)
    kernel.run(
        "events = []\nip = get_ipython()\n"
        "for name in ('post_run_cell', 'post_execute'):\n"
        "    ip.events.register(name, lambda *a, name=name: events.append(name))"
    )
    cell = detached(kernel, "go = threading.Event()\ngo.wait()\n'value of the job'")
    assert kernel.run("events.clear()\n41").result == "41"
    assert kernel.run("go.set()\nipykill.jobs[1].wait(20)\n_ + 1").result == "42"
    cell.wait_output(lambda it: "'value of the job'" in printed(it))
    assert cell.result is None
    assert value(kernel, "events") == str(["post_execute", "post_run_cell"] * 2)
    assert value(kernel, "3 in Out, Out[4], ip.last_execution_result.result") == "(False, 41, None)"
    assert value(kernel, "ipykill.jobs[1].state.value") == "done"
    assert kernel.run("7").number == 9


def test_threads_and_processes_that_it_had_started_are_its_own(kernel):
    load(kernel)
    cell = detached(
        kernel,
        "import subprocess\np = subprocess.Popen(['sleep', '1000'])\n"
        "def work():\n    while True: time.sleep(0.01); print('.', end='')\n"
        "t = threading.Thread(target=work); t.start()\nt.join()",
    )
    assert value(kernel, "[it.pid for it in ipykill.jobs[1].processes] == [p.pid]") == "True"
    assert value(kernel, "t in ipykill.jobs[1].threads") == "True"
    other = kernel.run("print('mine')")
    cell.wait_output(".....")
    assert other.text() == "mine\n"
    kill(kernel)
    assert value(kernel, "t.is_alive(), p.poll() is None") == "(False, False)"


def test_several_at_once_end_in_any_order(any_new_kernel):
    kernel = any_new_kernel
    load(kernel)
    kernel.run("events = [threading.Event() for _ in range(5)]")
    cells = [
        detached(kernel, f"events[{i}].wait()\nprint('end', {i}, threading.current_thread().name)")
        for i in range(5)
    ]
    assert value(kernel, "len(ipykill.jobs.running())") == "5"
    for i in (2, 0, 4, 1, 3):
        value(kernel, f"events[{i}].set()")
        assert wait_job(kernel, i + 1) == "done"
        cells[i].wait_output(f"end {i}")
    assert (
        value(kernel, "len({t.name for t in threading.enumerate() if 'shell-' in t.name})") == "5"
    )
    assert value(kernel, "threading.current_thread().name") == "MainThread"


def test_what_cannot_go_on_says_why(kernel):
    load(kernel)

    assert "no cell runs" in detach(kernel)["error"]
    kernel.cell("name = input('who? ')")
    assert kernel.asked() == "who? "
    assert "asks for input" in detach(kernel)["error"]
    kernel.answer("me")
    assert value(kernel, "name") == "me"
    for code, reason in (
        (
            "import asyncio\nfor _ in range(10000):\n    if stop.is_set(): break\n"
            "    await asyncio.sleep(0.01)",
            "awaits",
        ),
        ("stop.wait()\nawait asyncio.sleep(0)", "awaits"),
        (
            "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()): "
            "sys.__stdout__; ready.set(); stop.wait()",
            "captured",
        ),
        (
            "class Slow:\n    def __repr__(self): ready.set(); stop.wait(); return 'slow'\nSlow()",
            "displaying",
        ),
        ("get_ipython().run_cell('ready.set(); stop.wait()')", "another cell"),
    ):
        kernel.run("stop, ready = threading.Event(), threading.Event()")
        cell = running(kernel, code)
        if "ready" in code:
            assert wait_ready(kernel)
        assert reason in detach(kernel)["error"], code
        assert "the cell stays in the foreground" in detach(kernel)["error"]
        release(kernel)
        assert cell.wait().status == "ok", (code, cell)
    assert value(kernel, "len(ipykill.jobs)") == "0"


def test_an_interrupt_is_for_the_foreground_alone(any_new_kernel):
    kernel = any_new_kernel
    load(kernel)
    detached(kernel, LOOP)
    for code in (
        "time.sleep(1000)",
        "while True: pass",
        "import asyncio\nawait asyncio.sleep(1000)",
    ):
        cell = running(kernel, code)
        kernel.interrupt()
        assert cell.wait().status == "error"
        assert cell.errors[0]["ename"] in ("KeyboardInterrupt", "CancelledError")
        assert "ipykill" not in cell.traceback
        assert value(kernel, "ipykill.jobs[1].state.value") == "running"
    kernel.idle()
    kernel.interrupt()  # nobody
    kernel.idle()
    second = detached(kernel, "time.sleep(1000)")
    cell = running(kernel, "import subprocess\nsubprocess.run(['sleep', '1000'])")
    kernel.interrupt()
    assert cell.wait().status == "error"
    assert value(kernel, "{job.state.value for job in ipykill.jobs}") == "{'running'}"
    kill(kernel, 1)
    wait_main(kernel)
    cell = running(kernel, "time.sleep(1000)")
    kernel.interrupt()
    assert cell.wait().errors[0]["ename"] == "KeyboardInterrupt"
    assert value(kernel, "ipykill.jobs[2].state.value") == "running"
    assert second.errors == []
    kill(kernel, 2)


def test_an_older_ipykernel_says_why_not(start_kernel):
    if not CANNOT:
        pytest.skip("only the installed versions are tested")
    for overlay in CANNOT:
        kernel = start_kernel(overlay)
        load(kernel)
        running(kernel, "time.sleep(0.5)")
        assert "ipykernel 7" in detach(kernel)["error"]
        kernel.idle()


@pytest.mark.parametrize("again", [True, False])
def test_the_kernel_ends_while_main_runs_a_job(kernel, tmp_path, again):
    load(kernel)
    file = tmp_path / "cleaned"
    detached(kernel, f"try: time.sleep(1000)\nfinally: open({str(file)!r}, 'w').close()")
    detached(kernel, "time.sleep(1000)")
    kernel.run("1")
    if again:
        kernel.restart()
        assert kernel.run("2").number == 1
    else:
        assert kernel.shutdown() < 5
    assert file.exists()


def test_ipykill_can_be_loaded_again_and_unloaded(kernel):
    load(kernel)
    detached(kernel, "go = threading.Event()\ngo.wait()\nprint('end')")
    assert kernel.run("%reload_ext ipykill").status == "ok"
    second = detached(kernel, "go.wait()\nprint('second')")
    assert value(kernel, "len(ipykill.jobs.running())") == "2"
    kernel.run("go.set()")
    assert wait_job(kernel, 1) == wait_job(kernel, 2) == "done"
    second.wait_output("second")
    detached(kernel, "time.sleep(1000)")
    assert kernel.run("%unload_ext ipykill").status == "ok"
    assert kernel.run("%load_ext ipykill").status == "ok"
    detached(kernel, "print(1)\ntime.sleep(1000)")
    kill(kernel, 4)


def test_the_log_is_whole_and_progress_goes_on(kernel):
    load(kernel)
    cell = running(
        kernel, "for i in ipykill.track(range(1000)):\n    print(i)\n    time.sleep(0.01)"
    ).wait_output("\n5\n")
    assert detach(kernel) == {}
    cell.wait()
    lines = value(kernel, "ipykill.jobs[1].log.tail()[:7]")
    assert lines == str(["runs", *map(str, range(6))])
    wait_for(lambda: int(value(kernel, "ipykill.jobs[1].progress.done")) > 5, "progress")
    assert value(kernel, "ipykill.jobs[1].progress.total") == "1000"
    assert value(kernel, "ipykill.jobs[1].stop(20), ipykill.jobs[1].state.value") == (
        "(True, 'stopped')"
    )
    assert cell.errors == []


def test_figures_of_the_cell_go_with_it(kernel):
    load(kernel)
    kernel.run("import matplotlib.pyplot as plt\n%matplotlib inline\ngo = threading.Event()")
    cell = detached(kernel, "plt.plot([1, 2])\ngo.wait()\nplt.plot([3])")
    other = kernel.run("plt.plot([7])")
    assert ["image/png" in it["data"] for it in other.displays] == [True]
    assert not any("image/png" in it["data"] for it in cell.displays)
    kernel.run("go.set()")
    assert wait_job(kernel, 1) == "done"
    cell.wait_output(lambda it: sum("image/png" in shown["data"] for shown in it.displays) == 1)


def test_the_python_api(kernel):
    load(kernel)
    kernel.run(
        "def later(wait):\n    wait.wait()\n    global job\n    job = ipykill.jobs.detach()\n"
        "begin = threading.Event()\nthreading.Thread(target=later, args=[begin]).start()"
    )
    cell = kernel.cell("begin.set()\ntime.sleep(1000)").wait()
    assert cell.status == "ok"
    assert value(kernel, "job is ipykill.jobs[1], job.state.value") == "(True, 'running')"
    kill(kernel)
    itself = kernel.run(
        "print(ipykill.current_job())\njob = ipykill.jobs.detach()\n"
        "print(ipykill.current_job())\ntime.sleep(1000)"
    )
    assert itself.status == "ok"
    itself.wait_output("None\n<Job 2")
    kill(kernel, 2)
    failed = kernel.run("%bgwait\nthreading.Thread(target=ipykill.jobs.detach).start()")
    assert failed.status == "ok"


def test_cells_of_a_stand_in_are_as_any(any_new_kernel):
    kernel = any_new_kernel
    load(kernel)
    kernel.run(
        "import asyncio, signal, contextvars\nvar = contextvars.ContextVar('var')\nvar.set(1)"
    )
    detached(kernel, LOOP)
    assert kernel.run("await asyncio.sleep(0.01); var.get()").result == "1"
    assert kernel.run("asyncio.get_running_loop().is_running()").result == "True"
    kernel.cell("name = input('who? ')")
    assert kernel.asked() == "who? "
    kernel.answer("me")
    assert value(kernel, "name") == "me"
    assert "current_thread" in kernel.complete("threading.curren")
    assert "Thread" in kernel.inspect("threading.Thread")
    assert kernel.run("1/0").status == "error"
    assert value(kernel, "1") == "1"
    before = kernel.run("signal.signal(signal.SIGUSR1, lambda *a: print('usr1'))").result
    assert "SIG_DFL" in before
    kernel.run("%%bg\nprint('bg')").wait_output("bg")
    kernel.run("var.set(2)")
    kill(kernel)
    wait_main(kernel)
    assert value(kernel, "var.get()") == "2"


def test_ipykill_may_be_loaded_by_the_configuration(tmp_path):
    profile = tmp_path / "ipython" / "profile_default"
    profile.mkdir(parents=True)
    config = "c.InteractiveShellApp.extensions = ['ipykill']\nc.BackgroundMagics.offer = 0.1\n"
    (profile / "ipython_config.py").write_text(config)
    kernel = Kernel(INSTALLED.path(tmp_path), tmp_path)
    try:
        cell = detached(kernel, "import ipykill, time\ntime.sleep(1000)")
        kill(kernel)
        assert cell.errors == []
    finally:
        kernel.close()
