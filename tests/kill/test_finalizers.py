"""What is a finalizer, and whose variables are looked at to find that out."""

import sys
import weakref

from ipykill.kill.finalizers import finalizes


class Thing:
    pass


def test_a_generator_is_none_whatever_its_arguments_are():
    """If it is freed while another thread looks at its variables, CPython 3.13 crashes."""
    dead = weakref.ref(Thing())

    def callback(reference):
        return finalizes(sys._getframe())

    def generator(reference):
        yield finalizes(sys._getframe())

    assert callback(dead)
    assert not next(generator(dead))
