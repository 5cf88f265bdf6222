"""What a code object says about itself: where a Kill may land in it, and where not.

A `CodeMap` is read off the bytecode, its line and position tables and its exception table:
no source and no syntax tree, so it serves code that was exec'd or came compiled as well.

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

*Safe* is the beginning of a statement, where nothing is in the making.

1. The first instruction of a line, if the instruction before it ends a statement. Not in
   cleanup, and not where the exit of a ``with`` begins (three times None, and a call). Not a
   NOP: the ``try:`` of ``lock.acquire()``, ``try:`` is one, and so is the body of a
   ``with`` that does nothing, which the exception table leaves out.
2. A jump back to the beginning of a loop, so that a loop on one line has a safe place too. But
   of a conditional one, CPython 3.12 and newer makes two instructions, a test that jumps over a
   jump back, and leaves both out of the exception table: what is raised there goes past the
   ``finally``. There the safe place is the beginning of the loop, as it is on 3.11, where a
   conditional jump back is one instruction.

*Turns* are jumps back that, when they have just been made, lead to a safe place. What is raised
then counts as raised just before the beginning of the loop, so the two must have one handler.

*Finalizing* are instructions that call Python code through a finalizer or the garbage
collector only: whatever they call is nothing that may be broken.

*Enters* and *exits* are the calls that a ``with`` makes, for what is called may have any name.

*Leaving* are instructions after which another frame may go on: calls, and what ends the frame.

A version of CPython whose bytecode is different would be read wrongly. So the map of a sample
is looked at first, see `why_not`.
"""

from __future__ import annotations

import dis
import functools
from collections.abc import Callable, Iterable, Iterator
from types import CodeType
from typing import NamedTuple, TypeVar

__all__ = ["CodeMap", "by_identity", "codemap", "why_not"]

_T = TypeVar("_T")


class CodeMap(NamedTuple):
    """Offsets in one code object, in bytes, as in ``frame.f_lasti``."""

    safe: frozenset[int]
    turns: frozenset[int]
    cleanup: frozenset[int]
    finalizing: frozenset[int]
    enters: frozenset[int]
    exits: frozenset[int]
    leaving: frozenset[int]


_CACHED = 2000  # code objects


def by_identity(fn: Callable[[CodeType], _T]) -> Callable[[CodeType], _T]:
    """Cache a function of a code object that any thread may call.

    `functools.lru_cache` would hash the code object, which takes as long as it is, and this is
    on the path of every monitored instruction.
    """
    # The code object is kept, so that its id stays its own.
    cache: dict[int, tuple[CodeType, _T]] = {}

    @functools.wraps(fn)
    def cached(code: CodeType) -> _T:
        known = cache.get(id(code))
        if known is None:
            if len(cache) >= _CACHED:
                cache.clear()
            known = cache[id(code)] = code, fn(code)
        return known[1]

    return cached


def _opcodes(*prefixes: str) -> frozenset[int]:
    return frozenset(op for name, op in dis.opmap.items() if name.startswith(prefixes))


def _opcode(name: str) -> int:
    return dis.opmap.get(name, -2)


_EXTENDED_ARG = _opcode("EXTENDED_ARG")
_PUSH_EXC_INFO = _opcode("PUSH_EXC_INFO")
_BEFORE_WITH = _opcode("BEFORE_WITH")  # up to 3.13
_LOAD_SPECIAL = _opcode("LOAD_SPECIAL")  # from 3.14 on
_LOADS_ENTER = 0  # its argument for __enter__
_WITH_EXCEPT_START = _opcode("WITH_EXCEPT_START")
_RESUME = _opcode("RESUME")
_SEND_AGAIN = _opcode("JUMP_BACKWARD_NO_INTERRUPT")
_CACHE = _opcode("CACHE")
_BETWEEN = {_EXTENDED_ARG, _opcode("NOT_TAKEN")}
_CALLS = _opcodes("CALL", "PRECALL")
_JUMPS = frozenset(dis.hasjrel)
_BACKWARD = frozenset(op for name, op in dis.opmap.items() if "BACKWARD" in name)
_ALWAYS_JUMPS = _opcodes("JUMP_FORWARD", "JUMP_BACKWARD")
_LOOPS = _opcodes("JUMP_BACKWARD") - _opcodes("JUMP_BACKWARD_NO_INTERRUPT")
_LOOPS_IF = _opcodes("POP_JUMP_BACKWARD")  # 3.11 only
_POP_EXCEPT = _opcode("POP_EXCEPT")
_DEEPEST = 50  # handlers in handlers, of which the compiler allows 20
# The code goes on after such a handler; others raise again.
_GO_ON = {_PUSH_EXC_INFO, _opcode("END_ASYNC_FOR"), _opcode("CLEANUP_THROW")}
_HANDLER_ENDS = _opcodes("RERAISE", "RAISE_VARARGS", "RETURN_")
# A statement may begin after one of these ...
_STATEMENT_ENDS = _opcodes(
    *("STORE_", "DELETE_", "POP_TOP", "POP_ITER", "POP_EXCEPT", "POP_JUMP", "JUMP", "NOP"),
    *("NOT_TAKEN", "RETURN_", "RAISE", "RERAISE", "RESUME", "FOR_ITER", "END_FOR", "END_SEND"),
    *("IMPORT_STAR",),
)
# ... but none begins with one of these.
_NO_STATEMENT = _opcodes(
    *("STORE_", "POP_TOP", "POP_EXCEPT", "SWAP", "COPY", "RESUME", "MAKE_CELL", "NOP"),
    *("RETURN_GENERATOR", "PUSH_EXC_INFO", "RERAISE"),
)
_FINALIZING = _opcodes(
    *("STORE_FAST", "STORE_DEREF", "STORE_GLOBAL", "STORE_NAME"),
    *("DELETE_FAST", "DELETE_DEREF", "DELETE_GLOBAL", "DELETE_NAME"),
    *("POP_TOP", "POP_EXCEPT", "POP_JUMP", "JUMP_", "RETURN_", "RESUME", "END_FOR", "NOP"),
    *("SWAP", "COPY", "LOAD_FAST", "LOAD_CONST"),
)
_LEAVING = _opcodes("CALL", "RETURN_", "YIELD_", "RAISE_VARARGS", "RERAISE")


