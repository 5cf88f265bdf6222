"""What the panel costs, in a real JupyterLab: messages, bytes, milliseconds, frames, CPU.

``python -m tests.benchmarks panel --only clicks`` measures a part of it.
"""

import functools
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

from playwright.sync_api import WebSocket

from tests.benchmarks.table import Table
from tests.browser.harness import Lab, labs
from tests.overlays import INSTALLED, OVERLAYS, Overlay
from tests.waiting import wait_for

SETUP = """%load_ext ipykill
import ipykill, threading, time
end = threading.Event()"""

# In the page: the time between two frames, and when a text appears.
FRAMES = """() => {
  window.frames_ = []; let last = performance.now();
  const step = (now) => {
    window.frames_.push(now - last);
    last = now;
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}"""
CLICK_TO_KILLED = """async (name) => {
  const kill = document.querySelector(`[aria-label="${name}"]`);
  const state = kill.closest(".ipykill-job").querySelector(".ipykill-state");
  kill.click();
  const start = performance.now();
  kill.click();
  while (state.textContent !== "killed") await new Promise((go) => setTimeout(go, 1));
  return performance.now() - start;
}"""


class Traffic:
    """Counts what the kernel sends to the page about outputs and widgets."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.reset()
        lab.page.on("websocket", self._opened)

    def _opened(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._received)

    def _received(self, frame: str | bytes) -> None:
        data = frame if isinstance(frame, bytes) else frame.encode()
        kinds = (b'"comm_open"', b'"comm_msg"', b'"display_data"', b'"update_display_data"')
        if any(kind in data for kind in kinds):
            self.messages += 1
            self.bytes += len(data)

    def reset(self) -> None:
        self.messages = self.bytes = 0

    def over(self, seconds: float) -> str:
        self.reset()
        self._lab.page.wait_for_timeout(seconds * 1000)
        return f"{self.messages / seconds:.1f} messages/s, {self.bytes / seconds / 1000:.1f} kB/s"


class Bench:
    """A page, and the figures that were found in it."""

    def __init__(self, lab: Lab, offer: Callable[[Overlay], None]) -> None:
        self.lab = lab
        self.offer = offer
        self.traffic = Traffic(lab)
        self.rows: dict[str, list[str]] = {}

    def open(self, *cells: str, app: str = "lab/tree", kernel: Overlay = INSTALLED) -> None:
        self.offer(kernel)
        self.lab.open(*cells, app=app, kernel=kernel)
        self.lab.page.evaluate(FRAMES)

    def longest_frame(self, do: Callable[[], object]) -> float:
        self.lab.page.evaluate("() => { window.frames_.length = 0 }")
        do()
        self.lab.page.wait_for_timeout(300)
        return self.lab.page.evaluate("() => Math.max(...window.frames_)")

    def appears(self, index: int, text: str) -> float:
        """Run a cell; milliseconds until `text` stands below it."""
        page = self.lab.page
        self.lab.cell(index).locator(".jp-InputPrompt").click()
        page.evaluate(
            """([index, text]) => {
              const cell = document.querySelectorAll(".jp-Notebook .jp-CodeCell")[index];
              window.appeared = null;
              const start = performance.now();
              const look = () => {
                const found = cell.querySelector(".ipykill")?.textContent.includes(text);
                if (found) window.appeared = performance.now() - start;
                else requestAnimationFrame(look);
              };
              look();
            }""",
            [index, text],
        )
        page.keyboard.press("Control+Enter")
        wait_for(lambda: page.evaluate("() => window.appeared"), f"{text!r}", 120)
        return page.evaluate("() => window.appeared")

    def say(self, what: str, figures: str) -> None:
        self.rows[what] = [figures]


LAUNCH_500 = "for i in range(500): ipykill.submit(end.wait, name=f'job-{i}')"


def appear(bench: Bench) -> None:
    times = []
    for _ in range(7):
        bench.open(f"{SETUP}\n{LAUNCH_500}", "%bgpanel", "end.set()")
        bench.lab.run(0)
        times.append(bench.appears(1, "500 running"))
        bench.lab.run(2)
        bench.lab.server.shutdown_kernels()
    bench.say(
        "500 running jobs appear, a new kernel each time",
        f"median {statistics.median(times):.0f} ms of {len(times)}, "
        f"{min(times):.0f} to {max(times):.0f} ms",
    )


def many_running(bench: Bench) -> None:
    bench.open(
        f"{SETUP}\n{LAUNCH_500}",
        "%bgpanel",
        "a = time.process_time(); time.sleep(5); print(time.process_time() - a)",
        "ipykill.jobs[250].stop()",
        "end.set()",
    )
    bench.lab.run(0)
    bench.traffic.reset()
    times = []
    frame = bench.longest_frame(lambda: times.append(bench.appears(1, "500 running")))
    bench.say(
        "500 running jobs appear",
        f"{bench.traffic.messages} messages, {bench.traffic.bytes / 1000:.0f} kB, "
        f"{times[0]:.0f} ms, longest frame {frame:.0f} ms",
    )
    bench.lab.page.wait_for_timeout(12_000)
    bench.say("they run, nothing changes", bench.traffic.over(5))
    bench.lab.run(2)
    cpu = float(bench.lab.output(2)) / 5
    bench.say("kernel CPU meanwhile, a view open", f"{cpu:.1%}")
    bench.traffic.reset()
    bench.lab.run(3)
    bench.lab.page.wait_for_timeout(1000)
    bench.say("one is stopped", f"{bench.traffic.messages} messages, {bench.traffic.bytes} bytes")
    bench.lab.page.wait_for_timeout(11_000)
    bench.traffic.reset()
    frame = bench.longest_frame(
        lambda: (bench.lab.run(4), bench.lab.page.get_by_text("500 done").wait_for())
    )
    bench.say(
        "all 500 end",
        f"{bench.traffic.messages} messages, {bench.traffic.bytes / 1000:.0f} kB, "
        f"longest frame {frame:.0f} ms",
    )


def storm(bench: Bench) -> None:
    # Into the log only: what output costs in the cell is not the panel's.
    work = (
        "def work():\n    i = 0\n    while not end.is_set():\n"
        "        ipykill.current_job().log.write(f'{i}\\n'); i += 1; time.sleep(0.01)\n"
        "ipykill.submit(work, name='seen')\n"
        "for i in range(50): ipykill.submit(work, name=f'job-{i}')"
    )
    bench.open(SETUP, "%bgpanel", "end.set()", work)
    for index in (0, 1, 3):
        bench.lab.run(index)
    rates = []
    frame = bench.longest_frame(lambda: rates.append(bench.traffic.over(10)))
    bench.say("51 jobs that print 100 lines a second each", f"{rates[0]}, frame {frame:.0f} ms")
    bench.lab.run(2)


def open_log(bench: Bench) -> None:
    work = (
        "%%bg -q -n flood\nlog = ipykill.current_job().log\nwhile not end.is_set():\n"
        "    log.write('a line of a log that somebody reads ' * 2 + '\\n'); time.sleep(0.001)"
    )
    bench.open(SETUP, work, "%bgpanel", "end.set()")
    for index in range(3):
        bench.lab.run(index)
    bench.lab.page.get_by_role("button", name="Log of flood (job 1)").click()
    bench.lab.page.wait_for_timeout(5000)  # until the page keeps all the lines that it will keep
    rates = []
    frame = bench.longest_frame(lambda: rates.append(bench.traffic.over(10)))
    bench.say("an open log, 1000 lines a second", f"{rates[0]}, frame {frame:.0f} ms")
    bench.lab.run(3)


def many_finished(bench: Bench) -> None:
    finish = "ipykill.jobs.wait([ipykill.submit(int, name=f'job-{i}') for i in range(10_000)], 60);"
    bench.open(
        f"{SETUP}\n{finish}", "%bgpanel", "ipykill.submit(end.wait, name='new');", "end.set()"
    )
    bench.lab.run(0, timeout=120)
    times = []
    bench.traffic.reset()
    frame = bench.longest_frame(lambda: times.append(bench.appears(1, "10000 done")))
    bench.say(
        "10 000 finished jobs appear",
        f"{bench.traffic.messages} messages, {bench.traffic.bytes / 1e6:.2f} MB, "
        f"{times[0]:.0f} ms, longest frame {frame:.0f} ms",
    )
    scroller = bench.lab.page.locator(".ipykill-scroller")

    def scroll() -> None:
        for part in range(1, 21):
            scroller.evaluate("(it, part) => it.scrollTo(0, it.scrollHeight * part / 20)", part)
            bench.lab.page.wait_for_timeout(50)

    bench.say("they are scrolled through", f"longest frame {bench.longest_frame(scroll):.0f} ms")
    bench.traffic.reset()
    frame = bench.longest_frame(lambda: bench.lab.run(2))
    bench.say(
        "one more is launched",
        f"{bench.traffic.messages} messages, {bench.traffic.bytes} bytes, "
        f"longest frame {frame:.0f} ms",
    )
    bench.lab.run(3)


BUSY = {
    "while True: pass": "while True: pass",
    "time.sleep": "time.sleep(1000)",
    "numpy": "import numpy as np; a = np.random.rand(9000, 9000); np.linalg.svd(a)",
}


def clicks(bench: Bench) -> None:
    for app in ("lab/tree", "notebooks"):
        for kernel in OVERLAYS:
            for what, code in BUSY.items():
                times = _click_to_killed(bench, code, app, kernel)
                bench.say(
                    f"a click on Kill, {kernel.name}, {app.split('/')[0]}, beside {what}",
                    f"median {statistics.median(times):.0f} ms, "
                    f"longest {max(times):.0f} ms of {len(times)}",
                )


def _click_to_killed(bench: Bench, busy: str, app: str, kernel: Overlay) -> list[float]:
    loop = "while True: time.sleep(0.01)"
    jobs = [f"%%bg -n job-{number}\n{loop}" for number in range(1, 9)]
    bench.open(SETUP, *jobs, f"print('begun')\n{busy}", app=app, kernel=kernel)
    for index in range(1 + len(jobs)):
        bench.lab.run(index)
    bench.lab.start(1 + len(jobs))
    # Notebook draws only the cells that are in sight.
    bench.lab.wait_output(1 + len(jobs), "begun")
    bench.lab.page.wait_for_timeout(500)
    times = []
    for number in range(1, 1 + len(jobs)):
        name = f"Kill job-{number} (job {number})"
        bench.lab.page.get_by_label(name).first.scroll_into_view_if_needed()
        times.append(bench.lab.page.evaluate(CLICK_TO_KILLED, name))
    bench.lab.server.shutdown_kernels()
    return times


def no_view(bench: Bench) -> None:
    bench.open(
        f"{SETUP}\nipykill.submit(end.wait)",
        "%bgpanel",
        "a = time.process_time(); time.sleep(5); print(time.process_time() - a)",
        "print([it.name for it in threading.enumerate() if 'panel' in it.name]); end.set()",
    )
    bench.lab.run(0)
    bench.lab.run(1)
    bench.lab.command("notebook:clear-all-cell-outputs")
    bench.lab.page.wait_for_timeout(1000)
    bench.lab.run(2)
    bench.lab.run(3)
    cpu = float(bench.lab.output(2)) / 5
    bench.say(
        "kernel CPU, no view open", f"{cpu:.2%}, refresh threads {bench.lab.output(3).strip()}"
    )


ALL = (appear, many_running, storm, open_log, many_finished, clicks, no_view)
PARTS = {part.__name__: part for part in ALL}


def panel(names: Iterable[str], cache: Path) -> Table:
    rows = {}
    with labs() as new_lab:
        for name in names:
            with new_lab() as lab:
                bench = Bench(lab, functools.partial(lab.server.offer, cache=cache))
                PARTS[name](bench)
                rows |= bench.rows
    return Table(
        "The panel",
        "In JupyterLab and Notebook in Chromium, on the machine of the kernel. A click is measured "
        "from the second one on Kill until the card says that the job was killed.",
        ["figures"],
        rows,
    )
