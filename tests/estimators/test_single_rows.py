"""Numbers of single rows against plain loops."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from divmatch.estimators.single_rows import K, log_ratios, single_rows
from divmatch.samples import as_samples


def drawn(shift=0.0):
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 3)), rng.normal(shift, 1.0, size=(30, 3))


def plain_log_ratio(x, y, a, b, j):
    to_x, to_y = (np.linalg.norm(rows - y[j], axis=1) for rows in (x, y))
    to_y[j] = np.inf
    near_x, near_y = (np.argsort(far)[:K] for far in (to_x, to_y))
    dense_x = sum(a[i] for i in near_x) / to_x[near_x[-1]] ** 3
    dense_y = sum(b[i] for i in near_y) / (1 - b[j]) / to_y[near_y[-1]] ** 3
    return math.log(dense_x / dense_y)


@pytest.mark.parametrize("weighted", [False, True])
def test_log_ratio_is_that_of_plain_loops(weighted):
    x, y = drawn()
    a, b = (np.arange(1.0, len(rows) + 1) if weighted else np.ones(len(rows)) for rows in (x, y))
    found = log_ratios(as_samples(x, "x", a), as_samples(y, "y", b))
    a, b = a / a.sum(), b / b.sum()
    assert found == pytest.approx([plain_log_ratio(x, y, a, b, j) for j in range(30)], abs=1e-12)


def test_distance_and_authenticity():
    x, y = drawn()
    y[0] = x[0]
    found = single_rows(as_samples(x, "x"), as_samples(y, "y"))
    far, own = cdist(y, x), cdist(x, x) + np.diag(np.full(40, np.inf))
    assert found["nearest"] == pytest.approx(far.min(axis=1), abs=1e-12)
    assert found["authentic"].tolist() == (far.min(1) > own.min(1)[far.argmin(1)]).tolist()
    assert found["authentic"][0] == 0.0


def test_rows_that_the_reference_lacks_have_low_ratios():
    x, y = drawn()
    y[:8] += 6.0
    ratios = single_rows(as_samples(x, "x"), as_samples(y, "y"))["log_ratio"]
    assert ratios[:8].max() < ratios[8:].min()


def test_copies_have_ratios_of_masses_and_no_nan():
    x, y = np.repeat(np.eye(3), 9, axis=0), np.repeat(np.eye(3), 7, axis=0)
    found = log_ratios(as_samples(x, "x"), as_samples(y, "y"))
    assert found == pytest.approx(math.log((K / 27) / (K / 20)), abs=1e-12)


def test_rows_without_weight_have_no_numbers():
    x, y = drawn()
    weights = np.ones(30)
    weights[3] = 0.0
    with_it = single_rows(as_samples(x, "x"), as_samples(y, "y", weights))
    without = single_rows(as_samples(x, "x"), as_samples(np.delete(y, 3, axis=0), "y"))
    for name, values in with_it.items():
        assert np.isnan(values[3])
        assert np.delete(values, 3) == pytest.approx(without[name], abs=1e-12)


def test_few_rows_have_distances_alone():
    found = single_rows(as_samples([[0.0], [1.0]], "x"), as_samples([[0.5]], "y"))
    assert found["nearest"].tolist() == [0.5]
    assert np.isnan(found["log_ratio"]).all()
