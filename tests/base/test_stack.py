import contextlib
import importlib.machinery
import json
import linecache
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import ipykill
from ipykill.base import stack
from ipykill.base.stack import Frame, at, end, is_user, of_frame, of_traceback, trim
from tests.waiting import HANG_GUARD, wait_for


def frame(function="f", filename="/home/me/code.py", lineno=3, call=""):
    return Frame(filename, lineno, function, "", call, is_user(filename))


def failing_call(source, namespace=None):
    """Run `source`, in which boom() fails, and return what its frame says is being called."""

    def boom(*args, **kwargs):
        raise ZeroDivisionError

    filename = "<test of stack>"
    source = textwrap.dedent(source)
    linecache.cache[filename] = len(source), None, source.splitlines(keepends=True), filename
    names = {"boom": boom, "time": time, **(namespace or {})}
    try:
        exec(compile(source, filename, "exec"), names)
    except ZeroDivisionError as error:
        return of_traceback(error.__traceback__)[1]
    raise AssertionError("it did not fail")


def of_thread(thread):
    return of_frame(sys._current_frames().get(thread.ident))


class Thing:
    def __init__(self, function=None):
        self.boom = function
        self.thing = self

    def __call__(self, *args):
        return self

    def __getitem__(self, key):
        return self


# The name of what is called


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("boom()", "boom"),
        ("x = boom(1, (2, 3))", "boom"),
        ("x = 1 + boom(1) + 2", "boom"),
        ("thing.boom()", "thing.boom"),
        ("thing.thing.boom(')', \"(\")", "thing.thing.boom"),
        ("thing . thing . boom ()", "thing.thing.boom"),
        ("thing(1).boom(2)", "boom"),  # not "thing", which has returned
        ("thing[0].boom(2)", "boom"),
        ("thing[')'].boom(2)", "boom"),
        ("(lambda: 1 / 0)()", ""),
        ("x = [boom(n) for n in range(3)]", None),
        ("boom(\n    1,  # not )\n    ''')''',\n)", "boom"),
        ("ünïcode = 'äöü', boom('äöü')", "boom"),
        ("1 / 0", ""),
        ("x = thing(1) and 1 / 0", ""),
        ("x = float(1) / float(0)", ""),
        ("boom(*[1], **{'a': 1})", "boom"),
        ("boom(a=1)", "boom"),
        ("boom(1, None)", "boom"),
    ],
)
def test_the_function_that_is_called_is_named_as_written(source, name):
    def boom(*args, **kwargs):
        raise ZeroDivisionError

    found = failing_call(source, {"thing": Thing(boom)})
    if name is None:  # 3.11 runs a comprehension in a frame of its own
        assert found.call in ("boom", "")
    else:
        assert found.call == name


@pytest.mark.parametrize(
    ("source", "name", "line"),
    [
        ("with shield():\n    int(1)", "", 1),
        ("with nullcontext(1), shield(): int(1)", "", 1),
        ("with nullcontext():\n    with shield():\n        int(1)", "", 2),
        ("with shield():\n    boom(None)", "boom", 2),
        ("with boom(None):\n    int(1)", "boom", 1),
    ],
)
def test_where_a_with_block_ends_no_call_is_written(source, name, line):
    class Shield(contextlib.AbstractContextManager):
        def __exit__(self, kind, error, tb):
            if error is None:
                raise ZeroDivisionError

    found = failing_call(source, {"shield": Shield, "nullcontext": contextlib.nullcontext})
    assert (found.call, found.lineno) == (name, line)


def test_a_loop_over_a_call_does_not_claim_to_be_in_it():
    found = failing_call("for n in range(3):\n    x = n // 0\n")
    assert (found.call, found.lineno) == ("", 2)

    class Iterator:
        def __iter__(self):
            return self

        def __next__(self):
            raise ZeroDivisionError

    assert failing_call("for n in make():\n    pass\n", {"make": Iterator}).call == ""


def test_a_call_that_fills_pages_is_not_read():
    arguments = "1,\n" * 200
    assert failing_call(f"boom(\n{arguments})").call == ""


def test_code_without_source_has_no_call_and_no_source():
    try:
        exec(compile("int('x')", "<nowhere>", "exec"))
    except ValueError as error:
        found = of_traceback(error.__traceback__)[1]
    assert (found.source, found.call, found.lineno) == ("", "", 1)
    assert str(found) == "<nowhere>, line 1"


def test_a_source_that_has_changed_since_does_no_harm():
    code = compile("\n\n\nboom(1,\n2)", "<test of stack, changed>", "exec")
    for lines in ([], ["x\n"], ["\n"] * 3 + ["b"], ["\n"] * 5):
        linecache.cache["<test of stack, changed>"] = 1, None, lines, "<test of stack, changed>"
        with pytest.raises(ZeroDivisionError) as caught:
            exec(code, {"boom": lambda *args: 1 / 0})
        assert of_traceback(caught.value.__traceback__)[1].call == ""


# Where a thread is


