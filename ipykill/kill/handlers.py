"""Find the instructions of a code object's exception handlers.

These are the rules of *cleanup* and *recovering* in `codemap`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .bytecode import Handler, Instruction, opcode, opcodes

__all__ = ["PUSH_EXC_INFO", "WITH_EXCEPT_START", "handled"]

PUSH_EXC_INFO = opcode("PUSH_EXC_INFO")
WITH_EXCEPT_START = opcode("WITH_EXCEPT_START")
_POP_EXCEPT = opcode("POP_EXCEPT")
_GET_ANEXT = opcode("GET_ANEXT")
_POP_TOP = opcode("POP_TOP")
_ALWAYS_JUMPS = opcodes("JUMP_FORWARD", "JUMP_BACKWARD")
_DEEPEST = 50  # handlers in handlers, of which the compiler allows 20
# After a handler that begins with one of these the code may go on; all others raise again.
_GO_ON = {PUSH_EXC_INFO, opcode("CLEANUP_THROW")}
_RAISES = opcodes("RERAISE", "RAISE_VARARGS")
# These raise nothing, so no handler of theirs is followed. If a handler ends with one, the
# exception table may count that as code outside of the handler, which another handler guards.
_QUIET = {_POP_EXCEPT, opcode("SWAP")}
_HANDLER_ENDS = _RAISES | opcodes("RETURN_")
_MATCHES = opcodes("CHECK_EXC_MATCH", "CHECK_EG_MATCH")

_Place = tuple[int, int]  # an offset, and how many handlers have not ended there


def handled(
    found: Mapping[int, Instruction], handlers: Mapping[int, Handler]
) -> tuple[set[int], set[int], set[int]]:
    """Return the offsets in all handlers, those that may lead to a raise, and those in ``finally``.

    All of a ``finally`` counts as leading to a raise.
    """
    done: set[int] = set()
    raising: set[int] = set()
    finals: set[int] = set()
    for handler in _beginnings(found, handlers):
        places = _body(found, handlers, handler)
        body = {offset for offset, _ in places}
        done |= body
        if _catches(found, handler.offset):
            raising |= {offset for offset, _ in _raising(found, handlers, places)}
        else:
            finals |= body
    return done, raising | finals, finals


def _beginnings(
    found: Mapping[int, Instruction], handlers: Mapping[int, Handler]
) -> Iterator[Handler]:
    """Yield the handlers that are cleanup, also those to which no table entry leads."""
    known = {handler.offset: handler for handler in handlers.values()}
    for offset, (op, _, end, _) in found.items():
        if op == PUSH_EXC_INFO and found[end].op != WITH_EXCEPT_START:
            # The inner handler, for errors in this one, leaves one value more on the stack.
            inner = handlers.get(offset, Handler(offset, 1))
            yield known.get(offset, Handler(offset, inner.depth - 1))


def _body(
    found: Mapping[int, Instruction], handlers: Mapping[int, Handler], handler: Handler
) -> set[_Place]:
    """Return the offsets of all instructions that a handler may execute before it ends.

    Each comes with the number of handlers, this one included, that have not ended there.
    """
    seen: set[_Place] = set()
    todo = [(handler.offset, 0)]
    while todo:
        offset, level = todo.pop()
        if offset not in found or (offset, level) in seen or level >= _DEEPEST:
            continue
        seen.add((offset, level))
        todo += _after(found, handlers, offset, level)
        inner = handlers.get(offset)
        if inner is None or inner.depth <= handler.depth or found[inner.offset].op not in _GO_ON:
            continue
        if found[offset].op not in _QUIET:
            todo.append((inner.offset, level))
    return seen


def _after(
    found: Mapping[int, Instruction], handlers: Mapping[int, Handler], offset: int, level: int
) -> Iterator[_Place]:
    """Yield where a handler may go on after its instruction at `offset`; nothing if it ends."""
    op, _, end, target = found[offset]
    if op == _GET_ANEXT:  # an `async for` ends by an exception
        yield handlers[offset].offset, level
    if op in _HANDLER_ENDS or (op == _POP_EXCEPT and level == 1):
        return
    level += (op == PUSH_EXC_INFO) - (op == _POP_EXCEPT)
    if target >= 0:
        yield target, level
    if target < 0 or op not in _ALWAYS_JUMPS:
        yield end, level


def _raising(
    found: Mapping[int, Instruction], handlers: Mapping[int, Handler], body: set[_Place]
) -> set[_Place]:
    """Return the part of a handler from which a raise may be reached."""
    before: dict[_Place, list[_Place]] = {}
    for place in body:
        for after in _after(found, handlers, *place):
            before.setdefault(after, []).append(place)
    todo = [place for place in body if found[place[0]].op in _RAISES]
    leads = set(todo)
    while todo:
        new = [place for place in before.get(todo.pop(), ()) if place not in leads]
        leads.update(new)
        todo += new
    return leads


def _catches(found: Mapping[int, Instruction], offset: int) -> bool:
    """Whether the handler that begins at `offset` is an ``except``, and no ``finally``."""
    offset = found[offset].end
    if found[offset].op == _POP_TOP:  # a bare `except:`
        return True
    while offset in found and found[offset].target < 0 and found[offset].op not in _HANDLER_ENDS:
        if found[offset].op in _MATCHES:
            return True
        offset = found[offset].end
    return False
