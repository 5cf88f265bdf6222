"""Which global variables some code assigns, deletes and uses, as read from its bytecode."""

from __future__ import annotations

import dis
import itertools
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType

__all__ = ["assigned", "deleted", "scratch", "used"]

_IMPORTS = {"IMPORT_NAME", "IMPORT_FROM"}
# What may stand between an import and its assignment: ``import a.b as c``.
_BETWEEN = {*_IMPORTS, "SWAP", "POP_TOP", "COPY", "CACHE", "EXTENDED_ARG"}
_STORES = {"STORE_NAME", "STORE_GLOBAL"}
# What may stand between the next item of a loop and its variable: ``for a, (b, *c) in d``.
_UNPACKS = {"UNPACK_SEQUENCE", "UNPACK_EX", "CACHE", "EXTENDED_ARG", "NOP", "NOT_TAKEN"}


def assigned(codes: Iterable[CodeType]) -> frozenset[str]:
    """Return the global variables that modules, such as cells, and functions assign.

    Names that an import assigns are left out, because every import of a module gives the same
    object, and so are names that begin with an underscore, which no other code relies on.
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


def deleted(codes: Iterable[CodeType]) -> set[str]:
    """Return the global variables that the code deletes and nowhere assigns or imports."""
    found = list(_accesses(codes))
    deletes = {name for kind, name, _ in found if kind.startswith("DELETE")}
    return deletes - {name for kind, name, _ in found if kind in _STORES}


def scratch(codes: Iterable[CodeType]) -> set[str]:
    """Return the global variables that only ``for`` loops assign."""
    stores = {(name, loop) for kind, name, loop in _accesses(codes) if kind in _STORES}
    return {name for name, loop in stores if loop} - {name for name, loop in stores if not loop}


def _accesses(codes: Iterable[CodeType]) -> Iterator[tuple[str, str, bool]]:
    """Yield each store or delete of a global: its opcode, the name, whether a loop does it."""
    todo = list(codes)
    while todo:
        code = todo.pop()
        todo += _inner(code)
        kinds = {"STORE_GLOBAL", "DELETE_GLOBAL"}
        if code.co_name == "<module>":
            kinds |= {"STORE_NAME", "DELETE_NAME"}
        loop = False
        for instruction in dis.get_instructions(code):
            if instruction.opname in kinds:
                yield instruction.opname, instruction.argval, loop
            elif instruction.opname not in _UNPACKS:
                loop = instruction.opname == "FOR_ITER"


def used(codes: Iterable[CodeType], namespace: Mapping[str, object]) -> set[str]:
    """Return the names that code uses, and those used by functions of `namespace` that it names."""
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
