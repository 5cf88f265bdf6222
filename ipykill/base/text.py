"""Clean up text from elsewhere so that it can be shown on one line."""

from __future__ import annotations

import re

__all__ = ["one_line", "printable"]

_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # links, titles
    r"|[ -/]*[0-~])"
)


def printable(text: str, keep: str = "") -> str:
    """Return `text` without escape sequences, and with a blank for each control character.

    Parameters
    ----------
    keep
        Control characters that stay.
    """
    if text.isprintable():
        return text
    text = _ESCAPE.sub("", text)
    return "".join(char if char.isprintable() or char in keep else " " for char in text)


def one_line(text: str, width: int = 1000) -> str:
    """Return `text` as one line of at most `width` characters, without control characters."""
    text = printable(text).strip()
    return text if len(text) <= width else text[: width - 1] + "…"
