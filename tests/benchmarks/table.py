"""Tables in Markdown, and the words about the machine that belong with every figure."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import ipykill
from tests.benchmarks.contenders import PEERS


@dataclass
class Table:
    """Rows of what was measured, with a heading and a sentence that says how."""

    title: str
    how: str
    columns: Sequence[str]
    rows: dict[str, Sequence[object]]

    def __str__(self) -> str:
        lines = [
            "| " + " | ".join(["", *self.columns]) + " |",
            "|---" + "|--:" * len(self.columns) + "|",
            *(
                "| " + " | ".join([name, *map(str, cells)]) + " |"
                for name, cells in self.rows.items()
            ),
        ]
        return "\n".join([f"## {self.title}", "", self.how, "", *lines, ""])


def machine() -> str:
    """Say on what the figures were measured."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    names = [line.split(":")[1].strip() for line in text.splitlines() if "model name" in line]
    peers = ", ".join(f"{name} {version}" for name, version in PEERS.packages[:-1])
    return (
        f"{date.today():%d %B %Y}; ipykill {ipykill.__version__}, CPython "
        f"{platform.python_version()}, IPython {importlib.metadata.version('ipython')}; {peers}; "
        f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}, "
        f"{platform.machine()}, {os.cpu_count()} cores"
        f"{f' ({names[0]})' if names else ''}."
    )
