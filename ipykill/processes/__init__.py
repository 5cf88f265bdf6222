"""The child processes of a job, and how they end.

A process belongs to the job whose code started it. When the job is killed, ipykill ends the
process as a well-behaved service manager would: it sends SIGTERM, so that the process can clean
up, and SIGKILL if it has not ended after `grace` seconds, both to its whole process group; and
it leaves no zombie in the process table. When it begins to do so depends on who may still need
the process:

* A thread of the job that *waits* for it (``subprocess.run``, ``wait``, ``communicate``) needs
  it no more: the process is asked to end at once, and the thread leaves its wait when the
  process is gone. So a ``finally:`` or ``with TemporaryDirectory()`` around the wait finds no
  process at work in there. (Trio does the same.)
* The job's cleanup may need it: ``finally: process.stdin.close(); process.wait()``. So a Kill of
  the job does not by itself send a signal to a process. One for which cleanup waits has the
  grace period to end by itself; while cleanup stands still and it is not known for which process
  it waits, because it reads from a pipe for example, all processes have it. One that cleanup
  *started* (``docker stop``) is left to do its work.
* When the job's threads are dead, no one needs the process any more, and `end` ends what is
  left, before the job counts as killed.

A job that ends by itself leaves its processes running, as a shell does: a server that is started
in the last line of a cell is meant to stay. They stay in `Job.processes`, and a Kill of the ended
job ends them.

Process groups
--------------
A kernel interrupt is a SIGINT to the kernel's process group, and Ctrl-C one to the terminal's
foreground process group. So a program that a job starts leads a group of its own (``setpgid``).
That keeps these signals away from it, and lets ipykill reach its children when it ends. It gets
no session of its own, which would cut it off from the terminal for good: in a terminal it is what
a shell calls a background job, which may write, and is stopped when it reads. Code that passes
``start_new_session`` or ``process_group`` gets what it asks for.

A process of `multiprocessing` stays in its parent's group and starts with SIGINT blocked instead:
it runs the same program, whose code may call ``os.setsid``, which fails in the leader of a
group. Its descendants, where `/proc` shows them, end with it, except those with a session
of their own: these are daemons, which are meant to outlive the process that started them.

Never the wrong process
-----------------------
The system may give a pid to another process as soon as the first one was waited for, which any
thread may do at any time. Therefore:

1. A process is signalled, and asked whether it has ended, through a *pidfd*, which never
   refers to another process. The thread that starts a process opens the pidfd before the
   starting call returns, and so before anybody can wait for the process.
2. From Linux 6.9 on its group is signalled through the pidfd, too. Elsewhere the group is known
   by its number, the pid of its leader, which is not reused before the leader was waited for,
   nor while the group has a member. If the leader was waited for and a process with its pid
   exists, the pid was reused, and no signal is sent.
3. Where there is no pidfd (macOS, Windows), the objects of `subprocess` and `multiprocessing`
   send the signal; they check first whether the process is still theirs.
4. No exit status is lost to the user's code: ipykill reaps a process through its `Popen` or
   `multiprocessing` object, which then knows the status. A process made by ``os.fork`` has no
   such object; ipykill reaps it when the job is dead and no other code has within a moment.
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
