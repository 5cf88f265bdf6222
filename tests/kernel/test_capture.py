"""Captures and redirections: a job's catch what the job writes, the foreground's do not."""

import pytest

from tests.frames import shows_us
from tests.kernel.background import load, printed, wait_job
from tests.kernel.harness import Kernel

BOTH = "print('{0}'); print('{0} err', file=sys.stderr); display('{0} shown')\n"
REDIRECTIONS = """
import contextlib, io
from IPython.utils.capture import capture_output
"""


@pytest.fixture(autouse=True)
def loaded(request: pytest.FixtureRequest) -> None:
    for name in ("kernel", "any_kernel", "any_ipython"):
        if name in request.fixturenames:
            kernel = request.getfixturevalue(name)
            load(kernel)
            kernel.run(REDIRECTIONS + "go, said = threading.Event(), threading.Event()")


def test_what_a_job_writes_passes_by_a_capture_of_the_foreground(any_kernel: Kernel) -> None:
    cell = any_kernel.run(f"%%bg -q\ngo.wait()\n{BOTH.format('job')}said.set()")
    any_kernel.run(f"%%capture got\n{BOTH.format('one')}go.set(); said.wait(30)\n42")
    assert wait_job(any_kernel) == "done"
    cell.wait_output(lambda cell: "'job shown'" in printed(cell))
    assert cell.text() == "job\n"
    assert cell.text("stderr") == "job err\n"
    caught = any_kernel.run("print(repr(got.stdout), repr(got.stderr), len(got.outputs))").text()
    assert caught == "'one\\n' 'one err\\n' 2\n"


def test_what_a_job_prints_passes_by_a_redirection_of_the_foreground(any_kernel: Kernel) -> None:
    cell = any_kernel.run("%%bg -q\ngo.wait(); print('job'); said.set()")
    other = any_kernel.run(
        "with contextlib.redirect_stdout(io.StringIO()) as text:\n"
        "    print('one'); go.set(); said.wait(30)\n"
        "print(repr(text.getvalue()), type(text).__name__)"
    )
    assert other.text() == "'one\\n' StringIO\n"
    cell.wait_output("job\n")


CAPTURES = {
    "with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.redirect_stderr(text):\n"
    "    work()\n"
    "result = text.getvalue()": "'in\\nin err\\nin thread\\n'",
    "with capture_output() as got: work()\n"
    "result = got.stdout, got.stderr, [it.data['text/plain'] for it in got.outputs]": (
        """('in\\nin thread\\n', 'in err\\n', ["'in shown'"])"""
    ),
    "with contextlib.redirect_stdout(None): print('in')\nresult = 0\nwork_aside()": "0",
}


def test_a_capture_in_a_job_catches_the_job_alone(any_kernel: Kernel) -> None:
    any_kernel.run(
        "def work_aside():\n    said.set(); go.wait()\n"
        "def work():\n    print('in'); print('in err', file=sys.stderr)\n"
        "    if 'capture_output' in sys._getframe(1).f_code.co_names: display('in shown')\n"
        "    thread = threading.Thread(target=print, args=('in thread',))\n"
        "    thread.start(); thread.join(); work_aside()"
    )
    for code, expected in CAPTURES.items():
        any_kernel.run("go.clear(); said.clear()")
        cell = any_kernel.run(f"%%bg -q -n captures\nprint('before')\n{code}\nprint('after')")
        other = any_kernel.run("said.wait(30)\nprint('foreground'); display('shown'); go.set()")
        assert wait_job(any_kernel, "captures") == "done"
        assert printed(other) == "foreground\n'shown'\n"
        cell.wait_output("after")
        assert printed(cell) == "before\nafter\n"
        assert any_kernel.run("result").result == expected


def test_the_capture_magic_in_a_job(any_kernel: Kernel) -> None:
    for release in (
        "go.set(); ipykill.jobs['captures'].wait(30)",
        "threading.Timer(0.2, go.set).start()",
    ):
        # Once while a cell runs, and once while none does.
        any_kernel.run("go.clear()")
        cell = any_kernel.run(
            "%%bg -q -n captures\n%%capture got\ngo.wait()\nprint('in')\ndisplay('shown')\n"
            "!echo command\n6 * 7"
        )
        count = int(any_kernel.run("print('own'); len(Out)").result or 0)
        any_kernel.run(release)
        assert wait_job(any_kernel, "captures") == "done"
        assert printed(cell) == ""
        assert cell.contents("execute_result") == []
        assert any_kernel.run("[it.data['text/plain'] for it in got.outputs]").result == (
            "[\"'shown'\", '42']"
        )
        assert any_kernel.run("got.stdout.replace('\\r', '')").result == "'in\\ncommand\\n'"
        assert int(any_kernel.run("len(Out)").result or 0) <= count + 4


