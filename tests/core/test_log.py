import threading
import time

import pytest

from ipykill.core.log import JobLog


def written(*texts, **bounds):
    log = JobLog(**bounds)
    for text in texts:
        log.write(text)
    return log


@pytest.mark.parametrize(
    ("texts", "lines"),
    [
        ([], []),
        ([""], []),
        (["a"], ["a"]),
        (["a", "b\n", "c"], ["ab", "c"]),
        (["a\nb\n"], ["a", "b"]),
        (["\n\n"], ["", ""]),
        (["10%\r20%\r30%"], ["30%"]),
        (["10%", "\r", "20%", "\r"], ["20%"]),  # a repaint to come hides nothing
        (["done: 100\rdone:"], ["done: 100"]),  # as a terminal, it overwrites
        (["abc\rX\n"], ["Xbc"]),
        (["a\r\nb\r\n"], ["a", "b"]),
        (["abc\bX"], ["abX"]),
        (["abc\b\b", "XY"], ["aXY"]),
        (["\b\b\bX"], ["X"]),
        (["abc\b\b\b\b\b\rZ\b"], ["Zbc"]),
        (["|\b/\b-\b\\\b"], ["\\"]),
        (["\x1b[31mred\x1b[0m\n"], ["\x1b[31mred\x1b[0m"]),
        # Each line has its colours, and what it paints over has none of the old ones.
        (["\x1b[31mred\nred\x1b[m off"], ["\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m off"]),
        (["\x1b[31mabc\x1b[0m\rX"], ["X\x1b[31mbc\x1b[0m"]),
        (["\x1b[1;38;5;99ma\x1b[39mb\x1b[22mc"], ["\x1b[1;38;5;99ma\x1b[0m\x1b[1mb\x1b[0mc"]),
        (["\x1b[3", "1ma\x1b", "[0mb"], ["\x1b[31ma\x1b[0mb"]),  # written in pieces
        (["\x1b[?25l\x1b]8;;http://a\x1b\\link\x1b]8;;\x07\x1b(B."], ["link."]),
        # Erasing, and moving in the line.
        (["a long line\r\x1b[2Kshort"], ["short"]),
        (["a long line\rshort\x1b[K"], ["short"]),
        (["abc\x1b[2D\x1b[1Kx"], [" xc"]),
        (["abcdef\x1b[3GX\x1b[2CY"], ["abXdeY"]),
        (["\x1b[5Cx"], ["     x"]),
        # Up and down: nested bars.
        (["outer\n\rinner 1\x1b[A", "\n\rinner 2\x1b[A"], ["outer", "inner 2"]),
        (["a\nb\nc\x1b[2A\rA\x1b[B\rB\n"], ["A", "B", "c"]),
        (["a\nb\nc\x1b[2A\r\x1b[J"], []),
        (["a\nb\x1b[99A!\n\n\nc"], ["a!", "b", "", "c"]),
        (["\x1b[31ma\x1b[0m\nb\x1b[Ac"], ["\x1b[31ma\x1b[0mc", "b"]),
        (["a\n\x1b[2Jb"], ["a", "b"]),  # to clear the screen loses nothing
        # What is no sequence at all.
        (["\x1b[999999999999999999Ax\x1b[;;mx\x1b[38;2mx\x1b[38m\x1b[1;x"], ["xxx"]),
    ],
)
def test_text_looks_as_in_a_terminal(texts, lines):
    log = written(*texts)
    assert log.tail() == lines
    assert str(log) == "\n".join(lines)


def test_nested_bars_take_a_line_each():
    tqdm = pytest.importorskip("tqdm")
    log = JobLog()
    log.flush = lambda: None  # what tqdm asks of a file
    for _ in tqdm.trange(20, file=log, desc="outer", mininterval=0, ascii=True, ncols=60):
        for _ in tqdm.trange(3, file=log, desc="inner", mininterval=0, ncols=60, leave=False):
            assert [line[:5] for line in log.tail()] == ["outer", "inner"]
    (line,) = log.tail()
    assert line.startswith("outer: 100%")


