"""The end of a child of ``os.fork()`` whose code was a job's."""

from __future__ import annotations

import contextlib
import os
import traceback
from typing import NoReturn

from ..base import stack

__all__ = ["end_fork"]


def end_fork(error: BaseException | None) -> NoReturn:
    """End the child of a fork whose code has come to its end, as a program ends.

    Nothing of what surrounds the job is this process's: not the sockets, not the log.
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
