"""Functions at random, and what is known of their lines because they were written here.

Each line calls a method of ``w``, the `World` of `tests.laws.generated`.
"""

import random

# Cleanup; an `except` that raises again, and one that goes on, which may be broken when a Kill was
# in vain for long, and for a while; and what may be the latter, for all we know.
STRICT, RAISING, LATE, EITHER = "strict", "raising", "late", "either"
HANDLED = ["ValueError", "KeyError as error", "(KeyError, OSError)", "Exception", ""]
FINALS = ["for i in w.twice(): w.yes()", "while w.yes(): w.yes()", "if w.yes(): w.yes()", "w.yes()"]
FINALS += ["x = [w.yes(i) for i in w.some() if i]", "x = 1 if w.yes() else w.yes()"]
PLAIN = ["w.work()"] * 4 + ["w.work(); w.work()", "pass", "x = (lambda: w.yes())()"]
PLAIN += ["x = [w.yes(i) for i in w.some() if i]", "x = 1 if w.yes() else w.work()"]
PLAIN += ["x = {i: w.yes() for i in w.some() for j in w.some() if j}", "x, y = w.yes(), w.yes()"]
PLAIN += ["x = sum(i for i in w.some())", "x = w.yes() and w.yes() or w.yes()", "import string"]
PLAIN += ["x = sorted([2, 1], key=lambda i: w.yes())", "x = w.yes(None, None, None)", "del w.x"]
PLAIN += ["while w.yes(): pass", "while w.yes(): w.work()", "for i in w.some(): w.work()"]
PLAIN += ["while w.yes() and w.yes(): w.yes()", "for i in w.some():  # nothing\n pass"]


