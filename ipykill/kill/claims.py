"""Check what `codemap` assumes about the bytecode of the running Python, claim by claim.

No version of Python promises the shape of its bytecode. Each claim is checked on a sample
function for which the right answer is known. If a claim fails, `codemap` makes cautious maps,
which rest on none of the claims, and `why_not` says so to the user.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from types import CodeType

from . import codemap

__all__ = ["CLAIMS", "failed", "why_not"]

_SAMPLE = """
def sample(lock, work):
    while work():
        lock.acquire()
        try:
            work()
        finally:
            lock.release()
            work()
        work()

def holds(lock, work):
    with lock:
        work()
        work()
    work()

def retries(work, log):
    while True:
        try:
            return work()
        except OSError as error:
            log(error)
            work()
            continue
        except ValueError:
            log(1)
            raise

short = lambda work: work()

def loops(n):
    while n: n -= 1
"""


def _lines(code: CodeType, offsets: Iterable[int]) -> set[int]:
    """Return the lines of some offsets, counted from the line of the ``def``."""
    found = {
        offset: line - code.co_firstlineno
        for start, end, line in code.co_lines()
        if line is not None
        for offset in range(start, end, 2)
    }
    return {found[offset] for offset in offsets if offset in found}


@functools.cache
def _code(name: str) -> CodeType:
    scope: dict[str, Callable[..., None]] = {}
    exec(_SAMPLE, scope)
    return scope[name].__code__


def _finally() -> bool:
    code = _code("sample")
    return _lines(code, codemap.read(code).cleanup) == {6, 7}


def _statements() -> bool:
    code = _code("sample")
    safe = _lines(code, codemap.read(code).safe)
    return {2, 4, 8} <= safe and not safe & {3, 6, 7}


def _with() -> bool:
    code = _code("holds")
    found = codemap.read(code)
    return (
        _lines(code, found.enters) == {1}
        and _lines(code, found.exits) == {1}
        and _lines(code, found.safe) >= {3, 4}
    )


def _except() -> bool:
    code = _code("retries")
    found = codemap.read(code)
    return {5, 6} <= _lines(code, found.recovering) and not (
        _lines(code, found.recovering) & {3, 9, 10}
        or {5, 6, 9, 10} - _lines(code, found.cleanup)
        or _lines(code, found.safe) & {5, 6, 9, 10}
    )


def _functions() -> bool:
    return bool(codemap.read(_code("short")).safe)


def _loops() -> bool:
    found = codemap.read(_code("loops"))
    return bool(found.safe and found.loop_jumps)


CLAIMS: dict[str, Callable[[], bool]] = {
    "a finally block is found, and its copies": _finally,
    "a statement begins with the first instruction of its line": _statements,
    "the calls that a with block makes are found": _with,
    "an except block is found, and whether it raises": _except,
    "a function begins after its first RESUME": _functions,
    "the jump back of a loop is found": _loops,
}


@functools.cache
def failed() -> tuple[str, ...]:
    """Return the claims that do not hold on this Python."""
    found = []
    for words, holds in CLAIMS.items():
        try:
            fine = holds()
        except Exception:
            fine = False
        if not fine:
            found.append(words)
    if found:
        codemap.distrust()
    return tuple(found)


def why_not() -> str:
    """Return why the bytecode of this Python cannot be read as usual; empty if it can."""
    if not failed():
        return ""
    return f"the bytecode of this Python is not as expected; untrue here: {'; '.join(failed())}"
