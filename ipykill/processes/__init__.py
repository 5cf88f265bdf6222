"""The child processes of a job, and how they end.

A process belongs to the job whose code started it. When the job is killed it ends as a
well-behaved service manager would end it: SIGTERM, so that it can clean up, SIGKILL when it
has not ended after `grace` seconds; its whole process group; and nothing is left of it in
the process table. When is decided by one question, who may still need it:

* A thread of the job that *waits* for it (``subprocess.run``, ``wait``, ``communicate``)
  needs it no more: it is asked to end at once, and the thread leaves its wait when the
  process is gone, so that a ``finally:`` or ``with TemporaryDirectory()`` around it finds
  nobody at work in there. (Trio decides so as well.)
* Cleanup may need it: ``finally: process.stdin.close(); process.wait()``. So nobody signals
  a process just because the job is being killed. One for which cleanup waits has the grace
  period to end by itself. One that cleanup *started* (``docker stop``) is left to do its
  work.
* When the job's threads are dead nobody is left who needs it, and `end` ends what remains,
  before the job says that it is killed.

A job that ends by itself leaves its processes alone, as a shell does: who starts a server
in the last line of a cell means it to stay. The job goes on telling of them
(`Job.processes`), and to kill it ends them.

Process groups
--------------
A kernel interrupt is a SIGINT to the kernel's process group, and Ctrl-C one to the group in
the foreground of the terminal. So a program that a job starts leads a group of its own
(``setpgid``), which spares it that, and is also how its own children are reached when it
ends. Not a session of its own: that would cut it off from the terminal, for good. In a
terminal it is what a shell calls a background job: it may write, and stops when it reads.
Whoever passes ``start_new_session`` or ``process_group`` gets what they ask for. Processes
of `multiprocessing` run no other program, and one that wants a session (``os.setsid``)
could not have it as the leader of a group; they stay where they are and start with SIGINT
blocked instead. Their descendants, where `/proc` shows them, end with them; but not what has
made itself a session of its own: a daemon, which was meant to outlive who started it.

Never the wrong process
-----------------------
A number in the process table is free for others when somebody has waited for the process
that had it, and that may be any thread, at any time. Therefore:

1. A process is signalled, and asked whether it has ended, through a *pidfd*, which never
   means another process. It is opened before anybody can have waited: in the thread that
   started the process, before the call that did has returned.
2. So is its group, from Linux 6.9 on. Else the number of the group is that of its leader:
   it cannot be free as long as nobody waited for that, nor as long as the group has a
   member. If somebody has, and a process with this number exists, then the number was free
   in the meantime: it is another's, and nothing is sent.
3. Where there is no pidfd (macOS, Windows) the objects of `subprocess` and `multiprocessing`
   are asked to do it, which look first whether the process still is theirs.
4. Nobody is robbed of an exit status: a process is reaped through the object that stands
   for it, which then knows how it ended. One made by ``os.fork`` has none; it is reaped
   when the job is dead, and when nobody else has done so in a moment.
"""

from .child import SIGKILL, ChildProcess, ProcessInfo
from .ending import descendants, end
from .starting import own_group, without_interrupt
from .table import Entry, live_groups, table

__all__ = [
    "SIGKILL",
    "ChildProcess",
    "Entry",
    "ProcessInfo",
    "descendants",
    "end",
    "live_groups",
    "own_group",
    "table",
    "without_interrupt",
]
