"""A manager holds jobs, launches them, forgets them, and knows what a SPEC means."""

import threading

import pytest

from ipykill.core.manager import JobManager
from ipykill.exceptions import JobError, JobStopped, UnknownJobError
from tests.core.work import over, polling
from tests.racing import ended, frequent_switches
from tests.waiting import HANG_GUARD, wait_for

# A container


def test_a_manager_is_a_container_of_jobs(jobs, running):
    assert len(jobs) == 0
    assert list(jobs) == []
    assert not jobs.snapshot()
    one, two = over(jobs, "one"), running("two")
    assert len(jobs) == 2
    assert list(jobs) == [one, two]
    assert jobs.running() == [two]
    assert jobs[1] is jobs["1"] is jobs["one"] is one
    assert 2 in jobs
    assert "two" in jobs
    assert two in jobs
    assert 3 not in jobs
    assert "three" not in jobs
    assert None not in jobs
    assert over(JobManager(), "one") not in jobs
    assert [info.name for info in jobs.snapshot()] == ["one", "two"]
    assert "two" in repr(jobs)
    assert "<table>" in jobs._repr_html_()


def test_a_name_that_fits_several_is_contained_and_cannot_be_indexed(jobs, running):
    running("train"), running("train")
    assert "train" in jobs
    with pytest.raises(UnknownJobError, match="fits 2 jobs"):
        jobs["train"]


def test_iterating_is_not_disturbed_by_changes(jobs):
    for n in range(3):
        over(jobs, f"job {n}")
    for job in jobs:
        jobs.clear([job])
        over(jobs, "another")
    assert len(jobs) == 3


def test_ids_are_never_reused(jobs):
    assert [over(jobs, "x").id for _ in range(3)] == [1, 2, 3]
    assert [job.id for job in jobs.clear()] == [1, 2, 3]
    assert over(jobs, "x").id == 4
    assert 3 not in jobs


# SPECs


@pytest.fixture
def zoo(jobs, running):
    """1 over, 2 running, 3 over, 4 running, 5 over."""
    over(jobs, "alpha", "load(data)")
    running("beta", "train(model)")
    over(jobs, "alphabet", "train(other)")
    running("gamma", "save(data)")
    over(jobs, "2024", "x = 1")
    return jobs


@pytest.mark.parametrize(
    ("spec", "id"),
    [
        (3, 3),
        ("3", 3),
        ("%3", 3),
        (" 3 ", 3),
        ("%03", 3),
        ("beta", 2),
        ("%beta", 2),
        ("be", 2),
        ("alpha", 1),  # exactly, though it begins another name
        ("alphab", 3),
        ("2024", 5),  # a name, as there is no such job
        ("?save", 4),
        ("?  save ", 4),
        ("?train", 2),  # the one that is not over
        ("", 4),
        ("+", 4),
        ("%", 4),
        ("%+", 4),
        ("%%", 4),
        ("-", 2),
        ("%-", 2),
    ],
)
def test_a_spec_means_a_job(zoo, spec, id):
    assert [job.id for job in zoo.find(spec)] == [id]
    assert zoo[spec].id == id
    assert spec in zoo


def test_all_are_all_that_are_not_over(zoo):
    assert [job.id for job in zoo.find("all")] == [2, 4]
    with pytest.raises(UnknownJobError, match=r"'all' fits 2 jobs"):
        zoo["all"]


ZOO = r"1 \(alpha\), 2 \(beta\), 3 \(alphabet\), 4 \(gamma\), 5 \(2024\)"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (7, f"^no job '7'; there are: {ZOO}$"),
        (-1, "no job '-1'"),
        (None, "no job 'None'"),
        (2.0, "no job '2.0'"),
        ("delta", f"^no job 'delta'; there are: {ZOO}$"),
        ("20", "no job '20'"),  # a number is never the beginning of a name
        ("%0", "no job '%0'"),
        ("9" * 5000, "no job '999"),
        ("²", "no job"),
        ("?nowhere", r"no job '\?nowhere'"),
        ("?data", None),
        ("al", r"^'al' fits 2 jobs, say which by its number: 1 \(alpha\), 3 \(alphabet\)$"),
        ("Alpha", "no job 'Alpha'"),
        ("<b>", "no job '<b>'"),
        ("\x1b[31m\n", "no job"),
    ],
)
def test_a_spec_that_means_none_or_several_is_refused_with_the_candidates(zoo, spec, message):
    if message is None:  # two fit and one is not over
        assert zoo[spec].id == 4
        return
    with pytest.raises(UnknownJobError, match=message) as caught:
        zoo.find(spec)
    assert isinstance(caught.value, JobError)
    assert isinstance(caught.value, LookupError)
    assert str(caught.value).isprintable()


class Index:
    """Such as an integer of numpy."""

    def __init__(self, number):
        self.number = number

    def __index__(self):
        return self.number


def test_the_number_of_a_forgotten_job_means_no_other_that_is_named_like_it(jobs, running):
    over(jobs, "first")
    jobs.clear()
    running("1"), running("17"), running("3")
    for spec in (1, "1", "%1", Index(1), 17):
        assert spec not in jobs
        with pytest.raises(UnknownJobError, match=r"no job '%?17?'"):
            jobs[spec]
    assert jobs["17"].id == 3, "no job had this number yet: it is a name"
    assert [jobs[spec].id for spec in (3, "3", Index(3))] == [3, 3, 3]
    assert True not in jobs


