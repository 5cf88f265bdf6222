"""Every place that the map of a code object calls safe, tried by brute force.

``python -m tests.laws.generated --functions 20000`` makes functions at random, runs each as often
as it comes to safe instructions, and raises at the first, the second, and so on. What was entered
must have been left then, what was acquired released, and what a ``finally`` began ended. The seed
makes it the same on every machine.
"""

import argparse
import asyncio
import random
import sys
import threading
from collections import Counter
from types import CodeType, FrameType

from ipykill.kill import policy
from ipykill.kill.codemap import codemap

MOST = 80  # places of one function
CALLS = 60  # after which every condition of a function is false


class Kill(BaseException):
    pass


class World:
    """What a generated function uses: each of its calls is noted."""

    def __init__(self, seed: int) -> None:
        self.log: Counter[str] = Counter()
        self._rng = random.Random(seed)
        self._calls = 0

    def yes(self, *_: object) -> bool:
        self._calls += 1
        return self._calls < CALLS and self._rng.random() < 0.6

    def some(self, *_: object) -> range:
        return range(self.yes() + self.yes())

    def work(self, *_: object) -> None:
        self._calls += 1
        if self._calls < CALLS and self._rng.random() < 0.1:
            raise self._rng.choice([ValueError, KeyError, ExceptionGroup("g", [OSError()])])

    async def wait(self) -> None:
        await asyncio.sleep(0)

    def plus(self, name: str) -> None:
        self.log[name] += 1

    def minus(self, name: str) -> None:
        self.log[name] -= 1

    def over(self, name: str) -> None:
        self.log[name] = 0

    def hold(self, name: str) -> "Held":
        return Held(self, name)

    async def asome(self):
        for number in self.some():
            yield number


class Held:
    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name

    def __enter__(self) -> None:
        self.world.log[self.name] += 1

    def __exit__(self, *_: object) -> bool:
        self.world.log[self.name] -= 1
        return self.world.yes() and _[0] is not None and _[0] is not Kill

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, *error: object) -> bool:
        return self.__exit__(*error)


class Writer:
    """Writes one function."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.lines: list[str] = []
        self.names = 0
        self.asynchronous = rng.random() < 0.25

    def source(self) -> str:
        self.put(0, f"{'async ' * self.asynchronous}def generated(w):")
        if self.rng.random() < 0.1:  # wide arguments of instructions
            self.put(1, "; ".join(f"a{number} = {number}" for number in range(300)))
        self.block(1, 0, False)
        return "\n".join(self.lines) + "\n"

    def put(self, indent: int, text: str) -> None:
        self.lines.append("    " * indent + text)

    def name(self) -> str:
        self.names += 1
        return f"n{self.names}"

    def block(self, indent: int, depth: int, loop: bool) -> None:
        for _ in range(self.rng.randint(1, 3)):
            kinds = [self.simple] * (2 + 2 * depth)
            if depth < 4:
                kinds += [self.tries, self.tries, self.locks, self.withs, self.loops, self.ifs]
                kinds += [self.inner, self.match]
            self.rng.choice(kinds)(indent, depth, loop)

    def simple(self, indent: int, depth: int, loop: bool) -> None:
        texts = ["w.work()", "x = w.yes()", "x = [w.yes(i) for i in w.some() if i]", "pass"]
        texts += ["x = {i: w.yes() for i in w.some() for j in w.some() if j}", "w.work(); w.work()"]
        texts += ["x = sum(i for i in w.some())", "x = w.yes() and w.yes() or w.yes()"]
        texts += ["x = (lambda: w.yes())()", "x = 1 if w.yes() else 2"]
        texts += ["if w.yes(): return 1"] if depth else []
        texts += ["if w.yes(): break", "if w.yes(): continue"] if loop else []
        texts += ["await w.wait()"] if self.asynchronous else []
        self.put(indent, self.rng.choice(texts))

    def tries(self, indent: int, depth: int, loop: bool) -> None:
        name = self.name()
        self.put(indent, "try:")
        finals = self.rng.random() < 0.6
        if finals:
            self.put(indent + 1, f"w.plus({name!r})")
        self.block(indent + 1, depth + 1, loop)
        excepts = not finals or self.rng.random() < 0.5
        star = "*" * (self.rng.random() < 0.15)
        if excepts:
            caught = self.rng.choice(["ValueError", "KeyError as error", "(KeyError, OSError)"])
            self.put(indent, f"except{star} {caught}:")
            if star:
                self.put(indent + 1, "w.yes()")
            else:
                self.block(indent + 1, depth + 1, loop)
                if self.rng.random() < 0.3:
                    self.put(indent + 1, "raise")
            if self.rng.random() < 0.5:
                self.put(indent, "else:")
                self.block(indent + 1, depth + 1, loop)
        if finals:
            self.put(indent, "finally:")
            cut = self.name()
            self.put(indent + 1, f"w.over({name!r})")
            self.put(indent + 1, f"w.plus({cut!r})")
            for text in ["for i in range(2): w.yes()", "if w.yes(): w.yes()", "w.yes()"]:
                if self.rng.random() < 0.4:
                    self.put(indent + 1, text)
            self.put(indent + 1, f"w.minus({cut!r})")

    def locks(self, indent: int, depth: int, loop: bool) -> None:
        name = self.name()
        self.put(indent, f"w.plus({name!r})")
        self.put(indent, "try:")
        self.block(indent + 1, depth + 1, loop)
        self.put(indent, "finally:")
        self.put(indent + 1, f"w.minus({name!r})")

    def withs(self, indent: int, depth: int, loop: bool) -> None:
        prefix = "async " * (self.asynchronous and self.rng.random() < 0.5)
        held = ", ".join(f"w.hold({self.name()!r})" for _ in range(self.rng.randint(1, 2)))
        if self.rng.random() < 0.3:
            self.put(indent, f"{prefix}with {held}: w.work()")
            return
        self.put(indent, f"{prefix}with {held}:")
        self.block(indent + 1, depth + 1, loop)

    def loops(self, indent: int, depth: int, loop: bool) -> None:
        heads = ["while w.yes():", "while w.yes() and w.yes():", "for i in w.some():"]
        heads += ["async for i in w.asome():"] if self.asynchronous else []
        head = self.rng.choice(heads)
        if self.rng.random() < 0.2:
            self.put(indent, f"{head} w.work()")
        else:
            self.put(indent, head)
            self.block(indent + 1, depth + 1, True)
        if self.rng.random() < 0.3:
            self.put(indent, "else:")
            self.block(indent + 1, depth + 1, loop)

    def ifs(self, indent: int, depth: int, loop: bool) -> None:
        self.put(indent, "if w.yes():")
        self.block(indent + 1, depth + 1, loop)
        if self.rng.random() < 0.5:
            self.put(indent, "else:")
            self.block(indent + 1, depth + 1, loop)

    def inner(self, indent: int, depth: int, loop: bool) -> None:
        name = self.name()
        kind = self.rng.choice(["plain", "generator"]) if not self.asynchronous else "plain"
        outer, self.asynchronous = self.asynchronous, False
        self.put(indent, f"def {name}():")
        self.block(indent + 1, depth + 1, False)
        if kind == "generator":
            self.put(indent + 1, "yield 1")
            self.block(indent + 1, depth + 1, False)
        self.put(indent, f"for i in {name}(): w.yes()" if kind == "generator" else f"{name}()")
        self.asynchronous = outer

    def match(self, indent: int, depth: int, loop: bool) -> None:
        self.put(indent, "match w.yes():")
        self.put(indent + 1, "case True:")
        self.block(indent + 2, depth + 1, loop)
        self.put(indent + 1, "case _:")
        self.block(indent + 2, depth + 1, loop)


def codes(code: CodeType):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


class Raiser:
    """Raises at the n-th safe instruction that comes; counts them."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0
        self.where = ""

    def here(self, frame: FrameType, offset: int) -> None:
        if offset in codemap(frame.f_code).safe and policy.shelter(frame, calling=False) is None:
            self.count += 1
            if self.count == self.at:
                self.where = f"{frame.f_code.co_name}, line {frame.f_lineno}, offset {offset}"
                raise Kill


