"""What a call is about, as far as its code says."""

from ipykill.kill import waits


def test_what_the_compiler_adds_to_a_generator_mentions_nothing():
    thing = object()
    generator = (thing for _ in range(1))  # the line has instructions without a column
    next(generator)
    assert thing in waits._mentioned(generator.gi_frame)
