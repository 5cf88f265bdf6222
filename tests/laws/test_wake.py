"""The wake-up shares the main thread's signals with everybody else and loses none of them."""

import asyncio
import contextlib
import ctypes
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

import ipykill
from ipykill.kill import main_thread, resorts, waits, wake
from ipykill.kill import target as targets
from tests.laws.harness import HANG, asleep, assert_dies, start
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(not wake.works(), reason=f"no wake-up here: {wake.why_not()}")

KILLS = 150


def sleeper(started) -> None:
    started()
    time.sleep(1000)


def nap(first: Callable[[], object]) -> None:
    """Sleep until an interrupt comes."""
    first()
    time.sleep(HANG)


def naps() -> bool:
    """Whether the main thread is in `nap` and sleeps."""
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    state = Path(f"/proc/self/task/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[0]
    return frame.f_code is nap.__code__ and state == "S"


class Killers(threading.Thread):
    """Kills sleeping jobs, one after another; `finish` fails as it failed."""

    def __init__(self, kills: int) -> None:
        super().__init__()
        self._kills = kills
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            for _ in range(self._kills):
                assert_dies(start(sleeper))
        except BaseException as error:
            self._error = error

    def finish(self) -> None:
        self.join(HANG)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error


@pytest.mark.stress
def test_signal_signal_and_sigint_in_main() -> None:
    handled = []
    before = signal.getsignal(signal.SIGINT)
    killers = Killers(KILLS)
    sent = calls = 0
    try:
        while killers.is_alive():
            # Raises ValueError in a thread that is not, at this moment, the main thread.
            signal.signal(signal.SIGINT, lambda *_: handled.append(1))
            calls += 1
            if calls % 20 == 0:
                os.kill(os.getpid(), signal.SIGINT)
                sent += 1
                wait_for(lambda: len(handled) == sent, "SIGINT to be handled in main", HANG)  # noqa: B023
    finally:
        signal.signal(signal.SIGINT, before)
    killers.finish()
    assert calls
    assert len(handled) == sent


@pytest.mark.stress
def test_no_ctrl_c_is_lost_in_a_job_that_swallows_everything() -> None:
    """CPython may run its handler in the job's thread, while that passes for the main thread."""
    interrupts = 400
    main_waits = threading.Semaphore(0)

    def swallows(started) -> None:
        started()
        for _ in range(80):
            with contextlib.suppress(BaseException):
                time.sleep(0.0005)

    def kill() -> None:
        while sender.is_alive():
            assert start(swallows).kill(HANG)

    def interrupt() -> None:
        for _ in range(interrupts):
            main_waits.acquire()
            time.sleep(random.random() * 0.005)  # a moment, not a wait for anything
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    sender, killer = threading.Thread(target=interrupt), threading.Thread(target=kill)
    sender.start()
    killer.start()
    try:
        for _ in range(interrupts):
            with pytest.raises(KeyboardInterrupt):
                nap(main_waits.release)
    finally:
        signal.signal(signal.SIGINT, before)
    sender.join(HANG)
    killer.join(HANG)


@pytest.mark.stress
def test_a_rain_of_ctrl_c() -> None:
    """Wherever KeyboardInterrupt comes in main, in our handler too, jobs go on to die."""
    exposed = False  # while main is where it catches one
    caught = 0

    def on_sigint(*_: object) -> None:
        nonlocal exposed
        if exposed:
            exposed = False
            raise KeyboardInterrupt

    def rain() -> None:
        while killers.is_alive():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.0005)

    before = signal.signal(signal.SIGINT, on_sigint)
    try:
        killers = Killers(KILLS)
        clouds = threading.Thread(target=rain)
        clouds.start()
        while killers.is_alive():
            try:
                exposed = True
                while exposed and killers.is_alive():
                    time.sleep(0.001)
                exposed = False
            except KeyboardInterrupt:
                caught += 1
        clouds.join(HANG)
    finally:
        signal.signal(signal.SIGINT, before)
    killers.finish()
    assert caught


@pytest.mark.stress
def test_an_alarm_that_raises_does_so_in_main() -> None:
    """What a handler raises, of whatever signal, is for the code of the main thread."""
    threads = set()

    class TooLate(Exception):
        pass

    def on_alarm(*_: object) -> None:
        threads.add(threading.current_thread())
        raise TooLate

    usual = signal.getsignal(signal.SIGINT)
    before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        for _ in range(2 * KILLS):
            job = start(sleeper)
            asleep(job)
            with contextlib.suppress(TooLate):
                # At some moment of the kill, not after a wait for anything.
                signal.setitimer(signal.ITIMER_REAL, 1e-5 + random.random() * 0.001)
                try:
                    assert job.kill(HANG)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            assert job.kill(HANG)
            assert job.state is ipykill.JobState.KILLED
            # It may have cut off what puts this one back. Then it goes on as the usual one.
            signal.signal(signal.SIGINT, usual)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert threads == {threading.main_thread()}


