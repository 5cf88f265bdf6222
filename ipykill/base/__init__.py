"""What all else stands on, and what knows no job: stacks, texts, waiting, locks.

The standard library only.
"""
