"""What the JupyterLab extension asks of a kernel, and what it is told."""

from tests.kernel.harness import Kernel
from tests.waiting import wait_for


def hello(kernel: Kernel, *known: str) -> dict:
    return kernel.control("ipykill_request", {"do": "hello", "known": known})


def comms(kernel: Kernel) -> list[str]:
    return list(kernel.control("comm_info_request", {"target_name": "ipykill"})["comms"])


def told(kernel: Kernel) -> list[tuple[str, object]]:
    """The messages of comms so far."""
    kinds = ("comm_open", "comm_msg", "comm_close")
    return [(m["msg_type"], m["content"]) for m in kernel.published if m["msg_type"] in kinds]


def test_a_page_finds_out_that_it_is_loaded_and_gets_the_views(any_kernel: Kernel) -> None:
    kernel = any_kernel
    assert comms(kernel) == []
    kernel.run("%load_ext ipykill")
    (number,) = comms(kernel)
    # No model of a widget before somebody asks: nbconvert and papermill would save it.
    assert told(kernel) == [("comm_msg", {"comm_id": number, "data": {"ipykill": "loaded"}})]
    busy = kernel.cell("print('begun')\nimport threading\nthreading.Event().wait()")
    busy.wait_output("begun")
    welcome = hello(kernel)
    assert "export" in welcome["script"]
    assert ".ipykill" in welcome["style"]
    assert hello(kernel, welcome["digest"]) == {
        "model": welcome["model"],
        "digest": welcome["digest"],
    }
    watch = {"do": "watch", "page": "mine", "rev": -1, "details": [], "model": welcome["model"]}
    assert kernel.control("ipykill_request", watch)["state"]["rows"] == []
    kernel.interrupt()
    busy.wait()
    kernel.run("%unload_ext ipykill")
    assert comms(kernel) == []
    closed = ("comm_close", {"comm_id": number, "data": {"ipykill": "unloaded"}})
    assert closed in told(kernel)


SLOW = """
import comm, time
create_comm = comm.create_comm
def create_slow_comm(**options):
    made = create_comm(**options)
    send = made.send
    made.send = lambda data: (send(data), time.sleep(1))
    return made
comm.create_comm = create_slow_comm
"""


def test_a_page_that_asks_at_once_when_it_is_told_is_welcome(kernel: Kernel) -> None:
    kernel.run(SLOW)
    cell = kernel.cell("%load_ext ipykill")
    wait_for(lambda: told(kernel), "the word that it is loaded")
    assert "model" in hello(kernel)
    assert cell.wait().status == "ok"


def test_a_reload_is_told_and_keeps_the_model(kernel: Kernel) -> None:
    kernel.run("%load_ext ipykill")
    before = hello(kernel)["model"]
    kernel.run("%reload_ext ipykill")
    assert len(comms(kernel)) == 1
    kinds = [kind for kind, content in told(kernel) if "ipykill" in content["data"]]
    assert kinds == ["comm_msg", "comm_close", "comm_msg"]
    assert hello(kernel)["model"] == before


def test_the_line_that_the_user_did_not_write_is_not_counted(any_kernel: Kernel) -> None:
    any_kernel.run("%load_ext ipykill")
    cell = any_kernel.run_in_background("\nx = 1\n1 / 0")
    cell.wait_output(lambda cell: cell.errors)
    assert "----> 3 1 / 0" in cell.traceback
    again = any_kernel.run("%%bg\n\nx = 1\n1 / 0")
    again.wait_output(lambda cell: cell.errors)
    assert "----> 4 1 / 0" in again.traceback
