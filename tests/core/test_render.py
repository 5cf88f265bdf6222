import pytest

from ipykill.base.stack import Frame, Stack
from ipykill.base.stacks import lines as stacks
from ipykill.base.stacks import tree
from ipykill.core.info import JobInfo, JobState
from ipykill.core.render import duration, one_line, parse_duration, sentence, table_html, table_text
from ipykill.processes import ProcessInfo

INFO = JobInfo(
    id=3,
    name="train",
    source="train()",
    cell=7,
    state=JobState.RUNNING,
    requested=None,
    reason="",
    created=1000.0,
    started=1000.0,
    ended=None,
    elapsed=41.2,
    cpu_time=40.0,
    asked=None,
    place="cell [7], line 12 (time.sleep)",
    hindrance="",
    error="",
    last_line="epoch 4",
    progress=None,
    threads=1,
    processes=(),
)


def info(state=JobState.RUNNING, **changes):
    return INFO._replace(state=state, **changes)


# Durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("30s", 30),
        ("10m", 600),
        ("10min", 600),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        (" 1 h 30 min ", 5400),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("250ms", 0.25),
        ("1d2h3m4s5ms", 93784.005),
        ("1e3", 1000),
    ],
)
def test_a_duration_is_read(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


BAD = """0 0s -5 -5s inf nan 1e999 soon 5_parsecs s m 5x 30m1h 1m1m 1h-30m 1,5h 5s! 1..5s None"""


@pytest.mark.parametrize("text", ["", " ", "1 0s", "\x00", "9" * 400, *BAD.split()])
def test_what_is_no_duration_is_refused_with_the_remedy(text):
    with pytest.raises(ValueError, match=r"is not a duration; write 90, 30s, 10m or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (0.0994, "99 ms"),
        (0.0996, "0.1 s"),
        (41.23, "41.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7620, "2 h 07 min"),
        (86399.9, "1 d 00 h"),
        (200_000, "2 d 07 h"),
    ],
)
def test_a_duration_is_written(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize("seconds", [0.012, 0.5, 41.2, 59.96, 185, 3599.6, 7620, 86399.9, 200_000])
def test_what_is_written_can_be_read_again(seconds):
    assert parse_duration(duration(seconds)) == pytest.approx(seconds, rel=0.05)
    assert duration(parse_duration(duration(seconds))) == duration(seconds)


# Sentences


@pytest.mark.parametrize(
    ("job", "text"),
    [
        (info(), "running for 41.2 s in cell [7], line 12 (time.sleep)"),
        (info(place=""), "running for 41.2 s"),
        (info(JobState.PENDING, started=None, place=""), "waiting to start"),
        (
            info(JobState.STOPPING, asked=4.0, reason="timeout", place="cell [7], line 12"),
            "stop asked 4.0 s ago (timeout); running in cell [7], line 12; %bgkill 3 ends it now",
        ),
        (
            info(JobState.KILLING, asked=4.0, place="cell [7], line 3"),
            "kill pending for 4.0 s in cell [7], line 3",
        ),
        (info(JobState.DONE, place=""), "done in 41.2 s"),
        (
            info(JobState.FAILED, error="ValueError: no", place="cell [7], line 1 (f)"),
            "failed after 41.2 s at cell [7], line 1 (f): ValueError: no",
        ),
        (info(JobState.STOPPED, place=""), "stopped after 41.2 s"),
        (info(JobState.STOPPED, place="", reason="timeout"), "stopped after 41.2 s (timeout)"),
        (info(JobState.KILLED), "killed after 41.2 s at cell [7], line 12 (time.sleep)"),
        (info(JobState.KILLED, started=None, place=""), "killed before it started"),
        (info(JobState.SKIPPED, started=None, reason="job 2 failed"), "skipped: job 2 failed"),
        (info(JobState.SKIPPED, started=None), "skipped"),
    ],
)
def test_a_sentence_says_what_is_true(job, text):
    assert sentence(job) == f"[3] train: {text}"


def test_a_sentence_says_that_a_job_was_over_already():
    assert sentence(info(JobState.DONE), already=True) == (
        "[3] train was already over: done in 41.2 s"
    )


# Hostile text

HOSTILE = (
    "<img src=x onerror=alert(1)>&\"'\x1b[31m\x1b]8;;http://evil\x07\r\n\t\x00\x08\u202e\x9b2Jx"
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("ünï 漢字 🎉", "ünï 漢字 🎉"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[38:5:1mred\x1b[?25l", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq123\x1b\\text", "text"),
        ("\x1b(Btext\x1bc", "text"),
        ("two\nlines", "two lines"),
        ("a\u202eb", "a b"),
        ("  a  ", "a"),
        ("", ""),
        ("\x1b", ""),
        ("\x1b[", ""),
    ],
)
def test_control_characters_and_escape_sequences_are_removed(text, shown):
    assert one_line(text) == shown


def test_long_text_is_cut():
    assert one_line("x" * 10, 10) == "x" * 10
    assert one_line("x" * 11, 10) == "x" * 9 + "…"


@pytest.mark.parametrize("state", list(JobState))
@pytest.mark.parametrize(
    "field", ["name", "place", "error", "reason", "last_line", "source", "hindrance"]
)
def test_hostile_text_stays_one_line_of_text(state, field):
    job = info(state, asked=1.0, **{field: HOSTILE})
    assert sentence(job).isprintable()
    for line in table_text([job], long=True).splitlines():
        assert line.isprintable()
    assert len(table_text([job], long=True).splitlines()) == 3
    html = table_html([job])
    assert "<img" not in html
    assert html.isprintable()
    assert html.count("<td") == html.count("</td>") == 6


def test_hostile_names_of_threads_and_functions_stay_lines_of_text():
    frame = Frame(HOSTILE, 7, HOSTILE, HOSTILE, "", True)
    found = [Stack(HOSTILE, depth, False, (frame,), HOSTILE) for depth in range(2)]
    lines = stacks(found) + tree(found)
    assert len(lines) == 2 * 2 + 1 + 1
    assert all(line.isprintable() for line in lines)


def test_huge_text_does_not_make_a_huge_table():
    job = info(JobState.FAILED, name="n" * 10**6, error="e" * 10**6, place="p" * 10**6)
    assert len(table_text([job], long=True)) < 1000
    assert len(table_html([job])) < 2000
    assert len(sentence(job)) < 1000


# Tables


def test_a_table_has_a_row_for_each_job():
    jobs = [
        info(),
        info(JobState.PENDING, id=12, name="next", started=None, place="", waits=("a (job 1)",)),
        info(JobState.FAILED, id=13, error="ValueError: no"),
        info(JobState.SKIPPED, id=14, started=None, reason="job 13 failed"),
    ]
    assert table_text(jobs).splitlines() == [
        "id  name   state    elapsed  cpu     where",
        "3   train  running  41.2 s   40.0 s  cell [7], line 12 (time.sleep)",
        "12  next   pending                   waiting for a (job 1)",
        "13  train  failed   41.2 s   40.0 s  ValueError: no",
        "14  train  skipped                   job 13 failed",
    ]
    html = table_html(jobs)
    assert html.count("<tr>") == 5
    assert "ValueError: no" in html


def test_a_long_table_adds_the_cell_the_threads_and_the_last_line():
    lines = table_text([info(), info(cell=None, threads=3, last_line="")], long=True).splitlines()
    assert lines[2] == "    cell [7] · 1 thread · epoch 4"
    assert lines[4] == "    3 threads"


def test_a_job_that_is_over_is_not_said_to_have_no_threads():
    jobs = [info(JobState.DONE, cell=None, threads=0, last_line="")]
    assert len(table_text(jobs, long=True).splitlines()) == 2


def test_an_empty_table_says_how_to_fill_it():
    assert "%%bg" in table_text([])
    assert "%%bg" in table_html(iter([]))


def test_the_long_table_lists_processes():
    processes = [ProcessInfo(4711 + n, "sleep 10\n00", "ipykill-3", n > 0) for n in range(12)]
    lines = table_text([info(processes=tuple(processes))], long=True).splitlines()
    assert lines[3] == "    └ process 4711: sleep 10 00 (it has ended)"
    assert lines[4] == "    └ process 4712: sleep 10 00"
    assert lines[-1] == "      ... and 2 more"
    assert "4711" not in table_text([info(processes=tuple(processes))])
