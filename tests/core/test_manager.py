import asyncio
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from ipykill.core.current import current_job
from ipykill.core.info import JobState
from ipykill.core.job import Job
from ipykill.core.manager import JobManager
from ipykill.exceptions import JobError, JobStopped, UnknownJobError
from tests.core.test_job import Gate, fail, polling, spinning
from tests.racing import ended, frequent_switches
from tests.waiting import HANG_GUARD, wait_for

S = JobState


@pytest.fixture
def jobs():
    manager = JobManager()
    yield manager
    manager.kill_all(HANG_GUARD)


def over(jobs, name, source=""):
    job = jobs.launch(int, name=name, source=source)
    assert job.wait(HANG_GUARD)
    return job


class Running:
    """Makes jobs that run until the end of the test."""

    def __init__(self, jobs):
        self.jobs = jobs
        self.gates = []

    def __call__(self, name, source=""):
        gate = Gate()
        self.gates.append(gate)
        job = self.jobs.launch(gate, name=name, source=source)
        gate.wait()
        return job


@pytest.fixture
def running(jobs):
    maker = Running(jobs)
    yield maker
    for gate in maker.gates:
        gate.open()


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


# After others


def test_a_job_starts_after_those_it_waits_for_are_done(jobs):
    gates = [Gate(), Gate()]
    order = []
    first = [jobs.launch(gate, name=f"{n}") for n, gate in enumerate(gates)]
    last = jobs.launch(lambda: order.append("last"), name="last", after=first)
    gates[1].open()
    assert first[1].wait(HANG_GUARD)
    assert jobs.submit(int).wait(HANG_GUARD)
    assert last.state is S.PENDING
    order.append("open")
    gates[0].open()
    assert last.wait(HANG_GUARD)
    assert order == ["open", "last"]


def test_a_job_after_jobs_that_are_over_starts_at_once(jobs):
    done = over(jobs, "done")
    assert jobs.launch(lambda: 42, name="next", after=[done]).result(HANG_GUARD) == 42
    jobs.clear()
    assert jobs.launch(lambda: 42, name="next", after=[done]).result(HANG_GUARD) == 42


@pytest.mark.parametrize("how", ["failed", "stopped", "killed", "skipped"])
def test_a_chain_is_skipped_when_one_of_it_is_not_done(jobs, how):
    gate = Gate()
    if how == "failed":
        first = jobs.launch(lambda: gate() or fail(ValueError()), name="first")
    elif how == "skipped":
        blocker = jobs.launch(gate, name="blocker")
        first = jobs.launch(int, name="first", after=[blocker])
    elif how == "stopped":
        first = polling(jobs, name="first")
    else:
        first = spinning(jobs, name="first")
    second = jobs.launch(int, name="second", after=[first])
    third = jobs.launch(int, name="third", after=[second])
    other = Gate()
    waits_for_both = jobs.launch(int, name="both", after=[jobs.launch(other, name="other"), first])
    gate.open() if how == "failed" else (
        first.kill(HANG_GUARD) if how == "killed" else first.stop(HANG_GUARD)
    )
    assert jobs.wait([second, third, waits_for_both], HANG_GUARD) == []
    assert first.state.value == how
    assert {job.state for job in (second, third, waits_for_both)} == {S.SKIPPED}
    ended = how if how == "failed" else f"was {how}"
    assert second.reason == f"job {first.id} (first) {ended}"
    assert third.reason == f"job {second.id} (second) was skipped"
    gate.open()
    other.open()


# How many at once


def test_no_more_jobs_than_the_limit_run_at_once(jobs):
    jobs.max_running = 2
    now, most, lock = [], [], threading.Lock()

    def work():
        with lock:
            now.append(1)
            most.append(len(now))
        time.sleep(0)
        with lock:
            now.pop()

    many = [jobs.submit(work) for _ in range(50)]
    assert jobs.wait(many, HANG_GUARD) == []
    assert {job.state for job in many} == {S.DONE}
    assert max(most) <= 2


def test_jobs_that_wait_start_in_order_and_when_the_limit_is_raised(jobs):
    jobs.max_running = 1
    gates = [Gate() for _ in range(3)]
    many = [jobs.submit(gate) for gate in gates]
    gates[0].wait()
    assert [job.state for job in many] == [S.RUNNING, S.PENDING, S.PENDING]
    jobs.max_running = 2
    gates[1].wait()
    assert many[2].state is S.PENDING
    jobs.max_running = 0
    gates[2].wait()
    for gate in gates:
        gate.open()


@pytest.mark.parametrize("how", ["result", "await"])
def test_a_job_may_wait_for_one_that_the_limit_keeps(jobs, how):
    jobs.max_running = 1

    async def awaits():
        return await jobs.submit(int, "7")

    job = jobs.submit(awaits if how == "await" else lambda: jobs.submit(int, "7").result())
    assert job.result(HANG_GUARD) == 7
    assert not job.waits


