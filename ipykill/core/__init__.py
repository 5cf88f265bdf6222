"""Jobs: their facts, their threads and processes, how they end, and the manager of all of them.

Imports the standard library only. (Not called ``jobs``: `ipykill.jobs` is the shared manager.)
"""
