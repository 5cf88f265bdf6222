"""All that a job shows goes to the cell that launched it."""

from pathlib import Path

import pytest

from tests.kernel.background import load, printed, wait_job
from tests.kernel.harness import Cell, Kernel
from tests.kernel.messages import VIEW

LOUD = """
import logging, warnings
def child():
    print('child print')
    print('child stderr', file=sys.stderr)
    display('child display')
started.wait()
print('print')
print('stderr', file=sys.stderr)
display('display')
early.warning('early logger')
logging.getLogger('late').warning('late logger')
warnings.warn('a warning')
from tqdm import tqdm
for _ in tqdm(range(3), desc='bar'): pass
from rich import print as rich_print
rich_print('[bold]rich[/bold]')
threads = [threading.Thread(target=child)]
threads[0].start(); threads[0].join()
import concurrent.futures
with concurrent.futures.ThreadPoolExecutor(1) as pool:
    pool.submit(print, 'pool print').result()
import matplotlib.pyplot as plt
plt.plot([1, 2]);
"""


def everything(cell: Cell) -> str:
    return printed(cell) + cell.text("stderr") + cell.traceback


@pytest.mark.smoke
@pytest.mark.slow
def test_everything_lands_in_the_launching_cell(any_kernel: Kernel) -> None:
    any_kernel.run(
        "import logging, sys\n"
        "early = logging.getLogger('early')\n"
        "early.addHandler(logging.StreamHandler()); early.propagate = False"
    )
    load(any_kernel)
    any_kernel.run("started = threading.Event()")
    cell = any_kernel.run(f"%%bg -q -n loud\n{LOUD}")
    later = any_kernel.run("print('foreground one'); started.set(); ipykill.jobs[1].wait(60)")
    last = any_kernel.run("print('foreground two')")
    cell.wait_output(lambda cell: "image/png" in str(cell.displays))
    shown = everything(cell)
    for text in (
        "print\n",
        "stderr\n",
        "'display'\n",
        "early logger",
        "late logger",
        "a warning",
        "bar: 100%",
        "rich",
        "child print",
        "child stderr",
        "child display",
        "pool print",
    ):
        assert text in shown, text
    assert everything(later) == "foreground one\n"
    assert everything(last) == "foreground two\n"


def test_prints_and_displays_keep_their_order(any_kernel: Kernel) -> None:
    load(any_kernel)
    cell = any_kernel.run("%%bg -q\nfor i in range(20):\n    print('p', i)\n    display(i)")
    wait_job(any_kernel)
    expected = "".join(f"p {i}\n{i}\n" for i in range(20))
    cell.wait_output(lambda cell: printed(cell) == expected)


def test_jobs_and_foreground_draw_figures_of_their_own(any_kernel: Kernel) -> None:
    load(any_kernel)
    any_kernel.run("import matplotlib.pyplot as plt\na, b, c = (threading.Event() for _ in '...')")
    code = "plt.plot([1, 2]); a.set(); b.wait(30)\nplt.figure(); plt.plot([2, 1]); c.wait(30)"
    job = any_kernel.run(f"%%bg -q\n{code}")
    first = any_kernel.run("a.wait(30); plt.figure(); plt.plot([1]); b.set()")
    second = any_kernel.run("plt.plot([3]); c.set()")
    wait_job(any_kernel)
    third = any_kernel.run("1")
    images = [
        sum("image/png" in display["data"] for display in cell.displays)
        for cell in (job, first, second, third)
    ]
    assert images == [2, 1, 1, 0]


def test_a_first_import_of_matplotlib_in_a_job_keeps_figures_apart(kernel: Kernel) -> None:
    load(kernel)
    kernel.run("a, b = threading.Event(), threading.Event()")
    job = kernel.run("%%bg -q\nimport matplotlib.pyplot as plt\nplt.plot([1]); a.set(); b.wait(30)")
    other = kernel.run("a.wait(60)")
    kernel.run("b.set()")
    wait_job(kernel)
    assert len(other.displays) == 0
    job.wait_output(lambda cell: "image/png" in str(cell.displays))


