"""What a flood of output costs, in a real JupyterLab: in a job, beside the same in the foreground.

``python -m tests.benchmarks output --only displays`` measures those whose names say that.
"""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from playwright.sync_api import Page, WebSocket

import ipykill
from tests.benchmarks.panel import FRAMES
from tests.benchmarks.table import Table
from tests.browser.harness import Lab, labs
from tests.waiting import wait_for

SETUP = """%load_ext ipykill
import ipykill, json, os, random, resource, time
from IPython.display import display
facts = {}

def measured(flood, name):
    wall, cpu = time.monotonic(), time.process_time()
    flood()
    print("the end")
    while time.process_time() - cpu > facts.get(name, [0, -1])[1] + 0.01:
        facts[name] = time.monotonic() - wall, time.process_time() - cpu
        time.sleep(0.5)  # until what waits has been sent
    facts[name] = *facts[name], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000

def paced(count, seconds, one):
    count, seconds = int(count * part), seconds * part
    begin = time.monotonic()
    for number in range(count):
        if number % 10 == 0:
            time.sleep(max(begin + seconds * number / count - time.monotonic(), 0))
        one(number)
"""

FLOODS = {
    "nothing, for comparison": "time.sleep(2)",
    "1000 lines of 80 characters a second, for 30 s": (
        "paced(30_000, 30, lambda n: print(f'{n:080d}'))"
    ),
    "120 000 lines of 80 characters in 6 s": "paced(120_000, 6, lambda n: print(f'{n:080d}'))",
    "2000 flushed prints a second": "paced(6000, 3, lambda n: print(n, flush=True))",
    "2000 displays a second": "paced(6000, 3, display)",
    "500 updates of a display a second": (
        "handle = display(0, display_id=True)\npaced(3000, 6, handle.update)"
    ),
    "2000 changes of a widget a second": (
        "import ipywidgets\n"
        "bar = ipywidgets.IntProgress(max=6000)\n"
        "display(bar)\n"
        "paced(6000, 3, lambda n: setattr(bar, 'value', n))"
    ),
    "one line of 50 MB": "print('0123456789' * int(5_000_000 * part))",
    "a million repaints with \\r": (
        "paced(1_000_000, 0, lambda n: print(n, 'of 1 000 000', end='\\r'))"
    ),
    "ANSI and binary noise, 10 MB": (
        "noise = random.Random(1).randbytes(100).decode('latin-1')\n"
        "paced(100_000, 2, lambda n: print(f'\\x1b[3{n % 8}m', noise, '\\x1b[2K\\x1b[0m'))"
    ),
}


TRACED = ["__metadata", "toplevel", "disabled-by-default-devtools.timeline"]
"""What Chromium tells of the tasks of its threads."""


@dataclass(frozen=True)
class Cost:
    """What a flood did to the page and the kernel."""

    seconds: float  # until its code had ended
    cpu: float
    memory: float  # MB, the most that the kernel had so far
    messages: int
    bytes: int
    frame: float  # milliseconds, the longest, which other load on the machine makes longer,
    work: float  # and the processor time of the longest piece of work of the page's main thread
    text: str  # what stands below the cell

    @property
    def limited(self) -> bool:
        """The server cut the connection off."""
        return "rate exceeded" in self.text

    @property
    def whole(self) -> bool:
        """The end arrived."""
        return "the end" in self.text


class Traffic:
    """Counts what the kernel sends to the page as output."""

    def __init__(self, page: Page) -> None:
        self.messages = self.bytes = 0
        page.on("websocket", lambda socket: self._opened(socket))

    def _opened(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._received)

    def _received(self, frame: str | bytes) -> None:
        data = frame if isinstance(frame, bytes) else frame.encode()
        if any(kind in data[:2000] for kind in (b'"stream"', b"display_data", b"comm_msg")):
            self.messages += 1
            self.bytes += len(data)


