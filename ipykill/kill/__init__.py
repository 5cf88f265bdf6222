"""How a Kill reaches a thread, and leaves nothing broken.

A Kill is an exception that somebody else wants to be raised in a thread. CPython would do
that anywhere (``PyThreadState_SetAsyncExc``), between ``lock.acquire()`` and ``try:`` too,
and not at all in a thread that waits. Here the thread decides for itself, at an instruction
that it has reached, whether that is a place to die; all that others do is to make it ask.

Read in this order:

`target`
    The record of a thread that can be killed, and `contain`, inside which it happens; `group`,
    what it asks of the job.
`codemap`
    What a code object says about itself: safe places, cleanup. With `bytecode`, `handlers`, which
    read it, and `claims`, which check what that rests on.
`policy`
    Where on a stack a Kill may be raised: in running code, in a waiting call. With `finalizers`,
    which knows what Python calls when an object dies, and `dying`, what an ``except`` handles.
`running`
    How running code is made to ask: `monitoring` (3.12+), `tracing` (3.11), `plain`.
`wake`
    How a waiting call is woken, with `cstack` (up to 3.12: was it really waiting?) and
    `waits` (the waits of the standard library that must be got ready to be left), and
    `interrupters`, for databases.
`loops`
    Event loops, which are told and not broken: `ending`, with `tasks` and
    `holding`; `trio_runs`, `gevent_hubs`.
`standins`, `in_main`
    Who is called for the other signals meanwhile; what only the main thread may call.
`pursuit`, `order`
    The reaper, which tries again until every thread is dead (`chase`, `margins`: what it remembers,
    what it changes for the whole process); which of them dies first.
`shielding`
    `shield`: not now.
`switches`, `report`
    What may be used of all this, and what is.
`looking`, `hindrance`
    Where a thread is, and why it still lives.
"""

from __future__ import annotations

from . import wake
from .hindrance import hindrance
from .looking import Look, Looking, look
from .loops import stop as stop_loop
from .order import hold
from .policy import is_cleaning, sheltered
from .pursuit import await_death, get_ready, pursue, volley
from .report import About, about
from .running import limits
from .shielding import shield
from .standins import set_handler
from .switches import LEVELS, level, use
from .target import Group, Target, contain, current_target
from .waits import pool_of

__all__ = [
    "LEVELS",
    "About",
    "Group",
    "Look",
    "Looking",
    "Target",
    "about",
    "await_death",
    "contain",
    "current_target",
    "get_ready",
    "hindrance",
    "hold",
    "is_cleaning",
    "level",
    "limits",
    "look",
    "pool_of",
    "pursue",
    "set_handler",
    "sheltered",
    "shield",
    "stop_loop",
    "use",
    "volley",
]

wake.install()
