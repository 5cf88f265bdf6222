"""The README's own command lines, so that tests run what people run."""

import re

from tests.overlays import ROOT


def command(word: str) -> str:
    """The one line in the README's shell blocks that contains `word`."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines() if word in line]
    (line,) = lines
    return line
