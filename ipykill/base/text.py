"""Text of others, made fit to be shown in a line."""

from __future__ import annotations

import re

__all__ = ["one_line", "printable"]

_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # links, titles
    r"|[ -/]*[0-~])"
)


def printable(text: str) -> str:
    """Return `text` without escape sequences, and with a blank for each control character."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in _ESCAPE.sub("", text))


def one_line(text: str, width: int = 1000) -> str:
    """Return `text` as one line of at most `width` characters, without control characters."""
    text = printable(text).strip()
    return text if len(text) <= width else text[: width - 1] + "…"
