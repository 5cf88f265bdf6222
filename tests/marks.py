"""Marks for tests of what not every Python can do."""

import pytest

from ipykill.kill.switches import has_gil

shows_places = pytest.mark.skipif(
    not has_gil(), reason="without a global interpreter lock no thread sees where another one is"
)