def _delegates(instruction: _Instruction) -> bool:
    """Whether a frame stands here while an exception is thrown into what it awaits."""
    awaits = instruction.op == _RESUME and instruction.argument & 3 in (2, 3)
    return awaits or instruction.op == _SEND_AGAIN


class _Instruction(NamedTuple):
    op: int
    argument: int
    end: int  # where the next one begins, CACHE units skipped
    target: int  # of its jump; -1: it is none


def _instructions(code: CodeType) -> Iterator[tuple[int, _Instruction]]:
    # As dis.get_instructions() does, twenty times faster: a Kill waits for it.
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
        yield offset, _Instruction(op, argument, end, target)
        if op != _EXTENDED_ARG:
            argument = 0
        offset = end


class _Handler(NamedTuple):
    """Where an exception goes, and how many values stay on the stack then."""

    offset: int
    depth: int


def _handlers(code: CodeType) -> dict[int, _Handler]:
    """Read the exception table: the handler of each unit that has one."""
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
        # All numbers but the last count units; its last bit says something else.
        found.update(dict.fromkeys(range(start, end, 2), _Handler(offset, depth // 4)))
    return found


@by_identity
def codemap(code: CodeType) -> CodeMap:
    """Return the map of `code`; any thread may call this."""
    found = dict(_instructions(code))
    handlers = _handlers(code)
    cleanup = _bodies(found, handlers)
    leaving_with = _exits(found)
    # A code object may have fewer positions than instructions, or none.
    positions = dict(zip(range(0, len(code.co_code), 2), code.co_positions(), strict=False))

    def places(offsets: Iterable[int]) -> set[object]:
        found = {positions.get(offset) for offset in offsets}
        return {place for place in found if place is not None and place[0] is not None}

    # The jump back after a body may have the position of its last statement, and is no part of
    # it. It belongs to the loop to which it leads.
    loops = {offset: found[offset].target for offset in found if found[offset].op in _LOOPS}
    alone = {offset for offset, target in loops.items() if target in loops}  # while True: pass
    copied = places(cleanup - (loops.keys() - alone))
    if cleanup and not copied:  # which copies of it there are is not known
        cleanup = set(found)
    cleanup |= {
        offset
        for offset in found
        if (offset not in loops or offset in alone) and positions.get(offset) in copied
    }
    cleanup |= {offset for offset, target in loops.items() if target in cleanup}

    def may_begin(offset: int) -> bool:
        return (
            offset in found
            and offset not in cleanup
            and found[offset].op not in _NO_STATEMENT
            and offset not in leaving_with
        )

    safe = set()
    before = {instruction.end: instruction.op for instruction in found.values()}
    for start in _line_starts(code):
        begin = start
        while begin in found and found[begin].op == _EXTENDED_ARG:
            begin = found[begin].end
        if before.get(start) in _STATEMENT_ENDS and may_begin(begin):
            safe.add(begin)
    turns = set()
    tests = _tests(found)
    for offset, instruction in found.items():
        target = instruction.target
        if instruction.op not in _LOOPS | _LOOPS_IF or offset in cleanup:
            continue
        if instruction.op in _LOOPS and offset not in tests:
            safe.add(offset)
        elif may_begin(target):
            safe.add(target)
        else:
            continue
        inside = tests.get(offset, offset)
        if handlers.get(target - 2) == handlers.get(inside):
            turns.add(offset)

    unwinding = {offset for offset in found if found[offset].op == _WITH_EXCEPT_START}
    finalizing = {
        offset
        for offset, instruction in found.items()
        if instruction.op in _FINALIZING and not _delegates(instruction)
    }
    return CodeMap(
        safe=frozenset(safe),
        turns=frozenset(turns),
        cleanup=_with_caches(found, cleanup),
        finalizing=_with_caches(found, finalizing),
        enters=_enters(found),
        exits=_with_caches(found, {*_whole_calls(found, leaving_with.values()), *unwinding}),
        leaving=frozenset(offset for offset in found if found[offset].op in _LEAVING),
    )


def _tests(found: dict[int, _Instruction]) -> dict[int, int]:
    """Return the jumps back that a test jumps over, each with the instruction before that."""
    tests = {}
    before = -1
    for offset, (op, _, end, target) in found.items():
        jump = end
        while jump in found and found[jump].op in _BETWEEN:
            jump = found[jump].end
        loops = jump in found and found[jump].op in _LOOPS
        if loops and found[jump].end == target:
            tests[jump] = before
        if op != _EXTENDED_ARG:
            before = offset
    return tests


def _bodies(found: dict[int, _Instruction], handlers: dict[int, _Handler]) -> set[int]:
    """Return the offsets of all that handlers do before they end."""
    bodies: set[int] = set()
    for handler in set(handlers.values()):
        first = found[handler.offset]
        if first.op != _PUSH_EXC_INFO or found[first.end].op == _WITH_EXCEPT_START:
            continue
        # Each with the number of handlers, this one included, that have not ended there.
        seen: set[tuple[int, int]] = set()
        todo = [(handler.offset, 0)]
        while todo:
            offset, level = todo.pop()
            while offset in found and (offset, level) not in seen and level < _DEEPEST:
                op, _, end, target = found[offset]
                seen.add((offset, level))
                if op in _HANDLER_ENDS or (op == _POP_EXCEPT and level == 1):
                    break
                inner = handlers.get(offset)
                is_inside = inner is not None and inner.depth > handler.depth
                if inner is not None and is_inside and found[inner.offset].op in _GO_ON:
                    todo.append((inner.offset, level))
                level += (op == _PUSH_EXC_INFO) - (op == _POP_EXCEPT)
                if target >= 0:
                    todo.append((target, level))
                    if op in _ALWAYS_JUMPS:
                        break
                offset = end
        bodies |= {offset for offset, _ in seen}
    return bodies


def _enters(found: dict[int, _Instruction]) -> frozenset[int]:
    """Return the calls of ``__enter__``: up to 3.13 an instruction, then two, the second a CALL."""
    enters = set()
    for offset, (op, argument, end, _) in found.items():
        if op == _BEFORE_WITH:
            enters.add(offset)
        elif op == _LOAD_SPECIAL and argument == _LOADS_ENTER:
            enters.add(end)
    return frozenset(enters)


def _exits(found: dict[int, _Instruction]) -> dict[int, int]:
    """Return where ``__exit__(None, None, None)`` begins after its function, and the call."""
    exits = {}
    for begin, first in found.items():
        second = found.get(first.end)
        if second is None or second[:2] != first[:2]:
            continue
        third = found.get(second.end)
        if third is None or third[:2] != first[:2]:
            continue
        if third.end in found and found[third.end].op in _CALLS:
            exits[begin] = third.end
    return exits


def _whole_calls(found: dict[int, _Instruction], calls: Iterable[int]) -> Iterator[int]:
    for offset in calls:
        while offset in found and found[offset].op in _CALLS:  # PRECALL and CALL on 3.11
            yield offset
            offset = found[offset].end


def _line_starts(code: CodeType) -> Iterator[int]:
    """Yield the first offset of every run of a line."""
    last = None
    for start, end, line in code.co_lines():
        if start == end:
            continue
        # co_lines() may give one run in several entries.
        if line is not None and line != last:
            yield start
        last = line


def _with_caches(found: dict[int, _Instruction], offsets: set[int]) -> frozenset[int]:
    return frozenset(unit for offset in offsets for unit in range(offset, found[offset].end, 2))


_SAMPLE = """
def sample(lock, work):
    while work():
        lock.acquire()
        try:
            work()
        finally:
            lock.release()
            work()
        work()
"""


@functools.cache
def why_not() -> str:
    """Return why the code of this Python cannot be read, empty if it can."""
    try:
        scope: dict[str, Callable[..., None]] = {}
        exec(_SAMPLE, scope)
        code = scope["sample"].__code__
        found = codemap(code)
    except Exception as error:
        return f"the bytecode of this Python cannot be read: {error!r}"
    lines = {
        offset: line for start, end, line in code.co_lines() for offset in range(start, end, 2)
    }
    cleanup = {lines.get(offset) for offset in found.cleanup} - {None}
    safe = {lines.get(offset) for offset in found.safe}
    right = cleanup == {8, 9} and {4, 6} <= safe and not safe & {5, 8, 9} and found.turns
    return "" if right else "the bytecode of this Python is not as expected"
