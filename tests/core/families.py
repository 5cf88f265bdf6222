"""A family of threads, to be filled and killed by a test."""

import threading

from ipykill.core import adoption
from ipykill.core.family import Family
from ipykill.kill import current_target
from ipykill.threads import ThreadWithExc
from tests.racing import ended
from tests.waiting import HANG_GUARD


class Fixture:
    """A family and what it was told."""

    def __init__(self, body):
        adoption.install()
        self.entered = []
        self.finished = []
        self.target_in_finish = []
        self.first = ThreadWithExc(target=body, daemon=True)
        self.family = Family(self.first, self.enter, self.finish)

    def enter(self):
        self.entered.append(threading.current_thread())

    def finish(self, error):
        self.finished.append(error)
        self.target_in_finish.append(current_target())

    def run(self):
        self.family.start()
        assert ended(self.first)
        assert self.family.join(HANG_GUARD)
        return self.finished
