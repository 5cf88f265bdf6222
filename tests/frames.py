"""Whether a traceback shows what nobody wants to see: the frames of ipykill."""

import re
from pathlib import Path

import ipykill

_NAMES = [it.stem for it in Path(ipykill.__file__).parent.iterdir() if it.name != "__pycache__"]
_OURS = re.compile(rf"ipykill/({'|'.join(_NAMES)})\b")  # a checkout is called ipykill, too


def shows_us(text: str) -> bool:
    """Whether a file of the package is named in a text."""
    return _OURS.search(text) is not None
