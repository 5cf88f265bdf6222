"""*Run again*: the same text with the same options, in the same cell."""

from pathlib import Path

from tests.kernel.harness import Kernel

LOAD = "%load_ext ipykill\nimport ipykill, threading"


def again(kernel: Kernel, number: int) -> str:
    """Press the button of a job; what is answered."""
    return kernel.run(
        "from ipykill import panel\n"
        "shown = panel._panel(ipykill.jobs)\n"
        f"print(shown.service.answer({{'do': 'again', 'id': {number}}}))"
    ).text()


def test_a_job_runs_again_in_its_cell_with_its_options(any_kernel: Kernel, tmp_path: Path) -> None:
    kernel = any_kernel
    kernel.run(LOAD)
    file = tmp_path / "log"
    cell = kernel.run(
        f"%%bg -n train -t 1h -o value --private --log {file}\n"
        "n = globals().get('n', 0)\nprint('began')\n1 / zero"
    )
    kernel.run("ipykill.jobs[1].wait(30)")
    assert ipykill_state(kernel, 1) == "failed"
    kernel.run("zero = 1")
    assert again(kernel, 1) == "{'again': 2}\n"
    cell.wait_output("[2] runs again what was job 1\n")
    kernel.run("ipykill.jobs[2].wait(30)")
    assert ipykill_state(kernel, 2) == "done"
    assert kernel.run("print(value, n, ipykill.jobs[2].name, ipykill.jobs[2].timeout)").text() == (
        "1.0 0 train 3600.0\n"
    )
    assert file.read_text().count("began\n") == 2


def ipykill_state(kernel: Kernel, number: int) -> str:
    return kernel.run(f"print(ipykill.jobs[{number}].state.value, end='')").text()


def test_the_card_goes_on_with_the_new_job(kernel: Kernel) -> None:
    kernel.run(LOAD + "\ngo = threading.Event()")
    kernel.run("%%bg -n train\ngo.wait()\n1 / 0")
    kernel.run("ipykill.jobs[1].kill(30)")
    assert again(kernel, 1) == "{'again': 2}\n"
    shown = kernel.run("(card,) = shown._cards; print(card.job.id, ipykill.jobs[2].has_card)")
    assert shown.text() == "2 True\n"
    assert "is over can run again" in again(kernel, 2)
    kernel.run("go.set()\nipykill.jobs[2].wait(30)")
    assert (
        "ZeroDivisionError"
        in kernel.run("print(shown.service.answer({'do': 'traceback', 'id': 2})['text'])").text()
    )
