"""A function is called when a module has been imported, and not before, and never in its way."""

import importlib
import importlib.util
import sys

import pytest

from ipykill.base.imports import forget, when_imported


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a module that can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def write(name, text="x = 1"):
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        names.append(name)

    yield write
    forget()
    for name in names:
        sys.modules.pop(name, None)


def test_it_is_called_once_after_the_import_and_at_once_from_then_on(write):
    write("module_a")
    seen = []
    when_imported("module_a", seen.append)
    when_imported("module_a", seen.append)
    assert importlib.util.find_spec("module_a") is not None  # to look for it is not to import it
    assert seen == []
    import module_a

    assert seen == [module_a]
    when_imported("module_a", seen.append)
    assert seen == [module_a] * 2


def test_several_are_called_and_an_error_of_one_is_logged_only(write, caplog):
    write("module_b")
    seen = []

    def fail(module):
        raise ValueError(module)

    when_imported("module_b", seen.append)
    when_imported("module_b", fail)
    when_imported("module_b", lambda module: seen.append(module.x))
    import module_b

    assert sorted(map(str, seen)) == sorted(["1", str(module_b)])
    assert "module_b is used as if ipykill knew nothing of it" in caplog.text


def test_an_import_in_vain_is_no_import(write):
    seen = []
    when_imported("module_c", seen.append)
    with pytest.raises(ImportError):
        importlib.import_module("module_c")
    write("module_c", "1 / 0")
    with pytest.raises(ZeroDivisionError):
        importlib.import_module("module_c")
    write("module_c", "x = 2  # longer than before")
    importlib.import_module("module_c")
    assert [it.x for it in seen] == [2]


def test_what_waits_can_be_forgotten_but_for_what_is_for_good(write):
    write("module_d")
    seen = []
    when_imported("module_d", lambda module: seen.append("for a while"))
    when_imported("module_d", lambda module: seen.append("for good"), for_good=True)
    forget()
    import module_d  # noqa: F401

    assert seen == ["for good"]