def test_an_error_in_a_capture_fails_the_job_and_a_kill_ends_it(any_kernel: Kernel) -> None:
    cell = any_kernel.run("%%bg -q\n%%capture\nprint('in')\n1 / 0")
    assert wait_job(any_kernel) == "failed"
    cell.wait_output(lambda cell: cell.errors)
    assert "ZeroDivisionError" in cell.traceback
    assert not shows_us(cell.traceback)
    cell = any_kernel.run("%%bg -q\n%%capture\nsaid.set()\nwhile True: x = 1")
    any_kernel.run("said.wait(30)")
    assert any_kernel.run("ipykill.jobs[2].kill(30)").result == "True"
    cell.wait_output("killed after")
    assert cell.errors == []
    assert any_kernel.run("print('seen')").text() == "seen\n"


def test_one_redirection_serves_a_job_and_the_foreground_at_once(kernel: Kernel) -> None:
    cell = kernel.run(
        "text = io.StringIO(); redirection = contextlib.redirect_stderr(text)\n"
        "redirection.__enter__(); print('one', file=sys.stderr)\n"
        "def work():\n"
        "    with redirection:\n"
        "        with redirection: print('in job', file=sys.stderr)\n"
        "        said.set(); go.wait(30); print('in job too', file=sys.stderr)\n"
        "    print('after', file=sys.stderr)\n"
        "ipykill.submit(work); said.wait(30); redirection.__exit__(None, None, None)\n"
        "print('two', file=sys.stderr); go.set()"
    )
    assert wait_job(kernel) == "done"
    cell.wait_output(lambda cell: "after" in cell.text("stderr"))
    assert sorted(cell.text("stderr").split()) == ["after", "two"]
    assert kernel.run("text.getvalue()").result == "'one\\nin job\\nin job too\\n'"
    assert kernel.run("print('still')").text() == "still\n"


def test_streams_that_lead_to_each_other(kernel: Kernel) -> None:
    cell = kernel.run(
        "%%bg -q\nwith contextlib.redirect_stdout(sys.stderr), "
        "contextlib.redirect_stderr(sys.stdout):\n    print('one'); print('two', file=sys.stderr)\n"
        "with contextlib.redirect_stdout(sys.stdout): print('three')"
    )
    assert wait_job(kernel) == "done"
    cell.wait_output("three\n")
    assert cell.text("stderr") == "one\ntwo\n"
    assert cell.text() == "three\n"


def test_what_the_job_prints_while_a_thread_of_it_paints_a_widget_stays_in_the_cell(
    kernel: Kernel,
) -> None:
    kernel.run("import ipywidgets; out = ipywidgets.Output()")
    cell = kernel.run(
        "%%bg -q\n"
        "def paint():\n"
        "    with out:\n"
        "        print('painted'); said.set(); go.wait(30); display('painted too')\n"
        "painter = threading.Thread(target=paint); painter.start()\n"
        "said.wait(30); print('printed'); display('displayed'); go.set(); painter.join()"
    )
    assert wait_job(kernel) == "done"
    cell.wait_output(lambda cell: cell.page == ["printed\n", "'displayed'"])
    assert kernel.page.in_widgets() == [["painted\n", "'painted too'"]]


def test_one_widget_takes_what_a_job_and_the_foreground_show_in_it_at_once(
    any_kernel: Kernel,
) -> None:
    any_kernel.run("import ipywidgets; out = ipywidgets.Output()")
    job = any_kernel.run(
        "%%bg -q\nprint('before')\nwith out:\n    print('job 1'); said.set(); go.wait(30)\n"
        "    print('job 2'); time.sleep(0.2); print('job 3'); done.set()\nprint('after')"
    )
    other = any_kernel.run(
        "done = threading.Event(); said.wait(30)\nwith out:\n"
        "    print('own 1'); sys.stdout.flush(); go.set(); done.wait(30); print('own 2')\n"
        "print('outside')"
    )
    assert wait_job(any_kernel) == "done"
    job.wait_output(lambda cell: cell.page == ["before\nafter\n"])
    assert other.page == ["outside\n"]
    (shown,) = any_kernel.page.in_widgets()
    # A line of the foreground may be sent in two pieces, with one of the job between them.
    lines = ["job 1", "job 2", "job 3", "own 1", "own 2"]
    text = "".join(shown)
    assert all(line in text for line in lines), text
    assert len(text) == len("\n".join([*lines, ""])), text


def test_a_bar_of_rich_in_a_job_takes_nothing_of_the_foregrounds(kernel: Kernel) -> None:
    cell = kernel.run(
        "%%bg -q\nfrom rich.progress import Progress\n"
        "while get_ipython().builtin_trap._nested_level: pass\n"
        "print('no cell is running')\n"
        "with Progress() as bar:\n"
        "    bar.add_task('working'); said.set(); go.wait(30); print('printed')"
    ).wait_output("no cell is running")
    other = kernel.run("said.wait(30); print('foreground'); type(sys.stdout).__name__")
    kernel.run("go.set()")
    assert wait_job(kernel) == "done"
    assert other.text() == "foreground\n"
    assert other.displays == []
    assert other.result == "'OutStream'"
    cell.wait_output("printed\n")
    assert "working" in str(cell.displays), "rich sees that this is a notebook"
