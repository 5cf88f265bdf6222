"""What a library calls a context is a job's own; what anybody else keeps in one is shared."""

import contextvars
import decimal
import subprocess
import sys
import threading

import numpy
import pytest

import ipykill
from tests.overlays import ROOT
from tests.waiting import HANG_GUARD


class RunContext:
    """The user's own; shared, since a job may be meant to change it."""

    def copy(self) -> "RunContext":
        raise AssertionError


def test_a_job_begins_with_the_precision_of_the_foreground_and_has_its_own_then() -> None:
    begun, go = threading.Event(), threading.Event()
    seen = []

    def work() -> None:
        seen.append(decimal.getcontext().prec)
        decimal.getcontext().prec = 50
        decimal.getcontext().traps[decimal.Inexact] = True
        begun.set()
        go.wait(HANG_GUARD)
        seen.append(decimal.getcontext().prec)

    def main() -> None:
        decimal.getcontext().prec = 7
        job = ipykill.submit(work)
        assert begun.wait(HANG_GUARD)
        seen.append(decimal.getcontext().prec)
        assert not decimal.getcontext().traps[decimal.Inexact]
        decimal.getcontext().prec = 9
        go.set()
        job.result(HANG_GUARD)

    contextvars.copy_context().run(main)
    assert seen == [7, 7, 50]


def test_an_inner_job_and_a_coroutine_have_their_own_too() -> None:
    async def change() -> int:
        decimal.getcontext().prec += 1
        return decimal.getcontext().prec

    def outer() -> list[int]:
        decimal.getcontext().prec = 10
        inner = [ipykill.submit(change).result(HANG_GUARD) for _ in range(2)]
        return [*inner, decimal.getcontext().prec]

    assert ipykill.submit(outer).result(HANG_GUARD) == [11, 11, 10]


@pytest.mark.skipif(numpy.__version__ < "2.2", reason="older ones have one for all threads")
def test_numpys_options_are_the_jobs_own() -> None:
    def work() -> tuple[str, str]:
        before = numpy.geterr()["divide"]
        numpy.set_printoptions(precision=2)
        numpy.seterr(divide="raise")
        return before, str(numpy.array([1 / 3]))

    with numpy.errstate(divide="ignore"):
        assert ipykill.submit(work).result(HANG_GUARD) == ("ignore", "[0.33]")
        assert numpy.geterr()["divide"] == "ignore"
        assert str(numpy.array([1 / 3])) == "[0.33333333]"


def test_what_code_keeps_in_its_own_variables_is_shared() -> None:
    results: contextvars.ContextVar[list[int]] = contextvars.ContextVar("results")
    run: contextvars.ContextVar[RunContext] = contextvars.ContextVar("run")

    def main() -> None:
        mine = RunContext()
        results.set([])
        run.set(mine)
        ipykill.submit(lambda: results.get().append(1)).result(HANG_GUARD)
        assert results.get() == [1]
        assert ipykill.submit(run.get).result(HANG_GUARD) is mine

    contextvars.copy_context().run(main)


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 14), reason="no such thing")
def test_the_filters_of_warnings_are_the_jobs_own_where_a_context_has_them() -> None:
    code = """
import warnings, ipykill
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    def work():
        warnings.warn("of the job")
        warnings.simplefilter("error")
    ipykill.submit(work).result(30)
    warnings.warn("of the foreground")
print([str(it.message) for it in caught])
"""
    command = [sys.executable, "-X", "context_aware_warnings=1", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "['of the foreground']\n"
    assert "of the job" in done.stderr