def test_a_thread_in_a_c_function_is_at_its_call():
    entered = threading.Event()
    lock = threading.Lock()
    lock.acquire()

    def work():
        entered.set()
        lock.acquire()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert entered.wait(HANG_GUARD)
    frames = wait_for(
        lambda: [it for it in of_thread(thread) if it.call == "lock.acquire"], "the call"
    )
    (here,) = frames
    assert here.function == "work"
    assert here.source == "lock.acquire()"
    assert here.place == f"test_stack.py, line {work.__code__.co_firstlineno + 2}"
    assert str(here) == f"{here.place} (lock.acquire)"
    lock.release()
    thread.join()
    assert of_thread(thread) == []


def test_frames_come_outermost_first():
    def inner():
        return of_frame(sys._getframe())

    def outer():
        return inner()

    assert [it.function for it in outer()[-2:]] == ["outer", "inner"]
    assert of_frame(None) == of_traceback(None) == []


def test_a_cell_is_called_what_the_shell_calls_it(monkeypatch):
    labels = {"/tmp/ipykernel_1/123.py": "cell [7]"}
    monkeypatch.setattr(stack, "cell_label", labels.get)
    assert frame(filename="/tmp/ipykernel_1/123.py", lineno=12).place == "cell [7], line 12"
    assert frame(filename="/home/me/model.py", lineno=2).place == "model.py, line 2"


# Whose code it is


@pytest.mark.parametrize(
    "filename",
    [
        os.__file__,
        threading.__file__,
        "<frozen importlib._bootstrap>",
        ipykill.__file__,
        pytest.__file__,
        "/usr/lib/python3/dist-packages/numpy/core.py",
    ],
)
def test_libraries_are_not_the_users(filename):
    assert not is_user(filename)


@pytest.mark.parametrize(
    "filename", ["/home/me/code.py", "<string>", "<stdin>", "<ipython-input-1-abc>", __file__]
)
def test_everything_else_is_the_users(filename):
    assert is_user(filename)


def test_code_that_was_made_up_is_where_its_caller_is():
    made_up = {"stop": lambda: sys._getframe(1)}
    exec("def work(): return stop()\ndef fails(): 1 / 0", made_up)
    found = stack.here(made_up["work"]())
    assert (found.filename, found.function) == (
        __file__,
        "test_code_that_was_made_up_is_where_its_caller_is",
    )
    with pytest.raises(ZeroDivisionError) as caught:
        made_up["fails"]()
    code, offset = end(caught.value.__traceback__)
    assert at(code, offset).filename == __file__
    frames = (frame("work", __file__), frame("__init__", "<string>", 2))
    assert stack.Stack("", 0, False, frames).place == "test_stack.py, line 3"
    # Unless there is nothing else, as in `python -c`.
    assert stack.Stack("", 0, False, frames[1:]).place == "<string>, line 2"
    code, offset = end(caught.value.__traceback__.tb_next)
    assert str(at(code, offset)) == "<string>, line 2"


def test_a_stack_is_trimmed_to_the_users_frames_and_the_innermost():
    bootstrap = frame("_bootstrap", threading.__file__)
    contain = frame("contain", os.path.join(os.path.dirname(ipykill.__file__), "kill", "x.py"))
    mine, mine_too = frame("mine"), frame("mine_too")
    library, deeper = frame("run", subprocess.__file__), frame("wait", subprocess.__file__)
    waiting = frame("sleep", ipykill.__file__)

    assert trim([bootstrap, contain, mine, library, mine_too]) == [mine, mine_too]
    assert trim([bootstrap, contain, mine, library, deeper]) == [mine, deeper]
    assert trim([bootstrap, contain, mine, waiting]) == [mine]
    assert trim([bootstrap, contain, library, deeper]) == [deeper]
    assert trim([bootstrap, contain]) == []
    assert trim([]) == []


def test_the_end_of_a_traceback_is_the_users():
    def mine():
        return json.loads("{")

    with pytest.raises(ValueError, match="Expecting") as caught:
        mine()
    place = end(caught.value.__traceback__)
    assert place is not None
    found = at(*place)
    assert (found.function, found.call) == ("mine", "json.loads")
    assert end(caught.value.__traceback__.tb_next.tb_next) is None, "the library's part"
    assert end(None) is None


@pytest.mark.parametrize(
    ("filename", "file"),
    [
        ("pandas/_libs/parsers.pyx", "parsers.cpython-313-x86_64-linux-gnu.so"),
        ("parsers.pyx", None),
        ("/home/me/fast.pyx", "/home/me/fast.abi3.so"),
        ("/home/me/mypyc_made.py", "/home/me/mypyc_made.abi3.so"),
    ],
)
def test_a_failure_in_compiled_code_is_where_python_calls_it(filename, file):
    """Cython and mypyc put frames of their own into a traceback."""
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    compiled = {} if file is None else {"__file__": file.partition(".")[0] + suffix}
    exec(compile("def inner():\n    1 / 0\ndef read(): inner()", filename, "exec"), compiled)

    def work():
        compiled["read"]()

    job = ipykill.submit(work)
    with pytest.raises(ZeroDivisionError):
        job.result(HANG_GUARD)
    line = work.__code__.co_firstlineno + 1
    assert job.info().place == f"test_stack.py, line {line}"
    frames = of_traceback(job.exception().__traceback__)
    assert not any(frame.user for frame in frames if frame.filename == filename)
