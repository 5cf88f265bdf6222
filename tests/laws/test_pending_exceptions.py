"""An asynchronous exception that waits in another thread hinders no Kill, and is not lost.

CPython 3.11 makes all threads look for it as long as it waits, see `ipykill.kill.tracing`.
"""

import threading
from collections.abc import Callable

import pytest

from ipykill import ThreadWithExc
from ipykill.kill import wake
from tests.laws.harness import HANG, kill
from tests.laws.test_tools import calls, loop, sleeper
from tests.racing import ended, silent_threads

pytestmark = pytest.mark.skipif(not wake.works(), reason=f"no wake-up here: {wake.why_not()}")


class Late(Exception):
    pass


def swallowing() -> None:
    while True:
        try:
            sleeper()
        except BaseException:
            pass


@pytest.mark.parametrize("body", [sleeper, loop, calls, swallowing])
def test_what_waits_in_a_thread_that_waits(body: Callable[[], None]) -> None:
    go = threading.Lock()
    go.acquire()
    waits = ThreadWithExc(target=go.acquire, args=(True, HANG), daemon=True)
    with silent_threads() as seen:
        waits.start()
        waits.raise_exc(Late)
        for _ in range(3):
            kill(lambda started: (started(), body()))
        assert waits.is_alive()
        go.release()
        assert ended(waits)
    assert [it.exc_type for it in seen] == [Late]