@pytest.mark.stress
def test_main_in_an_event_loop_with_signal_handlers() -> None:
    ticks = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, ticks.append, 1)  # sets the wakeup fd
        killers = Killers(KILLS)
        while killers.is_alive():
            os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.sleep(0.001)
        loop.remove_signal_handler(signal.SIGUSR1)
        killers.finish()

    asyncio.run(main())
    assert ticks


def test_the_handler_of_others_goes_on() -> None:
    seen = []
    ours = signal.getsignal(signal.SIGURG)
    try:
        signal.signal(signal.SIGURG, lambda *_: seen.append(1))
        assert not wake.works()
        assert_dies(start(sleeper))  # to submit in main puts ours in front of it
        assert wake.works()
        signal.raise_signal(signal.SIGURG)
        wait_for(lambda: seen, "the signal to be passed on", HANG)
    finally:
        signal.signal(signal.SIGURG, ours)


def test_main_in_a_long_c_call() -> None:
    import zlib

    job = start(sleeper)
    asleep(job)
    dead = []
    killer = threading.Thread(target=lambda: dead.append(job.kill(HANG)))
    data = os.urandom(20_000_000)
    killer.start()
    zlib.compress(data, 9)
    killer.join(HANG)
    assert dead == [True]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11 does not show where main is")
def test_main_in_a_c_call_that_does_not_go_on_after_a_signal(monkeypatch) -> None:
    monkeypatch.setattr(resorts, "_LATE", HANG)  # after which main is asked, on a busy machine
    job = start(lambda started: (started(), time.sleep(1000)))
    asleep(job)
    dead: list[bool] = []

    def kill_meanwhile() -> None:
        wait_for(main_thread.waits_in_a_call, "main to wait")
        dead.append(job.kill(HANG))

    killer = threading.Thread(target=kill_meanwhile)
    killer.start()
    result = ctypes.CDLL(None).poll(None, 0, 500)  # -1 if a signal came, else 0 after 0.5 s
    still = not dead
    killer.join()
    assert dead == [True]
    assert not still, "the job died meanwhile"
    assert result == 0


def test_two_hundred_at_once() -> None:
    jobs = [start(sleeper) for _ in range(200)]
    for job in jobs:
        job.kill()
    for job in jobs:
        assert_dies(job)


@pytest.mark.parametrize("level", ["full", "public"])
def test_exit_during_a_kill(level: str) -> None:
    code = """
import ipykill, time, threading
def body():
    while True:
        try: time.sleep(0.01)
        except BaseException: pass
        for _ in range(1000): pass
jobs = [ipykill.submit(body) for _ in range(5)]
[job.kill() for job in jobs]
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"IPYKILL_KILL": level},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_during_a_kill() -> None:
    def stubborn(started) -> None:
        with ipykill.shield():
            started()
            while not over:
                time.sleep(0.001)

    over = []
    job = start(stubborn)
    job.kill()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child = start(sleeper)
            code = 0 if child.kill(HANG) and wake.works() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    over.append(1)
    assert_dies(job)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_after_a_fork_nobody_looks_at_the_threads_that_are_gone() -> None:
    job = start(sleeper)
    target = targets._targets[job.thread.ident]
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            looks = target.innermost_frame() is None and not target.signal(signal.SIGURG)
            code = 0 if looks and target.gate.acquire(blocking=False) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    job.kill()
    assert_dies(job)


def test_about_tells_what_is_on() -> None:
    text = str(ipykill.about())
    assert "Kill in waiting calls: woken" in text
    assert "at safe points" in text


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="full, public, plain"):
        ipykill.kill.use("fast")


def test_a_waiter_that_was_let_go_and_is_still_listed_does_not_die(monkeypatch) -> None:
    """A notify() that has chosen it is for nobody else."""
    reached, chosen, decided = threading.Event(), threading.Event(), threading.Event()
    usual = waits.leave

    def leave(*args):
        reached.set()
        assert chosen.wait(HANG)
        try:
            return usual(*args)
        finally:
            decided.set()

    class Waiters(deque):
        def remove(self, waiter) -> None:
            if threading.current_thread() is putter:
                chosen.set()
                assert decided.wait(HANG)
            super().remove(waiter)

    monkeypatch.setattr(waits, "leave", leave)
    items: queue.Queue[str] = queue.Queue()
    got = []

    def put() -> None:
        reached.wait(HANG)
        items.put("item")

    items.not_empty._waiters = Waiters()
    job = ipykill.submit(lambda: (items.get(), time.sleep(1000)))
    wait_for(lambda: items.not_empty._waiters, "the job to wait", HANG)
    other = threading.Thread(target=lambda: got.append(items.get()))
    other.start()
    wait_for(lambda: len(items.not_empty._waiters) == 2, "the other to wait", HANG)
    putter = threading.Thread(target=put)
    putter.start()
    assert_dies(job)
    putter.join(HANG)
    if items.empty():  # the job took it, and died after that
        items.put("another")
    other.join(HANG)
    assert got
