"""Words for what the tests of cells that go on in the background do again and again."""

from tests.kernel.harness import Cell, Kernel
from tests.overlays import OVERLAYS, Overlay
from tests.waiting import wait_for

CAN = [overlay for overlay in OVERLAYS if overlay.name in ("installed", "ipykernel-7.2.0")]
CANNOT = [overlay for overlay in OVERLAYS if overlay not in CAN]
if len(OVERLAYS) > 1:
    CAN.append(Overlay("ipykernel-7.3.0", (("ipykernel", "7.3.0"),)))


def detach(kernel: Kernel) -> dict:
    return kernel.control("ipykill_request", {"do": "detach"})


def running(kernel: Kernel, code: str) -> Cell:
    """A cell that has printed ``runs``."""
    return kernel.cell(f"print('runs', flush=True)\n{code}").wait_output("runs")


def detached(kernel: Kernel, code: str) -> Cell:
    """A cell that goes on as a job."""
    cell = running(kernel, code)
    assert detach(kernel) == {}
    assert cell.wait().reply["status"] == "ok"
    return cell


def value(kernel: Kernel, expression: str) -> str:
    cell = kernel.run(f"print(({expression}))")
    assert cell.status == "ok", cell
    return cell.text().strip()


def kill(kernel: Kernel, number: int = 1) -> None:
    assert value(kernel, f"ipykill.jobs[{number}].kill(20)") == "True"


LOOP = "n = 0\nwhile True: n += 1\n"


def wait_ready(kernel: Kernel) -> bool:
    """Until the cell that runs has set `ready`, as seen by a subshell."""
    return subshell(kernel, "ready.wait(20)") == "ok"


def release(kernel: Kernel) -> None:
    assert subshell(kernel, "stop.set()") == "ok"


def subshell(kernel: Kernel, code: str) -> str:
    """Run code in a subshell, while the main thread runs a cell."""
    number = kernel.control("create_subshell_request", {})["subshell_id"]
    message = kernel._client.session.msg(
        "execute_request",
        {"code": code, "silent": False, "store_history": False, "user_expressions": {}},
    )
    message["header"]["subshell_id"] = number
    kernel._client.shell_channel.send(message)
    reply = kernel.reply("shell", message["header"]["msg_id"])
    kernel.control("delete_subshell_request", {"subshell_id": number})
    return reply["content"]["status"]


def wait_main(kernel: Kernel) -> None:
    """Until the main thread is the shell again."""
    wait_for(lambda: value(kernel, "threading.current_thread().name") == "MainThread", "main")