def test_of_several_with_one_name_the_one_that_is_not_over_is_meant_else_the_newest(jobs, running):
    over(jobs, "train"), over(jobs, "train")
    assert jobs["train"].id == 2
    assert jobs["tr"].id == 2
    running("train")
    over(jobs, "trainer")
    assert jobs["train"].id == 3
    running("train")
    with pytest.raises(UnknownJobError, match=r"fits 2 jobs.*: 3 \(train\), 4|5 \(train\)"):
        jobs["train"]


def test_without_running_jobs_the_newest_and_the_one_before_are_meant(jobs, running):
    for spec in ("", "%-", "all"):
        with pytest.raises(UnknownJobError, match="no job"):
            jobs.find(spec)
    over(jobs, "one")
    assert jobs[""].id == 1
    with pytest.raises(UnknownJobError, match=r"there is no job before job 1 \(one\)"):
        jobs["%-"]
    over(jobs, "two")
    assert (jobs["%+"].id, jobs["%-"].id) == (2, 1)
    with pytest.raises(UnknownJobError, match="no job is running"):
        jobs.find("all")


def test_plus_and_minus_are_never_the_same_job(jobs, running):
    running("one")
    over(jobs, "two")
    assert (jobs["%+"].id, jobs["%-"].id) == (1, 2)


def test_a_long_list_of_candidates_is_cut(jobs):
    for n in range(20):
        over(jobs, f"job-{n}")
    with pytest.raises(UnknownJobError) as caught:
        jobs["nothing"]
    assert str(caught.value).count("(job-") == 8
    assert "20 (job-19)" in str(caught.value)


def test_hostile_names_are_one_line_of_text_everywhere(jobs):
    job = over(jobs, "evil\x1b[31m\r\n\x00name")
    assert job.name == "evil   name"
    assert jobs[job.name] is job
    assert repr(job).isprintable()


# Launching


def test_submit_passes_arguments_on(jobs):
    def function(*args, **kwargs):
        return args, kwargs

    job = jobs.submit(function, 1, 2, fn=3, self=4)
    assert job.result(HANG_GUARD) == ((1, 2), {"fn": 3, "self": 4})
    assert job.name == "function"
    assert "def function" in job.source


class Callable:
    def __call__(self):
        return 42


@pytest.mark.parametrize(
    ("fn", "name"), [(int, "int"), (Callable(), "Callable"), (lambda: 0, "<lambda>")]
)
def test_a_job_is_named_after_its_function(jobs, fn, name):
    assert jobs.submit(fn).name == name
    assert jobs.submit(fn, name="other").name == "other"
    assert jobs.submit(fn, name="").name == name


@pytest.mark.parametrize("what", [42, None, "text", 0])
def test_what_cannot_be_called_is_refused(jobs, what):
    with pytest.raises(TypeError, match=r"submit\(\) needs a function to call, not"):
        jobs.submit(what)
    assert len(jobs) == 0


@pytest.mark.parametrize("name", [5, b"bytes", ["x"]])
def test_a_name_that_is_no_string_is_refused(jobs, name):
    with pytest.raises(TypeError, match="the name of a job is a string, not"):
        jobs.submit(int, name=name)
    assert len(jobs) == 0


def test_a_log_file_that_cannot_be_written_is_refused_and_makes_no_job(jobs, tmp_path):
    with pytest.raises(FileNotFoundError):
        jobs.launch(int, name="x", log=tmp_path / "missing" / "log")
    assert len(jobs) == 0
    path = tmp_path / "log"
    job = jobs.launch(lambda: job_log(jobs).write("text\n"), name="x", log=path)
    job.result(HANG_GUARD)
    assert path.read_text() == "text\n"


def job_log(jobs):
    return wait_for(lambda: list(jobs), "the job")[0].log


def test_a_host_that_cannot_be_made_does_not_stop_a_job(jobs, caplog):
    def broken(job):
        raise ValueError("no host")

    jobs.host = broken
    assert jobs.submit(lambda: 42).result(HANG_GUARD) == 42
    assert "no host" in caplog.text


# Forgetting


def test_clear_forgets_what_is_over(jobs, running):
    one, two, three = over(jobs, "one"), running("two"), over(jobs, "three")
    assert jobs.clear([three]) == [three]
    assert list(jobs) == [one, two]
    assert jobs.clear() == [one]
    assert list(jobs) == [two]
    assert jobs.clear() == []
    assert jobs.clear([one]) == [one]


def test_clear_refuses_a_job_that_runs_and_then_forgets_none(jobs, running):
    one, two = over(jobs, "one"), running("two")
    with pytest.raises(JobError, match=r"job 2 \(.*\) is not over; stop it or wait for it first"):
        jobs.clear([one, two])
    assert list(jobs) == [one, two]


# Races


@pytest.mark.stress
@pytest.mark.slow
@frequent_switches()
def test_ids_are_unique_and_the_order_is_theirs_when_threads_submit(jobs):
    def submit():
        for _ in range(50):
            jobs.submit(int)
            ids = [job.id for job in jobs]
            if ids != sorted(ids):
                disorder.append(ids)

    disorder = []
    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert ended(*threads)
    assert jobs.wait(jobs, HANG_GUARD) == []
    assert [job.id for job in jobs] == list(range(1, 201))
    assert not disorder


def test_stopped_is_not_raised_twice(jobs):
    job = polling(jobs)
    job.stop(HANG_GUARD)
    assert isinstance(job.exception(), JobError)
    assert not isinstance(job.exception(), JobStopped)
