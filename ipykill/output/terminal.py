"""The output of jobs in a terminal: above the prompt."""

from __future__ import annotations

import functools
import itertools
import operator
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ..base import locks
from ..core import render
from ..core.job import Job
from .job_output import JobOutput, Told, agent
from .streams import tap_prompt

__all__ = ["host"]

_TICK = 0.1  # seconds after which a line is written though its end is missing
_PAUSE = 0.02  # seconds between two looks at the queue
_KEEP = 50_000  # how many characters may wait
_PATIENCE = 2.0  # seconds that a job waits for a terminal that accepts nothing


class _Terminal:
    """Writes text of jobs to the terminal, above the prompt while that waits for input.

    prompt_toolkit's own replacement of the streams (`StdoutProxy`) loses text that it gets
    while the prompt is ending. Here text leaves the queue only when it is written, and
    writing is tried again until then.

    Threading
    ---------
    Any thread may call any public method; only `wait_for_room` blocks. `_lock` is held while
    text is written.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._lock = locks.RLock()
        self._waiting: deque[tuple[str, str]] = deque()
        self._size = 0  # about how many characters wait; no lock guards it

    def put(self, name: str, text: str) -> None:
        """Write `text` to the stream `name` soon."""
        self._waiting.append((name, text))
        self._size += len(text)
        agent.call(self.flush)

    def wait_for_room(self) -> None:
        """Wait while the queue is long, at most 2 seconds, so that it does not grow for ever."""
        end = time.monotonic() + _PATIENCE
        while self._size > _KEEP and time.monotonic() < end:
            time.sleep(_PAUSE)

    def flush(self) -> None:
        """Write the whole lines that wait, and later the rest; try again if that is impossible."""
        app = self._prompt()
        if app is None:
            self._write(whole_lines=True)
            if self._waiting:  # a progress bar, or a line whose end comes in a moment
                agent.call(self._flush_rest, time.monotonic() + _TICK)
            return
        try:
            app.loop.call_soon_threadsafe(self._write_above, app)
        except RuntimeError:  # the prompt has ended meanwhile
            pass
        if self._has_line():
            agent.call(self.flush, time.monotonic() + _TICK)

    def _flush_rest(self) -> None:
        # Not while a prompt waits: it would overwrite an unfinished line.
        self._write(whole_lines=self._prompt() is not None)

    def _write_above(self, app: Any) -> None:
        from prompt_toolkit.application import run_in_terminal

        if app.is_running and self._has_line():
            run_in_terminal(functools.partial(self._write, whole_lines=True))

    def _prompt(self) -> Any:
        """Return prompt_toolkit's application while it waits for input, else None."""
        app = getattr(getattr(self._shell, "pt_app", None), "app", None)
        return app if app is not None and app.is_running and app.loop is not None else None

    def _has_line(self) -> bool:
        return any("\n" in text for _, text in list(self._waiting))

    def _write(self, *, whole_lines: bool) -> None:
        with self._lock:
            waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
            self._size = 0
            groups = itertools.groupby(waiting, key=operator.itemgetter(0))
            parts = [(name, "".join(text for _, text in group)) for name, group in groups]
            if whole_lines:
                self._waiting.extendleft(_take_unfinished(parts))
            for name, text in parts:
                stream = getattr(sys, f"__{name}__")
                stream.write(text)
                stream.flush()


class _TerminalOutput(JobOutput):
    """Output in a terminal: above the prompt."""

    def __init__(self, shell: Any, publisher: Any, terminal: _Terminal, job: Job) -> None:
        super().__init__(shell, publisher, job)
        self._terminal = terminal

    def write(self, name: str, text: str) -> int:
        self._terminal.wait_for_room()  # here, where no lock is held
        return super().write(name, text)

    def deliver(self, widget: Any, name: str, text: str) -> None:
        self._terminal.put(name, text)

    def flush(self) -> None:
        self._terminal.flush()

    def last_words(self) -> None:
        if not self.job.is_told:
            self.line(render.sentence(self.job.info()), Told)


def _take_unfinished(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Remove the text after the last newline from `parts`, and return it in reverse order."""
    kept = []
    while parts:
        name, last = parts.pop()
        finished, newline, rest = last.rpartition("\n")
        if rest:
            kept.append((name, rest))
        if newline:
            parts.append((name, finished + newline))
            break
    return kept


def host(shell: Any, publisher: Any) -> Callable[[Job], _TerminalOutput]:
    """Return a function that makes the `Host` of a job in a terminal."""
    tap_prompt()
    return functools.partial(_TerminalOutput, shell, publisher, _Terminal(shell))
