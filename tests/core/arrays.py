"""Arrays that are counted while somebody holds them."""

import gc
import weakref

from tests.waiting import wait_for


class Array:
    """Stands for a big one."""


class Arrays:
    """Makes arrays, and counts those that somebody still holds."""

    def __init__(self):
        self._made = []

    def make(self):
        array = Array()
        self._made.append(weakref.ref(array))
        return array

    def left(self):
        gc.collect()
        return sum(made() is not None for made in self._made)

    def wait(self, count):
        """Wait until so many are left: a job frees what it had a moment after its end."""
        wait_for(lambda: self.left() == count, f"{count} arrays that are left")
        assert self._made, "a test that makes none shows nothing"


def clear(jobs):
    """Clear all of them; a thread that is about to end may take a while on a busy machine."""
    wait_for(lambda: [jobs.clear(), len(jobs)][1] == 0, "no job is left")
