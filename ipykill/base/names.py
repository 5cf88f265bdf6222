"""Which variables of a namespace code assigns and uses, read off its code objects."""

from __future__ import annotations

import dis
import itertools
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType

__all__ = ["assigned", "used"]

_IMPORTS = {"IMPORT_NAME", "IMPORT_FROM"}
# What may stand between an import and its assignment: ``import a.b as c``.
_BETWEEN = {*_IMPORTS, "SWAP", "POP_TOP", "COPY", "CACHE", "EXTENDED_ARG"}


def assigned(codes: Iterable[CodeType]) -> frozenset[str]:
    """Return the variables that modules, such as cells, and functions assign when they run.

    Not those that an import assigns, which is the same for whoever does it, nor ``_`` and
    other names that begin with an underscore, which mean nothing to others.
    """
    found = {name for code in codes for name in _assigned(code, code.co_name == "<module>")}
    return frozenset(name for name in found if not name.startswith("_"))


def _assigned(code: CodeType, is_module: bool) -> Iterator[str]:
    imports = False
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        stores = name == "STORE_GLOBAL" or (is_module and name == "STORE_NAME")
        if stores and not imports:
            yield instruction.argval
        imports = name in _IMPORTS or (imports and name in _BETWEEN)
    for inner in _inner(code):
        yield from _assigned(inner, False)


def used(codes: Iterable[CodeType], namespace: Mapping[str, object]) -> set[str]:
    """Return the names that code uses, and so do the functions of the namespace it uses."""
    found: set[str] = set()
    todo = list(codes)
    while todo:
        code = todo.pop()
        todo += _inner(code)
        for name in itertools.chain(code.co_names, code.co_freevars):
            if name not in found:
                found.add(name)
                if isinstance(function := namespace.get(name), FunctionType):
                    todo.append(function.__code__)
    return found


def _inner(code: CodeType) -> list[CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]