def test_a_waiting_job_that_is_killed_takes_no_place(jobs):
    jobs.max_running = 1
    gate = Gate()
    jobs.submit(gate)
    second, third = jobs.submit(int), jobs.submit(int)
    second.kill()
    gate.open()
    assert third.wait(HANG_GUARD)
    assert third.state is S.DONE


# Waiting


def test_waiting_for_all(jobs, running):
    one, two = running("one"), running("two")
    for timeout in (0, 0.001, -1):
        assert jobs.wait([one, two], timeout) == [one, two]
    running.gates[0].open()
    assert one.wait(HANG_GUARD)
    assert jobs.wait([one, two], 0.001) == [two]
    running.gates[1].open()
    assert jobs.wait(iter([one, two]), HANG_GUARD) == []
    assert jobs.wait([]) == []


def test_waiting_for_any(jobs, running):
    one, two = running("one"), running("two")
    assert jobs.wait([one, two], 0.001, any=True) == [one, two]
    threading.Thread(target=running.gates[1].open).start()
    assert jobs.wait([one, two], any=True) == [one]
    assert jobs.wait([one, two], any=True) == [one]  # one is over already
    assert jobs.wait([], any=True) == []
    assert not one.over._waiters


def test_waiting_for_any_does_not_wait_for_a_callback_of_others(jobs, running):
    stuck, release = threading.Event(), threading.Event()

    def callback(job):
        stuck.set()
        assert release.wait(HANG_GUARD)

    one, two, three = running("one"), running("two"), running("three")
    one.add_done_callback(callback)
    running.gates[0].open()
    assert stuck.wait(HANG_GUARD)
    running.gates[1].open()
    assert jobs.wait([two, three], HANG_GUARD, any=True) == [three]
    release.set()


# Ending


def test_stop_all_and_kill_all(jobs):
    stoppable = [polling(jobs), polling(jobs)]
    stubborn = spinning(jobs)
    assert jobs.stop_all() is False
    assert jobs.wait(stoppable, HANG_GUARD) == []
    assert jobs.stop_all(0.001) is False
    assert jobs.kill_all(HANG_GUARD, reason="enough") is True
    assert jobs.wait([stubborn], HANG_GUARD) == []
    assert [job.state for job in jobs] == [S.STOPPED, S.STOPPED, S.KILLED]
    assert stubborn.reason == "enough"
    assert jobs.stop_all()
    assert jobs.kill_all()


@pytest.mark.slow
def test_many_busy_jobs_are_all_asked_before_one_of_them_runs_on(jobs, monkeypatch):
    """Else the killer waits for the turns of all of them, many times for each."""
    turns = [0] * 8
    go = threading.Event()

    def work(number):
        go.wait()
        while True:
            turns[number] += 1

    for number in range(len(turns)):
        jobs.submit(work, number)
    go.set()
    wait_for(lambda: all(turns), "jobs that run")
    interval = sys.getswitchinterval()
    seen = []
    kill = Job.kill

    def told(job, *args, **kwargs):
        seen.append(tuple(turns))
        return kill(job, *args, **kwargs)

    monkeypatch.setattr(Job, "kill", told)
    jobs.kill_all()
    assert len(seen) == len(turns)
    # The interpreter's lock may change hands, though hardly ever in such a short time.
    assert len(set(seen)) <= 2
    monkeypatch.undo()
    assert jobs.kill_all(HANG_GUARD)
    assert {job.state for job in jobs} == {S.KILLED}
    wait_for(lambda: sys.getswitchinterval() == interval, "the usual switch interval")


def test_a_job_that_kills_all_kills_the_others_before_itself(jobs):
    event = threading.Event()

    def work():
        event.wait(HANG_GUARD)
        jobs.kill_all()

    job = jobs.submit(work)
    later = spinning(jobs)
    event.set()
    assert jobs.wait([job, later], HANG_GUARD) == []
    assert [job.state for job in jobs] == [S.KILLED, S.KILLED]


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


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")
def test_a_signal_handler_may_use_the_manager_in_the_middle_of_its_work():
    script = """
    import signal, time, ipykill
    for _ in range(5):
        ipykill.submit(int).wait()
    calls = []
    def handle(*args):
        calls.append(len(list(ipykill.jobs)))
        job = ipykill.jobs[1]
        job.stop(), job.info(), job.add_done_callback(id), job.log.write("x"), job.log.tail()
        if time.monotonic() < end:
            signal.setitimer(signal.ITIMER_REAL, 0.0002)
    end = time.monotonic() + 1
    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0002)
    job = ipykill.jobs[1]
    while time.monotonic() < end:
        list(ipykill.jobs), job.info(), job.stop(), job.log.write("x" * 1000), job.log.tail()
    # The handler stays: Python reports a signal that is under way when its handler goes.
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert len(calls) > 10
    """
    run(script)


# The end of the interpreter


