"""Which variables the code of a cell reads before it surely assigns them, and which it assigns.

Both are found in the bytecode. If every path to an instruction assigns a name, the instruction
does not need the variable from outside. So the results of an earlier run are not sent when the
cell runs again. A name that a function reads counts as read where the function is defined.
"""

from __future__ import annotations

import dis
import re
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType

__all__ = ["assigned", "needed"]

_JUMPS = {*dis.hasjrel, *dis.hasjabs}
_ENDS = {"RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE"}
_GOES_ON_ELSEWHERE = {"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"}
_STORES = {"STORE_NAME", "STORE_GLOBAL"}
_DELETES = {"DELETE_NAME", "DELETE_GLOBAL"}
_WORD = re.compile(r"[^\W\d]\w*")
_OF_MODULES = re.compile(r"__\w+__")  # names that each module has for itself


def needed(codes: Iterable[CodeType], namespace: Mapping[str, object]) -> set[str]:
    """Return the variables of `namespace` that `codes`, run one after another, may read."""
    found: set[str] = set()
    sure: frozenset[str] = frozenset()
    for code in codes:
        need, sure = _flow(code, sure)
        found |= need
    for function in _functions(found, namespace):
        found |= _read_within(function.__code__)
    return {name for name in found & namespace.keys() if not _OF_MODULES.fullmatch(name)}


def assigned(codes: Iterable[CodeType], namespace: Mapping[str, object]) -> set[str]:
    """Return the variables that `codes` may assign, also in functions that they use."""
    codes = list(codes)
    found = {name for code in codes for name in _stored(code, of_module=True)}
    for function in _functions(needed(codes, namespace), namespace):
        found |= set(_stored(function.__code__, of_module=False))
    return {name for name in found if not _OF_MODULES.fullmatch(name)}


def _flow(code: CodeType, sure: frozenset[str]) -> tuple[set[str], frozenset[str]]:
    """Return the names that module code may read unassigned, and those surely assigned at its end.

    A data-flow analysis, run to its fixed point: where paths meet, only names that all of them
    have assigned count as assigned. `sure` are those assigned at the beginning.
    """
    instructions = list(dis.get_instructions(code))
    index = {it.offset: number for number, it in enumerate(instructions)}
    handlers = _handlers(code, index)
    before: dict[int, frozenset[str]] = {0: sure}
    ends: list[frozenset[str]] = []
    todo = [0]
    while todo:
        number = todo.pop()
        it, state = instructions[number], before[number]
        after = state
        if it.opname in _STORES:
            after = state | {it.argval}
        elif it.opname in _DELETES:
            after = state - {it.argval}
        ways: list[tuple[int | None, frozenset[str]]] = []
        if it.opcode in _JUMPS:
            ways.append((index.get(it.argval), after))
        if it.opname.startswith("RETURN"):
            ends.append(after)
        if it.opname not in _ENDS and it.opname not in _GOES_ON_ELSEWHERE:
            ways.append((number + 1 if number + 1 < len(instructions) else None, after))
        ways.append((handlers.get(it.offset), state))
        for way, known in ways:
            if way is None:
                continue
            merged = before[way] & known if way in before else known
            if before.get(way) != merged:
                before[way] = merged
                todo.append(way)
    need: set[str] = set()
    for number, state in before.items():
        need |= set(_read(instructions[number])) - state
    return need | _expanded(instructions), frozenset.intersection(*ends) if ends else sure


def _handlers(code: CodeType, index: Mapping[int, int]) -> dict[int, int]:
    """Map the offset of each guarded instruction to the index of its exception handler."""
    found: dict[int, int] = {}
    entries = dis.Bytecode(code).exception_entries  # type: ignore[attr-defined]
    for entry in entries:
        for offset in range(entry.start, entry.end, 2):
            found.setdefault(offset, index[entry.target])
    return found


def _read(it: dis.Instruction) -> Iterator[str]:
    name = it.opname
    if name in ("LOAD_NAME", "LOAD_GLOBAL") or name in _DELETES or name.endswith("_OR_GLOBALS"):
        yield it.argval
    elif isinstance(it.argval, CodeType):  # a function, a class
        yield from _read_within(it.argval)


def _read_within(code: CodeType) -> set[str]:
    return {name for it in dis.get_instructions(code) for name in _read(it)}


def _expanded(instructions: Iterable[dis.Instruction]) -> set[str]:
    """Return the words in the arguments of magics and ``!cmd {name} $name``: some may be names."""
    found: set[str] = set()
    inside = False
    for it in instructions:
        if it.argval == "get_ipython":
            inside = True
        elif it.opname.startswith(("STORE", "POP_TOP", "RETURN")):
            inside = False
        elif inside and isinstance(it.argval, str) and "CONST" in it.opname:
            found.update(_WORD.findall(it.argval))
        if isinstance(it.argval, CodeType):
            found |= _expanded(dis.get_instructions(it.argval))
    return found


def _stored(code: CodeType, *, of_module: bool) -> Iterator[str]:
    for it in dis.get_instructions(code):
        if it.opname == "STORE_GLOBAL" or (of_module and it.opname == "STORE_NAME"):
            yield it.argval
        elif isinstance(it.argval, CodeType):
            yield from _stored(it.argval, of_module=False)


def _functions(names: Iterable[str], namespace: Mapping[str, object]) -> list[FunctionType]:
    """Return the functions and methods of `namespace` that code with these names may call."""
    found: list[FunctionType] = []
    todo, seen = list(names), set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        thing = namespace.get(name)
        things = [thing, *vars(thing).values()] if isinstance(thing, type) else [thing]
        for it in things:
            function = getattr(it, "__func__", it)  # if it is a static or class method
            if isinstance(function, FunctionType) and function.__globals__ is namespace:
                found.append(function)
                todo += _read_within(function.__code__)
    return found
