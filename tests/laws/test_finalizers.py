"""No Kill lands in what Python calls when an object dies, by whatever name and from wherever.

Every place where a Kill might land is tried, one after another: what began must have ended.
"""

import functools
import gc
import io
import math
import sys
import threading
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import ipykill
from ipykill.kill import resorts
from tests.laws.generated import Kill, Raiser, watched
from tests.laws.harness import HANG

Shape = Callable[[list, list], None]
SHAPES: list[Shape] = []
NOT_WRITTEN: Any = SimpleNamespace(cleanup={}, unbroken=set())


def shape(fn: Shape) -> Shape:
    SHAPES.append(fn)
    return fn


class Thing:
    pass


class Cycle:
    def __init__(self) -> None:
        self.itself = self


@shape
def of_an_argument(began, ended) -> None:
    class Resource:
        def __del__(self):
            began.append(1)
            str(1)
            ended.append(1)

    def use(*things):
        pass

    use(Resource())
    len([Resource()])


@shape
def by_another_name(began, ended) -> None:
    class Resource:
        def close(self):
            began.append(1)
            str(1)
            ended.append(1)

        __del__ = close

    def use(*things):
        pass

    use(Resource())
    things = [Resource(), Resource()]
    things[0] = None
    things.clear()
    f"{Resource()}"


@shape
def wrapped(began, ended) -> None:
    def quietly(fn):
        def call(*args):
            began.append(1)
            fn(*args)
            str(1)
            ended.append(1)

        return call

    class Resource:
        @quietly
        def __del__(self):
            pass

    class Partial:
        __del__ = functools.partialmethod(quietly(lambda self: None))

    len([Resource()])
    len([Partial()])


@shape
def of_a_stream(began, ended) -> None:
    class Stream(io.StringIO):
        def close(self):
            began.append(1)
            super().close()
            ended.append(1)

    len([Stream()])


@shape
def by_a_weak_reference(began, ended) -> None:
    class Watcher:
        def gone(self, reference):
            began.append(1)
            str(1)
            ended.append(1)

    def gone(*args, reference=None):
        began.append(1)
        str(1)
        ended.append(1)

    def use(*things):
        pass

    for callback in [Watcher().gone, gone, functools.partial(gone, 1)]:
        things = [Thing()]
        reference = weakref.ref(things[0], callback)
        use(things.pop())
        things = [Cycle()]
        reference = weakref.ref(things[0], callback)
        use(things.pop())
        gc.collect(0)
    assert reference() is None


@shape
def of_a_generator(began, ended) -> None:
    def numbers():
        try:
            yield 1
            yield 2
        finally:
            began.append(1)
            str(1)
            ended.append(1)

    next(numbers())
    for _number in numbers():
        break
    made = numbers()
    next(made)
    ring = [made]
    ring.append(ring)
    made = ring = None
    gc.collect(0)


@shape
def who_is_told_of_a_collection(began, ended) -> None:
    def told(phase, info):
        began.append(1)
        str(1)
        ended.append(1)

    class Listener:
        def __call__(self, phase, info):
            began.append(1)
            str(1)
            ended.append(1)

        def told(self, phase, info):
            began.append(1)
            str(1)
            ended.append(1)

    listener = Listener()
    callbacks = [told, listener, listener.told, functools.partial(told)]
    gc.callbacks.extend(callbacks)
    try:
        gc.collect(0)
    finally:
        del gc.callbacks[-len(callbacks) :]


@shape
def who_is_given_asynchronous_generators(began, ended) -> None:
    def final(generator):
        began.append(1)
        str(1)
        ended.append(1)

    async def numbers():
        yield 1

    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(finalizer=final)
    try:
        with pytest.raises(StopIteration):
            numbers().asend(None).send(None)
    finally:
        sys.set_asyncgen_hooks(*before)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda it: it.__name__)
def test_every_place(shape: Shape) -> None:
    at, raiser = 0, Raiser(NOT_WRITTEN)
    while at == 0 or raiser.raised:
        began: list[int] = []
        ended: list[int] = []
        raiser = Raiser(NOT_WRITTEN, at)

        def run(began=began, ended=ended) -> None:
            try:
                shape(began, ended)
            except Kill:
                pass

        watched(shape.__code__, raiser, run)
        assert len(began) == len(ended), raiser.places[at]
        at += 1
    assert at > 1
    assert began


def work_for(reference, started) -> None:
    assert reference() is None
    started()
    while True:
        pass


def in_a_thread(reference, started) -> None:
    thread = threading.Thread(target=work_for, args=(reference, started))
    thread.start()
    thread.join()


@pytest.mark.parametrize("work", [work_for, in_a_thread])
def test_what_is_given_a_dead_reference_dies(work, monkeypatch) -> None:
    """It only looks like the callback of one."""
    monkeypatch.setattr(resorts, "_LAST", math.inf)  # not by what is done when nothing helps
    started = threading.Event()
    job = ipykill.submit(work, weakref.ref(Thing()), started.set)
    assert started.wait(HANG)
    assert job.kill(HANG)
