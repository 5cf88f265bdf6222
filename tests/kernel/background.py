"""Words for what the tests of background cells do again and again."""

from tests.kernel.harness import Cell, Kernel


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


def printed(cell: Cell) -> str:
    """All that stands below a cell as text, in order: streams, displays, errors."""
    parts = []
    for message in cell.messages:
        content = message["content"]
        if message["msg_type"] == "stream":
            parts.append(content["text"])
        elif message["msg_type"] == "display_data":
            parts.append(content["data"]["text/plain"] + "\n")
    return "".join(parts)
