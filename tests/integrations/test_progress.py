"""How far a job is."""

import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import ipykill
from ipykill import JobState
from ipykill.integrations import progress
from ipykill.integrations.progress import track
from tests.overlays import ROOT
from tests.waiting import wait_for


@pytest.fixture
def go() -> threading.Event:
    return threading.Event()


def test_track_tells_the_job_how_far_it_is(go: threading.Event) -> None:
    at_three = threading.Event()

    def work() -> int:
        count = 0
        for item in track([5, 6, 7, 8], description="items"):
            if item == 7:
                at_three.set()
                go.wait()
            count += 1
        return count

    job = ipykill.submit(work)
    assert at_three.wait(30)
    seen = job.progress
    assert seen is not None
    assert (seen.done, seen.total, seen.description) == (2, 4, "items")
    assert seen.left is not None
    assert seen.left >= 0
    assert job.info().progress is not None
    go.set()
    assert job.result(30) == 4
    assert job.progress is not None
    assert job.progress.done == 4


def test_track_without_a_known_length(go: threading.Event) -> None:
    def work() -> None:
        for _ in track(iter(range(3))):
            pass
        for _ in track(item for item in "ab"):
            pass

    job = ipykill.submit(work)
    job.result(30)
    assert job.progress is not None
    assert (job.progress.done, job.progress.total, job.progress.left) == (2, None, None)


def test_the_outermost_bar_is_shown(go: threading.Event) -> None:
    inside = threading.Event()

    def work() -> None:
        for _ in track(range(10), description="outer"):
            for _ in track(range(2), description="inner"):
                inside.set()
                go.wait()

    job = ipykill.submit(work)
    assert inside.wait(30)
    assert job.progress is not None
    assert job.progress.description == "outer"
    go.set()
    job.wait(30)


def test_a_stop_takes_effect_at_the_next_step() -> None:
    stepped = threading.Event()

    def work() -> None:
        for _ in track(iter(int, 1)):
            stepped.set()

    job = ipykill.submit(work)
    assert stepped.wait(30)
    assert job.stop(30)
    assert job.state is JobState.STOPPED


def test_outside_a_job_it_only_iterates() -> None:
    assert list(track("abc", total=7)) == ["a", "b", "c"]
    with pytest.raises(TypeError, match="not iterable"):
        track(5)  # type: ignore[arg-type]


def test_text_in_second_place_is_the_description_as_with_tqdm_and_rich(go: threading.Event) -> None:
    begun = threading.Event()

    def work() -> None:
        for _ in track(range(3), "epochs"):
            begun.set()
            go.wait()

    job = ipykill.submit(work)
    assert begun.wait(30)
    assert job.progress == ipykill.Progress(0, 3, "epochs", None)
    go.set()
    job.result(30)


def test_a_total_that_is_no_number_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a number of items, not \[5\]"):
        track(range(5), [5])  # type: ignore[arg-type]
    job = ipykill.submit(lambda: list(track(iter("ab"), total=math.inf)))
    job.result(30)
    assert job.progress is not None
    assert (job.progress.done, job.progress.total, job.progress.left) == (2, None, None)


@pytest.mark.parametrize(
    ("done", "total", "told"),
    [
        ("numpy.int64(2)", "numpy.int64(8)", (2, 8)),
        ("numpy.float32(0.5)", "numpy.array(2.0)", (0.5, 2)),
        ("math.nan", "math.inf", (0, None)),
        ("'2'", "object()", (2, None)),
        ("Hostile()", "Hostile()", (0, None)),
    ],
)
def test_whatever_a_bar_of_tqdm_counts_in_can_be_told(done: str, total: str, told: tuple) -> None:
    numpy = pytest.importorskip("numpy")
    tqdm = pytest.importorskip("tqdm")

    class Hostile:
        def __index__(self) -> int:
            raise RuntimeError

        def __float__(self) -> float:
            raise RuntimeError

    bar = tqdm.tqdm(total=8, file=sys.stderr)
    names = {"numpy": numpy, "math": math, "Hostile": Hostile}
    bar.n, bar.total = eval(done, names), eval(total, names)
    seen = progress._TqdmBar(bar).look()
    assert (seen.done, seen.total) == told
    json.dumps([seen.done, seen.total, seen.left], allow_nan=False)
    bar.n = bar.total = 0
    bar.close()


def test_a_bar_that_fails_costs_the_job_its_progress_and_nothing_else(caplog) -> None:
    class Broken:
        closed = False

        def look(self) -> ipykill.Progress:
            raise ZeroDivisionError

    def work() -> None:
        job = ipykill.current_job()
        assert job is not None
        job.add_bar(Broken())
        ipykill.sleep(1000)

    job = ipykill.submit(work)
    wait_for(lambda: job._bars, "the bar")
    assert job.info().progress is None
    assert job.stop(30)
    assert job.state is JobState.STOPPED
    assert job.info().error == ""
    assert caplog.text.count("does not tell how far it is") == 1


def test_a_bar_of_tqdm_tells_the_job(go: threading.Event) -> None:
    tqdm = pytest.importorskip("tqdm")
    progress.install()
    at_two = threading.Event()

    def work() -> None:
        with tqdm.tqdm(total=8, desc="load", mininterval=0, file=sys.stderr) as bar:
            bar.update(2)
            at_two.set()
            go.wait()

    job = ipykill.submit(work)
    assert at_two.wait(30)
    assert job.progress is not None
    assert (job.progress.done, job.progress.total) == (2, 8)
    assert job.progress.description == "load"
    go.set()
    job.result(30)
    assert tqdm.tqdm(total=1, disable=True).update(1) is None, "outside a job nothing changes"