def test_figures_of_ipympl_are_shown_once(kernel: Kernel) -> None:
    pytest.importorskip("ipympl")
    load(kernel)
    kernel.run("%matplotlib widget\nimport matplotlib.pyplot as plt\ngo = threading.Event()")
    job = kernel.run(
        "%%bg -q\nplt.figure(); plt.plot([1]); plt.show()\n"
        "plt.figure(); plt.plot([2]); go.wait(30)\n"
        "figure = plt.figure(); display(figure.canvas); plt.close(plt.figure())"
    )
    own = kernel.run("plt.figure(); plt.plot([3]);")
    other = kernel.run("go.set()")
    wait_job(kernel)
    shown = [len([it for it in cell.displays if VIEW in it["data"]]) for cell in (job, own, other)]
    assert shown == [3, 1, 0]


def test_clear_output_and_display_updates_stay_in_the_cell(any_kernel: Kernel) -> None:
    load(any_kernel)
    any_kernel.run("go = threading.Event()")
    cell = any_kernel.run(
        "%%bg -q\nfrom IPython.display import clear_output\n"
        "handle = display('one', display_id=True)\ngo.wait(30)\n"
        "clear_output()\nhandle.update('two')"
    )
    other = any_kernel.run("go.set(); ipykill.jobs[1].wait(30)")
    cell.wait_output(lambda cell: cell.contents("clear_output"))
    cell.wait_output(lambda cell: "two" in str(cell.displays))
    assert not other.contents("clear_output")


def test_the_log_keeps_the_end_of_what_was_printed(kernel: Kernel, tmp_path) -> None:
    load(kernel)
    file = tmp_path / "out.log"
    kernel.run(
        f"%%bg -q --log {file}\nfor i in range(300): print('line', i)\n"
        "print('50%', end='\\r'); print('100%')"
    )
    wait_job(kernel)
    assert kernel.run("%bglog -n 2").text() == "(299 earlier lines)\nline 299\n100%\n"
    assert "line 0" in kernel.run("%bglog -n 1000").text()
    text = file.read_bytes().decode()
    assert text.startswith("line 0\n")
    assert text.endswith("50%\r100%\n")
    kernel.run("%%bg -q\nfor i in range(50): print(i, 'x' * 90_000)")
    wait_job(kernel)
    shown = kernel.run("%bglog").text()
    assert shown.startswith("(48 earlier lines)\n48 x")
    assert shown.endswith("x\n")


def test_a_log_file_keeps_what_is_in_it(kernel: Kernel, tmp_path) -> None:
    load(kernel)
    file = tmp_path / "out.log"
    first = kernel.run(f"%%bg -q --log {file}\nprint('first')")
    wait_job(kernel)
    again = kernel.run(f"%%bg -q --log {file}\nprint('again')")
    wait_job(kernel)
    assert file.read_text() == "first\nagain\n"
    again.wait_output("again")
    first.wait_output("first")
    assert "before" not in first.text()
    assert f"{str(file)!r} has 6 bytes from before" in again.text()


@pytest.mark.slow
def test_a_flood_shows_its_beginning_and_its_end(kernel: Kernel) -> None:
    load(kernel)
    cell = kernel.run("%%bg -q\nfor i in range(120_000): print(f'{i:080d}')\nprint('the end')")
    foreground = kernel.run("for i in range(100): print(i); time.sleep(0.01)")
    wait_job(kernel)
    cell.wait_output("the end")
    lines = cell.text().splitlines()
    assert lines[:3] == [f"{i:080d}" for i in range(3)]
    assert lines[-2] == f"{119_999:080d}"
    assert all(len(line) == 80 for line in lines[-90:-1])
    assert len(lines) < 600
    assert cell.text("stderr").count("left out here") == 1
    assert "%bglog 1" in cell.text("stderr")
    assert len(cell.text()) < 1_000_000
    assert len(cell.messages) < 500
    assert foreground.text() == "".join(f"{i}\n" for i in range(100))


