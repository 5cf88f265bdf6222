"""All that a job shows goes to the cell that launched it."""

import pytest

from tests.kernel.background import load, printed, wait_job
from tests.kernel.harness import Cell, Kernel

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
    assert all(len(line) == 80 for line in lines[-500:-1])
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


def test_writing_what_is_no_text_is_the_jobs_own_error(kernel: Kernel) -> None:
    load(kernel)
    cell = kernel.run("%%bg -q\nsys.stdout.write(b'bytes')")
    assert wait_job(kernel) == "failed"
    cell.wait_output(lambda cell: "must be str, not bytes" in cell.traceback)


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
