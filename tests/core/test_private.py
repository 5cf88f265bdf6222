"""The names of a private cell: one namespace with the shared one, and apart from it."""

import dataclasses
import sys
import time
from typing import Any

import pytest

from ipykill.core.info import JobState
from ipykill.core.job import Job
from ipykill.core.manager import JobManager
from ipykill.core.private import Private, refusal


@dataclasses.dataclass(frozen=True)
class Cell:
    """What of a compiled cell is replaced."""

    namespace: dict[str, Any]
    local_namespace: dict[str, Any]


class Run:
    """A cell that has run with names of its own."""

    def __init__(self, source: str, **shared: Any) -> None:
        self.shared: dict[str, Any] = {"__name__": "__main__", **shared}
        code = compile(source, "<cell>", "exec")
        self.private = Private(self.shared, [code])
        cell = self.private.within(Cell(self.shared, self.shared))
        before = dict(self.shared)
        exec(code, cell.namespace, cell.local_namespace)
        assert self.shared == before

    def publish(self) -> dict[str, Any]:
        """What is new in the shared namespace, or another than before."""
        before = dict(self.shared)
        self.private.publish()
        return {
            name: value
            for name, value in self.shared.items()
            if before.get(name, before) is not value
        }


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("y = x + 1", 2),
        ("x = x + 1; y = x", 2),
        ("y = [x + k for k in range(2)][1]", 2),
        ("y = (lambda: x + 1)()", 2),
        ("x = 5\ndef f(): return x\ny = f()", 5),
        ("def f():\n    global y\n    y = x + 1\nf()", 2),
        ("class A:\n    x = x\n    class B:\n        y: x = x + 1\ny = A.B.y", 2),
        ("class A:\n    def f(self): return x + len([1])\ny = A().f()", 2),
        ("class A:\n    y = sum\ny = A.y", "mine"),
        ("y = sum", "mine"),
        ("y = (lambda: sum)()", "mine"),
        ("del_ = x; del del_\ny = 'del_' in globals()", False),
        ("x = 5; del x; y = x", 1),
        ("y = eval('x + 1')", 2),
        ("exec('y = x + 1')", 2),
        ("exec('y = x + 1', globals())", 2),
        ("y = globals()['x'] + globals().get('x') + dict(globals())['x']", 3),
        ("y = 'x' in globals() and 'x' in dir() and 'x' in list(globals())", True),
        ("import os.path as p\nfrom math import *\ny = p.join and pi > 3", True),
        ("try: nosuch\nexcept NameError as e: y = str(e)", "name 'nosuch' is not defined"),
        ("class A: pass\ny = A.__module__", "__main__"),
        ("import builtins; builtins.made = 3\ny = made; del builtins.made", 3),
        ("if x: y = print; y = y is print", True),
    ],
)
def test_names_are_looked_up_as_in_one_namespace(source: str, expected: object) -> None:
    assert Run(source, x=1, sum="mine").publish()["y"] == expected


def test_what_the_shared_namespace_gets_later_is_seen() -> None:
    run = Run("def f(): return flag, sum")
    f = run.private.within(Cell({}, {})).namespace["f"]
    with pytest.raises(NameError, match="name 'flag' is not defined"):
        f()
    run.shared["flag"] = 1
    assert f() == (1, sum)


def test_all_names_of_the_cell_are_published_and_only_those() -> None:
    source = "_ = __ = 1; _own = 2\nx: int = 3\nimport math\ndef f(): pass\nlen = len"
    assert sorted(Run(source).publish()) == ["_own", "f", "math", "x"]


def test_published_functions_see_the_shared_names() -> None:
    run = Run("x = 1\ndef f(): return x, f")
    f = run.publish()["f"]
    assert f() == (1, f)
    run.shared |= {"x": 2, "f": None}
    assert f() == (2, None)


def test_no_finalizer_runs_between_two_names() -> None:
    seen = []

    class Old:
        def __del__(self) -> None:
            seen.append((run.shared["a"], run.shared["b"]))

    run = Run("a = 1; b = 2", a=Old(), b=Old())
    kept = run.private.publish()
    assert seen == []
    del kept
    assert seen == [(1, 2), (1, 2)]


@pytest.mark.parametrize(
    "source", ["for i in range(3): pass", "for _, (i, *r) in [(1, (2, 3))]: pass"]
)
def test_the_variable_of_a_loop_is_not_put_in_anybodys_way(source: str) -> None:
    assert "i" in Run(source, i=7).publish()
    run = Run(source, i=7)
    run.shared["i"] = 8
    assert "i" not in run.publish()
    run = Run(source + "\ni = 9", i=7)
    run.shared["i"] = 8
    assert run.publish()["i"] == 9


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("del x", "it deletes x, which it does not assign"),
        ("def f():\n    global x\n    del x", "it deletes x, which it does not assign"),
        ("x = 1\ndel x", ""),
        ("try: 1\nexcept E as x: pass", ""),
        ("def f():\n    x = 1\n    del x", ""),
        ("import x\ndel x", ""),
    ],
)
def test_what_it_cannot_delete_is_refused(source: str, why: str) -> None:
    found = refusal(source, [compile(source, "<cell>", "exec")])
    assert found.partition(";")[0] == why


@pytest.mark.slow
def test_a_job_is_killed_or_has_published_and_never_both() -> None:
    manager = JobManager()
    code = compile("for n in range(count): last = n\nend = count", "<cell>", "exec")
    ends = set()
    delay = 1e-4
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(300):
            shared: dict[str, Any] = {"count": 20_000}
            private = Private(shared, [code])
            cell = private.within(Cell(shared, shared))

            def present(job: Job, private: Private = private) -> None:
                job.private = private

            job = manager.launch(
                lambda cell=cell: exec(code, cell.namespace), name="job", present=present
            )
            time.sleep(delay)
            job.kill()
            assert job.wait(30)
            published = "end" in shared
            assert published == ("last" in shared) == (job.state is JobState.DONE)
            ends.add(published)
            delay *= 0.8 if published else 1.2  # near the moment when it ends by itself
    finally:
        sys.setswitchinterval(before)
    assert ends == {True, False}