def cost(lab: Lab, flood: str, part: float, *, job: bool) -> Cost:
    """Open a notebook of its own, run a `part` of `flood` in it, and see what it does."""
    traffic = Traffic(lab.page)
    # One definition, since what is compared must be the same code.
    define = "def flood():\n" + "\n".join(f"    {line}" for line in flood.splitlines())
    call = "measured(flood, 'flood')"
    own = "for number in range(20): print('own', number); time.sleep(0.05)"
    lab.open(
        f"{SETUP}\npart = {part}\n{define}",
        f"%%bg -q\n{call}" if job else call,
        own,
        "ipykill.jobs.wait(list(ipykill.jobs)); print('facts', json.dumps(facts['flood']))",
    )
    lab.page.evaluate(FRAMES)
    lab.run(0)
    lab.page.evaluate("() => { window.frames_.length = 0 }")
    browser = lab.page.context.browser
    assert browser is not None
    browser.start_tracing(page=lab.page, categories=TRACED)
    lab.run(1, timeout=300)
    lab.run(2, timeout=300)
    lab.run(3, timeout=300)
    lab.wait_output(3, "facts [")
    if job:
        wait_for(lambda: "the end" in shown(lab, 1), "the end of the flood")
        assert lab.output(2) == "".join(f"own {number}\n" for number in range(20))
    lab.page.wait_for_timeout(1000)
    seconds, cpu, memory = json.loads(lab.output(3).partition("facts ")[2])
    frame = lab.page.evaluate("() => Math.max(...window.frames_)")
    work = longest_work(browser.stop_tracing())
    return Cost(seconds, cpu, memory, traffic.messages, traffic.bytes, frame, work, shown(lab, 1))


def longest_work(trace: bytes) -> float:
    """The milliseconds that a processor needs for the longest task of the main threads of pages."""
    events = json.loads(trace)["traceEvents"]
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks = [event for event in events if event["name"].endswith("RunTask")]
    assert tasks, "Chromium names its tasks differently now"
    return max(
        event.get("tdur", 0) / 1000 for event in tasks if (event["pid"], event["tid"]) in threads
    )


def shown(lab: Lab, index: int) -> str:
    """The text of all outputs of a cell; the page itself shows the first fifty."""
    return lab.page.evaluate(
        """index => {
            const { widgets } = window.jupyterapp.shell.currentWidget.content;
            const outputs = widgets[index].model.outputs.toJSON();
            return outputs.map((it) => it.text ?? it.data?.["text/plain"] ?? "").flat().join("");
        }""",
        index,
    )


def _row(job: Cost, foreground: Cost) -> list[str]:
    def pair(value: Callable[[Cost], float]) -> str:
        return f"{value(job):,.3g} / {value(foreground):,.3g}"

    def arrived(cost: Cost) -> str:
        return "cut off" if cost.limited else "yes" if cost.whole else "**no**"

    return [
        *(pair(lambda it: it.seconds), pair(lambda it: it.cpu), pair(lambda it: it.messages)),
        *(pair(lambda it: it.bytes / 1000), pair(lambda it: it.text.count("\n"))),
        *(pair(lambda it: it.frame), pair(lambda it: it.work)),
        f"{arrived(job)} / {arrived(foreground)}",
    ]


def step_of_track() -> str:
    """What a step of `track` costs in a job of which nothing is asked."""

    def nanoseconds(items: Callable[[range], Iterable[int]]) -> float:
        def once() -> float:
            begin = time.thread_time()
            for _ in items(range(1_000_000)):
                pass
            return time.thread_time() - begin

        return min(once() for _ in range(5)) * 1000

    def work() -> float:
        return nanoseconds(ipykill.track) - nanoseconds(iter)

    return f"A step of `track()` costs {ipykill.submit(work).result():.0f} ns."


def output(parts_of_names: Iterable[str], part: float) -> Table:
    """Measure those floods, a `part` of each."""
    rows = {}
    with labs() as new_lab:
        for name, flood in FLOODS.items():
            if any(it in name for it in parts_of_names):
                costs = []
                for job in (True, False):
                    with new_lab() as lab:
                        costs.append(cost(lab, flood, part, job=job))
                rows[name] = _row(*costs)
    return Table(
        "Floods of output",
        "In a job / in the foreground: the seconds of the code, the kernel's CPU seconds, what it "
        "sends to the page, the lines that are shown there, the longest frame of the page and the "
        "processor time of its longest piece of work in ms, and whether the end arrives; cut off: "
        f"by the server. {step_of_track()}",
        ["s", "CPU s", "messages", "kB", "lines", "frame", "work", "end"],
        rows,
    )
