"""The main thread and the reaper both may lend; what comes for the main thread stays its own.

While the main thread is deep in C code, here PBKDF2 without the interpreter's lock, the reaper
lends without it.
"""

import contextlib
import hashlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator

import pytest

import ipykill
from ipykill import Job, JobState
from ipykill.kill import main_thread, standins, wake
from ipykill.kill import target as target_module
from tests.laws.harness import HANG, asleep, assert_dies, start
from tests.racing import frequent_switches
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(not wake.works(), reason=f"no wake-up here: {wake.why_not()}")


def in_c(rounds: int) -> None:
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", rounds)


def cleans_up(ended: list[int]) -> Job:
    """Return a job that is being killed, and in a finally that waits, now and then."""

    def body(started) -> None:
        try:
            started()
            time.sleep(1000)
        finally:
            for _ in range(60):
                time.sleep(0.005)
            ended.append(1)

    job = start(body)
    asleep(job)
    job.kill()
    return job


@contextlib.contextmanager
def handler(number: int, fn) -> Iterator[None]:
    before = signal.signal(number, fn)
    try:
        yield
    finally:
        signal.signal(number, before)


def test_the_table_of_handlers_is_found() -> None:
    assert standins._table(wake._on_signal) is not None


def test_a_stand_in_is_put_there_and_goes_again() -> None:
    def usual(*_: object) -> None:
        heard.append(threading.get_ident())

    heard: list[int] = []
    with handler(signal.SIGUSR1, usual):
        stand_ins = standins.StandIns(wake._on_signal)
        for _ in range(1000):  # the count of references stays as it is
            with stand_ins:
                assert isinstance(signal.getsignal(signal.SIGUSR1), standins.Heard)
                assert signal.getsignal(wake._signal) is wake._on_signal
            stand_ins._stand_ins.clear()
            assert signal.getsignal(signal.SIGUSR1) is usual
        with stand_ins:
            kept = signal.getsignal(signal.SIGUSR1)
            assert isinstance(kept, standins.Heard)
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN, "what main sets stays"
        signal.signal(signal.SIGUSR1, kept)  # as who puts back what was there before
        signal.raise_signal(signal.SIGUSR1)
        assert heard == [threading.get_ident()]
        assert signal.getsignal(signal.SIGUSR1) is usual


@pytest.mark.slow
@pytest.mark.stress
def test_a_ctrl_c_while_main_is_in_c_cuts_no_cleanup_and_is_not_lost() -> None:
    ended: list[int] = []
    tries = 12
    with handler(signal.SIGINT, signal.default_int_handler):
        for _ in range(tries):
            job = cleans_up(ended)
            press = threading.Timer(0.06, os.kill, (os.getpid(), signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012
                press.start()
                in_c(300_000)
                time.sleep(HANG)
            press.join()
            assert job.wait(HANG)
            assert job.state is JobState.KILLED
    assert len(ended) == tries


def sleeper(started) -> None:
    started()
    time.sleep(1000)


def in_code(started) -> None:
    """Be in C code that does not look for signals."""
    started()
    in_c(300_000)


def test_main_is_told_again_if_it_does_not_hear(monkeypatch) -> None:
    """As when it is told just before it enters the system call in which it waits."""
    monkeypatch.setattr(main_thread, "place", lambda: None)

    def in_code_for_ever(started) -> None:
        while True:
            in_code(started)

    job, told, pressed = start(in_code_for_ever), [], threading.Event()
    target = job._family.targets()[0]
    tell, signal_target = signal.pthread_kill, wake._signal_target

    def tell_the_second_time(ident: int, number: int) -> None:
        if ident != target_module.main_ident:
            tell(ident, number)
        else:
            told.append(number)
            if len(told) > 1:
                tell(ident, number)

    def press(*args: object) -> None:  # called while the word is lent
        pressed.set()
        os.kill(os.getpid(), signal.SIGUSR1)
        signal_target(*args)

    monkeypatch.setattr(signal, "pthread_kill", tell_the_second_time)
    monkeypatch.setattr(wake, "_signal_target", press)

    def lend() -> None:
        while not pressed.is_set():
            wake._lend_alone(target, 0.2)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with handler(signal.SIGUSR1, interrupt):
        reaper = threading.Thread(target=lend)
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            reaper.start()
            time.sleep(HANG)
        reaper.join(HANG)
    assert len(told) > 1
    monkeypatch.undo()
    assert job.kill(HANG)


@pytest.mark.parametrize("what", ["kill", "submit", "a handler comes"])
def test_main_comes_back_while_the_reaper_lends(what: str, monkeypatch) -> None:
    """Until the word is back, `signal.signal` refuses main, which thus has to wait."""
    monkeypatch.setattr(main_thread, "place", lambda: None)  # else the reaper sees it, and ends
    heard: list[threading.Thread] = []
    job, other = start(sleeper), start(in_code)
    target = other._family.targets()[0]
    with handler(signal.SIGUSR1, lambda *_: heard.append(threading.current_thread())):
        lent = threading.Event()

        def lend() -> None:
            while not lent.is_set():  # main may have had no turn meanwhile
                wake._lend_alone(target, 0.1)

        reaper = threading.Thread(target=lend)
        reaper.start()
        wait_for(lambda: target_module.main_word.value == target.ident, "the reaper to lend")
        lent.set()
        if what == "kill":
            assert_dies(job)
        elif what == "submit":
            ipykill.submit(int).result(HANG)
        else:
            os.kill(os.getpid(), signal.SIGUSR1)
            wait_for(lambda: heard, "the handler")
            assert heard == [threading.main_thread()]
        reaper.join(HANG)
    assert target_module.main_word.value == target_module.main_ident
    assert job.kill(HANG)
    assert other.kill(HANG)


@pytest.mark.slow
@pytest.mark.stress
def test_a_rain_of_signals_while_main_comes_and_goes() -> None:
    ended: list[int] = []
    heard: list[threading.Thread] = []
    over = threading.Event()
    tries = 15

    def rain() -> None:
        while not over.wait(0.003):
            os.kill(os.getpid(), signal.SIGUSR1)

    clouds = threading.Thread(target=rain)
    with handler(signal.SIGUSR1, lambda *_: heard.append(threading.current_thread())):
        clouds.start()
        try:
            with frequent_switches():
                for _ in range(tries):
                    job = cleans_up(ended)
                    in_c(random.randrange(60_000, 120_000))
                    assert_dies(start(sleeper))
                    assert job.wait(HANG)
        finally:
            over.set()
            clouds.join()
    assert len(ended) == tries
    assert set(heard) == {threading.main_thread()}
