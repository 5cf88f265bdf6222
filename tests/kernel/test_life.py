"""Interrupts, reloads, restarts, the end."""

import re
from pathlib import Path

import pytest

from ipykill.core import manager
from tests.kernel.background import load, wait_job
from tests.kernel.harness import Kernel
from tests.waiting import wait_for


@pytest.mark.smoke
def test_an_interrupt_ends_the_foreground_and_not_the_jobs(any_kernel: Kernel) -> None:
    load(any_kernel)
    any_kernel.run("count = 0")
    any_kernel.run("%%bg -q -n counter\nwhile True: count += 1")
    cell = any_kernel.cell("print('waiting', flush=True); time.sleep(1000)")
    cell.wait_output("waiting")
    any_kernel.interrupt()
    assert cell.wait().errors[0]["ename"] == "KeyboardInterrupt"
    seen = any_kernel.run("count").result
    wait_for(lambda: any_kernel.run("count").result != seen, "the counter to go on")
    assert any_kernel.run("ipykill.jobs[1].state.value").result == "'running'"


def test_jobs_survive_a_reload_of_the_extension(any_kernel: Kernel) -> None:
    load(any_kernel)
    any_kernel.run("go = threading.Event()")
    cell = any_kernel.run("%%bg -q -n survivor -o value\ngo.wait()\nprint('survived')\n7")
    for _ in range(3):
        assert any_kernel.run("%reload_ext ipykill").text("stderr") == ""
    assert any_kernel.run("%load_ext ipykill").text("stderr") == ""
    assert "survivor" in any_kernel.run("%bgjobs").text()
    other = any_kernel.run("go.set()")
    assert wait_job(any_kernel, "survivor") == "done"
    cell.wait_output("survived")
    assert other.text() == ""
    cell = any_kernel.run("%%bg -q\nprint('second')")
    wait_job(any_kernel, 2)
    cell.wait_output("second")
    assert cell.text() == "second\n", "the streams are not tapped twice"


@pytest.mark.smoke
def test_unload_takes_the_magics_and_ends_the_jobs(any_kernel: Kernel, tmp_path) -> None:
    load(any_kernel)
    file = tmp_path / "whole"
    polite = any_kernel.run(
        "%%bg -q -n polite\ntry:\n    while True: ipykill.sleep(1)\nfinally: print('cleaned')"
    )
    deaf = any_kernel.run(
        f"%%bg -q -n deaf\ntry:\n    print('begun')\n    while True: x = 1\n"
        f"finally: open({str(file)!r}, 'w').write('whole' * 1_000_000)"
    )
    deaf.wait_output("begun")
    any_kernel.run("%%bg -q -n waits --after deaf\nprint('never')")
    lines = any_kernel.run("%unload_ext ipykill").text().splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"\[1\] polite: stopped after .* \(ipykill was unloaded\)", lines[0])
    assert re.fullmatch(r"\[2\] deaf: killed after .* \(ipykill was unloaded\)", lines[1])
    assert lines[2] == "[3] waits: skipped: ipykill was unloaded"
    polite.wait_output("cleaned")
    assert file.read_text() == "whole" * 1_000_000
    assert any_kernel.run("[job for job in ipykill.jobs if job.threads]").result == "[]"
    assert "not found" in any_kernel.run("%bgjobs").text("stderr")
    assert "Available objects" not in any_kernel.run("%config BackgroundMagics").text()
    load(any_kernel)
    assert "deaf" in any_kernel.run("%bgjobs").text()
    any_kernel.run("%%bg -q\nprint('again')").wait_output("again")


def test_unload_tells_of_a_job_that_does_not_end(kernel: Kernel) -> None:
    load(kernel)
    kernel.run("go = threading.Event()")
    cell = kernel.run("%%bg -q -n busy\nwith ipykill.shield():\n    print('begun')\n    go.wait()")
    cell.wait_output("begun")
    said = kernel.run("%unload_ext ipykill").text()
    assert re.match(r"\[1\] busy: kill pending for .* \(ipykill was unloaded\)", said)
    assert "it is in a shield() block" in said
    kernel.run("go.set()")
    assert wait_job(kernel, 1) == "killed"
    cell.wait_output("[1] busy: killed after")


def test_unload_without_jobs_leaves_the_streams_as_they_were(kernel: Kernel) -> None:
    before = kernel.run("import sys; str([type(sys.stdout), type(sys.stderr)])").result
    load(kernel)
    assert kernel.run("str([type(sys.stdout), type(sys.stderr)])").result != before
    kernel.run("%unload_ext ipykill")
    assert kernel.run("str([type(sys.stdout), type(sys.stderr)])").result == before


