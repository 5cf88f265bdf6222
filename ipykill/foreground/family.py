"""The family of a cell in the foreground, whose first thread is the shell's."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..base.waiting import Latch
from ..core.family import Family
from ..kill import Target, contain

__all__ = ["CellFamily"]


class CellFamily(Family):
    """A family that begins in a thread which runs already, and outlives it.

    Each cell that is run has one, and almost none becomes a job or starts a thread. So this does
    only what others may ask for meanwhile.
    """

    def serve(self, body: Callable[[], object]) -> tuple[BaseException | None, Target]:
        """Run `body` as the family's first code, in its first thread, which is calling.

        Returns
        -------
        BaseException or None, Target
            What `body` raised, and the record of the thread; if the cell has become a job, the
            caller passes it to `let_go`, else it calls `dissolve`.
        """
        target = self._first_target = Target(self, self.first)
        target.first = True
        # This is what `register` does. It needs no lock here: only a job is asked for its CPU time,
        # and the cell becomes one only after another thread has found the target and seen it open.
        self._threads[self.first] = Latch()
        self._past_cpu_time = -time.thread_time()
        self._targets.append(target)
        error = contain(target, body)
        if target.leads:
            self.lead_no_longer(target)
        return error, target

    def dissolve(self) -> None:
        """Let all threads go: the cell in the foreground is over, and they belong to nobody now."""
        self.dissolved = True
        first, self._first_target = self._first_target, None
        assert first is not None
        self._targets.remove(first)
        first.release()
        for target in self._targets.copy():
            self.let_go(target)
        # With the two lines above about the first target, this breaks the reference cycles. Else
        # each cell would wait for the garbage collector.
        self.enter = lambda: None
