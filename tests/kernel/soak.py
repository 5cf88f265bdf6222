"""A soak test: for some minutes, everything at random, in a real kernel; then nothing may be left.

    python -m tests.kernel.soak --minutes 5 --seed 7

What it does depends on the seed alone, which it prints, but for the moments at which things happen.
The kernel is measured after a first round, in which each action is done once, and at the end.
"""

import argparse
import contextlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import ClassVar

from tests.kernel.harness import Cell, Kernel
from tests.overlays import INSTALLED
from tests.waiting import wait_for

SETUP = """
%load_ext ipykill
import asyncio, collections, concurrent.futures, contextlib, gc, json, logging, os, pathlib
import queue, subprocess, sys, threading, time
import IPython, ipykill, ipywidgets, tqdm
tqdm.tqdm(range(1), file=open(os.devnull, "w")).close()
print("x" * 1_000_000)  # pyzmq starts a thread with the first long message
lock, rlock, condition = threading.Lock(), threading.RLock(), threading.Condition()
semaphore, event, box = threading.Semaphore(2), threading.Event(), queue.Queue(5)
folder = pathlib.Path("soak"); folder.mkdir()
%config BackgroundMagics.grace = 0.2
thread = getattr(get_ipython().kernel, "iopub_thread", None)
thread._event_pipe_gc_seconds = 1  # by default it closes sockets of threads that are gone after 10

def fact():
    subprocess._cleanup()  # reaps the children of Popen objects that nobody waited for
    Out.clear()
    get_ipython().displayhook.flush()
    for name in "outputs", "exceptions":  # of each cell, IPython 9
        getattr(get_ipython().history_manager, name, {}).clear()
    globals().pop("value", None)  # of a job with `-o value`, which may be another job
    # The last error in the foreground keeps the frames it came through, for %debug: an
    # interrupted submit() and its job.
    for name in "last_exc", "last_type", "last_value", "last_traceback":
        vars(sys).pop(name, None)
    shell_errors = get_ipython().InteractiveTB
    shell_errors.etype = shell_errors.evalue = shell_errors.tb = None
    for _ in range(3):
        gc.collect()
    own = f"/proc/{os.getpid()}"
    pids = [pid for pid in os.listdir("/proc") if pid.isdecimal()]
    children = [pid for pid in pids if _parent(pid) == os.getpid()]
    monitoring = getattr(sys, "monitoring", None)
    waits = condition, box.not_empty, box.not_full, event._cond
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "tasks": len(os.listdir(own + "/task")),
        "being born": len(threading._limbo),
        "fds": sorted(_target(fd) for fd in os.listdir(own + "/fd")),
        "children": [pathlib.Path(f"/proc/{pid}/cmdline").read_text() for pid in children],
        "locked": [name for name in ("lock", "rlock", "condition") if _is_locked(globals()[name])],
        "semaphore": semaphore._value,
        "waiters": sum(len(wait._waiters) for wait in waits),
        "logging": _is_locked(logging._lock),
        "widgets": len(ipywidgets.widgets.widget._instances),
        "jobs": sum(type(thing) is ipykill.Job for thing in gc.get_objects()),
        "interval": sys.getswitchinterval(),
        "recursion limit": sys.getrecursionlimit(),
        "tools": [monitoring.get_tool(n) for n in range(6)] if monitoring else [],
        "hook": sys.unraisablehook is sys.__unraisablehook__,
        "objects": len(gc.get_objects()),
        "memory": int(pathlib.Path(own + "/statm").read_text().split()[1]) * 4096,
        "unfinished files": [file.name for file in folder.iterdir() if file.read_text() != "whole"],
        "half-started": [repr(job) for job in ipykill.jobs if not job.done()],
    }

def _parent(pid):
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None

def _target(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}").partition(":")[0]
    except OSError:  # that of the listing itself
        return "gone"

def _is_locked(thing):
    return "<locked" in repr(getattr(thing, "_lock", thing))
"""

