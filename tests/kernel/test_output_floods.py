"""Of floods, a cell shows the beginning and the end; a log keeps the end, a log file all."""

from pathlib import Path

import pytest

from tests.kernel.background import load, wait_job
from tests.kernel.harness import Kernel


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


def test_a_log_file_that_takes_no_more_is_told_and_harms_no_job(kernel: Kernel) -> None:
    load(kernel)
    cell = kernel.run("%%bg -q --log /dev/full\nfor i in range(3): print('x', i)\n1 / 0")
    assert wait_job(kernel) == "failed"
    cell.wait_output(lambda cell: cell.errors)
    assert cell.text() == "x 0\nx 1\nx 2\n"
    told = "[1] the file of --log lacks what follows: No space left on device\n"
    assert cell.text("stderr").count(told) == 1
    assert "ZeroDivisionError" in cell.traceback
    cell = kernel.run("%%bg -q --log /dev/full\n1 / 0")
    assert wait_job(kernel) == "failed"
    cell.wait_output(lambda cell: "lacks what follows" in cell.text("stderr"))
    assert "ZeroDivisionError" in cell.traceback


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
