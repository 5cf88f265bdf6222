"""Cells at random that are detached, interrupted and killed at random: nothing may be lost.

``python -m tests.kernel.soak_foreground --minutes 5 --seed 7`` does that in a real kernel. After
each round every cell has its reply, the numbers in the prompts follow each other, the jobs are
over, and the main thread is the shell again.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.kernel.background import load
from tests.kernel.harness import Kernel
from tests.overlays import INSTALLED
from tests.waiting import wait_for

CELLS = [
    "1 + 1",
    "print('short'); 2",
    "for i in range(100): print(i)",
    "t = time.monotonic()\nwhile time.monotonic() < t + {seconds}: pass",
    "time.sleep({seconds})",
    "t = threading.Thread(target=time.sleep, args=({seconds},)); t.start(); t.join()",
    "import subprocess; subprocess.run(['sleep', '{seconds}'])",
    "import asyncio; await asyncio.sleep({seconds})",
    "with lock:\n    for _ in range(20): time.sleep({seconds} / 20)",
    "try: time.sleep({seconds})\nfinally: cleaned.append(1)",
    "ipykill.submit(time.sleep, {seconds}).wait()",
    "for _ in ipykill.track(range(20)): time.sleep({seconds} / 20)",
    "1 / 0",
    "threading.Event().wait({seconds})\nraise ValueError",
    "%time time.sleep({seconds})",
    "_",
]


class Soak:
    """One kernel, and what was done to it."""

    def __init__(self, kernel: Kernel, seed: int) -> None:
        self.kernel = kernel
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.lost = 0
        self.steps: list[str] = []  # of this round
        load(kernel)
        kernel.run("lock, cleaned = threading.Lock(), []\nsys.setswitchinterval(1e-4)")

    def round(self) -> None:
        """Some cells, and what happens to them."""
        cells, self.steps = [], []
        interrupts = self.done["interrupts"]
        for _ in range(self.random.randrange(1, 6)):
            code = self.random.choice(CELLS).format(seconds=self.random.choice([0, 0.02, 0.1, 0.4]))
            cells.append(self.kernel.cell(code))
            self.done["cells"] += 1
            self.steps.append(code)
        for _ in range(self.random.randrange(5)):
            time.sleep(self.random.random() * 0.05)
            self.steps.append(self.random.choice(["detach"] * 3 + ["kill", "interrupt"]))
            getattr(self, self.steps[-1])()
        for cell in cells:
            self.wait(lambda cell=cell: cell.ended, "the end of a cell")
            try:
                cell.wait(5)
            except AssertionError:
                # ipykernel drops the reply when Ctrl-C comes just before or after the code.
                self.lost += 1
                if self.lost > self.kernel.log.count("KeyboardInterrupt caught in kernel"):
                    raise
            else:
                self.done[cell.reply["status"]] += 1
        numbers = [cell.number for cell in cells if cell.contents("execute_input")]
        # A cell that is interrupted before its code begins has not been counted.
        if numbers and self.done["interrupts"] == interrupts:
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

    def wait(self, predicate: Callable[[], object], what: str) -> None:
        """Wait for a fact; if it does not come, the log tells where each thread is."""
        try:
            wait_for(predicate, what)
        except AssertionError as error:
            error.add_note(f"after {self.steps}; alive: {self.kernel.alive}")
            os.kill(self.kernel.pid, signal.SIGUSR2)
            time.sleep(1)
            raise

    def detach(self) -> None:
        answer = self.kernel.control("ipykill_request", {"do": "detach"})
        self.done[answer.get("error", "detached")] += 1

    def interrupt(self) -> None:
        self.kernel.interrupt()
        self.done["interrupts"] += 1

    def kill(self) -> None:
        self.kernel.control("soak_kill", {})
        self.done["kills"] += 1

    def check(self) -> None:
        """Until all is as it was."""
        kernel = self.kernel

        def ask(expression: str) -> str:
            cell = kernel.run(f"print({expression})")
            return cell.text().strip() if cell.status == "ok" else repr(cell)

        self.wait(lambda: ask("len(ipykill.jobs.running())") == "0", "the end of the jobs")
        self.wait(lambda: ask("threading.current_thread().name") == "MainThread", "the main thread")
        facts = "lock.locked(), sys.gettrace(), round(sys.getswitchinterval(), 5)"
        self.wait(lambda: ask(facts) == "False None 0.0001", "what was before")
        ask("ipykill.jobs.clear()")


# A kill at any moment, also while all shells are busy.
KILL = """
import ipykill
def _soak_kill(stream, ident, parent, kernel=get_ipython().kernel):
    for job in ipykill.jobs.running()[:1]: job.kill()
    kernel.session.send(stream, 'ipykill_reply', {}, parent, ident=ident)
get_ipython().kernel.control_handlers['soak_kill'] = _soak_kill
import faulthandler, signal
faulthandler.register(signal.SIGUSR2, file=sys.__stderr__)
"""


def run(kernel: Kernel, seconds: float, seed: int) -> Counter[str]:
    """Soak `kernel` for a while; what was done."""
    soak = Soak(kernel, seed)
    kernel.run(KILL)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(10):
            soak.round()
        soak.check()
    return soak.done


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    print("seed", arguments.seed, file=sys.stderr)
    real = Kernel(INSTALLED.path(Path()), Path(tempfile.mkdtemp()))
    try:
        for what, times in run(real, arguments.minutes * 60, arguments.seed).most_common():
            print(f"{times:6} {what}")
    finally:
        real.close()
        print(real.log, file=sys.stderr)
