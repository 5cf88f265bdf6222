"""Whether a loop is late for its look: any thread may ask, in the moment of the look too."""

import pytest

from ipykill.kill.asyncio_runs import AsyncioRun
from ipykill.kill.gevent_hubs import GeventHub
from ipykill.kill.trio_runs import TrioRun


@pytest.mark.parametrize("kind", [AsyncioRun, TrioRun, GeventHub])
def test_the_look_may_come_while_another_thread_asks(kind) -> None:
    rung = iter([0.0, None, None])

    class Looking(kind):
        _due = 0.0
        _rung = property(lambda self: next(rung))

    assert Looking.__new__(Looking).is_blocked
