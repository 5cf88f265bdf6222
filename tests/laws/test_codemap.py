"""What is read off the bytecode agrees with the syntax tree, in all of the standard library."""

import ast
import dis
import os
import random
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

import ipykill
from ipykill.kill.bytecode import handlers_of, instructions
from ipykill.kill.codemap import _tests, codemap

Place = tuple[int, int, int, int]  # line and column where it begins, and where it ends
Function = ast.FunctionDef | ast.AsyncFunctionDef
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def _area(body: list[ast.stmt]) -> Place:
    first, last = body[0], body[-1]
    assert last.end_lineno is not None
    assert last.end_col_offset is not None
    return first.lineno, first.col_offset, last.end_lineno, last.end_col_offset


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function, but not those of functions and classes in it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, SCOPES):
            yield child
            yield from _own(child)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _functions(tree: ast.AST) -> dict[tuple[str, int], Function]:
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, Function):
            begins = min(it.lineno for it in (node, *node.decorator_list))
            found[node.name, begins] = node
    return found


def _places(code: CodeType) -> dict[int, Place]:
    return {
        2 * number: (it[0], it[2], it[1], it[3])  # type: ignore[misc]
        for number, it in enumerate(code.co_positions())
        if None not in it
    }


def _inside(place: Place | None, area: Place) -> bool:
    return place is not None and area[:2] <= place[:2] and place[2:] <= area[2:]


def wrong_places(source: str, filename: str) -> Iterator[str]:
    """Yield the safe places that are in cleanup, or that nothing would clean up."""
    functions = _functions(ast.parse(source))
    for code in _codes(compile(source, filename, "exec")):
        function = functions.get((code.co_name, code.co_firstlineno))
        if function is None:
            continue
        cleanup, guarded, over = [], [], []
        for node in _own(function):
            if isinstance(node, ast.Try | ast.TryStar):
                guarded.append(_area(node.body))
                # `try: pass` has no handler: only the end of the try leads to its `finally`.
                if not all(isinstance(it, ast.Pass) for it in node.body):
                    cleanup += [_area(handler.body) for handler in node.handlers]
                    cleanup += [_area(node.finalbody)] if node.finalbody else []
            elif isinstance(node, ast.With | ast.AsyncWith):
                guarded.append(_area(node.body))
            elif isinstance(node, ast.Pass | ast.Continue | ast.Break | ast.Return):
                over.append(_area([node]))  # comes when what the handler did is over
        handlers, found = handlers_of(code), dict(instructions(code))
        places = _places(code)
        for offset in codemap(code).safe:
            place = places.get(offset)
            where = f"{filename}:{place and place[0]}, in {code.co_name}, at {offset}"
            if any(_inside(place, area) for area in over):
                continue
            # A jump out of a body, and the return of a function that ends with it, come when
            # that is complete.
            target = found[offset].target
            for area in cleanup:
                stays = target < 0 or _inside(places.get(target), area)
                if _inside(place, area) and stays:
                    yield f"{where}: safe in cleanup"
            ends = {
                dis.opname[op]
                for it in (offset, found[offset].end)
                for op in code.co_code[it : it + 1]
            }
            returns = any(name.startswith("RETURN_") for name in ends)
            for area in guarded if not returns else []:
                stays = target < 0 or _inside(places.get(target), area)
                if _inside(place, area) and stays and offset not in handlers:
                    yield f"{where}: safe, but not guarded"


def unguarded_jumps(source: str, filename: str) -> Iterator[str]:
    """Yield the jumps back, of a condition in a loop in a try or with, that have no handler."""
    functions = _functions(ast.parse(source))
    for code in _codes(compile(source, filename, "exec")):
        function = functions.get((code.co_name, code.co_firstlineno))
        areas = []
        for node in _own(function) if function is not None else ():
            if isinstance(node, ast.With | ast.AsyncWith) or getattr(node, "finalbody", []):
                areas.append(_area(node.body))  # type: ignore[attr-defined]
        found, places = dict(instructions(code)), _places(code)
        for jump in _tests(found):
            ends = jump, found[jump].target
            inside = any(all(_inside(places.get(end), area) for end in ends) for area in areas)
            if inside and jump not in handlers_of(code):
                yield f"{filename}, in {code.co_qualname}: {places[jump][0]}"


def test_a_ctrl_c_finds_the_handlers_of_our_own_loops() -> None:
    """A loop that may end with such a jump is in a function of its own."""
    folder = Path(ipykill.__file__).parent
    found: list[str] = []
    for file in folder.rglob("*.py"):
        found += unguarded_jumps(file.read_text(), str(file))
    assert not found, "\n".join(found)


@pytest.mark.slow
def test_no_safe_place_is_in_cleanup_or_without_its_handler() -> None:
    folder = Path(os.__file__).parent
    files = sorted(
        it for it in folder.glob("**/*.py") if it.is_file() and "site-packages" not in it.parts
    )
    files = [it for it in files if not {"test", "tests", "idlelib", "lib2to3"} & {*it.parts}]
    random.Random(0).shuffle(files)
    wrong: list[str] = []
    for file in files[:250]:
        wrong += wrong_places(file.read_text(encoding="utf-8"), str(file))
    assert not wrong, "\n".join(wrong)


def test_a_call_with_the_same_argument_three_times_is_no_exit_of_a_with() -> None:
    """As ``__exit__(None, None, None)`` is. What such a call does would never be ended."""

    def calls(f, x):
        f(x, x, x)
        f(1, x, x, x)
        f(len, len, len)
        f(None, None, None)
        len(None, None, None)
        f.method(None, None, None)
        f(None, None, None, key=None)

    assert not codemap(calls.__code__).exits


def test_the_exits_of_a_with() -> None:
    def leaves(manager):
        with manager:
            manager()
        for _ in manager:
            with manager as thing:
                if thing:
                    return thing(None)
                continue
        return None

    code = leaves.__code__
    lines = {offset: line for start, end, line in code.co_lines() for offset in range(start, end)}
    first = code.co_firstlineno
    assert {lines[it] for it in codemap(code).exits} == {first + 1, first + 4}
