"""The files of the JupyterLab extension fit to each other, to JupyterLab, and to ipykill."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ipykill
from tests.overlays import ROOT

LAB = ROOT / "labextension"
SCHEMA = json.loads((LAB / "schemas/ipykill/plugin.json").read_text())
SCRIPTS = sorted(LAB.glob("static/*.js"))
TEXT = {script.name: script.read_text() for script in SCRIPTS}
MODIFIERS = {"Accel": "Ctrl"}


def test_it_has_the_version_of_the_package() -> None:
    package = json.loads((LAB / "package.json").read_text())
    assert package["version"] == ipykill.__version__
    assert (LAB / package["jupyterlab"]["_build"]["load"]).is_file()


def test_the_schema_names_the_commands_and_the_defaults() -> None:
    (names,) = re.findall(r"NAMES = (\[.*\])", TEXT["commands.js"])
    named = re.findall(r'"command": "ipykill:(\w+)"', json.dumps(SCHEMA))
    assert set(named) == set(json.loads(names))
    (options,) = re.findall(r"const options = \{ (.*) \}", TEXT["plugin.js"])
    defaults = {name: it["default"] for name, it in SCHEMA["properties"].items()}
    assert dict(re.findall(r"(\w+): (\w+)", options)) == {
        name: json.dumps(value) for name, value in defaults.items()
    }


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_imports_what_is_there(script: Path) -> None:
    for name in re.findall(r'(?:from|URL\() ?"(?:\./)?([\w.]+)"', TEXT[script.name]):
        assert (script.parent / name).is_file(), f"{script.name} wants {name}"


def test_its_style_names_no_classes_of_the_panel_but_to_fit_them_in() -> None:
    style = (LAB / "static/style.css").read_text()
    for selector in re.findall(r"^(\..*) \{", style, re.MULTILINE):
        assert selector.startswith((".ipykill-sidebar", ".ipykill-status")), selector


def strokes(keys: list[str]) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(MODIFIERS.get(it, it) for it in stroke.split()) for stroke in keys)


def shortcuts_of_others() -> Iterator[tuple[str, list[str]]]:
    share = Path(sys.prefix, "share/jupyter")
    for file in [*share.glob("lab/schemas/**/*.json"), *share.glob("labextensions/**/*.json")]:
        if "schemas" in file.parts and "ipykill" not in file.parts:
            for it in json.loads(file.read_text()).get("jupyter.lab.shortcuts", ()):
                yield it["command"], it["keys"]


def test_its_shortcuts_collide_with_none() -> None:
    """Wherever they hold: nor is one the beginning of another, which would then have to wait."""
    others = list(shortcuts_of_others())
    if not others:
        pytest.skip("JupyterLab is not installed")
    for ours in SCHEMA["jupyter.lab.shortcuts"]:
        mine = strokes(ours["keys"])
        for command, keys in others:
            theirs = strokes(keys)
            both = min(len(mine), len(theirs))
            if theirs and theirs != (frozenset(),):
                assert mine[:both] != theirs[:both], f"{ours['command']} and {command}: {keys}"
