"""Cells that go on in the background, beside what else there is: a debugger, a second page."""

import itertools

import pytest

from tests.kernel.background import load, wait_job
from tests.kernel.foreground import (
    LOOP,
    detach,
    detached,
    kill,
    release,
    running,
    subshell,
    value,
    wait_main,
)
from tests.kernel.harness import Cell, Kernel
from tests.waiting import wait_for

CLIENT = {
    "clientID": "test", "clientName": "test", "adapterID": "", "pathFormat": "path",
    "linesStartAt1": True, "columnsStartAt1": True, "supportsVariableType": True,
    "supportsVariablePaging": True, "supportsRunInTerminalRequest": True, "locale": "en",
}  # fmt: skip
FUNCTION = "def double(a):\n    b = a + a\n    return b\nprint('double', double(4))"


class Debugger:
    """JupyterLab's debugger, attached to a kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._numbers = itertools.count(1)
        self.ask("initialize", **CLIENT)
        self.ask("attach")

    def ask(self, command: str, **arguments: object) -> dict:
        """Ask something; the body of the reply."""
        request = {"type": "request", "seq": next(self._numbers), "command": command}
        reply = self.kernel.control("debug_request", request | {"arguments": arguments})
        assert reply["success"], reply
        return reply.get("body", {})

    def stop_at(self, line: int, code: str) -> None:
        """Set a breakpoint in a cell."""
        path = self.ask("dumpCell", code=code)["sourcePath"]
        lines = [{"line": line}]
        self.ask("setBreakpoints", source={"path": path}, breakpoints=lines, sourceModified=False)
        self.ask("configurationDone")

    def stopped(self) -> int:
        """The number of the thread that has stopped; waits for it."""
        return wait_for(lambda: next(self._stops(), None), "a stop at a breakpoint")

    def _stops(self):
        for message in self.kernel.published:
            content = message["content"]
            if message["msg_type"] == "debug_event" and content["event"] == "stopped":
                yield content["body"]["threadId"]


@pytest.mark.parametrize("attached", ["before", "after"])
def test_the_debugger_works_on(kernel, attached):
    pytest.importorskip("debugpy")
    load(kernel)
    debugger = Debugger(kernel) if attached == "before" else None
    detached(kernel, "while True: time.sleep(0.01)")
    debugger = debugger or Debugger(kernel)
    debugger.stop_at(2, FUNCTION)
    cell = kernel.cell(FUNCTION)
    thread = debugger.stopped()
    frames = debugger.ask("stackTrace", threadId=thread)["stackFrames"]
    assert frames[0]["name"] == "double"
    assert not [frame for frame in frames if "ipykill" in frame["source"]["path"]]
    seen = debugger.ask("evaluate", expression="a + 1", frameId=frames[0]["id"], context="repl")
    assert seen["result"] == "5"
    assert detach(kernel) == {}  # a cell may go while it stands at a breakpoint
    debugger.ask("continue", threadId=thread)
    cell.wait().wait_output("double 8")
    assert value(kernel, "ipykill.jobs[1].state.value") == "running"
    kill(kernel)
    wait_main(kernel)
    debugger.ask("disconnect", restart=False, terminateDebuggee=False)
    assert kernel.run("6 * 7").result == "42"


def test_a_second_front_end_sees_and_uses_the_same(any_new_kernel):
    kernel = any_new_kernel
    load(kernel)
    with kernel.second_client() as other:
        cell = running(kernel, LOOP)
        queued = other.cell("print('mine', n > 0)")
        assert other.control("ipykill_request", {"do": "detach"}) == {}  # either may ask
        assert cell.wait().reply["status"] == "ok"
        queued.wait()
        assert queued.text() == "mine True\n"
        assert [it["status"] for it in (other.run("1/0").reply, kernel.run("2").reply)] == [
            "error",
            "ok",
        ]
        second = running(other, "time.sleep(1000)")
        assert detach(kernel) == {}
        assert second.wait().reply["status"] == "ok"
        assert "def f" in kernel.run("def f(): pass\nprint('def f')").text()
        kill(other, 1)
        kill(kernel, 2)
        wait_main(other)
    assert value(kernel, "[job.state.value for job in ipykill.jobs]") == "['killed', 'killed']"


def shows(kernel: Kernel) -> Cell:
    """A cell that has failed, and whose error is being shown as long as `go` is not set."""
    kernel.run("go = threading.Event()")
    code = (
        "class Slow(Exception):\n"
        "    def _render_traceback_(self): print('shows', flush=True); go.wait(); return ['slow']\n"
        "raise Slow"
    )
    return kernel.cell(code).wait_output("shows")


def test_a_cell_whose_error_is_shown_has_ended(kernel):
    load(kernel)
    kernel.run("stop = go = threading.Event()")
    detached(kernel, "stop.wait()")
    cell = shows(kernel)
    kernel.interrupt()  # in vain: it has been interrupted, and ■ is pressed again
    assert "it has just ended" in detach(kernel)["error"]
    assert subshell(kernel, "go.set()") == "ok"
    assert cell.wait().status == "error"
    assert [error["ename"] for error in cell.errors] == ["Slow"]
    assert value(kernel, "ipykill.jobs[1].state.value") == "running"
    release(kernel)
    assert wait_job(kernel, 1) == "done"


def test_an_interrupt_that_has_not_come_is_no_more_when_the_error_is_shown(kernel):
    load(kernel)
    detached(kernel, "stop = threading.Event()\nstop.wait()")
    # The cell waits in cleanup, where nothing is raised, and fails then by itself.
    code = "go = threading.Event()\ntry: pass\nfinally: print('cleans', flush=True); go.wait(); 1/0"
    cell = kernel.cell(code).wait_output("cleans")
    kernel.interrupt()
    asked = "ipykill.jobs.foreground.cell._family.interrupt_requested"
    wait_for(lambda: subshell(kernel, f"assert {asked}") == "ok", "the interrupt")
    assert subshell(kernel, "go.set()") == "ok"
    assert cell.wait().status == "error"
    assert [error["ename"] for error in cell.errors] == ["ZeroDivisionError"]
    release(kernel)
    assert wait_job(kernel, 1) == "done"


def test_a_deadline_is_set_afterwards(kernel):
    load(kernel)
    detached(kernel, "try: time.sleep(1000)\nfinally: print('cleaned')")
    kernel.run("%config BackgroundMagics.grace = 0\nipykill.jobs[1].timeout = 0.01")
    assert wait_job(kernel, 1) == "killed"
    assert value(kernel, "ipykill.jobs[1].reason, ipykill.jobs[1].log.tail()[-1]") == (
        "('timeout', 'cleaned')"
    )
    wait_main(kernel)


def test_a_subshell_detaches_and_goes_on(any_new_kernel):
    kernel = any_new_kernel
    load(kernel)
    cell = running(kernel, LOOP)
    assert subshell(kernel, "ipykill.jobs.detach()\nhere = threading.current_thread()") == "ok"
    assert cell.wait().reply["status"] == "ok"
    assert value(kernel, "here in (threading.current_thread(), threading.main_thread())") == "False"
    assert subshell(kernel, "ipykill.jobs.detach()") == "error"  # nothing runs
    kill(kernel)
    wait_main(kernel)


def test_widgets_work_while_a_cell_is_in_the_background(any_new_kernel):
    kernel = any_new_kernel
    load(kernel)
    kernel.run("import ipywidgets\nold = ipywidgets.IntSlider()")
    detached(kernel, LOOP)
    kernel.run("new, out = ipywidgets.Button(), ipywidgets.Output()\nheard = []")
    kernel.run("new.on_click(lambda _: heard.append(threading.current_thread()))")
    kernel.run("old.observe(lambda change: heard.append(change.new), 'value')")
    kernel.run("with out: print('in the widget')\nout")
    assert "in the widget" in str(kernel.page.in_widgets())
    kernel.press("new")
    kernel.press("old", value=7)
    assert value(kernel, "heard[0] is threading.current_thread(), heard[1:]") == "(True, [7])"
    kill(kernel)
    wait_main(kernel)
    kernel.press("old", value=8)  # made before the cell went, used after its end
    kernel.press("new")
    assert value(kernel, "heard[2], heard[3].name") == "(8, 'MainThread')"
