"""To look at jobs harms nobody, whatever the garbage collector frees meanwhile."""

import sys

import pytest

from tests.laws.harness import in_python


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="there a collection may come in the middle of any allocation"
)
@pytest.mark.slow
def test_a_finalizer_that_kills_in_the_middle_of_a_look() -> None:
    """In a Python of its own, which hangs without `ipykill.kill.looking.Looking`."""
    in_python("""
import faulthandler, gc, sys, time
import ipykill
faulthandler.dump_traceback_later(40, exit=True)
sys.setswitchinterval(1e-5)
gc.set_threshold(30, 2, 2)
jobs = []

class Kills:
    def __init__(self): self.cycle = self
    def __del__(self):
        for job in jobs[:1]: job.kill(0)

def makes():
    while True:
        Kills()
        time.sleep(0)

end = time.monotonic() + 5
while time.monotonic() < end:
    calls = (lambda: time.sleep(100)), makes, (lambda: time.sleep(100))
    jobs[:] = map(ipykill.submit, calls)
    for _ in range(5):
        Kills()
        [job.info() for job in jobs], [job.where() for job in jobs], [job.cpu_time for job in jobs]
    for job in jobs:
        assert job.kill(30), job.where()
    ipykill.jobs.clear(job for job in ipykill.jobs if not job.lives())
""")
