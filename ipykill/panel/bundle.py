"""Puts together the script and the style sheet of the views, each from several files.

anywidget wants one script. The files are JavaScript modules that import names from each other, and
no two of them define the same name. So joined, without their ``import`` lines, they are one
script, and no build step with Node is needed.
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
    "order",
    "job_view",
    "chips",
    "columns",
    "keys",
    "panel",
    "card",
    "main",
)
_STYLES = ("base", "job", "row", "details", "panel")  # later rules override earlier ones

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./\w+\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(async )?(function|class|const|let) )", re.MULTILINE)


@functools.cache
def script() -> str:
    """Return the script, a module with the exports of ``main.js``."""
    *parts, main = [_IMPORT.sub("", _read("js", f"{name}.js")) for name in _SCRIPTS]
    return "\n".join([*(_EXPORT.sub("", part) for part in parts), main])


@functools.cache
def style() -> str:
    """Return the style sheet."""
    return "\n".join(_read("css", f"{name}.css") for name in _STYLES)


def _read(folder: str, name: str) -> str:
    return (_HERE / folder / name).read_text(encoding="utf-8")