def test_text_that_cannot_be_encoded_harms_nobody(kernel: Kernel) -> None:
    load(kernel)
    cell = kernel.run("%%bg -q\nprint('a \\ud800 b \\udc80 \\x00')\nprint('after')")
    wait_job(kernel)
    cell.wait_output("after")
    assert kernel.run("%bglog").text() == "a \\ud800 b \\udc80 \x00\nafter\n"


def test_writing_what_is_no_text_is_the_jobs_own_error(kernel: Kernel) -> None:
    load(kernel)
    cell = kernel.run("%%bg -q\nsys.stdout.write(b'bytes')")
    assert wait_job(kernel) == "failed"
    cell.wait_output(lambda cell: "must be str, not bytes" in cell.traceback)


def test_a_finalizer_that_prints_while_the_job_prints_does_not_hang(kernel: Kernel) -> None:
    load(kernel)
    cell = kernel.run(
        "%%bg -q\n"
        "class Collected(str):\n"
        '    """The garbage collector runs while this is being written."""\n'
        "    def split(self, separator):\n"
        "        print('from a finalizer'); display('shown')\n"
        "        return super().split(separator)\n"
        "sys.stdout.write(Collected('text\\n'))\n"
        "print('after')"
    )
    assert wait_job(kernel) == "done"
    cell.wait_output(lambda cell: len(printed(cell).splitlines()) == 4)
    assert printed(cell).startswith("text\n")
    assert set(printed(cell).split("\n")[1:]) == {"from a finalizer", "'shown'", "after", ""}


def test_a_log_file_that_takes_no_more_is_told_and_harms_no_job(kernel: Kernel) -> None:
    load(kernel)
    cell = kernel.run("%%bg -q --log /dev/full\nfor i in range(3): print('x', i)\n1 / 0")
    assert wait_job(kernel) == "failed"
    cell.wait_output(lambda cell: cell.errors)
    assert cell.text() == "x 0\nx 1\nx 2\n"
    told = "[1] the file of --log is not whole and gets no more: No space left on device\n"
    assert cell.text("stderr").count(told) == 1
    assert "ZeroDivisionError" in cell.traceback
    cell = kernel.run("%%bg -q --log /dev/full\n1 / 0")
    assert wait_job(kernel) == "failed"
    cell.wait_output(lambda cell: "is not whole" in cell.text("stderr"))
    assert "ZeroDivisionError" in cell.traceback


def test_an_error_whose_message_fails_is_shown(kernel: Kernel) -> None:
    load(kernel)
    kernel.run("class Mute(Exception):\n    def __str__(self): raise RuntimeError('no')")
    cell = kernel.run("%%bg -q\nraise Mute")
    assert wait_job(kernel) == "failed"
    cell.wait_output(lambda cell: cell.errors and cell.errors[0]["ename"] == "Mute")


def test_a_child_thread_that_outlives_its_job_prints_to_the_same_cell(any_kernel: Kernel) -> None:
    load(any_kernel)
    any_kernel.run("go = threading.Event()")
    cell = any_kernel.run(
        "%%bg -q\ndef late():\n    go.wait(30); print('late'); display('later')\n"
        "threading.Thread(target=late).start()"
    )
    wait_job(any_kernel)
    other = any_kernel.run("go.set()")
    cell.wait_output(lambda cell: printed(cell) == "late\n'later'\n")
    assert everything(other) == ""


def test_a_forked_child_prints(kernel: Kernel) -> None:
    load(kernel)
    cell = kernel.run(
        "%%bg -q\nimport os\npid = os.fork()\n"
        "if pid == 0:\n    print('from the child', flush=True); os._exit(0)\n"
        "_, status = os.waitpid(pid, 0)\nprint('status', status)"
    )
    assert wait_job(kernel) == "done"
    cell.wait_output("status 0")


