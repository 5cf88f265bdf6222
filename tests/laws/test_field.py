"""What people's code does, in which a Kill was once lost or broke something."""

import importlib
import random
import re
import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest

import ipykill
from ipykill.kill.switches import has_gil
from tests.laws.harness import asleep, assert_dies, kill, start
from tests.waiting import wait_for


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


def give_up_later() -> None:
    for attempt in range(3):
        try:
            no_luck()
        except ConnectionError as error:
            time.sleep(1000)
            if attempt == 2:
                raise RuntimeError from error


def give_up_if_it_does_not_help() -> None:
    try:
        no_luck()
    except ConnectionError:
        for attempt in iter(int, 1):
            if attempt:
                raise


@pytest.mark.slow
@pytest.mark.parametrize("retry", [give_up_later, give_up_if_it_does_not_help])
def test_an_except_that_may_raise_again_dies_in_the_end(retry) -> None:
    kill(lambda started: (started(), retry()))


@pytest.mark.slow
@pytest.mark.parametrize("inner", [False, True])
def test_what_a_finally_does_is_whole_however_long_it_takes(inner: bool) -> None:
    done = []

    def save() -> None:
        try:
            started()
        finally:
            time.sleep(2.5)
            done.append(1)

    def body(begun) -> None:
        nonlocal started
        started = begun
        if not inner:
            save()
            return
        try:
            no_luck()
        except ConnectionError:
            save()
            raise

    started = None
    kill(body, blocked=True)
    assert done == [1]


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


def nap() -> None:
    time.sleep(0.0001)


def burn() -> None:
    for _ in range(50):
        pass


@pytest.mark.slow
@pytest.mark.skipif(not has_gil(), reason="there the thread finds itself at its next event")
@pytest.mark.parametrize("work", [nap, burn])
def test_what_follows_a_handler_that_swallows_a_kill_does_not_run(work) -> None:
    """One Kill comes right after another one: what that has armed is about to go."""
    after = []

    def body(started) -> None:
        try:
            started()
            while True:
                work()
        except BaseException:
            pass
        after.append(1)
        while True:
            pass

    for _ in range(150):
        job = start(body)
        wait_for(lambda job=job: job.cpu_time > 0.0005, "it to work")
        assert_dies(job)
    assert not after


@pytest.mark.slow
def test_a_busy_loop_in_the_standard_library_dies() -> None:
    """There libraries hold files and processes, but not where a loop begins anew."""

    def body(started) -> None:
        cards = bytearray(100_000_000)
        started()
        random.shuffle(cards)

    assert kill(body).state is ipykill.JobState.KILLED


def tries_again(started) -> None:
    while True:
        try:
            raise ConnectionError
        except ConnectionError:
            started()
            time.sleep(1000)


class Enters:
    def __init__(self, started) -> None:
        self.started = started

    def __enter__(self) -> None:
        self.started()
        time.sleep(1000)

    def __exit__(self, *_: object) -> None:
        pass


def enters(started) -> None:
    with Enters(started):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ThreadPool])
@pytest.mark.parametrize("work", [tries_again, enters])
def test_what_is_broken_in_the_end_is_broken_in_a_pool_too(pool, work) -> None:
    def body(started) -> None:
        with pool(1) as workers:
            list(workers.map(work, [started]))

    kill(body, blocked=True)
