"""The script and the style of the views, each put together from several files.

A front end gets one script, as anywidget wants it, and nobody needs Node to make it: the files are
modules of JavaScript that import names from each other, and no name stands in two of them. So
they are one script when they stand one after the other without their ``import`` lines.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

__all__ = ["script", "style"]

_HERE = Path(__file__).parent
_SCRIPTS = (
    "words",
    "elements",
    "channel",
    "jobs",
    "foreground",
    "details",
    "details_view",
    "bars",
    "job_view",
    "order",
    "chips",
    "columns",
    "keys",
    "panel",
    "card",
    "main",
)
_STYLES = ("base", "job", "row", "details", "panel")  # what comes later goes over what comes before

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./\w+\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(async )?(function|class|const|let) )", re.MULTILINE)


@functools.cache
def script() -> str:
    """Return the script, a module that exports what `main.js` does."""
    *parts, main = [_IMPORT.sub("", _read("js", f"{name}.js")) for name in _SCRIPTS]
    return "\n".join([*(_EXPORT.sub("", part) for part in parts), main])


@functools.cache
def style() -> str:
    """Return the style."""
    return "\n".join(_read("css", f"{name}.css") for name in _STYLES)


def _read(folder: str, name: str) -> str:
    return (_HERE / folder / name).read_text(encoding="utf-8")
