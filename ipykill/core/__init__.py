"""Jobs: what they are, whose threads and processes, how they end, and the manager of all of them.

The standard library only. (Not called ``jobs``: `ipykill.jobs` is the manager that all share.)
"""