BODIES = {
    "loop": "while True:\n    count = 1",
    "sleep": "time.sleep(1000)",
    "short": "time.sleep(0.01)\n'value'",
    "error": "1 / 0",
    "lock": "while True:\n    with lock:\n        time.sleep(0.001)",
    "rlock": "while True:\n    with rlock, rlock:\n        sum(range(1000))",
    "condition": "while True:\n    with condition:\n        condition.wait(0.01)",
    "notify": "while True:\n    with condition:\n        condition.notify_all()",
    "semaphore": "while True:\n    with semaphore:\n        time.sleep(0.001)",
    "get": "while True:\n    item = box.get()\n    box.task_done()",
    "put": "while True:\n    box.put(1)",
    "event": "event.wait()",
    "children": (
        "def work():\n    while True: time.sleep(0.01)\n"
        "threads = [threading.Thread(target=work) for _ in range(3)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()"
    ),
    "pool": (
        "with concurrent.futures.ThreadPoolExecutor(3) as pool:\n"
        "    list(pool.map(time.sleep, [0.001] * 3 + [1000] * 3))"
    ),
    "idle pool": (
        "pool = concurrent.futures.ThreadPoolExecutor(3)\n"
        "list(pool.map(abs, range(9)))\ndel pool\ntime.sleep(1000)"
    ),
    "timer": "threading.Timer(0.05, print, ['late']).start(); time.sleep(0.1)",
    "subprocess": "subprocess.run(['sleep', '1000'])",
    "command": "!sleep 1000",
    "pipe": "subprocess.run(['cat'], input=b'x' * 1000, capture_output=True).stdout[:3]",
    "await": (
        "async def task():\n"
        "    try: await asyncio.sleep(1000)\n    finally: await asyncio.sleep(0)\n"
        "await asyncio.gather(*(task() for _ in range(3)))"
    ),
    "to_thread": "await asyncio.to_thread(time.sleep, 1000)",
    "flood": "for number in range(20_000): print(number)",
    "prints": "while True:\n    print('line')\n    time.sleep(0.01)",
    "logs": (
        "handler = logging.StreamHandler(); logger = logging.Logger('soak'); "
        "logger.addHandler(handler)\nwhile True: logger.warning('words')"
    ),
    "display": "for number in range(20): display(number); time.sleep(0.01)",
    "file": (
        "import uuid\n"
        "def write(file):\n"
        "    try:\n"
        "        file.write_text('half')\n"
        "        while True: ipykill.sleep(0.01)\n"
        "    finally:\n"
        "        file.write_text('whole')\n"
        "write(folder / uuid.uuid4().hex)"
    ),
    "track": "for _ in ipykill.track(range(10_000)): time.sleep(0.001)",
    "tqdm": "for _ in tqdm.tqdm(range(10_000)): time.sleep(0.001)",
    "polite": "while not ipykill.stop_requested(): time.sleep(0.005)",
    "swallows": (
        "while True:\n    try: time.sleep(0.001)\n    except BaseException: pass"
    ),
    "shielded": "while True:\n    with ipykill.shield(): time.sleep(0.005)",
    "submits": "ipykill.submit(time.sleep, 0.05); ipykill.submit(time.sleep, 1000)",
    "kills itself": "ipykill.current_job().kill()",
    "import": (
        "import importlib, json.tool\nwhile True: importlib.reload(json.tool)"
    ),
    "temporary": (
        "import tempfile\nwhile True:\n"
        "    with tempfile.TemporaryDirectory() as name: open(name + '/x', 'w').close()"
    ),
}  # fmt: skip

_MOST = 25  # jobs at once, on a machine with two processors


