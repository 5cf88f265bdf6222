"""The source of a function, as its card shows it."""

import functools
import importlib
import inspect
import zipfile

import pytest

from ipykill.base.source import source_of


def decorate(function):
    return functools.wraps(function)(lambda *rest: function(*rest))


@decorate
@functools.cache
def decorated(
    first,
    second=1,
):
    """Has a text."""
    if first:
        return second

    return (lambda x: x + 1)(first)


class Methods:
    def method(self):
        return 1

    @property
    def attribute(self):
        return 2


async def asynchronous():
    async with decorated as it:
        return it


FUNCTIONS = [decorate, decorated, Methods.method, Methods.attribute.fget, asynchronous]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_it_is_that_of_inspect_and_no_module_is_looked_for(function, monkeypatch) -> None:
    """Beside a thread that computes, to look for it among all modules takes seconds."""
    inner = inspect.unwrap(function)
    expected = inspect.getsource(inner.__code__)
    monkeypatch.delattr(inspect, "getmodule")
    assert source_of(inner) == expected


def test_it_is_found_in_a_zip_file(tmp_path, monkeypatch) -> None:
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as file:
        file.writestr("packed_module.py", "x = 1\n\n\ndef packed():\n    return x\n")
    monkeypatch.syspath_prepend(tmp_path / "packed.zip")
    function = importlib.import_module("packed_module").packed
    assert source_of(function) == "def packed():\n    return x\n"


def test_it_is_empty_where_it_is_not_known() -> None:
    names: dict[str, object] = {}
    exec("def made(): pass", names)
    assert source_of(names["made"]) == ""
    assert source_of(None) == ""
