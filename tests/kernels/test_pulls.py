"""Gradients of kernel sums and of sliced distances, against pairs in plain loops."""

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from divmatch.kernels import cpu, gpu
from divmatch.kernels.execution import executing
from divmatch.kernels.pairwise import Profile
from divmatch.kernels.pulls import pulls
from divmatch.kernels.sliced_pulls import Masses, ordered, pulled, quantile_pull, riesz_pull
from tests.reference.flows import KERNELS, half_energy, mean, slopes, w2_on_line
from tests.tolerances import ROUNDING, SAME

DIFFERENCES = 1e-8  # of central differences with a step of 1e-5
PROFILES = pytest.mark.parametrize("name", KERNELS)


def rows(n, d, seed=0):
    return np.random.default_rng([seed, n, d]).normal(size=(n, d))


def weights(n, seed=0):
    drawn = np.random.default_rng([seed, n]).random(n) + 0.1
    return drawn / drawn.sum()


@PROFILES
def test_sums_and_gradients_are_those_of_the_pairs(name):
    z, y, b = rows(4, 3), rows(6, 3, 1), weights(6)
    sums, gradient = pulls(Profile(name, 1.0), z, y, b[:, None])
    for i, one in enumerate(z):

        def value(at):
            return mean(lambda r: KERNELS[name](r, 1.0), at, y, [1.0], b)

        assert sums[i, 0] == pytest.approx(value([one]), abs=ROUNDING(6))
        assert gradient[i] == pytest.approx(slopes(value, [one])[0], abs=DIFFERENCES)


@PROFILES
@pytest.mark.parametrize("d", [3, 20])
def test_twins_agree(name, d):
    x, y, w, carried = rows(30, d), rows(40, d, 1), rows(40, 2, 2), rows(40, 5, 3)
    found = [twin.pull_sums(x, y, name, 1.0, w, carried) for twin in (cpu, gpu)]
    for one, other in zip(*found, strict=True):
        assert one == pytest.approx(other, abs=ROUNDING(40, scale=100))


def test_rows_that_coincide_do_not_pull():
    point = np.ones((1, 2))
    assert not pulls(Profile("distance", 1.0), point, point, np.ones((1, 1)))[1].any()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("digits", [12, 0])
def test_riesz_pull_is_the_slope_of_half_the_energy_distance(weighted, digits):
    x, y = rows(7, 1)[:, 0], np.round(rows(5, 1, 1)[:, 0], digits)
    a, b = weights(7), weights(5)
    masses = Masses(a, b) if weighted else Masses(None, None)
    if not weighted:
        a, b = np.full(7, 1 / 7), np.full(5, 1 / 5)

    def value(at):
        return half_energy(at, y[:, None], a, b)

    found, pull = riesz_pull(x, y, masses)
    assert found == pytest.approx(value(x[:, None]), abs=ROUNDING(49))
    assert a * pull == pytest.approx(np.ravel(slopes(value, x[:, None])), abs=DIFFERENCES)


def test_riesz_pull_rests_where_both_are_the_same():
    y = np.array([3.0, 1.0, 1.5])
    assert riesz_pull(y, np.sort(y), Masses(None, None))[1] == pytest.approx(0, abs=ROUNDING(3))


def test_riesz_pull_parts_equal_numbers():
    assert riesz_pull(np.zeros(3), np.zeros(3), Masses(None, None))[1].tolist() == pytest.approx(
        [2 / 3, 0, -2 / 3]
    )


@pytest.mark.parametrize("n", [1, 2, 5, 1000])
def test_order_of_numbers_is_that_of_their_sort(n):
    numbers = np.append(rows(n, 1)[:, 0], 0.0)
    assert ordered(numbers).tolist() == np.argsort(numbers).tolist()


def test_equal_numbers_are_all_there_in_their_order():
    assert sorted(ordered(np.array([-2.0, 0.0, -2.0, -0.0, 7.0]))[:2].tolist()) == [0, 2]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_walks_of_both_twins_agree(ties, weighted):
    x, y = (np.sort(np.round(rows(50, 1, k)[:, 0], 0 if ties else 9)) for k in (0, 1))
    a, b = (weights(50, k) if weighted else np.empty(0) for k in (0, 1))
    out = np.empty((2, 50))
    one = cpu.riesz_walk(x, y, a, b, out[0])
    assert one == pytest.approx(gpu.riesz_walk(x, y, a, b, out[1]), abs=ROUNDING(50))
    assert out[0] == pytest.approx(out[1], abs=ROUNDING(50))


@pytest.mark.parametrize("m", [7, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_quantile_pull_is_the_slope_of_w2(m, weighted):
    x, y = rows(7, 1)[:, 0], rows(m, 1, 1)[:, 0]
    a, b = (weights(7), weights(m)) if weighted else (np.full(7, 1 / 7), np.full(m, 1 / m))
    found, pull = quantile_pull(x, y, Masses(a, b) if weighted else Masses(None, None))

    def value(at):
        return w2_on_line(np.ravel(at), y, a, b)

    assert found == pytest.approx(value(x), abs=ROUNDING(49, scale=4))
    assert 2 * a * pull == pytest.approx(np.ravel(slopes(value, x[:, None])), abs=DIFFERENCES)


def test_digits_do_not_depend_on_threads():
    x, y, vectors = rows(3000, 5), rows(2500, 5, 1), rows(12, 5, 2)
    found = []
    for threads in (1, 3):
        out = np.empty(x.shape)
        with executing(threads=threads):
            value = pulled(riesz_pull, x, y, Masses(None, None), vectors, 1.0, out)
        found.append((value, out))
    assert found[0][0] == found[1][0]
    assert SAME(found[0][1], found[1][1])


@pytest.mark.parametrize("twin", [cpu, gpu])
def test_row_means(twin):
    tile, shift, values = rows(8, 30), rows(30, 1)[:, 0], rows(30, 3, 1)
    z = -5.0 * tile + shift
    levels, means = twin.row_means(tile, -5.0, shift, values)
    assert levels == pytest.approx(logsumexp(z, axis=1), abs=ROUNDING(30, scale=10))
    assert means == pytest.approx(softmax(z, axis=1) @ values, abs=ROUNDING(30, scale=10))
