"""Parses the lines of magics: options, SPECs and the statement of ``%bg``.

A mistake of the user's raises `UsageError`, which IPython shows as one line.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import keyword
import re
import shlex
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic_arguments import argument
from IPython.utils.text import EvalFormatter, FullEvalFormatter

from ..core import render
from ..core.job import Job
from ..core.manager import JobManager
from ..exceptions import JobError

__all__ = [
    "SPEC",
    "SPECS",
    "duration",
    "file",
    "find",
    "lines",
    "parse",
    "seconds",
    "split",
    "variable",
]


def duration(text: str) -> float:
    """Return the seconds in a duration such as ``90``, ``30s``, ``10m`` or ``1h30m``."""
    try:
        return render.parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def seconds(text: str) -> float:
    """Return the seconds in a duration, which may be 0."""
    return 0.0 if text.strip() in ("0", "0s") else duration(text)


def variable(text: str) -> str:
    """Return `text` if it is the name of a variable."""
    if not text.isidentifier() or keyword.iskeyword(text):
        msg = f"{text!r} is not the name of a variable"
        raise argparse.ArgumentTypeError(msg)
    return text


def file(text: str) -> Path:
    """Return the path of a file, if that can be written; it is created."""
    path = Path(text).expanduser()
    try:
        path.open("a").close()
    except OSError as error:
        msg = f"cannot write {text!r}: {error.strerror}"
        raise argparse.ArgumentTypeError(msg) from None
    return path


def lines(text: str) -> int:
    """Return a number of lines, at least 1."""
    if not text.isdecimal() or not int(text):
        msg = f"{text!r} is not a number of lines"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def find(manager: JobManager, spec: str) -> list[Job]:
    """Return the jobs that a SPEC means, at least one."""
    try:
        return manager.find(spec)
    except JobError as error:
        raise UsageError(str(error)) from None


SPECS = argument(
    "specs",
    nargs="*",
    metavar="SPEC",
    help="a job: 3 or %%3, a name or the beginning of one, ?text in its source, %%+ the "
    "newest that runs, %%- the one before, all; without any, the newest that runs",
)
SPEC = argument("specs", nargs="?", metavar="SPEC", default="", help="a job, as for %%bgkill")


def parse(
    magic: Any, line: str, name: str = "", namespace: Mapping[str, Any] = MappingProxyType({})
) -> argparse.Namespace:
    """Parse the line of a magic.

    Parameters
    ----------
    name
        What messages call the magic, by default ``%`` and its own name.
    namespace
        The variables that ``$name`` and ``{name}`` in the line refer to, by default none.

    Raises
    ------
    UsageError
        The line is not valid.
    """
    name = name or f"%{magic.__name__}"
    fields = _Fields(namespace)
    try:
        words = shlex.split(fields.hide(line))
    except ValueError as error:
        raise UsageError(f"{name}: {error}: {line.strip()}") from None
    return _arguments(magic, [fields.fill(word) for word in words], name)


def split(magic: Any, line: str, namespace: Mapping[str, Any]) -> tuple[argparse.Namespace, str]:
    """Split the line of ``%bg`` into its options and the statement.

    In the options, ``$name`` and ``{name}`` are replaced by the values of variables. In the
    statement only ``$name`` is, because ``{name}`` is Python code there.

    Raises
    ------
    UsageError
        The options are not valid.
    """
    takes_value = {
        option
        for action in magic.parser._actions
        for option in action.option_strings
        if action.nargs != 0
    }
    fields = _Fields(namespace)
    stream = io.StringIO(fields.hide(line))
    hidden = stream.getvalue()
    words = shlex.shlex(stream, posix=True)
    words.whitespace_split = True
    words.commenters = ""
    options: list[str] = []
    start = 0
    try:
        while hidden[start:].lstrip().startswith("-"):
            word = words.get_token() or ""
            start = stream.tell()
            if word == "--":
                break
            options.append(word)
            if word in takes_value and (value := words.get_token()) is not None:
                options.append(value)
                start = stream.tell()
    except ValueError as error:
        raise UsageError(f"%bg: {error}") from None
    args = _arguments(magic, [fields.fill(word) for word in options], "%bg")
    return args, fields.fill(hidden[start:], code=True).strip()


def _arguments(magic: Any, words: list[str], name: str) -> argparse.Namespace:
    try:
        args: argparse.Namespace = magic.parser.parse_args(words)
    except UsageError as error:
        # A word that is not an option is most likely a name for the job.
        named = name == "%%bg" and re.search(r"unrecognized arguments: [^-]", str(error))
        how = "; a name is given with -n" if named else ""
        raise UsageError(f"{name}: {error}{how}; see {name}?") from None
    return args


# Matches the same as IPython's own formatter, which leaves $name between single quotes alone.
_FIELD = re.compile(
    r"\$\$(?=\w)|\{\{|\}\}|\$(?P<name>[^\W\d]\w*(?:\.\w+)*)(?=(?:[^']*'[^']*')*[^']*$)"
    r"|\{(?P<expression>[^{}]+)\}"
)
_HIDDEN = re.compile("[\ue000-\uf8ff]")


class _Fields:
    """The fields ``$name`` and ``{expression}`` in a line, which IPython expands in other magics.

    While the line is split into words, one private-use character replaces each field, so that a
    value with a blank in it is one word. A field that cannot be evaluated is left as it is.
    """

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace
        self._found: list[re.Match[str]] = []

    def hide(self, line: str) -> str:
        """Return the line with a character in place of each field."""

        def mark(found: re.Match[str]) -> str:
            self._found.append(found)
            return chr(0xE000 + len(self._found) - 1)

        return line if _HIDDEN.search(line) else _FIELD.sub(mark, line)

    def fill(self, text: str, *, code: bool = False) -> str:
        """Return `text` with the values of its fields; in `code`, only those of ``$name``."""
        if not self._found:
            return text
        take: Callable[[re.Match[str]], str] = self._of_name if code else self._value
        return _HIDDEN.sub(lambda mark: take(self._found[ord(mark[0]) - 0xE000]), text)

    def _value(self, found: re.Match[str]) -> str:
        if found["name"]:
            return self._of_name(found)
        if not found["expression"]:
            return found[0][0]  # $$, {{ or }}
        # The first takes every expression, as IPython does; the second a format, as f-strings do.
        for formatter in FullEvalFormatter(), EvalFormatter():
            with contextlib.suppress(Exception):
                value: str = formatter.vformat(found[0], [], dict(self._namespace))
                return value
        return found[0]

    def _of_name(self, found: re.Match[str]) -> str:
        """Return the value of ``$name``; in ``run$n.log`` that of `n`, if `n` has no `log`."""
        if not found["name"]:
            return found[0]
        first, *attributes = found["name"].split(".")
        for end in range(len(attributes), -1, -1):
            try:
                value = reduce(getattr, attributes[:end], self._namespace[first])
                return ".".join([format(value), *attributes[end:]])
            except Exception:
                continue
        return found[0]