def run(script):
    """Run a script in a Python of its own; return its output and how long its exit took."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=2 * HANG_GUARD,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


@pytest.mark.slow
def test_at_exit_jobs_are_stopped_then_killed_and_their_finally_blocks_run():
    out = run("""
        import ipykill, threading
        ready = [threading.Event() for _ in range(3)]
        def stoppable():
            try:
                ready[0].set()
                while True:
                    ipykill.checkpoint()
            finally:
                print("stopped", flush=True)
        def stubborn():
            try:
                ready[1].set()
                while True:
                    pass
            finally:
                print("killed", flush=True)
        def immortal():
            with ipykill.shield():
                ready[2].set()
                threading.Event().wait()
        for fn in (stoppable, stubborn, immortal):
            ipykill.submit(fn).add_done_callback(lambda job: None)
        for event in ready:
            event.wait()
        print("exit", flush=True)
        """)
    assert out.split() == ["exit", "stopped", "killed"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pool", "thread", "thread that it left"])
def test_the_exit_does_not_wait_for_what_a_job_waits_for(kind):
    # The interpreter joins the workers of pools, and threads that are not daemons.
    starts = {
        "pool": "ThreadPoolExecutor(1).submit(work)",
        "thread": "threading.Thread(target=work, daemon=False).start()",
        "thread that it left": "threading.Thread(target=work, daemon=False).start(); return",
    }
    begin = time.monotonic()
    out = run(f"""
        import ipykill, threading, time
        ready = threading.Event()
        def work():
            try:
                ready.set()
                while True:
                    pass
            finally:
                print("killed", flush=True)
        def job():
            from concurrent.futures import ThreadPoolExecutor
            {starts[kind]}
            while True:
                pass
        ipykill.submit(job)
        ready.wait()
        """)
    assert out.split() == ["killed"]
    assert time.monotonic() - begin < HANG_GUARD


@pytest.mark.slow
def test_an_idle_manager_does_not_delay_the_exit():
    out = run("""
        import ipykill, time, atexit
        ipykill.submit(int).wait()
        ipykill.submit(int, timeout=1000).wait()
        begin = time.monotonic()
        atexit.register(lambda: print(time.monotonic() - begin))
        """)
    assert float(out) < HANG_GUARD


def test_a_job_submitted_at_exit_does_no_harm():
    run("""
        import atexit, ipykill
        def late():
            job = ipykill.submit(int)
            assert job.wait(30)
        atexit.register(late)
        """)


def test_stopped_is_not_raised_twice(jobs):
    job = polling(jobs)
    job.stop(HANG_GUARD)
    assert isinstance(job.exception(), JobError)
    assert not isinstance(job.exception(), JobStopped)


# Waiting in a circle


def test_jobs_that_wait_for_each_other_are_refused(jobs):
    go = threading.Event()
    pair, errors = [], []

    def work(other):
        assert go.wait(HANG_GUARD)
        try:
            pair[other].result()
        except JobError as error:
            errors.append(str(error))

    pair += [jobs.submit(work, 1, name="one"), jobs.submit(work, 0, name="two")]
    go.set()
    assert not jobs.wait(pair, HANG_GUARD)
    (error,) = errors
    assert error in (
        "job 1 (one) would wait for itself: job 2 (two) waits for job 1 (one)",
        "job 2 (two) would wait for itself: job 1 (one) waits for job 2 (two)",
    )
    assert all(job.waits_for == () for job in pair)


@pytest.mark.parametrize("how", ["wait", "result", "manager"])
def test_a_job_that_waits_for_what_comes_after_it_is_refused(jobs, how):
    def work():
        me = current_job()
        second = jobs.launch(int, name="second", after=[me])
        third = jobs.launch(int, name="third", after=[second])
        with pytest.raises(JobError, match=r"job 3 \(third\) waits for job 2 \(second\) waits"):
            {"wait": third.wait, "result": third.result, "manager": lambda: jobs.wait([third])}[
                how
            ]()
        assert not third.wait(0.01), "a wait that ends is no deadlock"

    jobs.submit(work, name="first").result(HANG_GUARD)
    assert not jobs.wait(list(jobs), HANG_GUARD)
    assert [job.state for job in jobs] == [JobState.DONE] * 3


def test_waiting_in_a_row_is_no_circle(jobs):
    gate = threading.Event()
    first = jobs.submit(gate.wait)
    second = jobs.submit(lambda: first.wait() and first.wait())
    third = jobs.submit(lambda: jobs.wait([first, second]))
    wait_for(lambda: third.waits_for, "the third to wait")
    gate.set()
    assert third.result(HANG_GUARD) == []


def test_who_awaits_a_job_does_not_wait_for_the_callbacks_of_others(jobs, running):
    go, gate, reached = threading.Event(), threading.Event(), threading.Event()

    def block(job):
        reached.set()
        gate.wait(HANG_GUARD)

    async def main():
        jobs.submit(go.wait).add_done_callback(block)
        go.set()
        assert await asyncio.to_thread(reached.wait, HANG_GUARD)
        return await jobs.submit(lambda: 42)

    try:
        assert asyncio.run(asyncio.wait_for(main(), HANG_GUARD)) == 42
    finally:
        gate.set()
