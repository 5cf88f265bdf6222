"""Jobs in IPython in a terminal."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.frames import shows_us
from tests.overlays import ROOT
from tests.waiting import HANG_GUARD, wait_for

pexpect = pytest.importorskip("pexpect", reason="needs a pseudo-terminal")


class Terminal:
    """IPython in a pseudo-terminal; `screen` is all that appeared, without control codes."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "screen"
        options = ["--no-confirm-exit", "--no-banner", "--colors=NoColor"]
        own = {"PYTHONPATH": str(ROOT), "TERM": "xterm", "IPYTHONDIR": str(folder / "ipython")}
        own["PROMPT_TOOLKIT_NO_CPR"] = "1"
        self._process = pexpect.spawn(
            sys.executable,
            ["-m", "IPython", *options],
            env=os.environ | own,
            encoding="utf-8",
            timeout=HANG_GUARD,
            dimensions=(50, 150),
        )
        self._process.logfile_read = self._log.open("w")
        self._number = 1
        self.prompt()

    def prompt(self) -> None:
        """Wait for the next prompt."""
        self._process.expect_exact(f"In [{self._number}]:")

    def type(self, line: str) -> None:
        """Enter a line and wait for the prompt after it."""
        self._process.send(line + "\r")
        self._number += 1
        self.prompt()

    def stay(self, line: str, answer: str) -> None:
        """Enter a line that ends the process, and keep it by the answer to its question."""
        self._process.send(line)
        self._process.expect_exact("Exit all the same? (y/[n]) ")
        self._process.send(answer)
        self._number += line != "\x04"  # Ctrl-D is no input
        self.prompt()

    def interrupt(self, line: str, pattern: str) -> None:
        """Enter a line, press Ctrl-C when the pattern is on the screen, wait for the prompt."""
        self._process.send(line + "\r")
        self._number += 1
        self.expect(pattern)
        self._process.sendintr()
        self.expect(rf"In \[{self._number}\]:")

    def expect(self, pattern: str) -> None:
        """Wait until this is on the screen, without anything being typed."""

        def seen() -> object:
            try:
                self._process.read_nonblocking(10_000, timeout=0.05)
            except pexpect.TIMEOUT:
                pass
            return re.search(pattern, self.screen)

        try:
            wait_for(seen, f"{pattern!r} on the screen")
        except AssertionError as error:
            error.add_note(f"there is:\n{self.screen}")
            raise

    @property
    def screen(self) -> str:
        self._process.logfile_read.flush()
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._log.read_text()).replace("\r", "")

    def close(self) -> None:
        """End the process and check that it ends by itself."""
        self._process.send("exit()\r")
        if self._process.expect_exact([pexpect.EOF, "Exit all the same? (y/[n]) "]):
            self._process.send("y\r")
            self._process.expect(pexpect.EOF)
        self._process.close()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    terminal.type("%load_ext ipykill")
    terminal.type("import ipykill, threading, time, sys; go = threading.Event()")
    yield terminal
    terminal.close()


def test_prints_and_the_end_appear_above_the_prompt(terminal: Terminal) -> None:
    terminal.type("%bg -q -n train go.wait(); print('printed', 1 + 1)")
    terminal.type("go.set()")
    terminal.expect("printed 2")
    terminal.expect(r"\[1\] train: done in [\d.]+ m?s")
    terminal.type("%bglog train")
    assert terminal.screen.count("printed 2\n") == 2


def test_an_error_is_shown_with_its_line(terminal: Terminal) -> None:
    terminal.type("%bg -q -n broken 1 / 0")
    terminal.expect("----> 1 1 / 0")
    terminal.expect(r"\[1\] broken: failed after .* at cell \[\d+\], line 1: ZeroDivisionError")
    assert not shows_us(terminal.screen)


def test_kill_and_list(terminal: Terminal) -> None:
    terminal.type("def loop():\n    while True: x = 1\n")
    terminal.type("job = ipykill.submit(loop)")
    terminal.type("%bgkill -w 30 loop")
    assert "[1] loop: killed after" in terminal.screen
    terminal.type("%bgjobs")
    assert re.search(r"1 +loop +killed", terminal.screen)


