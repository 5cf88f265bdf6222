"""What is left of an error when its job is over."""

import pytest

from tests.core.arrays import clear
from tests.waiting import wait_for

# What is left of an error


class Custom(Exception):
    def __init__(self, code, array):
        super().__init__(code, array)
        self.code = code
        self.array = array

    def __str__(self):
        return f"code {self.code}"


class Silent(Exception):
    def __init__(self, array):
        self.array = array
        super().__init__()

    def __str__(self):
        return f"holds {type(self.array).__name__}"


class Unfriendly(Exception):
    def __init_subclass__(cls):
        raise TypeError

    def __new__(cls, *args):
        assert args
        return super().__new__(cls, *args)

    def __setattr__(self, name, value):
        raise TypeError

    def __str__(self):
        raise KeyError


def errors(arrays):
    yield Silent(arrays.make())
    yield Custom(7, arrays.make())
    yield Unfriendly(arrays.make())
    yield ValueError("text", 1, 2.0, None, True, b"x")
    yield ValueError(arrays.make())
    yield KeyError("key")
    yield KeyError(("a", "tuple"))
    yield UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    yield FileNotFoundError(2, "No such file", "name.txt")
    yield OSError(28, "No space left")
    yield ImportError("no module", name="x", path="/y")
    yield SyntaxError("bad", ("<cell>", 3, 5, "x = = 1", 3, 6))
    yield StopIteration(arrays.make())
    yield SystemExit(3)
    yield KeyboardInterrupt()
    yield ExceptionGroup("two", [ValueError("one"), Custom(8, arrays.make())])
    yield BaseExceptionGroup("outer", [ExceptionGroup("inner", [OSError(2, "no")]), SystemExit(1)])
    yield ValueError("x" * 1_000_000)


def test_of_an_error_its_type_its_text_and_its_traceback_are_left(jobs, arrays):
    def fail(error):
        raise error

    for error in errors(arrays):
        kind = type(error)
        try:
            text = str(error)
        except KeyError:
            text = "<its message cannot be shown>"
        job = jobs.submit(fail, error)
        assert job.exception() is error
        del error
        line = job.info().error
        clear(jobs)
        wait_for(lambda job=job: job.exception().__cause__, "the frames to be let go")
        arrays.wait(0)
        left = job.exception()
        assert isinstance(left, kind)
        assert type(left).__name__ == kind.__name__
        if kind.__module__ == "builtins":
            assert type(left) is kind or len(text) > 1000, "and no class that passes for it"
        if kind is not Unfriendly:
            assert str(left) == text
        assert left.__traceback__ is None
        assert all(part in str(left.__cause__) for part in ("in fail\n", "    raise error\n"))
        assert job.info().error == line
        with pytest.raises(kind):
            job.result()
    assert job.exception() is not job.exception()


def test_what_an_error_says_in_attributes_is_left_where_it_is_text_or_a_number(jobs):
    def fail():
        error = FileNotFoundError(2, "No such file", "name.txt")
        error.url, error.response = "http://x", object()
        error.add_note("a note")
        raise ExceptionGroup("several", [error])

    job = jobs.submit(fail)
    job.wait()
    clear(jobs)
    wait_for(lambda: job.exception().__cause__, "the frames to be let go")
    (left,) = job.exception().exceptions
    assert (left.errno, left.strerror, left.filename) == (2, "No such file", "name.txt")
    assert (left.url, left.__notes__, hasattr(left, "response")) == ("http://x", ["a note"], False)
