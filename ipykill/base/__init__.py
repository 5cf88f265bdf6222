"""The lowest layer: stacks, texts, waiting, locks. Nothing here knows what a job is.

It imports only the standard library.
"""
