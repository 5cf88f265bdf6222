"""The table of the places where a job may run or wait."""

from collections.abc import Callable

CASES: dict[str, tuple[Callable[[], object], bool]] = {}


def running(fn):
    CASES[fn.__name__] = fn, False
    return fn


def waiting(fn):
    CASES[fn.__name__] = fn, True
    return fn