def test_what_the_cursor_passes_is_bounded():
    log = written(*(f"{n}\n" for n in range(1000)), "\x1b[500A\rX")
    assert log.end == 900
    assert log.read(900) == (900, ["X00", *map(str, range(901, 1000))])
    assert log.rewinds == 1
    log = written("x" * 50_000 + "\n", "\x1b[A\n" * 10_000)
    assert log.tail()[0] == "x" * 50_000, "a line as long as that is not gone back to"
    assert log.end == 2


def test_the_tail_is_the_end_in_order():
    log = written("1\n2\n3\n4")
    assert log.tail(0) == []
    assert log.tail(1) == ["4"]
    assert log.tail(3) == ["2", "3", "4"]
    assert log.tail(99) == ["1", "2", "3", "4"]
    log.write("\n")
    assert log.tail(1) == ["4"]


def test_old_lines_are_dropped_and_counted():
    log = written("".join(f"{n}\n" for n in range(10)), max_lines=3)
    assert log.tail() == ["7", "8", "9"]
    assert log.dropped == 7


def test_long_lines_do_not_add_up_without_bound():
    log = written(*(f"{n}" * 100 + "\n" for n in range(10)), max_chars=350)
    assert log.tail() == ["7" * 100, "8" * 100, "9" * 100]
    assert log.dropped == 7


def test_a_line_is_cut_at_its_bound_and_the_next_is_whole():
    log = written("x" * 50, "y" * 60, "z\nnext", max_line=100)
    assert log.tail() == ["x" * 50 + "y" * 50, "next"]
    log = written("x" * 200 + "\rhead", max_line=100)
    assert log.tail() == ["head" + "x" * 96]


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    ["\r", "\b", "x\b", "\r50%", "\n", "\b\r", "\x1b", "\x1b[", "\x1b[1m", "\x1b]", "\x1b[A\n"],
)
def test_many_control_characters_take_a_moment(text):
    # What is quadratic here takes minutes; the bound is no measure of speed.
    begin = time.thread_time()
    log = written(text * 300_000)
    assert time.thread_time() - begin < 15
    assert len(str(log)) <= 100_000


@pytest.mark.slow
def test_a_million_updates_in_pieces_take_a_moment():
    log = JobLog()
    begin = time.monotonic()
    for n in range(300_000):
        log.write(f"\r{n}")
    assert time.monotonic() - begin < 30
    assert log.tail() == ["299999"]


def test_a_huge_line_is_bounded():
    log = written("x" * 30_000_000)
    assert [len(line) for line in log.tail()] == [100_000]


def test_threads_do_not_tear_each_others_lines():
    log = JobLog()

    def write(char):
        for _ in range(200):
            log.write(char * 50 + "\n")

    threads = [threading.Thread(target=write, args=(char,)) for char in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(log.tail()) == sorted(char * 50 for char in "abcd" for _ in range(200))


def test_a_finalizer_that_prints_in_the_middle_of_a_write_does_not_hang():
    log = JobLog()

    class Collected(str):
        """The garbage collector runs while this is being written, and a finalizer prints."""

        def split(self, separator):
            log.write("from a finalizer\n")
            return super().split(separator)

    thread = threading.Thread(target=log.write, args=(Collected("text\n"),), daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert log.tail() == ["from a finalizer", "text"]


def test_a_file_gets_all_that_is_written_as_it_is_written(tmp_path):
    path = tmp_path / "job.log"
    path.write_text("of another job")
    log = JobLog(max_lines=1)
    log.copy_to(path)
    log.write("1\n2\n")
    log.write("3\r\ud800\n")
    assert path.read_bytes() == b"1\n2\n3\r\\ud800\n"
    log.close()
    log.close()
    log.write("late\n")
    assert path.read_text().endswith("late\n")
    log.close()
    assert log.path == path


def test_another_file_takes_the_place_of_the_first(tmp_path):
    log = JobLog()
    for name in ("one", "two"):
        log.copy_to(tmp_path / name)
        log.write(f"{name}\n")
    log.close()
    assert [(tmp_path / name).read_text() for name in ("one", "two")] == ["one\n", "two\n"]


def test_a_file_may_keep_what_is_in_it(tmp_path):
    path = tmp_path / "job.log"
    for number in range(2):
        log = JobLog()
        log.copy_to(path, append=True)
        log.write(f"{number}\n")
        log.close()
    assert path.read_text() == "0\n1\n"


def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        JobLog().copy_to(tmp_path / "missing" / "job.log")