class Soak:
    """Actions on a kernel, chosen by `random`."""

    def __init__(self, kernel: Kernel, seed: int) -> None:
        self.kernel = kernel
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self._watching = 0

    def check(self, code: str) -> Cell:
        """Run a cell that has to end well."""
        cell = self.kernel.run(code)
        assert cell.status == "ok", (code, cell)
        return cell

    def some(self) -> list[int]:
        """The numbers of some jobs that are not over."""
        cell = self.check("print([job.id for job in ipykill.jobs.running()])")
        running: list[int] = json.loads(cell.text())
        return self.random.sample(running, min(len(running), self.random.randint(1, 4)))

    # Actions

    def start(self, body: str | None = None) -> None:
        name = body or self.random.choice(list(BODIES))
        options = [f"-n {name.split()[0]}"]
        if self.random.random() < 0.8:
            options.append("-q")
        if self.random.random() < 0.2:
            options.append(f"-t {self.random.randint(10, 500)}ms")
        if self.random.random() < 0.1:
            options.append("--replace")
        elif self.random.random() < 0.1 and (after := self.some()):  # both may be a circle
            options.append(f"--after {after[0]}")
        if self.random.random() < 0.1:
            options.append("-o value")
        self.check(f"%%bg {' '.join(options)}\n{BODIES[name]}")

    def start_and_interrupt(self) -> None:
        """Interrupt somewhere in the start of a job.

        The kernel sends itself the signal: ipykernel, when one reaches it just before or after a
        cell, gives no reply.
        """
        body = BODIES[self.random.choice(["loop", "sleep", "short"])]
        self.check(
            f"moment = {self.random.random() * 0.02:.4f}\n"
            "timer = threading.Timer(moment, os.kill, [os.getpid(), 2])\n"
            "try:\n"
            "    timer.start()\n"
            f"    get_ipython().run_cell_magic('bg', '-n interrupted', {body!r})\n"
            "    timer.join()\n"
            "    time.sleep(0.1)\n"
            "except KeyboardInterrupt:\n"
            "    pass"
        )

    def stop(self) -> None:
        for number in self.some():
            self.check(f"ipykill.jobs[{number}].stop()")

    def kill(self) -> None:
        for number in self.some():
            self.check(f"ipykill.jobs[{number}].kill()")

    def kill_and_wait(self) -> None:
        if some := self.some():
            self.check(f"%bgkill -w 30 {' '.join(map(str, some))}")

    def interrupt(self) -> None:
        """Interrupt a cell that waits, or runs."""
        work = self.random.choice(["time.sleep(1000)", "while True: pass"])
        cell = self.kernel.cell(f"print('begun', flush=True)\n{work}").wait_output("begun")
        self.kernel.interrupt()
        assert cell.wait().errors[0]["ename"] == "KeyboardInterrupt", cell

    def foreground(self) -> None:
        cell = self.check("with rlock: print('foreground')\n6 * 7")
        assert (cell.text(), cell.result) == ("foreground\n", "42"), cell

    def reload(self) -> None:
        assert self.check("%reload_ext ipykill").text("stderr") == ""
        self.check("%config BackgroundMagics.grace = 0.2")

    def look(self) -> None:
        self.check(self.random.choice(["%bgjobs", "%bgjobs -a -l", "print(ipykill.jobs)"]))
        # A job that is there now may be over, and forgotten, when it is asked about.
        self.check(
            "with contextlib.suppress(IPython.core.error.UsageError):\n"
            "    for magic in ('bgwhere', 'bglog'): get_ipython().run_line_magic(magic, '')"
        )

    def panel(self) -> None:
        self.check("%bgpanel")

    def watch(self) -> None:
        """Open a page that shows the panel, or close it."""
        cell = self.check("print(ipykill.panel._panel(ipykill.jobs).model_id)")
        self._watching = 1 - self._watching
        request = {"do": "watch" if self._watching else "leave", "page": "1"}
        request |= {"model": cell.text().strip()}
        assert "error" not in self.kernel.control("ipykill_request", request)

    def clear(self) -> None:
        self.check("%bgclear")

    def kill_all(self) -> None:
        self.check("ipykill.jobs.kill_all(30)")

    WEIGHTS: ClassVar = {
        "start": 30, "start_and_interrupt": 2, "stop": 6, "kill": 10, "kill_and_wait": 8,
        "interrupt": 2, "foreground": 3, "reload": 1, "look": 2, "panel": 1, "watch": 1,
        "clear": 2, "kill_all": 1,
    }  # fmt: skip

    def step(self) -> None:
        """Do one thing at random."""
        name = self.random.choices(list(self.WEIGHTS), list(self.WEIGHTS.values()))[0]
        getattr(self, name)()
        self.done[name] += 1
        if len(json.loads(self.check("print([*map(id, ipykill.jobs.running())])").text())) > _MOST:
            self.kill_all()

    def settle(self, before: dict, steps: int = 0) -> dict:
        """End everything; what is true then, or when all is as it was before."""
        if self._watching:
            self.watch()
        cell = self.check(
            "if not ipykill.jobs.kill_all(30):\n"
            "    get_ipython().run_line_magic('bgwhere', 'all')\n"
            "    print('LEFT', *ipykill.jobs.running())\n"
            "wait = ipykill.jobs.wait(ipykill.jobs.running(), 30)"
        )
        assert "LEFT" not in cell.text(), cell.text()
        self.check("%bgclear")
        # The cards of jobs that were forgotten are closed with the next one.
        self.check("%%bg\n1")
        self.check("wait = ipykill.jobs.wait(list(ipykill.jobs), 30)\n%bgclear")
        self.kernel.iopub.clear()
        facts: dict = {}

        def as_expected() -> bool:
            facts.update(json.loads(self.check("print(json.dumps(fact()))").text()))
            return not left_over(before, facts, steps)

        # ipykernel closes the sockets of threads that are gone now and then.
        with contextlib.suppress(AssertionError):
            wait_for(as_expected, "a kernel as it was before")
        return facts


