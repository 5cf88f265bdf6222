"""Where in a code object a Kill may be raised, and where not, as read from its bytecode.

A `CodeMap` is made from the bytecode, its line and position tables and its exception table. It
needs no source and no syntax tree, so there is one for exec'd and for compiled code as well.

*Cleanup* is what undoes something: the body of an ``except`` or a ``finally``, and the
exit of a ``with``.

1. A handler begins with PUSH_EXC_INFO. Its instructions are followed, jumps and the handlers
   inside it included, until it ends: its POP_EXCEPT, RERAISE, a raise or a return. (A handler
   that goes on with WITH_EXCEPT_START only calls ``__exit__``, which is protected as such.) A
   handler is inside another one if it leaves more on the stack.
2. The compiler copies the body of a ``finally`` for the paths without an exception. A copy
   has the source positions of the original, so every instruction with the position of one
   found in step 1 is cleanup too.
3. Up to CPython 3.12 the ``f_lasti`` of a frame that is calling is the last CACHE unit of
   its CALL, so whatever holds for an instruction holds for its CACHE units.

4. *Recovering* is the part of an ``except`` after which the code goes on: from there no raise
   can be reached. It undoes nothing, but does the work another way, or tries again later.
   *Handling* is all of an ``except``, what may raise again included.

*Safe* is the beginning of a statement, a *safe point*: no statement is half done there.

1. The first instruction of a line, or of a function (a lambda shares its line with other code),
   if the instruction before it ends a statement. Not in cleanup, and not where the exit of a
   ``with`` begins (three times None, and a call). Not a NOP, because a ``try:`` is one, which may
   follow ``lock.acquire()``, and so is the empty body of a ``with``, which the exception table
   leaves out.
2. A jump back to the beginning of a loop, so that a loop on one line has a safe point too. But
   not a conditional one. CPython 3.12 and newer makes two instructions of it, a test that jumps
   over a jump back, and leaves both out of the exception table: an exception there would skip
   the ``finally``. There the safe point is the beginning of the loop, as it is on 3.11, where a
   conditional jump back is one instruction. A jump back to a loop that begins under another
   handler is no safe point either.

*Later* is what would be safe but for being in an ``except``.

*Beginnings* are the safe points of loops: their jumps back, or what these lead to.

*Turns* are jumps back, where CPython handles signals, that lead to a safe place. An exception of
a signal handler counts as raised by the jump. Up to 3.12 the jump has already been made, and the
exception counts as raised just before the beginning of the loop. The place where it counts as
raised must have the same exception handler as the loop.

*Finalizing* are instructions that call Python code only through a finalizer or the garbage
collector: no Kill may be raised in what they call.

*Enters* and *exits* are the calls that a ``with`` makes; the called functions may have any name.

*Holding* is what lies between calls of ``acquire()`` and ``release()`` that no ``try`` guards.

*Leaving* are instructions after which another frame may go on: calls, and what ends or suspends
the frame.

A version of CPython whose bytecode is different would be read wrongly. So the rules are checked
on samples, see `claims`; if a check fails, `cautious` maps are made.
"""

from __future__ import annotations

import dis
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import NamedTuple

from ..base.by_identity import by_identity
from .bytecode import EXTENDED_ARG, Handler, Instruction, handlers_of, instructions, opcode, opcodes
from .handlers import PUSH_EXC_INFO, WITH_EXCEPT_START, handled

__all__ = ["CodeMap", "cautious", "codemap", "distrust", "read"]


class CodeMap(NamedTuple):
    """Offsets in one code object, in bytes, as in ``frame.f_lasti``."""

    safe: frozenset[int]
    later: frozenset[int]
    beginnings: frozenset[int]
    loop_jumps: frozenset[int]
    cleanup: frozenset[int]
    recovering: frozenset[int]
    handling: frozenset[int]
    finalizing: frozenset[int]
    enters: frozenset[int]
    exits: frozenset[int]
    leaving: frozenset[int]
    holding: frozenset[int]


_OURSELVES = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")