PLACES = """
import contextlib, runpy, sys, IPython, ipywidgets, rich.progress, rich.live, tqdm.std
import IPython.core.displaypub, IPython.core.magics.execution, IPython.utils.capture
from matplotlib._pylab_helpers import Gcf
shell = get_ipython()
tqdm.std.tqdm.get_lock()  # which makes it
QUESTIONS = "raw_input", "getpass", "_save_getpass", "_input_request"
OWNERS = [
    contextlib._RedirectStream, IPython.utils.capture.capture_output, tqdm.std.tqdm, Gcf,
    IPython.core.displaypub.CapturingDisplayPublisher, type(shell.displayhook), runpy,
    IPython.core.magics.execution, IPython.core.displayhook.DisplayHook, shell, shell.kernel,
    ipywidgets.Widget, ipywidgets.Output, rich.progress.Progress, rich.live.Live,
    shell.display_pub.pub_socket.io_thread, shell.input_transformers_post, shell.ast_transformers,
]
def attributes():
    found = {}
    for owner in OWNERS:
        items = enumerate(owner) if isinstance(owner, list) else vars(owner).items()
        for name, value in items:
            if name in QUESTIONS:  # a job that is submitted without the extension asks nobody, too
                continue
            if callable(value) or name in ("figs", "_instances", "_lock", "sys"):
                found[str(owner), name] = value
    # What `submit` needs, also without the extension, is for good.
    finders = [it for it in sys.meta_path if not getattr(it, "for_good", False)]
    found |= {(str(finder), ""): finder for finder in finders}
    return found
def changed():
    after = attributes()
    return [name for name in after | before if after.get(name) is not before.get(name)]
before = attributes()
"""


def test_unload_puts_back_what_was_wrapped(kernel: Kernel) -> None:
    assert kernel.run(PLACES).status == "ok"
    load(kernel)
    assert kernel.run("len(changed()) > 30").result == "True"
    kernel.run("%%bg --wait\nfor i in tqdm.std.tqdm([1]): print(i)")
    kernel.run("%unload_ext ipykill")
    assert kernel.run("changed()").result == "[]"
    kernel.run("from trio._core._thread_cache import ThreadCache")
    assert kernel.run("hasattr(ThreadCache.start_thread_soon, '__wrapped__')").result == "True"
    load(kernel)
    cell = kernel.run("%%bg --wait\nfor i in tqdm.std.tqdm([1, 2]): print('again', i)")
    assert "again 2" in cell.text()
    assert kernel.run("ipykill.jobs[2].progress.total").result == "2"


def test_a_restart_begins_anew(kernel: Kernel) -> None:
    load(kernel)
    kernel.run("%%bg -q\nwhile True: x = 1")
    kernel.restart()
    load(kernel)
    assert kernel.run("len(ipykill.jobs)").result == "0"
    kernel.run("%%bg -q\n1")
    assert wait_job(kernel, 1) == "done"


@pytest.mark.parametrize(
    "body",
    [
        "while True: x = 1",
        "time.sleep(1000)",
        "while True: ipykill.sleep(1)",
        "while True:\n    try: time.sleep(0.01)\n    except BaseException: pass",
    ],
)
def test_a_kernel_with_a_running_job_ends_in_time(
    any_kernel: Kernel, start_kernel, body: str
) -> None:
    usual = _end_without_jobs(start_kernel)
    load(any_kernel)
    any_kernel.run(f"%%bg -q\nprint('started')\n{body}").wait_output("started")
    assert any_kernel.shutdown() < usual + GRACE + 2
    assert not any_kernel.alive


@pytest.mark.smoke
@pytest.mark.parametrize("how", ["shutdown", "restart"])
def test_finally_blocks_run_when_the_kernel_ends(kernel: Kernel, tmp_path, how: str) -> None:
    load(kernel)
    file = tmp_path / "whole"
    cell = kernel.run(
        f"%%bg -q\nimport pathlib\ntry:\n    print('started')\n    while True: x = 1\n"
        f"finally:\n    pathlib.Path({str(file)!r}).write_text('whole' * 1_000_000)"
    )
    cell.wait_output("started")
    getattr(kernel, how)()
    assert file.read_text() == "whole" * 1_000_000


MANY = """
def work(number):
    try:
        ready.release()
        time.sleep(1000)
    finally:
        (folder / str(number)).write_text("whole")

import pathlib
folder = pathlib.Path("files")
folder.mkdir()
ready = threading.Semaphore(0)
for number in range(200): ipykill.submit(work, number)
for number in range(200): ready.acquire()
"""