def left_over(before: dict, after: dict, steps: int) -> list[str]:
    """What there is now that there was not before, in words."""
    found = []
    for name, now in after.items():
        was = before.get(name, now)
        match now:
            case list():
                if more := Counter(map(str, now)) - Counter(map(str, was)):
                    found.append(f"{name}: {dict(more)}")
            case int() if name not in ("objects", "memory"):
                if now > was:
                    found.append(f"{name}: {now - was}")
            case float() if now != was:
                found.append(f"{name}: {now}, not {was}")
    # Caches that have an end (the maps of code objects, modules that are imported late) fill up
    # within the first minutes, and IPython keeps some objects for each cell.
    if (more := after["objects"] - before.get("objects", 1e9)) > 60_000 + 25 * steps:
        found.append(f"{more} objects")
    if (more := after["memory"] - before.get("memory", 1e12)) > 30e6 + 20e3 * steps:
        found.append(f"{more / 1e6:.0f} MB")
    return found


def soak(kernel: Kernel, seconds: float, seed: int) -> str:
    """Do everything once, measure, go on at random for `seconds`, measure; a line of figures.

    Raises
    ------
    AssertionError
        Something went wrong, or was left over.
    """
    it = Soak(kernel, seed)
    it.check(SETUP)
    for body in BODIES:
        it.start(body)
    for name in it.WEIGHTS:
        getattr(it, name)()
    for _ in range(50):
        it.step()
    before = it.settle({})
    it.done.clear()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        it.step()
    steps = it.done.total()
    after = it.settle(before, steps)
    assert kernel.alive
    left = left_over(before, after, steps) + [
        f"{name}: {after[name]}" for name in ("unfinished files", "half-started") if after[name]
    ]
    assert not left, f"left over after {steps} steps of seed {seed}: " + "; ".join(left)
    objects = after["objects"] - before["objects"]
    memory = (after["memory"] - before["memory"]) / 1e6
    return (
        f"{steps} steps {dict(it.done)}; {objects:+} objects, {memory:+.1f} MB; nothing left over"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    args = parser.parse_args()
    print(
        f"seed {args.seed}, {args.minutes:g} minutes, Python {sys.version.split()[0]}", flush=True
    )
    with tempfile.TemporaryDirectory() as folder:
        kernel = Kernel(INSTALLED.path(Path(folder)), Path(folder))
        try:
            print(soak(kernel, 60 * args.minutes, args.seed))
        finally:
            if log := kernel.log:
                print("The kernel wrote:", log, sep="\n")
            kernel.close()


if __name__ == "__main__":
    main()
