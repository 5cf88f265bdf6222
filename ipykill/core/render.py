"""Jobs in words: durations, states, tables, as plain text and as HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..base.text import one_line

if TYPE_CHECKING:
    from ..processes import ProcessInfo
    from .facts import JobFacts
    from .info import JobInfo

__all__ = [
    "duration",
    "named",
    "one_line",
    "parse_duration",
    "process_lines",
    "sentence",
    "table_html",
    "table_text",
]

_NUMBER = r"([0-9]*\.?[0-9]+)\s*"
_DURATION = re.compile(
    r"\s*".join(f"(?:{_NUMBER}{unit})?" for unit in ("d", "h", "(?:min|m)", "s", "ms"))
)
_SECONDS = (86400, 3600, 60, 1, 0.001)


def parse_duration(text: str) -> float:
    """Return the seconds in a duration such as ``90``, ``30s``, ``10m`` or ``1h30m``.

    Raises
    ------
    ValueError
        The text is not a duration, or the duration is not above zero.
    """
    text = text.strip()
    try:
        seconds = float(text)
    except ValueError:
        found = _DURATION.fullmatch(text)
        parts = zip(found.groups("0"), _SECONDS, strict=True) if found else ()
        seconds = sum(float(number) * unit for number, unit in parts)
    if not 0 < seconds < float("inf"):
        msg = f"{text!r} is not a duration; write 90, 30s, 10m or 1h30m"
        raise ValueError(msg)
    return seconds


def duration(seconds: float) -> str:
    """Return a duration in words: ``41.2 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02d} h"


