"""The objects that a call mentions: ``name``, ``self.db.connection``, ``connections["a"]``."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator
from types import FrameType, MemberDescriptorType

__all__ = ["mentioned"]

_DEEP = 5  # levels of attributes, or items, of what the names mean


def mentioned(frame: FrameType) -> list[object]:
    """Return the objects that the expression at which `frame` is mentions.

    No foreign code runs to find them, so what a property or another call returns is not found.
    """
    names, keys = _words(frame)
    variables = frame.f_globals | frame.f_locals
    found = {id(it): it for it in (variables[name] for name in names if name in variables)}
    keys |= {it for it in found.values() if type(it) in (str, int)}
    level = list(found.values())
    for _ in range(_DEEP):
        level = [it for thing in level for it in _parts(thing, names, keys) if id(it) not in found]
        found |= {id(it): it for it in level}
    return list(found.values())


def _words(frame: FrameType) -> tuple[set[str], set[object]]:
    """Return the names and the constants in the expression at which `frame` is."""
    code = frame.f_code
    positions = list(code.co_positions())
    here = positions[frame.f_lasti // 2]
    names: set[str] = set()
    keys: set[object] = set()
    if None in here:
        return names, keys

    def inside(offset: int) -> bool:
        line, end_line, column, end_column = positions[offset // 2]
        if line is None or end_line is None or column is None or end_column is None:
            return False  # the compiler has added the instruction
        return here[::2] <= (line, column) and (end_line, end_column) <= here[1::2]

    for it in dis.get_instructions(code):
        if not inside(it.offset):
            continue
        # One instruction may load two variables, from 3.13 on.
        held = it.argval if isinstance(it.argval, tuple) else (it.argval,)
        if "CONST" in it.opname or "SMALL_INT" in it.opname:
            keys |= {key for key in held if type(key) in (str, int)}
        else:
            names |= {name for name in held if isinstance(name, str)}
    return names, keys


def _parts(thing: object, names: set[str], keys: set[object]) -> Iterator[object]:
    for name in names:
        part = inspect.getattr_static(thing, name, None)
        if isinstance(part, MemberDescriptorType):  # of a class with __slots__
            try:
                part = part.__get__(thing)
            except (AttributeError, TypeError):
                part = None
        if part is not None:
            yield part
    if type(thing) in (dict, list, tuple):
        for key in keys:
            try:
                yield thing[key]  # type: ignore[index]
            except (LookupError, TypeError):
                pass