class Writer:
    """Writes one function."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.lines: list[str] = []
        self.names = 0
        # The lines of cleanup, by its kind; those of functions that nothing breaks although it
        # does not show in them; those that call ``work`` and nothing else, and those that loop.
        self.cleanup: dict[int, str] = {}
        self.unbroken: set[int] = set()
        self.working: set[int] = set()
        self.looping: set[int] = set()
        self.cleaning = ""  # of what kind is the line that is being written
        self.asynchronous = rng.random() < 0.25
        self.generator = False
        self.stays = False  # without return, and without a break of a loop outside
        self.installed = rng.random() < 0.1  # a library's code, not the user's

    def source(self) -> str:
        self.put(0, f"{'async ' * self.asynchronous}def generated(w):")
        if self.rng.random() < 0.1:  # wide arguments of instructions
            self.put(1, "; ".join(f"a{number} = {number}" for number in range(300)))
        self.block(1, 0, False)
        return "\n".join(self.lines) + "\n"

    def put(self, indent: int, *texts: str) -> None:
        for text in "\n".join(texts).split("\n"):
            self.lines.append("    " * indent + text)
            number = len(self.lines)
            if self.cleaning:
                self.cleanup[number] = self.cleaning
            if text == "w.work()":
                self.working.add(number)
            elif text.startswith(("while ", "for ")):
                self.looping.add(number)

    def name(self) -> str:
        self.names += 1
        return f"n{self.names}"

    def maybe(self, chance: float) -> bool:
        return self.rng.random() < chance

    def block(self, indent: int, depth: int, loop: bool) -> None:
        for _ in range(self.rng.randint(1, 3)):
            kinds = [self.simple] * (2 + 2 * depth)
            if depth < 4:
                kinds += [self.tries, self.tries, self.locks, self.withs, self.loops, self.ifs]
                kinds += [self.inner, self.match]
                kinds += [self.manager, self.dies] * (not self.installed)
            if self.installed and indent == 1:  # within a try it would be taken for guarded
                kinds += [self.holds]
            self.rng.choice(kinds)(indent, depth, loop)

    def body(self, indent: int, depth: int, loop: bool, cleaning: str = "") -> None:
        outer, self.cleaning = self.cleaning, self.within(cleaning)
        self.block(indent + 1, depth + 1, loop)
        self.cleaning = outer

    def simple(self, indent: int, depth: int, loop: bool) -> None:
        texts = list(PLAIN)
        if depth and not self.stays:
            texts += ["if w.yes(): return"] * (1 if self.generator else 2)
            texts += ["if w.yes(): return w.yes()"] * (not self.generator)
        texts += ["if w.yes(): break", "if w.yes(): continue"] * (loop and not self.stays)
        texts += ["await w.wait()", "x = [i async for i in w.asome()]"] * self.asynchronous
        texts += ["yield w.yes()"] * 4 * (self.generator and not self.cleaning)
        self.put(indent, self.rng.choice(texts))

    def tries(self, indent: int, depth: int, loop: bool) -> None:
        name = self.name()
        self.put(indent, "try:")
        finals = self.maybe(0.5)
        self.put(indent + 1, f"w.plus({name!r})" if finals else "w.yes()")
        self.body(indent, depth, loop)
        if not finals or self.maybe(0.5):
            self.excepts(indent, depth, loop)
            if self.maybe(0.4):
                self.put(indent, "else:")
                self.body(indent, depth, loop)
        if finals:
            self.put(indent, "finally:")
            self.final(indent + 1, f"w.over({name!r})")

    def excepts(self, indent: int, depth: int, loop: bool) -> None:
        star = self.maybe(0.15)
        outer, outside = self.stays, self.cleaning
        handlers = [self.rng.choice(HANDLED[:4]), self.rng.choice(HANDLED)]
        for caught in handlers[: 1 + self.maybe(0.3)]:
            caught = caught or "Exception" * star
            self.put(indent, f"except{'*' * star} {caught}:")
            again = self.maybe(0.4) or not caught
            self.stays = outer or star or again  # whatever leads to the raise is known
            kind = EITHER if star else RAISING if again else LATE
            self.cleaning = self.within(kind)
            if self.maybe(0.5):
                self.final(indent + 1, "w.yes()", kind)
            else:
                self.body(indent, depth, loop, kind)
            if again:
                self.put(indent + 1, self.rng.choice(["raise", "raise", "raise KeyError"]))
            self.cleaning = outside
        self.stays = outer

    def final(self, indent: int, first: str, cleaning: str = STRICT) -> None:
        """Write what is to be done as a whole, and raises nothing."""
        outer, self.cleaning = self.cleaning, self.within(cleaning)
        cut = self.name() + LATE * (self.cleaning not in (STRICT, RAISING))
        self.put(indent, first, f"w.plus({cut!r})")
        for text in FINALS:
            if self.maybe(0.3):
                self.put(indent, text)
        if self.maybe(0.2):
            self.put(indent, "try: w.work()", "except Exception: w.yes()", "finally: w.yes()")
        self.put(indent, f"w.minus({cut!r})")
        self.cleaning = outer

    def within(self, cleaning: str) -> str:
        """Return of what kind is cleanup here: in cleanup it is as strict as that."""
        kinds = {self.cleaning, cleaning}
        return next((kind for kind in (STRICT, RAISING, EITHER, LATE) if kind in kinds), "")

    def locks(self, indent: int, depth: int, loop: bool) -> None:
        name = self.name()
        self.put(indent, f"w.plus({name!r})", "try:")
        self.body(indent, depth, loop)
        self.put(indent, "finally:")
        self.cleaning, outer = STRICT, self.cleaning
        self.put(indent + 1, f"w.minus({name!r})")
        self.cleaning = outer

    def holds(self, indent: int, depth: int, loop: bool) -> None:
        name = self.name()
        self.put(indent, f"{name} = w.lock({name!r})", f"{name}.acquire()")
        for text in FINALS:
            if self.maybe(0.3):
                self.put(indent, text)
        self.put(indent, f"{name}.release()")

    def withs(self, indent: int, depth: int, loop: bool, held: str = "") -> None:
        prefix = "async " * (self.asynchronous and self.maybe(0.5))
        more = [f"w.hold({self.name()!r})" for _ in range(self.rng.randint(not held, 2))]
        with_ = f"{prefix}with {', '.join([held] * bool(held) + more)}{' as x' * self.maybe(0.3)}:"
        if self.maybe(0.3):
            texts = ["w.work()", "pass", "w.work(); w.yes()"]
            texts += ["return w.yes()"] * (not (self.generator or self.stays))
            self.put(indent, f"{with_} {self.rng.choice(texts)}")
        else:
            self.put(indent, with_)
            self.body(indent, depth, loop)

    def manager(self, indent: int, depth: int, loop: bool) -> None:
        """Write a class whose ``__enter__`` and ``__exit__`` have other names."""
        name = self.name()
        self.put(indent, f"class {name}:")
        cleaning, self.cleaning = self.cleaning, ""
        for prefix in ["", "a"]:
            begin = "async def" if prefix else "def"
            enter, leave = f"{prefix}opened", f"{prefix}closed"
            self.whole(indent + 1, f"{begin} {enter}(self):", f"w.plus({name!r})", "w.yes()")
            self.whole(indent + 1, f"{begin} {leave}(*_):", "w.yes()", f"w.minus({name!r})")
            self.put(indent + 1, f"__{prefix}enter__, __{prefix}exit__ = {enter}, {leave}")
        self.cleaning = cleaning
        self.withs(indent, depth, loop, f"{name}()")

    def dies(self, indent: int, depth: int, loop: bool) -> None:
        """Write an object that is told of its end."""
        name, gone = self.name(), self.name()
        self.put(indent, f"class {name}:")
        cleaning, self.cleaning = self.cleaning, ""
        cut = f"w.plus({gone!r})", "w.yes()", f"w.minus({gone!r})"
        self.whole(indent + 1, "def gone(*_):", *cut)
        how = self.rng.choice(["ends", "refers", ""])
        known = f"def __init__(self): w.{how}(self)"
        self.put(indent + 1, known if how else "__del__ = gone")
        self.cleaning = cleaning
        texts = [f"x = {name}()", f"{name}()", f"w.yes({name}())", f"x = [{name}(), {name}()]"]
        self.put(indent, self.rng.choice(texts))
        self.put(indent, self.rng.choice(["x = None", "w.work()"]))

    def whole(self, indent: int, head: str, *texts: str) -> None:
        """Write a function that nothing may break, though that does not show in it."""
        self.put(indent, head)
        for text in texts:
            self.put(indent + 1, text)
            self.unbroken.add(len(self.lines))

    def loops(self, indent: int, depth: int, loop: bool) -> None:
        heads = ["while w.yes():", "while w.yes() and w.yes():", "for i in w.some():"]
        heads += ["while True:"]
        heads += ["async for i in w.asome():"] if self.asynchronous else []
        head = self.rng.choice(heads)
        self.put(indent, head)
        if head == "while True:":
            self.put(indent + 1, "if not w.yes(): break")
        self.body(indent, depth, not self.stays)
        if self.maybe(0.3):
            self.put(indent, "else:")
            self.body(indent, depth, loop)

    def ifs(self, indent: int, depth: int, loop: bool) -> None:
        self.put(indent, "if w.yes():")
        self.body(indent, depth, loop)
        if self.maybe(0.5):
            self.put(indent, self.rng.choice(["else:", "elif w.yes() or not w.yes():"]))
            self.body(indent, depth, loop)

    def inner(self, indent: int, depth: int, loop: bool) -> None:
        name = self.name()
        outside = self.asynchronous, self.generator, self.cleaning, self.stays
        self.asynchronous = outside[0] and self.maybe(0.6)
        self.generator, self.cleaning, self.stays = self.maybe(0.5), "", False
        asynchronous, generator = self.asynchronous, self.generator
        self.put(indent, f"{'async ' * asynchronous}def {name}(*_):")
        self.block(indent + 1, depth + 1, False)
        if generator:
            self.put(indent + 1, "yield 1")
            self.block(indent + 1, depth + 1, False)
        self.asynchronous, self.generator, self.cleaning, self.stays = outside
        if asynchronous and generator:
            text = f"async for i in {name}(): w.yes()"
        elif asynchronous:
            text = f"await {name}()"
        elif generator:
            texts = [f"for i in {name}(): w.yes()", f"w.yes(next({name}(), 0))"]
            texts += [f"yield from {name}()"] * (
                self.generator and not (self.asynchronous or self.cleaning)
            )
            text = self.rng.choice(texts)
        else:
            text = self.rng.choice([f"{name}()", f"x = [*map({name}, w.some())]"])
        self.put(indent, text)

    def match(self, indent: int, depth: int, loop: bool) -> None:
        self.put(indent, "match w.yes(), w.yes():")
        self.put(
            indent + 1,
            self.rng.choice(["case True, _:", "case [True, x] if x:", "case True, False:"]),
        )
        self.body(indent + 1, depth, loop)
        self.put(indent + 1, "case _:")
        self.body(indent + 1, depth, loop)
