"""While a thread passes for the main one, no code in it finds that it is."""

import contextlib
import signal
import threading

import pytest

from tests.racing import frequent_switches
from tests.waiting import HANG_GUARD

KILLS = 300


@pytest.mark.slow
@pytest.mark.stress
@frequent_switches()
def test_a_job_never_sets_a_handler(jobs) -> None:
    """Trio sets one to find out where it is; on CPython 3.11 that succeeded now and then."""
    set_here = []

    def body(began: threading.Event) -> None:
        began.set()
        while True:
            with contextlib.suppress(ValueError):
                signal.signal(signal.SIGUSR1, signal.SIG_DFL)
                set_here.append("signal")
            with contextlib.suppress(ValueError):
                signal.set_wakeup_fd(-1)
                set_here.append("set_wakeup_fd")

    for _ in range(KILLS):
        began = threading.Event()
        job = jobs.submit(body, began)
        assert began.wait(HANG_GUARD)
        assert job.kill(HANG_GUARD)
    assert not set_here


def test_the_main_thread_does() -> None:
    assert threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    assert signal.signal(signal.SIGUSR1, before) is signal.SIG_IGN
    assert signal.set_wakeup_fd(signal.set_wakeup_fd(-1)) == -1
