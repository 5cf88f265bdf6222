"""A name for a job that was given none: its first line that says what it does."""

from __future__ import annotations

import ast
import re

__all__ = ["title"]

_WIDTH = 40
_CELL_MAGIC = re.compile(r"^\s*%%.*$", re.MULTILINE)
# What IPython understands and Python does not: ``!cmd``, ``%magic``, and their values.
_SHELL = re.compile(r"^(\s*(?:[^#'\"\n]*=\s*)?)[!%?].*$", re.MULTILINE)
_NO_TITLE = re.compile(r"\s*(#|import\s|from\s.*\simport\s|$)")


def title(source: str) -> str:
    """Return what names the code: its first statement, or the first line of that.

    Cell magics, comments, the docstring and imports are passed over, but for code that is
    nothing else than imports. Empty where there is no code.
    """
    text = _CELL_MAGIC.sub("", source)
    lines = text.splitlines()
    try:
        found = _first_statement(text, lines)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # no Python: of %%bash, say
        found = next((line for line in lines if not _NO_TITLE.match(line)), "")
    if not found:
        found = next((line for line in lines if line.strip() and line.strip()[0] != "#"), "")
    found = found.strip()
    return found if len(found) <= _WIDTH else found[: _WIDTH - 1] + "…"


def _first_statement(text: str, lines: list[str]) -> str:
    """Return the first line of the first statement that does something, or nothing."""
    for number, node in enumerate(ast.parse(_SHELL.sub(r"\1None", text)).body):
        if isinstance(node, ast.Import | ast.ImportFrom) or (not number and _is_docstring(node)):
            continue
        line = lines[node.lineno - 1]
        if _SHELL.match(line):
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