if sys.version_info >= (3, 12):

    def watched(code: CodeType, raiser: Raiser, run) -> None:
        monitoring, tool = sys.monitoring, 3
        event = monitoring.events.INSTRUCTION
        monitoring.use_tool_id(tool, "generated")

        def instruction(code: CodeType, offset: int) -> None:
            raiser.here(sys._getframe(1), offset)

        try:
            monitoring.register_callback(tool, event, instruction)
            for each in codes(code):
                monitoring.set_local_events(tool, each, event)
            run()
        finally:
            for each in codes(code):
                monitoring.set_local_events(tool, each, 0)
            monitoring.register_callback(tool, event, None)
            monitoring.free_tool_id(tool)

else:

    def watched(code: CodeType, raiser: Raiser, run) -> None:
        armed = set(codes(code))

        def trace(frame, event, arg):
            if frame.f_code not in armed:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode":
                raiser.here(frame, frame.f_lasti)
            return trace

        sys.settrace(trace)
        try:
            run()
        finally:
            sys.settrace(None)


def attempt(function, seed: int, at: int) -> tuple[Raiser, list[str]]:
    """Run a function once, raise at its `at`-th place; return what is left unbalanced."""
    world, raiser = World(seed), Raiser(at)

    def run() -> None:
        try:
            made = function(world)
            if made is not None and hasattr(made, "send"):
                asyncio.run(made)
        except (Exception, Kill):
            pass

    thread = threading.Thread(target=watched, args=(function.__code__, raiser, run))
    thread.start()
    thread.join()
    return raiser, sorted(name for name, count in world.log.items() if count)


def try_one(number: int) -> tuple[int, list[str]]:
    """Try every place of function `number`; return how many there were, and what went wrong."""
    rng = random.Random(number)
    source = Writer(rng).source()
    scope: dict[str, object] = {}
    exec(compile(source, f"<generated {number}>", "exec"), scope)
    function = scope["generated"]
    wrong, tried = [], 0
    usual = attempt(function, number, 0)[0].count
    for at in range(1, min(usual, MOST) + 1):
        raiser, left = attempt(function, number, at)
        tried += bool(raiser.where)
        if left:
            wrong.append(f"function {number}: raised at {raiser.where}: left {left}")
    return tried, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--functions", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first one")
    parser.add_argument("--show", action="store_true", help="print the function that is wrong")
    options = parser.parse_args()
    tried, wrong = 0, []
    for number in range(options.first, options.first + options.functions):
        places, found = try_one(number)
        tried += places
        wrong += found
        if found:
            print(found[0], flush=True)
            if options.show:
                print(Writer(random.Random(number)).source())
                break
    print(f"CPython {sys.version.split()[0]}: {tried} instructions tried, {len(wrong)} wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
