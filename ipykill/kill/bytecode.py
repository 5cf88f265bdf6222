"""Instructions and exception tables, as the maps of code objects read them."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType
from typing import NamedTuple

__all__ = ["Handler", "Instruction", "handlers_of", "instructions", "opcode", "opcodes"]


def opcodes(*prefixes: str) -> frozenset[int]:
    """Return the opcodes whose names begin with one of `prefixes`."""
    return frozenset(op for name, op in dis.opmap.items() if name.startswith(prefixes))


def opcode(name: str) -> int:
    """Return the opcode of this name; if this Python has none, a number that no opcode has."""
    return dis.opmap.get(name, -2)


EXTENDED_ARG = opcode("EXTENDED_ARG")
_CACHE = opcode("CACHE")
# From 3.14 on, END_ASYNC_FOR says where its loop is, and jumps nowhere.
_JUMPS = frozenset(dis.hasjrel) - {opcode("END_ASYNC_FOR")}
_BACKWARD = frozenset(op for name, op in dis.opmap.items() if "BACKWARD" in name)


class Instruction(NamedTuple):
    """One instruction with its CACHE units."""

    op: int
    argument: int
    end: int  # where the next one begins, CACHE units skipped
    target: int  # of its jump; -1 if it does not jump


def instructions(code: CodeType) -> Iterator[tuple[int, Instruction]]:
    """Yield the instructions of `code`, each with its offset."""
    # The same as dis.get_instructions(), but twenty times faster, because a Kill waits for it.
    raw = code.co_code
    offset = argument = 0
    while offset < len(raw):
        op = raw[offset]
        argument = argument << 8 | raw[offset + 1]
        end = offset + 2
        while end < len(raw) and raw[end] == _CACHE:
            end += 2
        target = -1
        if op in _JUMPS:
            target = end - 2 * argument if op in _BACKWARD else end + 2 * argument
        yield offset, Instruction(op, argument, end, target)
        if op != EXTENDED_ARG:
            argument = 0
        offset = end


class Handler(NamedTuple):
    """Where an exception goes, and how many values it leaves on the frame's value stack."""

    offset: int
    depth: int


def handlers_of(code: CodeType) -> dict[int, Handler]:
    """Return the handler of each unit of two bytes that has one, from the exception table."""
    # The format is in CPython's Objects/exception_handling_notes.txt.
    units = iter(code.co_exceptiontable)

    def number(first: int) -> int:
        value = first & 63
        while first & 64:
            first = next(units)
            value = value << 6 | first & 63
        return value * 2

    found = {}
    for unit in units:
        start = number(unit)
        end = start + number(next(units))
        offset, depth = number(next(units)), number(next(units))
        # number() doubles, because offsets count units of two bytes. The last number does not: it
        # is the depth, shifted by one bit for a flag that is not needed here.
        found.update(dict.fromkeys(range(start, end, 2), Handler(offset, depth // 4)))
    return found
