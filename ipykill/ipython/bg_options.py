"""The options of ``%%bg`` and ``%bg``; the help of each is what ``%%bg?`` and Tab show."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar

from IPython.core.magic_arguments import argument

from . import options

__all__ = ["bg_options"]

_Fn = TypeVar("_Fn", bound=Callable[..., Any])

_OPTIONS = (
    argument("-n", "--name", help="what the job is called; its first line by default"),
    argument(
        "-t",
        "--timeout",
        type=options.duration,
        metavar="DURATION",
        help="stop the job after 90, 30s, 10m, 1h30m, and kill it if it does not end",
    ),
    argument(
        "--after",
        nargs="+",
        action="extend",
        default=[],
        metavar="SPEC",
        help="start when these jobs are done, not if one fails; in a %%bg statement one SPEC each",
    ),
    argument(
        "--replace",
        action="store_true",
        help="first end the job that this cell started before, or of this name",
    ),
    argument(
        "--private",
        action="store_true",
        help="names that the cell assigns stay its own until it ends; only if it ends well (not "
        "failed, stopped or killed) they are put into the shared namespace then, all at once",
    ),
    argument(
        "-o",
        "--out",
        type=options.variable,
        metavar="VAR",
        help="a variable for the value of its last line",
    ),
    argument("--wait", action="store_true", help="wait here for the end; an error fails the cell"),
    argument(
        "--log",
        type=options.file,
        metavar="FILE",
        help="write all that it prints to a file too, after what is in that",
    ),
    argument(
        "--on",
        metavar="WHERE",
        help="process: run in a process of its own, on copies of the variables; or a variable "
        "with a dask.distributed Client: on a worker of its cluster",
    ),
    argument("-q", "--quiet", action="store_true", help="show no card, and do not return the job"),
)


def bg_options(fn: _Fn) -> _Fn:
    """Decorate a magic, so that it takes the options of ``%%bg``."""
    return reduce(lambda decorated, option: option(decorated), reversed(_OPTIONS), fn)
