"""What a thread asks itself before it dies takes so little that nobody notices."""

import collections
import dataclasses
import subprocess
import sys
import threading
import timeit
from types import FrameType

import pytest

import ipykill
from ipykill.kill import policy, resorts
from tests.waiting import HANG_GUARD


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


def _asks(seen: list[bool]) -> None:
    frame = sys._getframe(1)
    seen.append(policy.reaches(frame, libraries=False))


@pytest.mark.parametrize("names", [{}, {"__name__": "__main__"}, {"__file__": "/home/me/train.py"}])
def test_code_made_from_a_text_is_the_users(names: dict[str, object]) -> None:
    """Whoever calls it: here it is a thread of the standard library's that does."""
    reached = threading.Event()
    scope = {**names, "reached": reached}
    exec("def work():\n    reached.set()\n    while True: pass", scope)
    job = ipykill.submit(lambda: _in_a_thread(scope["work"]))
    assert reached.wait(HANG_GUARD)
    assert job.kill(HANG_GUARD)


def _in_a_thread(work: object) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_what_a_module_makes_from_a_text_is_the_modules() -> None:
    """The ``__init__`` of a dataclass of the standard library's, or of ipykill's own."""
    seen: list[bool] = []
    for module in (subprocess, ipykill):
        scope = {"__name__": module.__name__, "__file__": module.__file__, "ask": _asks}
        exec("def make(seen): ask(seen)", scope)
        scope["make"](seen)  # type: ignore[operator]
    assert seen == [False, False]


def test_what_a_named_tuple_is_made_by_is_its_callers() -> None:
    """In the middle of ``Popen()`` it is as little broken as that."""
    seen: list[bool] = []
    pair = collections.namedtuple("pair", "left right")
    pair.__new__.__globals__["_tuple_new"] = lambda *_: seen.append(
        policy.reaches(sys._getframe(1), libraries=False)
    )
    pair(1, 2)
    code = compile("def call(pair): pair(1, 2)", subprocess.__file__, "exec")
    exec(code, scope := {"__name__": "subprocess"})
    scope["call"](pair)
    assert seen == [True, False]


def test_a_dataclass_runs_among_the_names_of_its_module() -> None:
    """CPython's own way to make a dataclass is as `policy.reaches` takes it to be."""

    @dataclasses.dataclass
    class Point:
        x: int

    code = Point.__init__
    assert code.__code__.co_filename == "<string>"
    assert code.__globals__["__file__"] == __file__


def test_a_library_that_had_no_time_to_come_back_is_left_alone() -> None:
    """On a busy machine, one may have hardly run in the time."""
    assert not resorts.libraries(5.0, 0.01)
    assert resorts.libraries(5.0, 0.5)
    assert resorts.libraries(5.0, None)
    assert not resorts.libraries(0.1, 0.1)
