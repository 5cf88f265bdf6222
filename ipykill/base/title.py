"""The name of a job that was given none: the first line of its code that says what it does."""

from __future__ import annotations

import ast
import re

__all__ = ["title"]

_WIDTH = 40
_CELL_MAGIC = re.compile(r"^\s*%%.*$", re.MULTILINE)
# What IPython understands and Python does not: ``!cmd``, ``%magic``, and assignments of them.
_SHELL = re.compile(r"^(\s*(?:[^#'\"\n]*=\s*)?)[!%?].*$", re.MULTILINE)
# Magics that get something ready, as an import does.
_SETTING = r"%(?:matplotlib|pylab|load_ext|reload_ext|autoreload|aimport|config|xmode|precision)\b"
_NO_TITLE = re.compile(rf"\s*(#|import\s|from\s.*\simport\s|{_SETTING}|$)")


def title(source: str) -> str:
    """Return a title for some code: the first line of its first statement.

    Cell magics, comments, the docstring, imports and such magics as %matplotlib are passed over,
    unless the code is nothing else. Empty where there is no code.
    """
    text = _CELL_MAGIC.sub("", source)
    lines = text.splitlines()
    try:
        found = _first_statement(text, lines)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # not Python, but %%bash, say
        found = next((line for line in lines if not _NO_TITLE.match(line)), "")
    if not found:
        found = next((line for line in lines if line.strip() and line.strip()[0] != "#"), "")
    found = found.strip().removesuffix(":")  # most messages go on with a colon
    return found if len(found) <= _WIDTH else found[: _WIDTH - 1] + "…"


def _first_statement(text: str, lines: list[str]) -> str:
    """Return the first line of the first statement that is not skipped; empty if there is none."""
    for number, node in enumerate(ast.parse(_SHELL.sub(r"\1None", text)).body):
        if isinstance(node, ast.Import | ast.ImportFrom) or (not number and _is_docstring(node)):
            continue
        line = lines[node.lineno - 1]
        if _SHELL.match(line):
            if _NO_TITLE.match(line):
                continue
            return line
        last = node.end_col_offset if node.end_lineno == node.lineno else None
        return line.encode()[node.col_offset : last].decode()  # columns count bytes
    return ""


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
