"""The harness tells the truth about real kernels."""

import pytest

from tests.kernel.harness import Kernel

LATE = """
import contextvars, threading
go = threading.Event()
def late():
    go.wait()
    print("late")
thread = threading.Thread(target=contextvars.copy_context().run, args=(late,))
thread.start()
print("early")
"""


def test_outputs_belong_to_their_cell(any_kernel: Kernel) -> None:
    first = any_kernel.run(LATE)
    second = any_kernel.run("import sys; print('two'); go.set(); print('three', file=sys.stderr)")
    first.wait_output("late")
    assert first.text() == "early\nlate\n"
    assert second.text() == "two\n"
    assert second.text("stderr") == "three\n"


def test_result_display_and_error(kernel: Kernel) -> None:
    cell = kernel.run("handle = display('one', display_id=True); 6 * 7")
    assert cell.status == "ok"
    assert cell.result == "42"
    kernel.run("handle.update('two')")
    assert [display["data"]["text/plain"] for display in cell.displays] == ["'two'"]
    cell = kernel.run("1 / 0")
    assert cell.status == "error"
    assert [error["ename"] for error in cell.errors] == ["ZeroDivisionError"]
    assert "----> 1 1 / 0" in cell.traceback


def test_interrupt_ends_the_running_cell(kernel: Kernel) -> None:
    cell = kernel.cell("import time\nprint('started', flush=True)\ntime.sleep(1000)")
    cell.wait_output("started")
    kernel.interrupt()
    assert cell.wait().errors[0]["ename"] == "KeyboardInterrupt"


def test_control_is_answered_while_a_cell_runs(kernel: Kernel) -> None:
    cell = kernel.cell("import time\nprint('started', flush=True)\ntime.sleep(1000)")
    cell.wait_output("started")
    assert kernel.control("kernel_info_request", {})["status"] == "ok"
    assert not cell.ended
    kernel.interrupt()
    kernel.idle()
    assert cell.ended


def test_restart_forgets_the_namespace(kernel: Kernel) -> None:
    kernel.run("x = 1")
    kernel.restart()
    assert kernel.run("x").errors[0]["ename"] == "NameError"
    assert kernel.run("2").result == "2"


def test_shutdown_ends_the_process(kernel: Kernel) -> None:
    kernel.shutdown()
    assert not kernel.alive


def test_complete_and_inspect(kernel: Kernel) -> None:
    kernel.run("apples = 3\ndef pears():\n    'How many pears.'")
    assert "apples" in kernel.complete("appl")
    assert "How many pears." in kernel.inspect("pears")


def test_a_dead_kernel_is_named(kernel: Kernel) -> None:
    cell = kernel.cell("import os; os.write(2, b'last words'); os._exit(1)")
    with pytest.raises(AssertionError, match=r"the kernel died:(.|\n)*last words"):
        cell.wait()
