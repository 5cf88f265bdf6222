"""Jobs that run elsewhere: in a process of their own, or on a worker of a Dask cluster.

*Here* is the kernel, *there* is the process in which the user's code runs. Here, such a job is an
ordinary `Job`, whose thread only follows what happens there (`call`). There, the code runs in an
ordinary `Job` as well (`work`), so that Stop, Kill, shields, checkpoints and progress mean the
same. The two exchange messages, which an *engine* carries. Nothing of this is imported before
somebody asks for such a job.

Read in this order:

`needs`
    Which variables a cell reads before it assigns them, and which it assigns.
`parcel`, `memory`
    Objects as bytes, and large buffers as memory that two processes share for a moment.
`report`
    The messages that describe a job there: its present state, and how it ended.
`marks`
    Which of the variables that were sent have changed.
`call`, `taking`
    Here: the code of the job, which follows, and the variables that it takes over at the end.
`work`, `echo`, `shell`
    There: the job that does the work, its output, and an IPython shell if code asks for one.
`process`, `wire`, `child`
    An engine: a process of its own for each job.
`cluster`, `bring`, `task`, `pieces`
    Another engine: a task of a Dask cluster for each job.
`launch`
    Makes the call from a cell or a function.
"""

from __future__ import annotations