def test_the_end_of_a_job_is_told_once(terminal: Terminal) -> None:
    terminal.type("def loop():\n    while True: x = 1\n")
    terminal.type("job = ipykill.submit(loop)")
    terminal.type("%bgkill -w 30 loop")
    terminal.type("job = ipykill.submit(ipykill.sleep, 1000)")
    terminal.type("%bgstop sleep")
    terminal.type("inside = threading.Event()")
    terminal.type("def late():\n    with ipykill.shield(): inside.set(); go.wait()\n")
    terminal.type("job = ipykill.submit(late)")
    terminal.type("seen = inside.wait()")
    terminal.type("%bgkill -w 0 late")
    terminal.type("go.set()")
    terminal.expect(r"\[3\] late: killed")
    terminal.type("%bg -q print('the', 'end')")
    terminal.expect("the end")
    for words in "[1] loop: killed", "[2] sleep: stopped", "[3] late: killed":
        assert terminal.screen.count(words) == 1, words


def test_what_the_foreground_prints_is_not_touched(terminal: Terminal) -> None:
    terminal.type("%bg -q go.wait()")
    terminal.type("print('foreground'); sys.stdout.flush(); print('error', file=sys.stderr)")
    assert "\nforeground\n" in terminal.screen
    terminal.type("%unload_ext ipykill")
    terminal.type("go.set()")


def test_a_question_of_a_job_is_an_error_and_the_prompt_lives(terminal: Terminal) -> None:
    terminal.type("%bg -q -n asks input('name? ')")
    terminal.expect(r"EOFError: input\(\) in job 1 \(asks\): nobody can answer")
    terminal.type("import getpass")
    terminal.type("%bg -q -n asks getpass.getpass()")
    terminal.expect(r"EOFError: getpass\(\) in job 2 \(asks\): nobody can answer")
    terminal.type("%bg -q -n bug breakpoint()")
    terminal.expect(r"RuntimeError: pdb in job 3 \(bug\): no prompt leads to a background job")
    terminal.type("print('still', 'here')")
    assert "\nstill here\n" in terminal.screen


def test_a_start_line_and_a_finish_line_and_no_widgets(terminal: Terminal) -> None:
    terminal.type("%bg -n train go.wait()")
    assert "<Job 1 'train': running>" in terminal.screen
    terminal.type("go.set()")
    terminal.expect(r"\[1\] train: done in [\d.]+ m?s")
    terminal.type(
        "print('widgets', [it for it in sys.modules if 'ipywidgets' in it or 'anywidget' in it])"
    )
    assert "widgets []" in terminal.screen


def test_a_flood_waits_for_the_terminal_and_is_whole(terminal: Terminal) -> None:
    terminal.type("%bg -q -n flood [print(f'{i:080d}') for i in range(3000)];")
    terminal.expect(r"\[1\] flood: done")
    assert f"{2999:080d}\n" in terminal.screen
    lines = re.findall(r"\d{80}$", terminal.screen, re.MULTILINE)  # some behind a prompt
    assert lines == [f"{i:080d}" for i in range(3000)]


def test_exit_asks_once_while_jobs_run(terminal: Terminal) -> None:
    terminal.type("%bg -q -n first go.wait()")
    terminal.type("%bg -q -n second go.wait()")
    for answer in "\r", "n\r", "\x03":
        terminal.stay("exit\r", answer)
    terminal.stay("\x04", "no\r")
    asked = "job 1 (first), job 2 (second) still run, and end with IPython."
    assert terminal.screen.count(asked) == 4
    terminal.type("%bg -q -n quits quit()")  # ends itself alone
    terminal.expect(r"\[3\] quits: done")
    terminal.type("%bgkill -w 30 first")
    terminal.stay("quit()\r", "\r")
    assert terminal.screen.count("job 2 (second) still runs, and ends with IPython.") == 1
    # The fixture answers yes, and is asked no more.


def test_ctrl_c_spares_the_processes_of_jobs(terminal: Terminal) -> None:
    terminal.type("import os; job = ipykill.submit(lambda: os.system('sleep 1000'))")
    terminal.type("seen = [time.sleep(0.01) for _ in iter(lambda: bool(job.processes), True)]")
    terminal.interrupt("!echo 1 and 1; sleep 1000", r"\n1 and 1\n")
    terminal.type("print('it lives:', [info.running for info in job.processes])")
    assert "\nit lives: [True]\n" in terminal.screen
    terminal.type("print('it died:', job.kill(30), job.processes)")
    assert "\nit died: True ()\n" in terminal.screen
