"""The site of these documents: ``nox -s docs``, or ``sphinx-build -W docs docs/_build``."""

import inspect
import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from IPython.core.magic_arguments import MagicArgumentParser

import ipykill
from ipykill.ipython.magics import BackgroundMagics

project = "ipykill"
author = "the ipykill developers"
release = ipykill.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"ipykill {release}"
html_show_copyright = False
exclude_patterns = ["_build"]
myst_heading_anchors = 3
autodoc_member_order = "groupwise"
autodoc_typehints = "none"
autoclass_content = "class"
napoleon_google_docstring = False
napoleon_use_ivar = True

_INCLUDE = re.compile(r"^```\{include\} (\S+)\n```$", re.MULTILINE)
_LINKS = {
    "docs/": "",
    "CONTRIBUTING.md": "contributing.md",
    "../CONTRIBUTING.md": "contributing.md",
    "notebooks/": "path:../notebooks/",
}


class Magics(Directive):
    """The help of each magic, as ``%bgkill?`` shows it."""

    def run(self) -> list[nodes.Node]:
        found: list[nodes.Node] = []
        for name, magic in vars(BackgroundMagics).items():
            parser = getattr(magic, "parser", None)
            if not isinstance(parser, MagicArgumentParser):
                continue
            title = f"%{name}" if name != "bg" else "%%bg, %bg"
            section = nodes.section(ids=[name], names=[name])
            text = inspect.cleandoc(parser.format_help().removeprefix("::\n"))
            section += [nodes.title(text=title), nodes.literal_block(text, text, language="none")]
            found.append(section)
        return found


def _read(app: Any, name: str, source: list[str]) -> None:
    """Take in what a document includes, and turn its links to those of this folder."""
    text = _INCLUDE.sub(lambda found: Path(app.srcdir, found[1]).read_text(), source[0])
    for old, new in _LINKS.items():
        text = text.replace(f"]({old}", f"]({new}")
    source[0] = text


def _copy_images(app: Any, error: Exception | None) -> None:
    # Sphinx does not see images that are HTML, for light and dark.
    if error is None:
        shutil.copytree(Path(app.srcdir, "images"), Path(app.outdir, "images"), dirs_exist_ok=True)


def setup(app: Any) -> None:
    app.add_directive("magics", Magics)
    app.connect("source-read", _read)
    app.connect("build-finished", _copy_images)
