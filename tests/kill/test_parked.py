"""A Kill in generators that a scheduler steps in turn."""

import itertools
import time

import pytest

from ipykill import JobState
from tests.racing import frequent_switches

ROUNDS = 30


class Task:
    def __init__(self):
        self.entered = self.left = False

    def run(self):
        self.entered = True
        try:
            while True:
                for _ in range(100):
                    pass
                yield
        finally:
            for _ in range(3):
                yield
            self.left = True


class Step:
    def __await__(self):
        yield


class Coroutine(Task):
    async def run(self):
        self.entered = True
        try:
            while True:
                for _ in range(100):
                    pass
                await Step()
        finally:
            for _ in range(3):
                await Step()
            self.left = True


def close(generator):
    try:
        generator.throw(GeneratorExit)
        while True:
            generator.send(None)
    except (StopIteration, GeneratorExit, RuntimeError):
        pass


def schedule(tasks, began):
    """Step generators in turn; when one raises, the others clean up."""
    generators = [task.run() for task in tasks]
    try:
        for step in itertools.count():
            for generator in generators:
                generator.send(None)
            if step == 5:
                began()
    finally:
        for generator in generators:
            close(generator)


@pytest.mark.parametrize("kind", [Task, Coroutine])
def test_the_cleanup_of_each_is_whole_though_it_yields(kill, kind):
    with frequent_switches():
        for _ in range(ROUNDS):
            tasks = [kind() for _ in range(3)]
            kill(lambda began, tasks=tasks: schedule(tasks, began))
            assert all(task.left for task in tasks if task.entered)


def test_a_generator_that_swallows_the_kill_is_killed_again(kill):
    caught = []

    def stubborn():
        while len(caught) < 3:
            try:
                while True:
                    yield
            except BaseException as error:
                caught.append(error)
        while True:
            yield

    def body(began):
        generator = stubborn()
        for step in itertools.count():
            next(generator)
            if step == 5:
                began()

    assert kill(body).state is JobState.KILLED


def test_a_generator_that_nobody_steps_again_is_not_waited_for(kill):
    left = []

    def once(began):
        try:
            began()
            while True:
                time.sleep(0.001)
        finally:
            yield
            left.append("cleaned up")

    def body(began):
        generator = once(began)
        next(generator)
        while True:  # the generator holds the Kill meanwhile
            time.sleep(0.001)

    assert kill(body).state is JobState.KILLED
    assert left == []