_BEFORE_WITH = opcode("BEFORE_WITH")  # up to 3.13
_LOAD_SPECIAL = opcode("LOAD_SPECIAL")  # from 3.14 on
_EXIT_ARGUMENTS = 3 if _BEFORE_WITH < 0 else 2
_LOADS_ENTER = 0  # the argument of LOAD_SPECIAL for __enter__
_RESUME = opcode("RESUME")
_GET_AWAITABLE = opcode("GET_AWAITABLE")
_OF_AENTER, _OF_AEXIT = 1, 2  # the argument of GET_AWAITABLE
_SEND_AGAIN = opcode("JUMP_BACKWARD_NO_INTERRUPT")
_BETWEEN = {EXTENDED_ARG, opcode("NOT_TAKEN")}
_CALLS = opcodes("CALL", "PRECALL")
_CONSTANTS = opcodes("LOAD_CONST", "LOAD_COMMON_CONSTANT")
_PUSH_NULL = opcode("PUSH_NULL")
_NAMES = frozenset({opcode("LOAD_GLOBAL"), opcode("LOAD_ATTR")})
_LOOPS = opcodes("JUMP_BACKWARD") - opcodes("JUMP_BACKWARD_NO_INTERRUPT")
_LOOPS_IF = opcodes("POP_JUMP_BACKWARD")  # 3.11 only
_ATTRIBUTES = opcodes("LOAD_ATTR", "LOAD_METHOD")
# From 3.12 on, the lowest bit of LOAD_ATTR's argument says whether the attribute will be called.
_NAME_SHIFT = 1 if sys.version_info >= (3, 12) else 0
# A statement may begin after one of these ...
_STATEMENT_ENDS = opcodes(
    *("STORE_", "DELETE_", "POP_TOP", "POP_ITER", "POP_EXCEPT", "POP_JUMP", "JUMP", "NOP"),
    *("NOT_TAKEN", "RETURN_", "RAISE", "RERAISE", "RESUME", "FOR_ITER", "END_"),
    *("IMPORT_STAR",),
)
# ... but none begins with one of these.
_NO_STATEMENT = opcodes(
    *("STORE_", "POP_TOP", "POP_EXCEPT", "SWAP", "COPY", "RESUME", "MAKE_CELL", "NOP"),
    *("RETURN_GENERATOR", "PUSH_EXC_INFO", "RERAISE", "JUMP_FORWARD"),
)
_FINALIZING = opcodes(
    *("STORE_FAST", "STORE_DEREF", "STORE_GLOBAL", "STORE_NAME"),
    *("DELETE_FAST", "DELETE_DEREF", "DELETE_GLOBAL", "DELETE_NAME"),
    *("POP_TOP", "POP_EXCEPT", "POP_JUMP", "JUMP_", "RETURN_", "RESUME", "END_FOR", "NOP"),
    *("SWAP", "COPY", "LOAD_FAST", "LOAD_CONST"),
)
_LEAVING = opcodes("CALL", "RETURN_", "YIELD_", "RAISE_VARARGS", "RERAISE")


def _delegates(instruction: Instruction) -> bool:
    """Whether a frame is at this instruction while an exception is thrown into what it awaits."""
    awaits = instruction.op == _RESUME and instruction.argument & 3 in (2, 3)
    return awaits or instruction.op == _SEND_AGAIN


@by_identity
def codemap(code: CodeType) -> CodeMap:
    """Return the map of `code`; any thread may call this."""
    return cautious(code) if _distrust else read(code)


_distrust = False


def distrust() -> None:
    """From here on, make only cautious maps, which do not rest on the shape of the bytecode."""
    global _distrust
    _distrust = True


def cautious(code: CodeType) -> CodeMap:
    """Return what holds for `code` even if none of the rules above does.

    Code without an exception table has no ``with``, no ``try``, and so no cleanup. In it the
    beginning of the function and the jump back of a loop are safe. All other code is cleanup.
    """
    names = [dis.opname[op] for op in code.co_code[::2]]
    calls = {2 * unit for unit, name in enumerate(names) if "CALL" in name}
    caches = {2 * unit for unit, name in enumerate(names) if name == "CACHE"}
    everywhere = frozenset(range(0, len(code.co_code), 2))
    # The frames around a job's code, ipykill's and Thread.run, are known to be no cleanup.
    known = code is threading.Thread.run.__code__ or code.co_filename.startswith(_OURSELVES)
    guarded = bool(code.co_exceptiontable) and not known
    begins = {2 * unit for unit, name in enumerate(names) if name == "JUMP_BACKWARD"}
    begins |= {2 * unit + 2 for unit, name in enumerate(names) if name == "RESUME"} - caches
    nowhere: frozenset[int] = frozenset()
    return CodeMap(
        safe=nowhere if guarded else frozenset(begins),
        later=nowhere,
        beginnings=nowhere,
        loop_jumps=nowhere,
        cleanup=everywhere if guarded else nowhere,
        recovering=nowhere,
        handling=nowhere,
        finalizing=everywhere - calls - caches,
        enters=nowhere,
        exits=nowhere,
        holding=nowhere,
        leaving=frozenset(calls | {2 * n for n, name in enumerate(names) if "RETURN" in name}),
    )


