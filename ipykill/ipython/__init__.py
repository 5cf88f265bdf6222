"""The magics, their options and completion, and ``%load_ext``."""
