"""All that a job shows goes to the cell that launched it."""

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
