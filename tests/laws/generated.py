"""What the map of a code object says of generated functions, tried by brute force.

``python -m tests.laws.generated --seconds 60`` makes functions at random, runs each as often as it
comes to places where a Kill may strike, and raises at the first, the second, and so on: what was
entered must have been left then, what was acquired released, what a ``finally`` began ended. And of
each line it is known whether it is cleanup, or has to have such a place. The seed, which is the
function's number, makes it the same on every machine.
"""

import argparse
import functools
import itertools
import math
import random
import sys
import threading
import time
import types
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from types import CodeType, FrameType

from ipykill.kill import codemap as maps
from ipykill.kill import policy
from ipykill.kill.bytecode import instructions, opcodes
from tests.laws.writer import LATE, RAISING, STRICT, Writer

MOST = 60  # places of one function
TWICE = 2  # each at most
NOW, TURNING = "now", "when a loop turns"
CALLS = 60  # after which every condition of a function is false


class Kill(BaseException):
    pass


class World:
    """What a generated function uses: each of its calls is noted."""

    def __init__(self, seed: int) -> None:
        self.log: Counter[str] = Counter()
        self._rng = random.Random(seed)
        self._calls = 0
        self._references: list[weakref.ref[object]] = []

    def yes(self, *_: object) -> bool:
        self._calls += 1
        return self._calls < CALLS and self._rng.random() < 0.6

    def some(self, *_: object) -> range:
        return range(self.yes() + self.yes())

    def twice(self) -> range:
        return range(2)

    def work(self, *_: object) -> None:
        self._calls += 1
        if self._calls < CALLS and self._rng.random() < 0.1:
            raise self._rng.choice([ValueError, KeyError, ExceptionGroup("g", [OSError()])])

    def __delattr__(self, name: str) -> None:
        self.work()

    @types.coroutine
    def wait(self):
        yield

    def plus(self, name: str) -> None:
        self.log[name] += 1

    def minus(self, name: str) -> None:
        self.log[name] -= 1

    def over(self, name: str) -> None:
        self.log[name] = 0

    def hold(self, name: str) -> "Held":
        return Held(self, name)

    lock = hold

    def ends(self, it) -> None:
        weakref.finalize(it, type(it).gone, None)

    def refers(self, it) -> None:
        self._references.append(weakref.ref(it, type(it).gone))

    async def asome(self):
        for number in self.some():
            yield number


class Held:
    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name

    def acquire(self) -> None:
        self.world.log[self.name] += 1

    def release(self) -> None:
        self.world.log[self.name] -= 1

    __enter__ = acquire

    def __exit__(self, *_: object) -> bool:
        self.world.log[self.name] -= 1
        return self.world.yes() and isinstance(_[1], Exception)

    async def __aenter__(self) -> None:
        self.acquire()

    async def __aexit__(self, *error: object) -> bool:
        return self.__exit__(*error)


def codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


_JUMPS_BACK = opcodes("JUMP_BACKWARD", "POP_JUMP_BACKWARD") - opcodes("JUMP_BACKWARD_NO")

Place = tuple[str, CodeType, int]


class Raiser:
    """Notes the places that come where a Kill may strike, and raises at the one of that number."""

    def __init__(self, writer: Writer, at: int = -1, how: str = "") -> None:
        self.writer = writer
        self.at = at
        self.turning = how == TURNING
        self.places: list[Place] = []
        self.wrong: list[str] = []
        self.raised = False

    def here(self, frame: FrameType, offset: int) -> bool:
        """Return whether to raise there."""
        known = maps.codemap(frame.f_code)
        if offset in known.safe and policy.shelter(frame, calling=False) is None:
            how = NOW
        elif offset in known.safe | known.later and self._shelters_late(frame):
            how = LATE
        elif TURNS and offset in known.loop_jumps and policy.shelter(frame, calling=False) is None:
            how = TURNING
        else:
            return False
        self.places.append((how, frame.f_code, offset))
        if len(self.places) - 1 != self.at:
            return False
        self.raised = True
        self._look(frame, how)
        return True

    def _shelters_late(self, frame: FrameType) -> bool:
        return policy.shelter(frame, calling=False, late=True) is None

    def _look(self, frame: FrameType | None, how: str) -> None:
        """Look at the lines of all callers."""
        inner = True
        while frame is not None:
            line, code = frame.f_lineno, frame.f_code
            kind = self.writer.cleanup.get(line, "")
            wrong = bool(kind) and (how != LATE or kind in (STRICT, RAISING))
            wrong = wrong or line in self.writer.unbroken
            # A jump back may have the line of the last statement, but is none of it.
            jumps = (inner and how == TURNING) or code.co_code[frame.f_lasti] in _JUMPS_BACK
            if wrong and not jumps and code.co_filename.startswith("<generated"):
                self.wrong.append(f"within line {line}")
            inner, frame = False, frame.f_back


