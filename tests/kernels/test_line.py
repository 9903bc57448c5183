"""Sums of distances on the line, by sorting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divmatch.kernels.forms import quadratic_forms
from divmatch.kernels.line import distance_forms, distance_sums
from divmatch.kernels.pairwise import Profile, self_sums
from tests.reference.pairs import between, euclidean
from tests.tolerances import ROUNDING

MANY = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@st.composite
def lines(draw):
    """Numbers and weights, rounded now and then so that some are tied."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x, y = rng.normal(size=draw(st.integers(1, 12))), rng.normal(size=draw(st.integers(1, 12)))
    if draw(st.booleans()):
        x, y = np.round(x), np.round(y)
    return 5 * x, 5 * y, rng.random(len(y))


@MANY
@given(line=lines())
def test_sums_equal_the_loops(line):
    x, y, b = line
    expected = [sum(w * abs(s - t) for t, w in zip(y, b, strict=True)) for s in x]
    assert distance_sums(x, y, b) == pytest.approx(expected, abs=ROUNDING(len(y), scale=400))


@MANY
@given(line=lines(), signed=st.booleans())
def test_forms_equal_the_loops(line, signed):
    _, z, b = line
    v = np.column_stack([b, np.ones(len(z)), b - b.mean() if signed else b**2])
    rows = z[:, None].tolist()
    expected = [between(rows, rows, c, c, euclidean) for c in v.T.tolist()]
    assert distance_forms(z, v) == pytest.approx(expected, abs=ROUNDING(len(z), scale=4000))


def test_sums_far_from_zero_keep_their_digits():
    x, b = np.array([1.0, 2.0, 4.0]), np.array([0.1, 0.3, 0.7])
    expected = [0.3 + 3 * 0.7, 0.1 + 2 * 0.7, 3 * 0.1 + 2 * 0.3]
    assert distance_sums(x + 2**27, x + 2**27, b) == pytest.approx(
        expected, abs=ROUNDING(3, scale=3)
    )


def test_forms_far_from_zero_keep_their_digits():
    z = np.array([1.0, 2.0, 4.0]) + 1e8
    assert distance_forms(z, np.ones((3, 1))) == pytest.approx([12.0], abs=ROUNDING(3, scale=12))


def test_equal_numbers_are_at_distance_zero():
    assert distance_forms(np.full(5, 0.1), np.random.default_rng(0).random((5, 2))).tolist() == [
        0,
        0,
    ]


def test_one_column_takes_the_sorting_path():
    """The self sums of 200 000 numbers would be 4 · 10¹⁰ distances."""
    rng = np.random.default_rng(3)
    x, b = np.sort(rng.random(200_000)), rng.random(200_000)
    found = self_sums(Profile("distance", 1.0), x[:, None], b)
    assert found[0] == pytest.approx(b @ (x - x[0]), abs=ROUNDING(len(x), scale=b.sum()))


def test_sorting_path_equals_the_tiles():
    z, v = np.random.default_rng(1).normal(size=(300, 1)), np.random.default_rng(2).random((300, 3))
    wide = np.column_stack([z[:, 0], np.zeros(300)])
    profile = Profile("distance", 1.0)
    tiles = np.hstack(quadratic_forms(profile, wide, v, v[:, 0]))
    found = np.hstack(quadratic_forms(profile, z, v, v[:, 0]))
    assert found == pytest.approx(tiles, abs=ROUNDING(300, scale=tiles.max()))