def test_a_kernel_with_200_jobs_ends_in_time_and_their_finally_blocks_run(
    start_kernel, tmp_path
) -> None:
    usual = _end_without_jobs(start_kernel)
    kernel = start_kernel()
    load(kernel)
    assert kernel.run(MANY).status == "ok"
    folder = Path(kernel.run("str(folder.resolve())").result.strip("'"))
    assert kernel.shutdown() < usual + GRACE + 2
    files = list(folder.iterdir())
    assert len(files) == 200
    assert {file.read_text() for file in files} == {"whole"}


def test_a_kernel_with_a_job_stuck_in_c_code_ends_in_time(start_kernel) -> None:
    usual = _end_without_jobs(start_kernel)
    kernel = start_kernel()
    load(kernel)
    cell = kernel.run(
        "%%bg -q\nimport hashlib\nprint('begun')\n"
        "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"  # some minutes, without a signal
    )
    cell.wait_output("begun")
    took = kernel.shutdown()
    assert not kernel.alive
    assert took < usual + GRACE + 2


GRACE = manager._END_STOP + manager._END_MOST


_usual: list[float] = []


def _end_without_jobs(start_kernel) -> float:
    """How many seconds a kernel without jobs takes to end on this machine."""
    if not _usual:
        kernel = start_kernel()
        load(kernel)
        _usual.append(kernel.shutdown())
    return _usual[0]


def test_two_kernels_do_not_share_jobs(start_kernel) -> None:
    first, second = start_kernel(), start_kernel()
    for kernel in (first, second):
        load(kernel)
        kernel.run("%%bg -q -n train\nwhile True: x = 1")
    first.run("%bgkill -w 30 --all")
    assert first.run("ipykill.jobs[1].state.value").result == "'killed'"
    assert second.run("ipykill.jobs[1].state.value").result == "'running'"


@pytest.mark.slow
def test_reset_of_the_namespace_ends_a_job_with_a_name_error(kernel: Kernel) -> None:
    load(kernel)
    cell = kernel.run("%%bg -q -n loses\ngone = 1\nwhile True: gone + 1")
    kernel.run("%reset -f")
    cell.wait_output(lambda cell: cell.errors)
    assert "NameError" in cell.traceback
    kernel.run("import ipykill")
    assert wait_job(kernel, "loses") == "failed"


def test_it_is_not_loaded_while_output_is_captured(kernel: Kernel) -> None:
    cell = kernel.run("%%capture\n%load_ext ipykill")
    assert cell.traceback.startswith("RuntimeError: ipykill cannot be loaded or unloaded while")
    load(kernel)
    cell = kernel.run("%%capture\n%reload_ext ipykill")
    assert cell.traceback.startswith("RuntimeError: ipykill cannot be loaded or unloaded while")
    cell = kernel.run("%%bg\nprint('routed')")
    assert wait_job(kernel) == "done"
    cell.wait_output("routed")


def test_widgets_are_imported_with_the_first_card(kernel: Kernel) -> None:
    load(kernel)
    imported = "import sys\nprint('anywidget' in sys.modules, 'ipywidgets' in sys.modules)"
    assert kernel.run(imported).text() == "False False\n"
    kernel.run("%%bg\n1")
    assert kernel.run(imported).text() == "True True\n"


@pytest.mark.parametrize(
    "break_them",
    [
        "import sys\nsys.modules['anywidget'] = sys.modules['ipywidgets'] = None",
        "import sys\nopen('anywidget.py', 'w').write('import nosuch')\nsys.path.insert(0, '')",
    ],
)
def test_without_widgets_all_is_text(kernel: Kernel, break_them: str) -> None:
    kernel.run(break_them)
    load(kernel)
    kernel.run("go = threading.Event()")
    cell = kernel.run("%%bg -n train\ngo.wait()\nprint('printed')")
    assert cell.result == "<Job 1 'train': running>"
    assert "1   train  running" in kernel.run("%bgpanel").text()
    kernel.run("go.set()")
    assert wait_job(kernel, 1) == "done"
    cell.wait_output("printed")
    assert "1   train  done" in kernel.run("%bgpanel").text()
    cell = kernel.run("%%bg -n loop\nwhile True: x = 1")
    kernel.run("%bgkill -w 30 loop")
    cell.wait_output("[2] loop: killed after")
    assert cell.errors == []
    assert kernel.run("%reload_ext ipykill").text("stderr") == ""
