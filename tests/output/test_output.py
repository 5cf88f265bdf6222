"""What of a flood reaches a cell, and what is told of the rest."""

import random
import re

import pytest

from ipykill.output import backlog as module
from ipykill.output.backlog import Backlog, _repainted
from ipykill.output.budget import CHARACTERS, MESSAGES, Budget


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still until a test moves it; and full budgets."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    budget = Budget()
    budget.lines = 0
    monkeypatch.setattr(module, "budget", budget)
    return now


@pytest.fixture
def backlog() -> Backlog:
    return Backlog(7)


def display(text: str, display_id: str | None = None, kind: str = "display_data") -> dict:
    transient = {"display_id": display_id} if display_id else {}
    content = {"data": {"text/plain": text}, "metadata": {}, "transient": transient}
    return {"msg_type": kind, "content": content}


def clear() -> dict:
    return {"msg_type": "clear_output", "content": {"wait": True}}


def shown(pieces: list) -> list[str]:
    """Texts as they are; of a display, what it shows."""
    return [
        piece.text
        if piece.is_text()
        else piece.message["content"].get("data", {}).get("text/plain")
        for piece in pieces
    ]


def spend_messages() -> None:
    while module.budget.messages.take(1):
        pass


def test_texts_and_displays_keep_their_order(backlog: Backlog) -> None:
    for number in range(3):
        backlog.write("stdout", f"{number} ")
        backlog.write("stderr", "err ")
        backlog.display(display(str(number)))
    backlog.write("stdout", "end")
    expected = ["0 ", "err ", "0", "1 ", "err ", "1", "2 ", "err ", "2", "end"]
    assert shown(backlog.take(bounded=True)) == expected
    assert not backlog


def test_of_a_flood_of_displays_the_first_and_the_last_arrive(
    backlog: Backlog, clock: list[float]
) -> None:
    seen: list[str] = []
    for number in range(2000):
        backlog.display(display(str(number)))
        seen += shown(backlog.take(bounded=True))
    first = int(MESSAGES[0])
    assert seen[:first] == [str(number) for number in range(first)]
    clock[0] += 0.5
    assert backlog.take(bounded=True) == [], "nothing more until the flood ebbs"
    clock[0] += module.EBB
    notice, *last = shown(backlog.take(bounded=True))
    left_out = 2000 - len(seen) - len(last)
    assert f"... {left_out:,} displays left out here" in notice
    assert last == [str(number) for number in range(2000 - module.DISPLAYS, 2000)]
    assert not backlog


