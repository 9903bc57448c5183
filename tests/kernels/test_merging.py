"""Two sorted samples read as one: against plain loops, and the twins against each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divmatch.kernels import backend, cpu, gpu, merging
from divmatch.kernels.execution import executing
from tests.tolerances import ROUNDING

MANY = settings(max_examples=60, deadline=None, derandomize=True, database=None)
SHAPES = [(5, 3), (1, 1), (8192, 8192), (20_000, 30_001), (40_000, 77), (3, 40_000)]


@st.composite
def pairs(draw):
    """Two samples, rounded now and then so that some numbers are tied."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x, y = rng.normal(size=draw(st.integers(2, 12))), rng.normal(size=draw(st.integers(2, 12))) + 1
    return (np.round(x), np.round(y)) if draw(st.booleans()) else (x, y)


def samples(n, m, tied):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=n), rng.normal(size=m) + 0.1
    return (np.round(x, 1), np.round(y, 1)) if tied else (x, y)


def walked(x, y):
    """Everything that is found on the line."""
    a, b = merging.ordered(x), merging.ordered(y)
    unbiased = min(len(x), len(y)) > 1
    moments = [merging.distance_moments(a, b, unbiased=u) for u in (False, unbiased)]
    return repr((moments, merging.gaps(a, b), merging.signed_gaps(a, b)))


def means(x, y):
    """The mean distance of every number of x to all of y."""
    return np.array([np.mean([abs(s - t) for t in y]) for s in x])


@MANY
@given(pair=pairs(), unbiased=st.booleans())
def test_moments_equal_the_loops(pair, unbiased):
    x, y = pair
    found = merging.distance_moments(merging.ordered(x), merging.ordered(y), unbiased=unbiased)
    for (mean, squares), own, other in zip(found, (x, y), (y, x), strict=True):
        share = len(own) / (len(own) - 1) if unbiased else 1.0
        p = means(own, other) - share * means(own, own)
        assert mean == pytest.approx(p.mean(), abs=ROUNDING(24, scale=40))
        assert squares == pytest.approx(((p - p.mean()) ** 2).sum(), abs=ROUNDING(24, scale=900))


@MANY
@given(pair=pairs())
def test_gaps_equal_the_loops(pair):
    x, y = pair
    grid = sorted([*x, *y])
    height = [np.mean(x <= t) - np.mean(y <= t) for t in grid]
    area = sum(abs(h) * (b - a) for h, a, b in zip(height, grid, grid[1:], strict=False))
    found = merging.gaps(merging.ordered(x), merging.ordered(y))
    assert found == pytest.approx((area, max(map(abs, height))), abs=ROUNDING(24, scale=10))


@MANY
@given(pair=pairs())
def test_signed_gaps_equal_the_loops(pair):
    x, y = pair
    grid = sorted([*x, *y])
    height = [np.mean(x <= t) - np.mean(y <= t) for t in grid]
    gaps = np.diff(grid)
    potential = np.concatenate([[0.0], np.cumsum(np.sign(np.round(height[:-1], 12)) * gaps)])
    found = merging.signed_gaps(merging.ordered(x), merging.ordered(y))
    assert found[0] == pytest.approx(np.abs(height[:-1]) @ gaps, abs=ROUNDING(24, scale=10))
    for squares, own in zip(found[1:], (x, y), strict=True):
        at = potential[np.searchsorted(grid, own)]
        assert squares == pytest.approx(((at - at.mean()) ** 2).sum(), abs=ROUNDING(24, scale=900))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_twins_have_the_same_digits(shape, tied, monkeypatch):
    found = []
    for twin in (cpu, gpu):
        monkeypatch.setattr(merging, "earned_twin", lambda *_, twin=twin: twin)
        found.append(walked(*samples(*shape, tied)))
    assert found[0] == found[1]


def test_threads_change_no_digit():
    x, y = samples(1_200_000, 1_100_000, tied=False)
    found = []
    for threads in (1, 3):
        with executing(threads=threads):
            found.append(walked(x, y))
    assert found[0] == found[1]


def test_digits_survive_a_large_offset():
    """Quarters, so that the shifted samples are the same numbers."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 400, 30_000) / 4, rng.integers(0, 404, 20_000) / 4
    assert walked(x, y) == walked(x + 2**30, y + 2**30)


def test_a_sample_and_itself_are_at_distance_zero():
    a = merging.ordered(np.random.default_rng(0).normal(size=20_000))
    assert merging.distance_moments(a, a, unbiased=False) == ((0.0, 0.0), (0.0, 0.0))
    assert merging.signed_gaps(a, a) == (0.0, 0.0, 0.0)
    assert merging.gaps(a, a) == (0.0, 0.0)


def test_every_cut_stands_between_the_numbers():
    x, y = map(merging.ordered, samples(20_000, 30_001, tied=True))
    cuts_x, cuts_y = merging._cuts(x, y)
    assert (np.diff(cuts_x + cuts_y)[:-1] == merging.SEGMENT).all()
    for i, j in zip(cuts_x[1:-1], cuts_y[1:-1], strict=True):
        assert max(x[i - 1], y[j - 1]) <= min(x[i], y[j])


def test_the_compiled_twin_is_earned(monkeypatch):
    monkeypatch.setattr(backend, "_EARNED", [0.0])
    twins = [backend.earned_twin(4e5, 1e6) for _ in range(3)]
    assert twins == [gpu, gpu, cpu]
