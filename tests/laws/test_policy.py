"""What a thread asks itself before it dies takes so little that nobody notices."""

import sys
import threading
import timeit
from types import FrameType

from ipykill.kill import policy


def _seconds(lines: int) -> float:
    """Return how long a function of so many lines needs to see whether it may be broken."""
    body = "    x = 1; y = x\n" * lines
    scope: dict[str, object] = {}
    exec(f"def work():\n    ask()\n{body}", scope)
    taken: list[float] = []

    def ask() -> None:
        frame: FrameType = sys._getframe(1)
        policy.shelter(frame)  # the code is read once
        taken.extend(timeit.repeat(lambda: policy.shelter(frame), number=20))

    scope["ask"] = ask
    thread = threading.Thread(target=scope["work"])  # where the stack is not deep
    thread.start()
    thread.join()
    return min(taken)


def test_how_long_the_code_is_does_not_count() -> None:
    """A generated cell may be very long, and the question comes before many instructions."""
    assert _seconds(20_000) < 5 * _seconds(1)
