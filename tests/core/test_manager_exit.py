"""A manager in a signal handler, and at the end of its interpreter."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest

from tests.waiting import HANG_GUARD


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