def size(number: int) -> str:
    """Return a number of bytes in words: ``191 MB``."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if number >= factor:
            return f"{number / factor:.3g} {unit}"
    return f"{number} bytes"


def kept(info: JobInfo) -> str:
    """Return what a finished job keeps in memory, if that is large, in words; else nothing."""
    if not info.size:
        return ""
    again = "" if info.cell is None else " or the next run of its cell"
    return f"keeps its value, {size(info.size)}, until %bgclear {info.id}{again}"


def note(info: JobInfo) -> str:
    """Return what a person should know of a job beside its state: its value, its clashes."""
    clash = ""
    if info.clashes:
        clash = (
            f"assigned in the foreground as well: {', '.join(info.clashes)}; each changes what "
            "the other works with; %%bg --private keeps the names of a job its own"
        )
    return "; ".join(filter(None, [kept(info), clash]))


def named(job: JobFacts | JobInfo) -> str:
    """Return what a job is called in a sentence: ``job 3 (train)``."""
    return f"job {job.id} ({one_line(job.name, 60)})"


def _status(info: JobInfo) -> str:
    """Return the state of a job in words, without its name."""
    state = info.state.value
    place, reason = one_line(info.place, 80), one_line(info.reason, 200)
    at = f" at {place}" if place else ""
    in_ = f" in {place}" if place else ""
    why = f" ({reason})" if reason else ""
    took = duration(info.elapsed)
    hindered = f"; {one_line(info.hindrance, 300)}" if info.hindrance else ""
    match state:
        case "pending":
            waits = one_line(", ".join(info.waits), 200)
            return f"waiting for {waits}{why}" if waits else f"waiting to start{why}"
        case "running":
            return f"running for {took}{in_}{hindered}"
        case "stopping":
            # A Stop is only a request: code without a checkpoint runs on.
            ago = duration(info.asked or 0)
            return f"stop asked {ago} ago{why}; running{in_}; %bgkill {info.id} ends it now"
        case "killing":
            return f"kill pending for {duration(info.asked or 0)}{why}{in_}{hindered}"
        case "done":
            return f"done in {took}" + (f"; it {kept(info)}" if info.size else "")
        case "failed":
            return f"failed after {took}{at}: {one_line(info.error, 200)}"
        case "skipped":
            return f"skipped: {reason}" if reason else "skipped"
        case _ if info.started is None:
            return f"{state} before it started{why}"
        case _:
            return f"{state} after {took}{at}{why}"


def left(info: JobInfo) -> str:
    """Return what a finished job has left: ``1 thread and 2 processes live on``, or nothing."""
    processes = sum(it.running for it in info.processes)
    kinds = ((info.left, "thread", "threads"), (processes, "process", "processes"))
    found = [f"{number} {one if number == 1 else more}" for number, one, more in kinds if number]
    if not info.state.final or not found:
        return ""
    return f"{' and '.join(found)} live{'s' if info.left + processes == 1 else ''} on"


def sentence(info: JobInfo, *, already: bool = False) -> str:
    """Return one line about a job: ``[3] train: killed after 41.2 s at cell [7], line 12``.

    Parameters
    ----------
    already
        Whether it was over before somebody asked for its end.
    """
    over = " was already over" if already else ""
    rest = f"; {lives}" if (lives := left(info)) and not already else ""
    return f"[{info.id}] {one_line(info.name, 60)}{over}: {_status(info)}{rest}"


_HEAD = ("id", "name", "state", "elapsed", "cpu", "where")


def _row(info: JobInfo) -> tuple[str, ...]:
    where = info.place
    if info.state.value == "failed":
        where = info.error
    elif info.state.value == "skipped":
        where = info.reason
    elif info.waits:
        where = f"waiting for {', '.join(info.waits)}"
    if lives := left(info):
        where = f"{where}; {lives}" if where else lives
    return (
        str(info.id),
        one_line(info.name, 40),
        info.state.value,
        duration(info.elapsed) if info.started is not None else "",
        duration(info.cpu_time) if info.started is not None else "",
        one_line(where, 60),
    )


_EMPTY = "No background jobs. Start one with %%bg on the first line of a cell."


_PROCESSES = 10  # how many of one job are listed


def process_lines(infos: Sequence[ProcessInfo]) -> list[str]:
    """Return a line about each process of a job: ``└ process 4711: sleep 1000``."""
    lines = []
    for info in infos[:_PROCESSES]:
        command = one_line(info.command, 60)
        ended = "" if info.running else " (it has ended)"
        lines.append(f"└ process {info.pid}{f': {command}' if command else ''}{ended}")
    left_out = len(infos) - _PROCESSES
    return [*lines, f"  ... and {left_out} more"] if left_out > 0 else lines


def _threads(info: JobInfo) -> str:
    if info.threads == 1:
        return "1 thread"
    return "" if info.state.final and not info.threads else f"{info.threads} threads"


def table_text(
    infos: Sequence[JobInfo],
    *,
    long: bool = False,
    trees: Mapping[int, Sequence[str]] = MappingProxyType({}),
) -> str:
    """Return the jobs as a table in plain text.

    Parameters
    ----------
    long
        Whether to add a line with the cell and the last output, and the processes.
    trees
        More lines about jobs, by their ids.
    """
    if not infos:
        return _EMPTY
    rows = [_HEAD, *(_row(info) for info in infos)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = []
    for number, row in enumerate(rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
        if long and number:
            info = infos[number - 1]
            details = [
                f"cell [{info.cell}]" if info.cell is not None else "",
                _threads(info),
                one_line(info.last_line, 80),
                note(info),
            ]
            if words := " · ".join(filter(None, details)):
                lines.append("    " + words)
        if number:
            lines += ["    " + line for line in trees.get(infos[number - 1].id, ())]
        if long and number:
            lines += ["    " + line for line in process_lines(infos[number - 1].processes)]
    return "\n".join(lines)


def table_html(infos: Iterable[JobInfo]) -> str:
    """Return the jobs as an HTML table; all texts of the user's are escaped."""
    rows = [_row(info) for info in infos]
    if not rows:
        return f"<p>{html.escape(_EMPTY)}</p>"

    def line(tag: str, cells: Iterable[str]) -> str:
        style = "text-align:left"
        return "".join(f'<{tag} style="{style}">{html.escape(cell)}</{tag}>' for cell in cells)

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{line('th', _HEAD)}</tr></thead><tbody>{body}</tbody></table>"
