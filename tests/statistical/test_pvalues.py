"""Permutation p-values under the null: uniform without ties, never too small with them."""

import time

import numpy as np
import pytest

from divmatch.catalogue import QUANTITIES, STATISTICS
from divmatch.estimator import quantity
from divmatch.permutations import permutation_test
from divmatch.randomness import stream
from divmatch.samples import as_samples
from tests.tolerances import LUCK

pytestmark = pytest.mark.slow

MOST, LEAST, SECONDS = (
    300,
    40,
    6.0,
)  # runs of a method, and the CPU time that more than LEAST may take
PERMUTATIONS = 19  # levels that are multiples of 1/20 are exact
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75)
METHODS = [(name, method) for name in QUANTITIES | STATISTICS for method in quantity(name).methods]
OTHER = {("fdiv", "knn"): {"kind": "hellinger"}}  # where the default is not this method's
EVERY_METHOD = pytest.mark.parametrize(("name", "method"), METHODS)


def p_values(name, method, draw):
    """p-values of pairs of samples that are drawn from one distribution."""
    estimator = quantity(name).chosen(method)
    given = {"ties": "jitter"} if any(s.name == "ties" for s in estimator.settings) else {}
    given |= OTHER.get((name, method), {})
    found: list[float] = []
    start = time.process_time()
    for run in range(MOST):
        if run >= LEAST and time.process_time() - start > SECONDS:
            break
        x, y = draw(np.random.default_rng([run, 1]))
        settings = estimator.checked(given)
        if estimator.random:
            settings["rng"] = stream(run, "test")
        params = estimator(x, y, **settings).params
        settings |= {key: params[key] for key in settings if key in params}
        test = permutation_test(estimator, x, y, settings, permutations=PERMUTATIONS, seed=run)
        found.append(test.p_value)
    return np.array(found)


def shares(p):
    """Share of p-values up to each level, and its standard error at the level."""
    levels = np.array(LEVELS)
    share = (p[:, None] <= levels + 1e-9).mean(axis=0)
    return share, np.sqrt(levels * (1 - levels) / len(p))


def samples(rng, n, m, d, weighted=False, rounded=False):
    """Rows of a standard normal, weights that do not depend on the sample."""
    made = []
    for name, rows in (("x", n), ("y", m)):
        points = rng.normal(size=(rows, d))
        weights = rng.exponential(size=rows) + 0.2 if weighted else None
        made.append(as_samples(np.round(2 * points) / 2 if rounded else points, name, weights))
    return made


# Splits tie where rows are counted: as categories of one row each, or as those inside of balls.
UNTIED = [(name, method) for name, method in METHODS if method != "discrete" and name != "prdc"]


@pytest.mark.parametrize(("name", "method"), UNTIED)
@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_uniform_without_ties(name, method, d, weighted):
    p = p_values(name, method, lambda rng: samples(rng, 14, 21, d, weighted))
    share, se = shares(p)
    assert np.abs(share - LEVELS).max() <= LUCK(se.max(), z=4)


@EVERY_METHOD
@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_never_too_small_with_ties(name, method, d, weighted):
    p = p_values(name, method, lambda rng: samples(rng, 14, 21, d, weighted, rounded=True))
    share, se = shares(p)
    assert (share - LEVELS <= LUCK(se, z=4)).all()


@EVERY_METHOD
def test_never_too_small_for_two_values(name, method):
    """Truth values: most splits are tied."""

    def draw(rng):
        return [
            as_samples(rng.random((rows, 1)) < 0.5, name) for name, rows in (("x", 14), ("y", 21))
        ]

    p = p_values(name, method, draw)
    share, se = shares(p)
    assert (share - LEVELS <= LUCK(se, z=4)).all()
