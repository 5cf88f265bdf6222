"""How a Kill reaches a thread, and leaves nothing broken.

A Kill is an exception that is raised in a thread because another thread asks for it. CPython's
own way (``PyThreadState_SetAsyncExc``) raises it at any instruction, also between
``lock.acquire()`` and ``try:``, and not at all in a thread that waits. Here the killed thread
itself decides, at each instruction that it reaches, whether the exception may be raised there.
Other threads only make it ask itself that.

Read in this order:

`target`
    The record of a thread that can be killed, and `contain`, which runs the thread's code. With
    `group`, the interface to the job.
`codemap`
    Where a code object has safe points and cleanup. With `bytecode` and `handlers`, which read
    it, and `claims`, which check that this Python's bytecode is as expected.
`policy`
    Whether a stack allows a Kill to be raised, in running code or in a waiting call. With
    `finalizers`, which recognises what Python calls when an object dies, `dying`, which tells
    whether an ``except`` block handles an order to end, and `resorts`, which says what is left
    alone at first.
`running`
    How running code is made to ask: `monitoring` (3.12+), `tracing` (3.11), `plain`;
    `free_threaded` where there is no interpreter lock.
`wake`
    How a waiting call is woken. With `main_thread` (where the main thread is at this moment),
    `cstack` (up to 3.12: was the call really waiting?), `waits` (the waits of the standard library
    that must be prepared for an exception), and `interrupters` (calls of databases;
    `mentioned` finds their connections).
`loops`
    Event loops, which are told to end their tasks: `asyncio_runs`, with `tasks`, `runs`,
    `awaited` (processes for which a task waits), `guarding` and `holding`; `trio_runs`;
    `gevent_hubs`.
`standins`, `in_main`
    What handles other signals while another thread passes for the main thread; calls that
    only the main thread may make.
`pursuit`, `order`
    The reaper, which tries again until every thread is dead (`chase`: what it remembers;
    `margins`: what it changes for the whole process); which thread dies first.
`shielding`
    `shield`: a block in which a Kill waits.
`switches`, `report`
    What a Kill may use, and what works in this process.
`looking`, `hindrance`
    Where a thread is, and why it still lives.
"""

from __future__ import annotations

from . import wake
from .hindrance import hindrance
from .looking import Look, Looking, look
from .loops import stop as stop_loop
from .order import hand_over, hold, serves_loop
from .policy import is_cleaning, sheltered
from .pursuit import await_death, get_ready, pursue, volley
from .report import About, about, shortcomings
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
    "hand_over",
    "hindrance",
    "hold",
    "is_cleaning",
    "level",
    "look",
    "pool_of",
    "pursue",
    "serves_loop",
    "set_handler",
    "sheltered",
    "shield",
    "shortcomings",
    "stop_loop",
    "use",
    "volley",
]

wake.install()