if sys.version_info >= (3, 12):
    import ctypes

    TURNS = True
    # Called as a callback of an event it has two more arguments, which C does not look at.
    _RAISE = ctypes.PYFUNCTYPE(
        ctypes.c_int, ctypes.c_ulong, ctypes.py_object, ctypes.py_object, ctypes.c_int
    )(("PyThreadState_SetAsyncExc", ctypes.pythonapi))

    def watched(code: CodeType, raiser: Raiser, run) -> None:
        monitoring, tool, later = sys.monitoring, 3, 2  # the higher one is called first
        event = monitoring.events.INSTRUCTION
        ours = list(codes(code))
        raising = functools.partial(_RAISE, threading.get_ident(), Kill)
        known = {id(each): maps.codemap(each) for each in ours}
        wanted = {key: it.safe | it.later | it.loop_jumps for key, it in known.items()}

        def instruction(code: CodeType, offset: int) -> object:
            if raiser.raised:
                monitoring.register_callback(later, event, None)
            elif offset not in wanted[id(code)]:
                return None if raiser.turning else monitoring.DISABLE
            elif raiser.here(sys._getframe(1), offset):
                if not raiser.turning:
                    raise Kill
                # As a signal handler does: when the jump has been made.
                monitoring.register_callback(later, event, raising)
            return None

        for number in (tool, later):
            monitoring.use_tool_id(number, "generated")
        try:
            monitoring.register_callback(tool, event, instruction)
            for each in ours:
                monitoring.set_local_events(tool, each, event)
                if raiser.turning:
                    monitoring.set_local_events(later, each, event)
            run()
        finally:
            for number in (tool, later):
                for each in ours:
                    monitoring.set_local_events(number, each, 0)
                monitoring.register_callback(number, event, None)
                monitoring.free_tool_id(number)

else:
    TURNS = False

    def watched(code: CodeType, raiser: Raiser, run) -> None:
        armed = set(codes(code))

        def trace(frame, event, arg):
            if frame.f_code not in armed:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode" and raiser.here(frame, frame.f_lasti):
                raise Kill
            return trace

        sys.settrace(trace)
        try:
            run()
        finally:
            sys.settrace(None)


def attempt(function, writer: Writer, seed: int, at: int = -1, how: str = "") -> Raiser:
    """Run a function once, raise at its `at`-th place; the raiser knows what went wrong."""
    world, raiser = World(seed), Raiser(writer, at, how)

    def run() -> None:
        try:
            made = function(world)
            while made is not None and hasattr(made, "send"):
                made.send(None)
        except (Exception, Kill):
            pass

    watched(function.__code__, raiser, run)
    left = {name for name, count in world.log.items() if count}
    if how == LATE:
        left = {name for name in left if not name.endswith(LATE)}
    if left:
        raiser.wrong.append(f"left {sorted(left)}")
    return raiser


def wrong_lines(code: CodeType, writer: Writer) -> Iterator[str]:
    """Yield what of the map of a function is not as the lines say."""
    known = maps.codemap(code)
    found = dict(instructions(code))
    line_of = {at: line for start, end, line in code.co_lines() for at in range(start, end)}
    lines = {it: {line_of[at] for at in found if at in it} for it in (known.safe, known.later)}
    jumps = {at for at in found if found[at].op in _JUMPS_BACK}
    for how, places in (NOW, known.safe), (LATE, known.later):
        for offset in places - jumps:
            line = line_of[offset]
            kind = writer.cleanup.get(line, "")
            # In the first line is the cleanup of the caller, which is looked at when it runs.
            if line != code.co_firstlineno and (kind == STRICT or (kind and how == NOW)):
                yield f"{code.co_name}: {how}, cleanup in line {line} at {offset}"
    safe, later = lines[known.safe], lines[known.later]
    for line in writer.working & set(line_of.values()):
        kind = writer.cleanup.get(line, "")
        if (not kind and line not in safe) or (kind == LATE and line not in later | safe):
            yield f"{code.co_name}: no place in line {line}"
    for offset in jumps:
        line = line_of[found[offset].target]
        passed = {*range(found[offset].target, offset + 2)}
        if line in writer.looping - writer.cleanup.keys() and not known.safe & passed:
            yield f"{code.co_name}: no place in the loop of line {line} that ends at {offset}"


def try_one(number: int) -> tuple[int, list[str]]:
    """Try every place of function `number`; return how many there were, and what went wrong."""
    writer = Writer(random.Random(number))
    source = writer.source()
    scope: dict[str, object] = {}
    file = f"<generated {number}{' site-packages' * writer.installed}>"
    exec(compile(source, file, "exec"), scope)
    function = scope["generated"]
    wrong = [it for code in codes(function.__code__) for it in wrong_lines(code, writer)]
    seen: Counter[Place] = Counter()
    tried = 0
    for at, place in enumerate(attempt(function, writer, number).places):
        seen[place] += 1
        if seen[place] <= TWICE and tried < MOST:
            tried += 1
            how, code, offset = place
            raiser = attempt(function, writer, number, at, how)
            where = f"raised {how} in {code.co_name} at {offset}"
            wrong += [f"{where}: {it}" for it in raiser.wrong]
    return tried, [f"function {number}: {it}" for it in wrong]


def try_many(numbers: Iterable[int], until: float = math.inf) -> tuple[int, int, list[str]]:
    """Try functions till `until` (monotonic); return how many, the places, and what is wrong."""
    functions = places = 0
    wrong: list[str] = []

    def run() -> None:
        nonlocal functions, places
        for number in numbers:
            try:
                tried, found = try_one(number)
            except Exception as error:  # of the map, for all else is caught
                tried, found = 0, [f"function {number}: {error!r}"]
            functions, places = functions + 1, places + tried
            wrong.extend(found)
            if found or time.monotonic() > until:
                return

    # In a thread the stack, which is looked through at every place, is short.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return functions, places, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--functions", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first one")
    options = parser.parse_args()
    numbers = range(options.first, options.first + options.functions)
    if options.seconds < math.inf:
        numbers = itertools.count(options.first)
    functions, places, wrong = try_many(numbers, time.monotonic() + options.seconds)
    print(f"CPython {sys.version.split()[0]}: {functions} functions, {places} places tried")
    if wrong:
        print(*wrong, sep="\n")
        source = Writer(random.Random(options.first + functions - 1)).source()
        print(*(f"{n:4} {line}" for n, line in enumerate(source.splitlines(), 1)), sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
