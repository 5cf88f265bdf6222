"""Kill what runs on an event loop, when it has begun."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from ipykill import JobState
from ipykill.core.manager import JobManager
from tests.waiting import HANG_GUARD


def assert_dies(
    jobs: JobManager, began: threading.Event, main: Callable[[], Coroutine[Any, Any, object]]
) -> None:
    """Run a coroutine function in a job; kill that when the function says that it has begun."""
    job = jobs.submit(lambda: asyncio.run(main()))
    assert began.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)
    assert job.state is JobState.KILLED
