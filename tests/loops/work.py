"""Coroutines that clean up, and what ends their job once they have begun."""

import asyncio

from tests.waiting import HANG_GUARD


def ask(job, began, how):
    assert began.wait(HANG_GUARD)
    return getattr(job, how)(HANG_GUARD)


class Work:
    """Coroutines that clean up, and say so."""

    def __init__(self, began):
        self.began = began
        self.ended = []

    async def wait(self, name="main", seconds=1000.0):
        try:
            self.began.set()
            await asyncio.sleep(seconds)
        finally:
            await asyncio.sleep(0.01)
            self.ended.append(name)

    async def wait_beside_a_task(self):
        task = asyncio.create_task(self.wait("task"))
        await self.wait()
        del task

    async def compute(self):
        try:
            while True:
                self.began.set()
        finally:
            await asyncio.sleep(0.01)
            self.ended.append("computed")
