"""Threads that spin until an exception comes, and exceptions for them."""

import threading

from ipykill.threads import ThreadWithExc
from tests.waiting import HANG_GUARD


class Cancelled(Exception):
    pass


class Spinner(ThreadWithExc):
    """Spins until an exception comes, and keeps it."""

    def __init__(self):
        super().__init__(daemon=True)
        self.spinning = threading.Event()
        self.caught = None

    def run(self):
        try:
            self.spinning.set()
            while True:
                pass
        except BaseException as error:
            self.caught = error


def spinner():
    thread = Spinner()
    thread.start()
    assert thread.spinning.wait(HANG_GUARD)
    return thread


class NeedsArgument(Exception):
    def __init__(self, argument):
        super().__init__(argument)
