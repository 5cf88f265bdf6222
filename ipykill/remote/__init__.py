"""Jobs that run elsewhere: in a process of their own, or on a worker of a Dask cluster.

Such a job is an ordinary `Job` here, whose thread does nothing but follow what happens there
(`call`). There, the code runs in an ordinary `Job` as well (`work`), so that Stop, Kill,
shields, checkpoints and progress mean the same. Between the two are messages, and an engine
that carries them. Nothing of this is imported before somebody asks for such a job.

Read in this order:

`needs`
    Which variables a cell reads before it assigns them, and which it assigns.
`parcel`, `memory`
    Objects as bytes, and large buffers as memory that two processes share for a moment.
`report`
    What is said of a job that runs elsewhere: how it is, and how it ended.
`marks`
    Which of the variables that were sent have changed.
`call`, `taking`
    Here: the job's code, which follows; and what it takes over at the end.
`work`, `echo`, `shell`
    There: the job that does the work, its output, and a shell if something asks for one.
`process`, `wire`, `child`
    An engine: a process of its own for each job.
`cluster`, `bring`, `task`, `pieces`
    Another one: a task of a Dask cluster for each job.
`launch`
    From a cell or a function to such a call.
"""

from __future__ import annotations
