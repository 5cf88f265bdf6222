"""What the handlers of a code object do: which instructions undo something.

See the rules of *cleanup* and *recovering* in `codemap`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .bytecode import Handler, Instruction, opcode, opcodes

__all__ = ["WITH_EXCEPT_START", "handled"]

_PUSH_EXC_INFO = opcode("PUSH_EXC_INFO")
WITH_EXCEPT_START = opcode("WITH_EXCEPT_START")
_POP_EXCEPT = opcode("POP_EXCEPT")
_POP_TOP = opcode("POP_TOP")
_ALWAYS_JUMPS = opcodes("JUMP_FORWARD", "JUMP_BACKWARD")
_DEEPEST = 50  # handlers in handlers, of which the compiler allows 20
# The code goes on after such a handler; others raise again.
_GO_ON = {_PUSH_EXC_INFO, opcode("END_ASYNC_FOR"), opcode("CLEANUP_THROW")}
_RAISES = opcodes("RERAISE", "RAISE_VARARGS")
_HANDLER_ENDS = _RAISES | opcodes("RETURN_")
_MATCHES = opcodes("CHECK_EXC_MATCH", "CHECK_EG_MATCH")

_Place = tuple[int, int]  # an offset, and how many handlers have not ended there


def handled(
    found: Mapping[int, Instruction], handlers: Mapping[int, Handler]
) -> tuple[set[int], set[int]]:
    """Return the offsets of all that handlers do, and of what of it may lead to a raise.

    All of a ``finally`` counts as such.
    """
    done: set[int] = set()
    raising: set[int] = set()
    for handler in _beginnings(found, handlers):
        body = _body(found, handlers, handler)
        leads = _raising(found, body) if _catches(found, handler.offset) else body
        done |= {offset for offset, _ in body}
        raising |= {offset for offset, _ in leads}
    return done, raising


def _beginnings(
    found: Mapping[int, Instruction], handlers: Mapping[int, Handler]
) -> Iterator[Handler]:
    """Yield the handlers that are cleanup, also those that the table does not lead to."""
    known = {handler.offset: handler for handler in handlers.values()}
    for offset, (op, _, end, _) in found.items():
        if op == _PUSH_EXC_INFO and found[end].op != WITH_EXCEPT_START:
            # What handles the errors of a handler leaves one more on the stack than it does.
            inner = handlers.get(offset, Handler(offset, 1))
            yield known.get(offset, Handler(offset, inner.depth - 1))


def _body(
    found: Mapping[int, Instruction], handlers: Mapping[int, Handler], handler: Handler
) -> set[_Place]:
    """Return the offsets of all that a handler does before it ends.

    Each with the number of handlers, this one included, that have not ended there.
    """
    seen: set[_Place] = set()
    todo = [(handler.offset, 0)]
    while todo:
        offset, level = todo.pop()
        if offset not in found or (offset, level) in seen or level >= _DEEPEST:
            continue
        seen.add((offset, level))
        todo += _after(found, offset, level)
        inner = handlers.get(offset)
        if inner is not None and inner.depth > handler.depth and found[inner.offset].op in _GO_ON:
            todo.append((inner.offset, level))
    return seen


def _after(found: Mapping[int, Instruction], offset: int, level: int) -> Iterator[_Place]:
    """Yield what may come after an instruction of a handler, until that has ended."""
    op, _, end, target = found[offset]
    if op in _HANDLER_ENDS or (op == _POP_EXCEPT and level == 1):
        return
    level += (op == _PUSH_EXC_INFO) - (op == _POP_EXCEPT)
    if target >= 0:
        yield target, level
    if target < 0 or op not in _ALWAYS_JUMPS:
        yield end, level


def _raising(found: Mapping[int, Instruction], body: set[_Place]) -> set[_Place]:
    """Return the part of a handler from which a raise may be reached."""
    before: dict[_Place, list[_Place]] = {}
    for place in body:
        for after in _after(found, *place):
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
    if found[offset].op == _POP_TOP:  # except: of whatever
        return True
    while offset in found and found[offset].target < 0 and found[offset].op not in _HANDLER_ENDS:
        if found[offset].op in _MATCHES:
            return True
        offset = found[offset].end
    return False