def read(code: CodeType) -> CodeMap:
    """Return the map of `code`, as the rules above say."""
    found = dict(instructions(code))
    handlers = handlers_of(code)
    cleanup, raising, finals = handled(found, handlers)
    caught = set(cleanup)
    leaving_with = _exits(found)
    # A code object may have fewer positions than instructions, or none.
    positions = dict(zip(range(0, len(code.co_code), 2), code.co_positions(), strict=False))

    def places(offsets: Iterable[int]) -> set[object]:
        found = {positions.get(offset) for offset in offsets}
        return {place for place in found if place is not None and place[0] is not None}

    # The jump back after a body of cleanup may have the position of the last statement there, but
    # is no cleanup for that reason. It belongs to the loop to which it leads.
    loops = {offset: found[offset].target for offset in found if found[offset].op in _LOOPS}
    alone = {offset for offset, target in loops.items() if target in loops}  # while True: pass
    copied = places(cleanup - (loops.keys() - alone))
    if cleanup and not copied:  # without positions its copies cannot be told from other code
        cleanup = set(found)
    cleanup |= {
        offset
        for offset in found
        if (offset not in loops or offset in alone) and positions.get(offset) in copied
    }
    cleanup |= {offset for offset, target in loops.items() if target in cleanup}

    def without(some: set[int]) -> set[int]:
        copied = places(some - loops.keys())
        return {it for it in caught if it not in some and positions.get(it) not in copied}

    recovering, handling = without(raising), without(finals)
    undoing = cleanup - handling

    def may_begin(offset: int) -> bool:
        return (
            offset in found
            and offset not in undoing
            and found[offset].op not in _NO_STATEMENT
            and offset not in leaving_with
        )

    safe = set()
    before = {instruction.end: instruction.op for instruction in found.values()}
    functions = {it.end for it in found.values() if it.op == _RESUME and it.argument & 3 == 0}
    for start in [*_line_starts(code), *functions]:
        begin = start
        while begin in found and found[begin].op == EXTENDED_ARG:
            begin = found[begin].end
        if before.get(start) in _STATEMENT_ENDS and may_begin(begin):
            safe.add(begin)
    beginnings, loop_jumps = set(), set()
    tests = _tests(found)
    for offset, instruction in found.items():
        target = instruction.target
        if instruction.op not in _LOOPS | _LOOPS_IF or offset in undoing:
            continue
        if instruction.op in _LOOPS and offset not in tests:
            if handlers.get(offset) == handlers.get(target):
                beginnings.add(offset)
        elif may_begin(target):
            beginnings.add(target)
        else:
            continue
        inside = tests.get(offset, offset)
        if handlers.get(_turning(offset, target)) == handlers.get(inside) and offset not in cleanup:
            loop_jumps.add(offset)

    safe |= beginnings
    unwinding = {offset for offset in found if found[offset].op == WITH_EXCEPT_START}
    finalizing = {
        offset
        for offset, instruction in found.items()
        if instruction.op in _FINALIZING and not _delegates(instruction)
    }
    return CodeMap(
        safe=frozenset(safe - handling),
        later=frozenset(safe & handling),
        beginnings=frozenset(beginnings),
        loop_jumps=frozenset(loop_jumps),
        cleanup=_with_caches(found, cleanup),
        recovering=_with_caches(found, recovering),
        handling=_with_caches(found, handling),
        finalizing=_with_caches(found, finalizing),
        enters=_enters(found) | _awaits(found, _OF_AENTER),
        exits=_with_caches(found, {*_whole_calls(found, leaving_with.values()), *unwinding})
        | _awaits(found, _OF_AEXIT),
        leaving=frozenset(offset for offset in found if found[offset].op in _LEAVING),
        holding=_with_caches(found, set(_holding(code, found, handlers))),
    )


