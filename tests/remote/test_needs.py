"""What a cell reads before it surely assigns it, and what it assigns."""

import ast
import threading

import pytest

from ipykill.remote import needs

CASES = {
    "x = 1\nx": ("", "x"),
    "x\nx = 1": ("x", "x"),
    "x += 1": ("x", "x"),
    "if a:\n x = 1\nx": ("a x", "x"),
    "if a:\n x = 1\nelse:\n x = 2\nx": ("a", "x"),
    "for i in a:\n x = i\nx": ("a x", "i x"),
    "try:\n x = a\nexcept b:\n x = c\nx": ("a b c", "x"),
    "try:\n x = a\nfinally:\n b\nx": ("a b", "x"),
    "with a as f:\n x = f\nx": ("a x", "f x"),  # __exit__ may swallow an error before x
    "while True:\n if (x := a): break\nx": ("a", "x"),
    "match a:\n case [x, y]: x\n case _: pass\ny": ("a y", "x y"),
    "def f(): return b\nb = 1\nf()": ("b", "b f"),
    "class A:\n def m(self): return b": ("b", "A"),
    "[x for x in a if x > b]": ("a b", ""),
    "f = lambda: x": ("x", "f"),
    "del x\nx": ("x", ""),
    "await x": ("x", ""),
    "async for x in a: x\nb": ("a b", "x"),
    "import x\nx": ("", "x"),
    "global x\nx = 1\nx": ("", "x"),
    "x: b = 1\nx": ("b", "x"),
    "get_ipython().system('echo {a} $b')\nc = 'x'": ("a b", "c"),
}


@pytest.mark.parametrize("source", CASES)
def test_what_is_read_and_assigned(source: str) -> None:
    namespace = dict.fromkeys("abcxy", 0)
    code = compile(source, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    read, assigned = CASES[source]
    assert needs.needed([code], namespace) == set(read.split())
    assert needs.assigned([code], namespace) == set(assigned.split())


def test_parts_of_a_cell_follow_each_other() -> None:
    codes = [compile("x = 1", "cell", "exec"), compile("x + y", "cell", "eval")]
    assert needs.needed(codes, {"x": 1, "y": 2}) == {"y"}


def test_helpers_are_followed() -> None:
    namespace: dict = {"lock": threading.Lock()}
    source = (
        "def helper():\n    global count\n    count = scale\n"
        "class Tool:\n    @staticmethod\n    def use(): return helper()\n"
        "scale = 1\ncount = 0\nother = 2"
    )
    exec(source, namespace)
    code = compile("Tool.use()", "cell", "exec")
    assert needs.needed([code], namespace) == {"Tool", "helper", "scale"}
    assert needs.assigned([code], namespace) == {"count"}