def test_a_flood_of_text_takes_no_display_with_it(backlog: Backlog) -> None:
    module.budget.characters.take(10**9)
    backlog.write("stdout", "x\n" * 1000)
    backlog.display(display("picture"))
    backlog.write("stdout", "y\n" * 100_000)
    notice, picture, rest = shown(backlog.take(bounded=False))
    assert "152,000 characters left out here" in notice
    assert picture == "picture"
    assert rest == "y\n" * (module.KEEP // 2)


@pytest.fixture
def lined() -> Backlog:
    module.budget.lines = 300
    return Backlog(7)


def test_a_flood_shows_some_hundred_lines_and_the_last(lined: Backlog, clock: list[float]) -> None:
    seen = ""
    for second in range(10):
        lined.write("stdout", "".join(f"{second} {number}\n" for number in range(1000)))
        clock[0] += 0.1
        seen += "".join(shown(lined.take(bounded=True)))
    first, notice, _ = seen.partition("\n... This cell is full. The log of job 7 has the rest;")
    assert first.splitlines() == [f"0 {number}" for number in range(300)]
    assert notice
    left_out, last = shown(lined.take(bounded=False))
    assert "characters left out here" in left_out
    assert last.splitlines()[-1] == "9 999"
    assert 90 < len(last.splitlines()) <= 101


def test_a_flood_that_ends_at_once_is_cut_and_a_long_text_is_not(lined: Backlog) -> None:
    lined.write("stdout", "y\n" * 20_000)
    text = "".join(shown(lined.take(bounded=False)))
    assert 250 < text.count("\ny") < 310
    other = Backlog(8)
    other.write("stdout", "y\n" * 290)
    assert shown(other.take(bounded=False)) == ["y\n" * 290]


def test_a_thread_that_outlives_its_job_has_the_lines_that_are_left(lined: Backlog) -> None:
    lined.write("stdout", "y\n" * 200)
    assert shown(lined.take(bounded=False)) == ["y\n" * 200]
    lined.write("stdout", "late\n")
    assert shown(lined.take(bounded=True)) == ["late\n"]


def test_a_line_a_second_is_never_cut(lined: Backlog, clock: list[float]) -> None:
    for number in range(2000):
        lined.write("stdout", f"{number}\n")
        clock[0] += 1
        assert shown(lined.take(bounded=True)) == [f"{number}\n"]


def trickle(backlog: Backlog, clock: list[float], seconds: int) -> str:
    """Print 80 000 characters a second, which the budget allows; what is shown of it."""
    seen = ""
    for _ in range(10 * seconds):
        backlog.write("stdout", "a line of 20 letters\n" * 400)
        clock[0] += 0.1
        seen += "".join(piece.text for piece in backlog.take(bounded=True))
    return seen


def test_a_cell_that_is_full_gets_the_end_alone(backlog: Backlog, clock: list[float]) -> None:
    seen = trickle(backlog, clock, 60)
    assert module.ROOM < len(seen) < module.ROOM + 500
    assert seen.count("This cell is full") == 1
    assert "left out" not in seen
    assert not backlog, "nothing is to be done before the end"
    clock[0] += 100
    backlog.write("stdout", "the end\n")
    assert backlog.take(bounded=True) == []
    notice, *last = shown(backlog.take(bounded=False))
    total = 60 * 10 * 400 * 21 + 8
    assert f"{total - module.ROOM - len(''.join(last)):,} characters left out here" in notice
    assert "".join(last).endswith("a line of 20 letters\nthe end\n")


def test_a_cell_that_is_full_gets_displays_and_what_comes_after_a_clearing(
    backlog: Backlog, clock: list[float]
) -> None:
    trickle(backlog, clock, 20)
    backlog.write("stdout", "before\n")
    backlog.display(display("picture"))
    backlog.write("stdout", "after\n")
    clock[0] += 0.1
    assert shown(backlog.take(bounded=True)) == ["picture"]
    backlog.display(clear())
    backlog.write("stdout", "anew\n")
    clock[0] += 10
    assert shown(backlog.take(bounded=True)) == [None, "anew\n"]


@pytest.mark.parametrize("seed", range(20))
def test_of_text_and_displays_in_a_full_cell_the_end_of_both_arrives(
    backlog: Backlog, clock: list[float], seed: int
) -> None:
    trickle(backlog, clock, 15)
    rng = random.Random(seed)
    printed, displayed = [], []
    seen: list[str] = []
    for number in range(200):
        if rng.random() < 0.5:
            printed.append(f"line {number}\n")
            backlog.write(rng.choice(["stdout", "stderr"]), printed[-1])
        else:
            displayed.append(f"display {number}")
            backlog.display(display(displayed[-1]))
        clock[0] += rng.choice([0, 0.1, 2])
        if rng.random() < 0.3:
            seen += shown(backlog.take(bounded=True))
    notice, *rest = shown(backlog.take(bounded=False))
    assert "left out here" in notice
    assert [it for it in seen + rest if it.startswith("display")] == displayed
    assert "".join(it for it in rest if not it.startswith("display")).endswith("".join(printed))


def test_what_was_left_out_of_a_full_cell_is_told_though_nothing_comes_after_it(
    backlog: Backlog, clock: list[float]
) -> None:
    trickle(backlog, clock, 12)
    backlog.write("stdout", "x" * 3 * module.KEEP)
    backlog.write("stdout", "accuracy: 0.97\n")
    backlog.display(display("a plot"))
    clock[0] += 10
    assert shown(backlog.take(bounded=True)) == ["a plot"]
    notice, last = shown(backlog.take(bounded=False))
    assert "characters left out here" in notice
    assert last.endswith("accuracy: 0.97\n")


def test_of_many_displays_that_are_updated_each_has_its_last_state(backlog: Backlog) -> None:
    spend_messages()
    for step in range(100):
        for number in range(200):
            backlog.display(display(f"{number} {step}", str(number), "update_display_data"))
    assert shown(backlog.take(bounded=False)) == [f"{number} 99" for number in range(200)]


def test_a_clearing_is_not_left_out(backlog: Backlog) -> None:
    spend_messages()
    backlog.display(clear())
    for number in range(200):
        backlog.display(display(str(number)))
    assert "clear_output" in [piece.name for piece in backlog.take(bounded=False)]


def test_large_displays_are_few(backlog: Backlog) -> None:
    spend_messages()
    for letter in "abcd":
        backlog.display(display(letter * 900_000))
    notice, *last = shown(backlog.take(bounded=False))
    assert "2 displays left out" in notice
    assert last == ["c" * 900_000, "d" * 900_000]


def test_forty_figures_at_the_end_of_a_job_are_all_shown(backlog: Backlog) -> None:
    for number in range(40):
        backlog.display(display(f"{number:050000d}"))
    assert len(backlog.take(bounded=True)) < 40
    rest = shown(backlog.take(bounded=False))
    assert rest[-1] == f"{39:050000d}"
    assert "left out" not in str(rest)


def test_a_display_larger_than_the_budget_is_shown_and_the_next_waits(
    backlog: Backlog, clock: list[float]
) -> None:
    backlog.display(display("a" * 5_000_000))
    backlog.display(display("b"))
    assert len(backlog.take(bounded=True)) == 1
    assert backlog.take(bounded=True) == []
    clock[0] += 20
    assert shown(backlog.take(bounded=True)) == ["b"]


def test_only_the_last_update_of_a_display_waits(backlog: Backlog, clock: list[float]) -> None:
    spend_messages()
    backlog.display(display("0", "id"))
    backlog.write("stdout", "text")
    for number in range(1000):
        backlog.display(display(str(number), "id", "update_display_data"))
        backlog.display(display(str(number), "other", "update_display_data"))
    clock[0] += 1
    assert shown(backlog.take(bounded=True)) == ["999", "text", "999"]


def test_what_is_cleared_is_not_sent(backlog: Backlog, clock: list[float]) -> None:
    spend_messages()
    for number in range(1000):
        backlog.display(display(f"elsewhere {number}", "id", "update_display_data"))
        backlog.display(clear())
        backlog.write("stdout", "text")
        backlog.display(display(str(number)))
    clock[0] += 1
    pieces = backlog.take(bounded=True)
    assert [piece.name for piece in pieces] == [
        *("update_display_data", "clear_output", "stdout", "display_data"),
    ]
    assert shown(pieces)[0] == "elsewhere 999"
    assert shown(pieces)[-1] == "999"


def test_of_one_huge_line_the_beginning_and_the_end_arrive(backlog: Backlog) -> None:
    backlog.write("stdout", "a" * 1_000_000 + "b" * 1_000_000 + "\n")
    first, notice, last = shown(backlog.take(bounded=False))
    assert set(first) == {"a"}
    assert len(first) >= CHARACTERS[0]
    assert "characters left out here" in notice
    assert last == "b" * (module.KEEP - 1) + "\n"


def test_many_jobs_that_end_at_once_have_an_end_each() -> None:
    module.budget.characters.take(10**9)
    size = displays = 0
    for number in range(500):
        backlog = Backlog(number)
        for last in range(20):
            backlog.display(display(str(last)))
        backlog.write("stdout", "a line\n" * 10_000 + "the end\n")
        pieces = backlog.take(bounded=False)
        text = "".join(piece.text for piece in pieces)
        displays += sum(not piece.is_text() for piece in pieces)
        assert "19" in shown(pieces)
        assert text.endswith("a line\nthe end\n")
        size += len(text)
    assert size < 3_000_000
    assert displays < 3000


def test_a_million_repaints_are_one_line(backlog: Backlog) -> None:
    for number in range(20_000):
        backlog.write("stdout", f"{number:6} of 20000")
        backlog.write("stdout", "\r")
    (text,) = shown(backlog.take(bounded=True))
    assert text == "     0 of 20000\r 19999 of 20000\r"


def terminal(text: str) -> list[str]:
    """What a screen shows."""
    rows: list[list[str]] = [[]]
    y = x = 0
    for part in re.findall(r"\x1b\[A|.", text, re.DOTALL):
        if part == "\x1b[A":
            y = max(y - 1, 0)
        elif part == "\r":
            x = 0
        elif part == "\n":
            y, x = y + 1, 0
            rows += [[]] * (y == len(rows))
            rows[y] = list(rows[y])
        else:
            rows[y] += [" "] * (x + 1 - len(rows[y]))
            rows[y][x] = part
            x += 1
    return ["".join(row) for row in rows]


def test_what_is_painted_over_was_of_no_use() -> None:
    rng = random.Random(5)
    parts = ["a", "bb", "cccc", "\r", "\r", "\n", "\x1b[A"]
    for _ in range(2000):
        text = "".join(rng.choices(parts, k=rng.randrange(20)))
        short = _repainted(text)
        assert terminal("start" + short) == terminal("start" + text)
        assert len(short) <= len(text)
        rest = rng.choice(["x", "yyyyyyyy", "\rz", "\n"])
        assert terminal(short + rest) == terminal(text + rest)