def test_rich_outputs_arrive_as_they_are(any_kernel: Kernel) -> None:
    load(any_kernel)
    cell = any_kernel.run(
        "%%bg -q\n"
        "from IPython.display import HTML, Image, JSON, Markdown, clear_output\n"
        "display(HTML('<b>html</b>'), Markdown('*markdown*'))\n"
        "class Frame:\n"
        "    def _repr_html_(self): return '<table></table>'\n"
        "    def __repr__(self): return 'a table'\n"
        "for i in range(3):\n"
        "    clear_output(wait=True)\n"
        "    display(Markdown('*markdown*'), HTML(f'<b>{i}</b>'))\n"
        "display(JSON({'a': 1}), metadata={'key': 'value'})\n"
        "Frame()"
    )
    later = any_kernel.run("1;")
    assert wait_job(any_kernel) == "done"
    cell.wait_output(lambda cell: "<table>" in str(cell.displays))
    data = [it["data"] for it in cell.displays]
    assert data[0]["text/html"] == "<b>html</b>"
    assert data[-4]["text/markdown"] == "*markdown*"
    assert data[-3]["text/html"] == "<b>2</b>"
    assert data[-2]["application/json"] == {"a": 1}
    assert data[-1] == {"text/html": "<table></table>", "text/plain": "a table"}
    assert len(cell.contents("clear_output")) <= 3
    assert later.displays == []


@pytest.mark.slow
def test_a_flood_of_displays_shows_the_first_and_the_last(any_kernel: Kernel) -> None:
    load(any_kernel)
    cell = any_kernel.run("%%bg -q\nfor i in range(6000): display(i)\nprint('the end')")
    own = any_kernel.run("for i in range(10): display(i); time.sleep(0.01)")
    assert wait_job(any_kernel) == "done"
    cell.wait_output("the end")
    shown = [int(it["data"]["text/plain"]) for it in cell.displays]
    assert shown[:100] == list(range(100))
    assert shown[-5:] == list(range(5995, 6000))
    assert cell.text("stderr").count("left out here") == 1
    assert f"{6000 - len(shown):,} displays left out here" in cell.text("stderr")
    assert len(own.displays) == 10


def test_a_loop_that_updates_a_display_ends_with_the_last_state(kernel: Kernel) -> None:
    load(kernel)
    cell = kernel.run(
        "%%bg -q\nhandle = display(0, display_id=True)\n"
        "for i in range(5000): handle.update(i)\nprint('the end')"
    )
    assert wait_job(kernel) == "done"
    cell.wait_output("the end")
    assert [it["data"]["text/plain"] for it in cell.displays] == ["4999"]
    assert len(cell.messages) < 1000
    assert cell.text("stderr") == ""


def test_a_widget_that_is_changed_all_the_time_ends_with_its_last_state(kernel: Kernel) -> None:
    load(kernel)
    kernel.run("import ipywidgets; bar = ipywidgets.IntProgress(max=10_000)")
    kernel.run("class Odd(ipywidgets.IntProgress):\n    def get_state(self, key=None): 1 / 0")
    cell = kernel.run(
        "%%bg -q\n"
        "try: Odd(value=1)\nexcept ZeroDivisionError: print('its own error')\n"
        "for bar.value in range(5000): pass\n"
        "budget = sys.modules['ipykill.output.budget'].budget.messages\n"
        "budget._rate = 0; budget.take(10**9)\n"
        "with ipywidgets.Output(): print('inside')\n"
        "bar.description = 'text'\n"
        "with bar.hold_sync(): bar.min, bar.max = 1, 5000"
    )
    assert wait_job(kernel) == "done"
    cell.wait_output("its own error")
    kernel.idle()
    messages = [message for them in kernel.iopub.values() for message in them]
    messages.sort(key=lambda message: message["header"]["date"])
    states = [
        message["content"]["data"]["state"]
        for message in messages
        if message["msg_type"] == "comm_msg"
        and message["content"]["data"].get("method") == "update"
    ]
    assert len(states) < 1000
    order = [
        str(message["content"].get("data", message["content"]))
        for message in messages
        if message["msg_type"] in ("comm_msg", "stream")
    ]
    told = [it for it in order if "'msg_id': '" in it or "inside" in it]
    assert ["inside" in it for it in told] == [False, True, False]
    last = {key: value for state in states for key, value in state.items()}
    assert last | {"value": 4999, "description": "text", "min": 1, "max": 5000} == last


