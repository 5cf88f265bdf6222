"""What the documents link to is there, and the README stays short."""

import re
from pathlib import Path

import pytest

from ipykill.ipython.magics import BackgroundMagics
from tests.overlays import ROOT

pytestmark = pytest.mark.once

DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def prose(file: Path) -> str:
    """Return the text of a document without its code."""
    return re.sub(r"^```.*?^```", "", file.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(file: Path) -> set[str]:
    """Return what GitHub calls the headings of a document."""
    found = HEADING.findall(prose(file))
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in found}


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file: Path) -> None:
    for link in ("".join(found) for found in LINK.findall(prose(file))):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (file.parent / path) if path else file
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_the_readme_names_each_magic_and_each_option_of_bg() -> None:
    text = (ROOT / "README.md").read_text()
    names = [name for name in vars(BackgroundMagics) if name.startswith("bg")]
    assert names
    assert [name for name in names if f"`%{name}" not in text] == []
    options = [action.option_strings for action in BackgroundMagics.bg.parser._actions]
    spelled = [option for option in options if option and "--help" not in option]
    assert [option for option in spelled if not any(f"`{it}" in text for it in option)] == []


def test_each_message_that_is_explained_is_one_that_ipykill_says() -> None:
    """A message is looked for in the code as it stands there, without what changes in it."""
    code = "\n".join(file.read_text() for file in (ROOT / "ipykill").rglob("*.py"))
    code = re.sub(r"\"\s*f?\"", "", code)  # a text that goes on in the next line
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    terms = re.findall(r"^([^\n]+)\n: ", text, re.MULTILINE)
    terms += re.findall(r"^#+ (kill pending.*)", text, re.MULTILINE)
    assert len(terms) > 20
    not_ours = {"No module named 'ipykill'", "It is text or a table instead of buttons"}
    for term in set(terms) - not_ours:
        for part in re.split(r"\.\.\.|\(|\)", term):
            assert part.strip(" :") in code, term
