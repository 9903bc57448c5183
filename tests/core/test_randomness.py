"""Named random streams."""

import itertools

import numpy as np
import pytest

from divmatch.randomness import stream
from tests.tolerances import LUCK, SAME


def test_same_name_same_numbers():
    assert SAME(stream(3, "pool").random(9), stream(3, "pool").random(9))


def test_first_digits_stay_those_of_today():
    """A change here changes every seeded number that anybody has published."""
    found = stream(0, "permutations").integers(1000, size=4).tolist()
    assert found == [491, 286, 595, 435]


@pytest.mark.parametrize(
    ("left", "right"),
    list(
        itertools.combinations(
            [(0, "a"), (1, "a"), (0, "b"), (0, "a", "b"), (0, "ab"), (0, "b", "a"), (0, "a", 0), (0, "a", 1), (0, "")],
            2,
        )
    ),
)  # fmt: skip
def test_different_names_different_numbers(left, right):
    assert not SAME(stream(*left).random(4), stream(*right).random(4))


def test_streams_are_uncorrelated():
    n = 20_000
    left, right = (
        stream(0, "kl", "subsampling").normal(size=n),
        stream(0, "permutations").normal(size=n),
    )
    assert np.corrcoef(left, right)[0, 1] == pytest.approx(0.0, abs=LUCK(n**-0.5))


def test_neighbouring_seeds_are_uncorrelated():
    n = 20_000
    left, right = stream(0, "pool").normal(size=n), stream(1, "pool").normal(size=n)
    assert np.corrcoef(left, right)[0, 1] == pytest.approx(0.0, abs=LUCK(n**-0.5))


def test_drawing_from_one_stream_leaves_another_alone():
    first = stream(0, "b").random()
    stream(0, "a").random(1000)
    assert SAME(first, stream(0, "b").random())
