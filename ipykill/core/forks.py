"""How a child process that a job made by ``os.fork()`` ends."""

from __future__ import annotations

import contextlib
import os
import traceback
from typing import NoReturn

from ..base import stack

__all__ = ["end_fork"]


def end_fork(error: BaseException | None) -> NoReturn:
    """End this process, the child of a fork in a job, as a program ends; its code is over.

    Skips all that happens at the end of a job: the kernel's sockets and the job's log belong to
    the parent process.
    """
    code: object = 0
    if isinstance(error, SystemExit):
        code = error.code
    elif error is not None:
        code = 1
        with contextlib.suppress(Exception):
            tb = stack.without_machinery(error.__traceback__)
            text = "".join(traceback.format_exception(type(error), error, tb))
            os.write(2, text.encode(errors="replace"))
    os._exit(code & 255 if isinstance(code, int) else int(code is not None))
