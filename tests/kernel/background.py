"""Words for what the tests of background cells do again and again."""

from tests.kernel.harness import Cell, Kernel
from tests.kernel.messages import is_card

LOOP = "while True:\n    x = 1"
SLEEP = "while True:\n    time.sleep(0.01)"  # runs as long, and takes no time from the kernel


def load(kernel: Kernel) -> None:
    cell = kernel.run("%load_ext ipykill\nimport ipykill, time, sys, threading")
    assert cell.status == "ok", cell
    assert cell.messages, cell
    assert cell.text() == cell.text("stderr") == "", "loading is silent"


def wait_job(kernel: Kernel, spec: object = "") -> str:
    """Wait until a job is over; its last state."""
    cell = kernel.run(f"job = ipykill.jobs[{spec!r}]; job.wait(60); print(job.state.value)")
    assert cell.status == "ok", cell
    return cell.text().strip()


def below(cell: Cell) -> list[str]:
    """What stands below a cell, in order: ``card``, or the text."""
    parts = []
    for message in cell.messages:
        content, kind = message["content"], message["msg_type"]
        if kind == "stream":
            parts.append(content["text"])
        elif kind == "error":
            parts.append(content["ename"])
        elif kind in ("display_data", "execute_result"):
            parts.append("card" if is_card(content) else content["data"]["text/plain"])
    return parts


def printed(cell: Cell) -> str:
    """All that a job put below its cell as text, in order: streams, displays, errors."""
    parts = []
    for message in cell.messages:
        content = message["content"]
        if message["msg_type"] == "stream":
            parts.append(content["text"])
        elif message["msg_type"] == "display_data" and not is_card(content):
            parts.append(content["data"]["text/plain"] + "\n")
    return "".join(parts)


def said(cell: Cell) -> str:
    assert cell.text("stderr") == "", cell
    return cell.text().strip()


def usage_error(kernel: Kernel, code: str) -> str:
    """The one line that bad input ends in."""
    before = kernel.run("len(ipykill.jobs), [job.requested for job in ipykill.jobs]").result
    cell = kernel.run(code)
    assert cell.status == "error", code
    assert cell.text() == ""
    lines = cell.text("stderr").strip().splitlines()
    assert len(lines) == 1, lines
    after = kernel.run("len(ipykill.jobs), [job.requested for job in ipykill.jobs]").result
    assert before == after, "nothing has happened"
    return lines[0]
