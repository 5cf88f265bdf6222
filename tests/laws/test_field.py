"""What people's code does, in which a Kill was once lost or broke something."""

import importlib
import re
import sys
import time
import weakref
from pathlib import Path

import pytest

from tests.laws.harness import asleep, assert_dies, kill, start


class Odd:
    def __init__(self, value):
        self.value = value

    def __lt__(self, other):
        return self.value % 7 < other.value % 7

    def __hash__(self):
        return hash(self.value)

    def __eq__(self, other):
        return self.value == other.value


class Endless:
    def __iter__(self):
        return self

    def __next__(self):
        return 1


# fmt: off
CALLBACKS = {
    "map": lambda: list(map(lambda x: x + 1, iter(int, 1))),  # noqa: C417
    "filter": lambda: list(filter(lambda x: False, iter(int, 1))),
    "sort": lambda: [sorted(range(10_000), key=lambda x: -x) for _ in iter(int, 1)],
    "max": lambda: max(iter(int, 1), key=lambda x: x),
    "sub": lambda: [re.sub("a", lambda match: "b", "a" * 10_000) for _ in iter(int, 1)],
    "lt": lambda: [sorted(map(Odd, range(1000))) for _ in iter(int, 1)],
    "hash": lambda: {Odd(3): 1 for _ in iter(int, 1)},
    "next": lambda: sum(Endless()),
    "any": lambda: any(x for x in iter(int, 1)),
}
# fmt: on


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_callback_of_one_line(name: str) -> None:
    def body(started) -> None:
        started()
        CALLBACKS[name]()

    kill(body)


def no_luck() -> None:
    raise ConnectionError


def retry_forever() -> None:
    while True:
        try:
            no_luck()
        except Exception:
            time.sleep(1000)


def retry_by_name() -> None:
    while True:
        try:
            no_luck()
        except ConnectionError as error:
            str(error)
            time.sleep(1000)
            continue


def retry_some_times() -> None:
    for attempt in range(100):
        try:
            no_luck()
        except ConnectionError:
            if attempt == 99:
                raise
            time.sleep(1000)


def pause() -> None:
    time.sleep(1000)


def retry_elsewhere() -> None:
    while True:
        try:
            no_luck()
        except ConnectionError:
            pause()


def retry_busily() -> None:
    try:
        no_luck()
    except ConnectionError:
        while True:
            pass


@pytest.mark.slow
@pytest.mark.parametrize("retry", [retry_forever, retry_by_name, retry_some_times, retry_elsewhere])
def test_a_wait_before_the_next_try(retry) -> None:
    kill(lambda started: (started(), retry()), blocked=True)


@pytest.mark.slow
def test_work_after_an_error() -> None:
    kill(lambda started: (started(), retry_busily()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Exception, BaseException])
def test_a_rollback_that_raises_again_is_whole(kind: type[BaseException]) -> None:
    done = []

    def body(started) -> None:
        try:
            started() if kind is BaseException else None
            pause() if kind is BaseException else no_luck()
        except kind:
            started() if kind is Exception else None
            time.sleep(0.6)
            done.append(1)
            raise

    job = start(body)
    asleep(job)
    job.kill(30)
    assert done == [1]


@pytest.mark.slow
def test_what_handles_the_kill_itself_is_whole() -> None:
    done = []

    def body(started) -> None:
        started()
        try:
            pause()
        except BaseException:
            try:
                no_luck()
            except ConnectionError:
                time.sleep(0.6)
                done.append(1)

    kill(body, blocked=True)
    assert done == [1]


@pytest.mark.parametrize("work", ["while True: pass", "import time; time.sleep(1000)"])
def test_a_module_that_works_at_its_top_level(work: str, tmp_path: Path, monkeypatch) -> None:
    package = tmp_path / "slow_package"
    package.mkdir()
    (package / "__init__.py").write_text("def inner():\n    from . import slow\ninner()\n")
    (package / "slow.py").write_text(f"go()\n{work}\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def body(started) -> None:
        monkeypatch.setattr("builtins.go", started, raising=False)
        importlib.import_module("slow_package")

    assert_dies(start(body))
    assert not [name for name in sys.modules if name.startswith("slow_package")]
    (package / "slow.py").write_text("")
    import slow_package  # no lock is held

    assert slow_package
    del sys.modules["slow_package"], sys.modules["slow_package.slow"]


def test_weakref_finalize_is_whole() -> None:
    began, ended = [], []

    class Thing:
        pass

    def slow() -> None:
        began.append(1)
        for _ in range(200):
            pass
        ended.append(1)

    def body(started) -> None:
        started()
        while True:
            thing = Thing()
            weakref.finalize(thing, slow)
            [].append(thing)
            thing = None

    for _ in range(20):
        kill(body)
    assert len(began) == len(ended)
