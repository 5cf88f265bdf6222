"""What a job is called that was given no name."""

import pytest

from ipykill.base.title import title


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("train()", "train()"),
        ("\n\n  train()  \n", "train()"),
        ("# a comment\ntrain()", "train()"),
        ("train()  # for an hour\nmore()", "train()"),
        ("%%time\ntrain()", "train()"),
        ("%%time -q\n\n%%capture\n# why\nimport os\ntrain()", "train()"),
        ("import os\nfrom a import b\ntrain()", "train()"),
        ("from a import (\n    b,\n    c,\n)\ntrain()", "train()"),
        ("import time; time.sleep(5)", "time.sleep(5)"),
        ("größe = 'ü'; import x", "größe = 'ü'"),
        ("'ü'; train()", "train()"),
        ('"""Train it.\n\nimport x\n"""\ntrain()', "train()"),
        ("@cached\ndef train():\n    pass", "def train()"),
        ("while True:\n    x = 1", "while True"),
        ("results = train(\n    data,\n)", "results = train("),
        ("import os\n!sleep 5", "!sleep 5"),
        ("import os\nfiles = !ls\nf(files)", "files = !ls"),
        ("%matplotlib inline\n%load_ext x\nimport os\ntrain()", "train()"),
        ("%matplotlib inline", "%matplotlib inline"),
        ("%configure()", "%configure()"),
        ("import os\nif x:\n    !ls\n    %time f()", "if x"),
        ("await train()", "await train()"),
        ("import asyncio\nasync with x: pass", "async with x: pass"),
        ("%%bash\nsleep 5 && echo 'it is'", "sleep 5 && echo 'it is'"),
        ("%%bash\n#!/bin/bash\nfor i in 1 2; do\ndone", "for i in 1 2; do"),
        ("import os\ntrain(?", "train(?"),
        ("import os", "import os"),
        ("# nothing\nimport os\nfrom a import b", "import os"),
        ('"""Nothing."""', '"""Nothing."""'),
        ("# nothing", ""),
        ("%%time\n\n", ""),
        ("", ""),
        ("x" * 41, "x" * 39 + "…"),
        ("\0", "\0"),
        ("(" * 1000, "(" * 39 + "…"),
    ],
)
def test_a_title_is_the_first_line_that_says_what_is_done(source, expected):
    assert title(source) == expected
