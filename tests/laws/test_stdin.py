"""A job that waits for a line that somebody types dies, and the line goes to the next reader."""

import os
import subprocess
import sys
import threading

import pytest

from ipykill.kill import wake
from tests.laws.harness import HANG

pytestmark = [
    pytest.mark.skipif(not wake.works(), reason=f"no wake-up here: {wake.why_not()}"),
    pytest.mark.slow,
]

READS = {
    "input": "input()",
    "input_with_readline": "__import__('readline'); input()",
    "readline": "sys.stdin.readline()",
    "lines": "list(sys.stdin)",
    "buffer": "sys.stdin.buffer.read(10)",
    "descriptor": "os.read(0, 10)",
}

PROGRAM = """
import os, sys
from tests.laws.harness import kill

def body(started):
    started()
    exec(os.environ["READ"])

kill(body, blocked=True)
print("dead", flush=True)
print("got", sys.stdin.readline().strip(), flush=True)
"""


def told(read: str, stdin: int, stdout: int, mine: tuple[int, int]) -> str:
    """Run the program, type ``hello`` when its job is dead, and return what it printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=stdin,
        stdout=stdout,
        stderr=stdout,
        env=os.environ | {"READ": read},
        start_new_session=True,
    )
    guard = threading.Timer(HANG, process.kill)
    guard.start()
    os.close(stdin)
    if stdout != stdin:
        os.close(stdout)
    write, output = mine
    printed, typed = b"", False
    try:
        while True:
            try:
                more = os.read(output, 1000)
            except OSError:  # how a terminal says that nobody is left
                break
            if not more:
                break
            printed += more
            if b"dead" in printed and not typed:
                typed = True
                os.write(write, b"hello\n")
        process.wait()
    finally:
        guard.cancel()
        for descriptor in {write, output}:
            os.close(descriptor)
    return printed.decode()


@pytest.mark.parametrize("read", READS)
def test_a_pipe(read: str) -> None:
    stdin, write = os.pipe()
    output, stdout = os.pipe()
    printed = told(READS[read], stdin, stdout, (write, output))
    assert printed.split() == ["dead", "got", "hello"]


@pytest.mark.parametrize("read", READS)
def test_a_terminal(read: str) -> None:
    pty = pytest.importorskip("pty")
    mine, theirs = pty.openpty()
    # Our own input() refuses to ask in a job, see `ipykill.core.questions`.
    code = READS[read].replace("input()", "input.__wrapped__()")
    printed = told(code, theirs, theirs, (mine, mine))
    assert printed.split()[-2:] == ["got", "hello"], printed
