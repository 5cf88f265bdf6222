"""What code assigns and uses."""

import ast
import textwrap

import pytest

from ipykill.base.names import assigned, used


def compiled(source, **options):
    return compile(textwrap.dedent(source), "<cell>", "exec", **options)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("x = 1", "x"),
        ("x += 1", "x"),
        ("x: int = 1", "x"),
        ("x: int", ""),
        ("x, (y, *z) = thing", "x y z"),
        ("for i in range(3): pass", "i"),
        ("with open('x') as file: pass", "file"),
        ("if (x := 1): pass", "x"),
        ("[(y := x) for x in range(3)]", "y"),
        ("def f(): x = 1", "f"),
        ("class C:\n    x = 1\n    def f(self): pass", "C"),
        ("def f():\n    global x\n    x = 1", "f x"),
        ("def f():\n    def g():\n        global x\n        x = 1", "f x"),
        ("x.y = 1; x[0] = 2; del z", ""),
        ("import a; import a.b; import a.b.c as d; import a as b", ""),
        ("from a import b, c as d; from . import e", ""),
        ("import a; x = 1; from a import b; y = 2", "x y"),
        ("_ = 1; _private = 2; __x = 3", ""),
        ("lambda: (x := 1)", ""),
    ],
)
def test_what_a_cell_assigns(source, names):
    assert assigned([compiled(source)]) == set(names.split())


def test_a_cell_that_awaits_assigns_as_others_do():
    code = compiled("x = await thing()", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert assigned([code]) == {"x"}


def test_an_expression_assigns_nothing_and_a_function_its_globals_only():
    def work():
        global _test, shared
        local = shared = _test = 1
        return local

    assert assigned([compile("f(x)", "<cell>", "eval")]) == set()
    assert assigned([work.__code__]) == {"shared"}


def test_what_code_uses_with_the_functions_that_it_calls():
    def outer():
        return inner()

    def inner():
        with lock:  # noqa: F821
            outer()

    namespace = {"outer": outer, "inner": inner, "other": compiled}
    assert {"outer", "inner", "lock"} <= used([compiled("outer()")], namespace)
    assert "other" not in used([compiled("outer()")], namespace)