def _turning(offset: int, target: int) -> int:
    """Return where an exception that comes at the jump back from `offset` counts as raised."""
    return offset if sys.version_info >= (3, 13) else target - 2


def _tests(found: dict[int, Instruction]) -> dict[int, int]:
    """Return each jump back that a test jumps over, and the instruction before the test."""
    tests = {}
    before = -1
    for offset, (op, _, end, target) in found.items():
        jump = end
        while jump in found and found[jump].op in _BETWEEN:
            jump = found[jump].end
        loops = jump in found and found[jump].op in _LOOPS
        if loops and found[jump].end == target:
            tests[jump] = before
        if op != EXTENDED_ARG:
            before = offset
    return tests


def _enters(found: dict[int, Instruction]) -> frozenset[int]:
    """Return the calls of ``__enter__``: up to 3.13 an instruction, then two, the second a CALL."""
    enters = set()
    for offset, (op, argument, end, _) in found.items():
        if op == _BEFORE_WITH:
            enters.add(offset)
        elif op == _LOAD_SPECIAL and argument == _LOADS_ENTER:
            enters.add(end)
    return frozenset(enters)


def _exits(found: dict[int, Instruction]) -> dict[int, int]:
    """Return where the arguments of each ``__exit__(None, None, None)`` begin, and its call."""
    exits = {}
    before: Instruction | None = None
    for begin, first in found.items():
        function, before = before, first
        # If a function is loaded by its name just before the arguments, this is no `with`.
        if first.op not in _CONSTANTS or _loads_function(function):
            continue
        second = found.get(first.end)
        if second is None or second[:2] != first[:2]:
            continue
        third = found.get(second.end)
        if third is None or third[:2] != first[:2]:
            continue
        call = found.get(third.end)
        if call is not None and call.op in _CALLS and call.argument == _EXIT_ARGUMENTS:
            exits[begin] = third.end
    return exits


def _awaits(found: dict[int, Instruction], of: int) -> frozenset[int]:
    """Return where ``async with`` awaits what its ``__aenter__`` or ``__aexit__`` returned."""
    awaits: set[int] = set()
    for offset, (op, argument, end, _) in found.items():
        if op == _GET_AWAITABLE and argument == of:
            while found[end].target < 0:  # up to SEND, which leads past the loop that it is in
                end = found[end].end
            awaits.update(range(offset, found[end].target, 2))
    return frozenset(awaits)


def _loads_function(before: Instruction | None) -> bool:
    """Whether the instruction `before` loads a function, the arguments of whose call follow."""
    if before is None:
        return False
    return before.op == _PUSH_NULL or (before.op in _NAMES and before.argument & 1 == 1)


def _whole_calls(found: dict[int, Instruction], calls: Iterable[int]) -> Iterator[int]:
    for offset in calls:
        while offset in found and found[offset].op in _CALLS:  # PRECALL and CALL on 3.11
            yield offset
            offset = found[offset].end


def _line_starts(code: CodeType) -> Iterator[int]:
    """Yield the first offset of every run of instructions that belong to one line."""
    last = None
    for start, end, line in code.co_lines():
        if start == end:
            continue
        # co_lines() may give one run in several entries.
        if line is not None and line != last:
            yield start
        last = line


def _holding(
    code: CodeType, found: dict[int, Instruction], handlers: dict[int, Handler]
) -> Iterator[int]:
    """Yield the offsets between calls of ``acquire`` and ``release`` that no ``try`` guards."""
    if not {"acquire", "release"} <= {*code.co_names}:
        return
    # A generator and a comprehension have a handler of their own, which is no `try`.
    tries = {offset for offset, it in handlers.items() if found[it.offset].op == PUSH_EXC_INFO}
    called, held = "", False
    for offset, (op, argument, _, _) in found.items():
        if held and offset not in tries:
            yield offset
        if op in _ATTRIBUTES:
            name = code.co_names[argument >> _NAME_SHIFT]
            called = name if name in ("acquire", "release") else called
        elif op in _CALLS and called:
            called, held = "", called == "acquire"


def _with_caches(found: dict[int, Instruction], offsets: set[int]) -> frozenset[int]:
    return frozenset(unit for offset in offsets for unit in range(offset, found[offset].end, 2))
