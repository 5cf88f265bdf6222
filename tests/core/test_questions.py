"""Who asks, in plain Python."""

import subprocess
import sys

import pytest

from tests.overlays import ROOT
from tests.waiting import HANG_GUARD

ASK = """
import ipykill, getpass
def work(): return {ask}('name? ')
job = ipykill.submit(work)
print(repr(job.exception({guard})))
print('the foreground', {ask}('own? '))
"""


@pytest.mark.parametrize("ask", ["input", "getpass.getpass"])
def test_a_job_is_refused_the_terminal_and_the_foreground_has_it(ask: str) -> None:
    pexpect = pytest.importorskip("pexpect", reason="needs a pseudo-terminal")
    process = pexpect.spawn(
        sys.executable, ["-c", ASK.format(ask=ask, guard=HANG_GUARD)], cwd=ROOT, encoding="utf-8"
    )
    name = ask.rpartition(".")[2]
    process.expect_exact(f"EOFError('{name}() in job 1 (work): nobody can answer", HANG_GUARD)
    process.expect_exact("own? ", HANG_GUARD)
    process.sendline("yes")
    process.expect_exact("the foreground yes", HANG_GUARD)
    process.expect(pexpect.EOF)


def test_what_is_no_terminal_is_read() -> None:
    code = "import ipykill; print(ipykill.submit(lambda: [input(), input()]).result(30), input())"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, input="a\nb\nc\n", capture_output=True, text=True, timeout=HANG_GUARD
    )
    assert done.stdout == "['a', 'b'] c\n", done.stderr