@pytest.mark.slow
def test_a_log_file_has_every_byte_of_a_flood_and_the_kernel_stays_small(
    kernel: Kernel, tmp_path: Path
) -> None:
    load(kernel)
    memory = "import resource; resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000"
    before = int(kernel.run(memory).result or 0)
    file = tmp_path / "flood.log"
    cell = kernel.run(
        f"%%bg -q --log {file}\n"
        "for i in range(120_000): print(f'{i:080d}')\n"
        "for i in range(30_000): print(i, 'of 30 000', end='\\r')\n"
        "noise = bytes(range(256)).decode('latin-1') * 10\n"
        "for i in range(1000): print('\\x1b[31m', noise, '\\x1b[0m')\n"
        "for i in range(3000): print(i, flush=True)\n"
        "print('x' * 50_000_000)\n"
        "print('the end')"
    )
    assert wait_job(kernel) == "done"
    cell.wait_output("the end", 60)
    noise = bytes(range(256)).decode("latin-1") * 10
    expected = "".join(
        [
            *(f"{i:080d}\n" for i in range(120_000)),
            *(f"{i} of 30 000\r" for i in range(30_000)),
            *(f"\x1b[31m {noise} \x1b[0m\n" for _ in range(1000)),
            *(f"{i}\n" for i in range(3000)),
            "x" * 50_000_000 + "\n",
            "the end\n",
        ]
    )
    with file.open(encoding="utf-8", newline="") as written:
        assert written.read() == expected
    assert int(kernel.run(memory).result or 0) - before < 400
    assert kernel.run("%bglog -n 1").text().endswith("the end\n")
    assert len(cell.text()) < 1_500_000


def test_what_passes_by_python_lands_below_the_newest_cell(kernel: Kernel) -> None:
    load(kernel)
    kernel.run("import os, subprocess\ngo = threading.Event()")
    cell = kernel.run(
        "%%bg -q\ngo.wait()\nos.write(1, b'by a descriptor\\n')\n"
        "subprocess.run(['echo', 'by a child'])\n"
        "print(subprocess.run(['echo', 'by a pipe'], capture_output=True, text=True).stdout)\n"
        "!echo by the shell"
    )
    newest = kernel.run("go.set(); ipykill.jobs[1].wait(30); time.sleep(0.3)")
    cell.wait_output("by the shell")
    assert "by a pipe" in cell.text()
    seen = newest.text() + cell.text() + kernel.log
    assert "by a descriptor" in seen
    assert "by a child" in seen
    assert "by a descriptor" not in cell.text()


@pytest.mark.parametrize("kind", ["tqdm.auto", "tqdm.notebook"])
def test_a_notebook_bar_drives_the_job_and_is_a_checkpoint(kernel: Kernel, kind: str) -> None:
    load(kernel)
    kernel.run("at_two, go = threading.Event(), threading.Event()")
    cell = kernel.run(
        f"%%bg -q -n bar\nfrom {kind} import tqdm\n"
        "with tqdm(total=8, desc='load') as bar:\n"
        "    bar.update(2); at_two.set(); go.wait()\n"
        "for i in tqdm(iter(int, 1), desc='endless'): time.sleep(0.001)"
    )
    kernel.run("at_two.wait(30)")
    assert kernel.run("p = ipykill.jobs[1].progress; p.done, p.total, p.description").result == (
        "(2, 8, 'load')"
    )
    other = kernel.run("go.set()")
    assert kernel.run("ipykill.jobs[1].stop(30), ipykill.jobs[1].state.value").result == (
        "(True, 'stopped')"
    )
    assert "application/vnd.jupyter.widget-view+json" in str(cell.displays)
    assert other.displays == []
