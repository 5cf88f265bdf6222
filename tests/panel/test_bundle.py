"""The script of the views is made of modules that know each other's names, and no more."""

import re
from pathlib import Path

import pytest

from ipykill.panel import bundle

FOLDER = Path(bundle.__file__).parent / "js"
FILES = sorted(FOLDER.glob("*.js"))
IMPORTS = re.compile(r'import \{([^}]*)\} from "\./(\w+)\.js";')
NAMES = re.compile(r"^(export )?(?:async )?(?:function|class|const|let) (\w+)", re.MULTILINE)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_a_module_imports_is_exported_and_used(file: Path) -> None:
    source = file.read_text()
    rest = IMPORTS.sub("", source)
    for names, module in IMPORTS.findall(source):
        exported = {
            name for export, name in NAMES.findall((FOLDER / f"{module}.js").read_text()) if export
        }
        wanted = {name.strip() for name in names.split(",") if name.strip()}
        assert wanted <= exported
        assert all(re.search(rf"\b{name}\b", rest) for name in wanted)


def test_no_name_stands_in_two_of_them() -> None:
    names = [name for file in FILES for _, name in NAMES.findall(file.read_text())]
    assert len(names) == len(set(names))


def test_they_are_one_script_in_an_order_in_which_each_has_what_it_needs() -> None:
    script = bundle.script()
    assert "import " not in script.replace("important ", "")
    assert re.findall(r"^export (\w+)", script, re.MULTILINE) == ["function", "default"]
    assert {file.stem for file in FILES} == set(bundle._SCRIPTS)
    for file in FILES:
        # A class is used when its module runs only if another extends it: Jobs does, of channel.js.
        assert not re.search(r"^class \w+ extends", file.read_text(), re.MULTILINE)