def test_a_bar_of_tqdm_is_a_checkpoint() -> None:
    tqdm = pytest.importorskip("tqdm")
    progress.install()
    stepped = threading.Event()

    def work() -> None:
        for _ in tqdm.tqdm(iter(int, 1), mininterval=0, miniters=1, file=sys.stderr):
            stepped.set()

    job = ipykill.submit(work)
    assert stepped.wait(30)
    assert job.stop(30)
    assert job.state is JobState.STOPPED


def test_each_step_of_a_bar_of_tqdm_is_a_checkpoint() -> None:
    tqdm = pytest.importorskip("tqdm")
    progress.install()
    stepped = threading.Event()
    closed: list[bool] = []

    def work() -> None:
        # It would not paint itself, and so not call update(), for a long time.
        bar = tqdm.tqdm(iter(int, 1), mininterval=1e6, miniters=10**9, file=sys.stderr)
        try:
            for _ in bar:
                stepped.set()
        finally:
            closed.append(bar.disable)

    job = ipykill.submit(work)
    assert stepped.wait(30)
    assert job.stop(30)
    assert job.state is JobState.STOPPED
    assert closed == [True], "tqdm has closed the bar"


def test_steps_of_an_earlier_run_do_not_count_as_fast_ones() -> None:
    tqdm = pytest.importorskip("tqdm")
    bar = tqdm.tqdm(total=100, initial=90, file=sys.stderr)
    bar._time = lambda: bar.start_t + 10
    look = progress._TqdmBar(bar).look
    assert look().left is None
    bar.update(5)
    assert look() == ipykill.Progress(95, 100, "", 10.0, 0.5)
    bar.close()


def test_tqdm_imported_later_is_watched_too() -> None:
    code = (
        "import ipykill, sys\n"
        "from ipykill.integrations import progress\n"
        "progress.install(); progress.install()\n"
        "assert 'tqdm' not in sys.modules\n"
        "def work():\n"
        "    import tqdm\n"
        "    for _ in tqdm.tqdm(range(5), file=open('/dev/null', 'w')): pass\n"
        "job = ipykill.submit(work); job.result(30)\n"
        "left = [it for it in sys.meta_path if getattr(it, 'name', '').startswith('tqdm')]\n"
        "print(job.progress.done, len(left))"
    )
    pytest.importorskip("tqdm")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "5 0\n", done.stderr


def test_nested_bars_of_tqdm_in_child_threads_are_the_jobs(go: threading.Event) -> None:
    tqdm = pytest.importorskip("tqdm")
    progress.install()
    inside = threading.Event()

    def inner() -> None:
        for _ in tqdm.tqdm(range(3), desc="inner", file=sys.stderr, mininterval=0):
            inside.set()
            go.wait()

    def work() -> None:
        with tqdm.tqdm(total=4, desc="outer", file=sys.stderr, mininterval=0) as bar:
            for _ in range(4):
                thread = threading.Thread(target=inner)
                thread.start()
                thread.join()
                bar.update()

    job = ipykill.submit(work)
    assert inside.wait(30)
    assert job.progress is not None
    assert (job.progress.description, job.progress.total) == ("outer", 4)
    go.set()
    job.result(30)
    assert job.progress is not None
    assert (job.progress.done, job.progress.total) == (4, 4)


def test_a_bar_in_a_child_thread_alone_is_shown_and_stopped() -> None:
    tqdm = pytest.importorskip("tqdm")
    progress.install()
    stepped = threading.Event()
    ended: list[BaseException] = []

    def child() -> None:
        try:
            for number in tqdm.tqdm(iter(int, 1), desc="child", mininterval=0, miniters=1):
                assert number == 0
                stepped.set()
        except BaseException as error:
            ended.append(error)

    def work() -> None:
        thread = threading.Thread(target=child)
        thread.start()
        thread.join()

    job = ipykill.submit(work)
    assert stepped.wait(30)
    assert job.progress is not None
    assert job.progress.description == "child"
    assert job.stop(30)
    assert [type(error) for error in ended] == [ipykill.JobStopped]


def test_track_costs_little_when_nothing_is_asked() -> None:
    def plain(items: range) -> Iterator[int]:
        for item in items:  # noqa: UP028
            yield item

    def seconds(make: Callable[[range], Iterator[int]]) -> float:
        def once() -> float:
            begin = time.thread_time()
            for _ in make(range(200_000)):
                pass
            return time.thread_time() - begin

        return min(once() for _ in range(7))

    def work() -> float:
        return seconds(track) / seconds(plain)

    # 4 to 5 times the generator that does nothing, which takes 18 ns; `tests.benchmarks.output`
    # tells the figures.
    assert ipykill.submit(work).result(60) < 8


def test_the_bar_that_goes_round_inside_is_told_too() -> None:
    go, reached = threading.Event(), threading.Event()

    def work() -> None:
        for outer in ipykill.track(range(2), description="epoch"):
            for inner in ipykill.track(range(4), description="batch"):
                if (outer, inner) == (1, 2):
                    reached.set()
                    go.wait(30)

    job = ipykill.submit(work)
    assert reached.wait(30)
    seen = job.progress
    assert seen is not None
    assert (seen.done, seen.total, seen.description) == (1, 2, "epoch")
    assert seen.rate is not None
    inner = seen.inner
    assert inner is not None
    assert (inner.done, inner.total, inner.description) == (2, 4, "batch")
    go.set()
    assert job.wait(30)
    assert job.progress is not None
    assert job.progress.inner is None
