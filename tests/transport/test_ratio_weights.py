"""Weights from a classifier: the known ratio of Gaussians, scikit-learn, bounds."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import divmatch
from divmatch.errors import InconclusiveError
from divmatch.transport.ratio_weights import PENALTIES, _fitted, capped
from tests.tolerances import ROUNDING


def fit(x, y, **options):
    return divmatch.match.weights(x, y, method="ratio", metric="none", **options)


def test_ratio_of_gaussians_is_found():
    """ln of the weights is the known ln q/p up to a constant, within 5 %."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (20_000, 2)), rng.normal(0.4, 0.8, (20_000, 2))
    truth = 0.5 * (x**2).sum(axis=1) - 0.5 * ((x - 0.4) ** 2).sum(axis=1) / 0.64
    found = np.log(fit(x, y, moments=2).weights)
    assert np.polyfit(truth, found, 1)[0] == pytest.approx(1.0, abs=0.05)
    assert np.corrcoef(truth, found)[0, 1] > 0.995


def test_slopes_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    pool, sign = rng.normal(size=(400, 3)), np.repeat([1.0, -1.0], 200)
    pool[200:] += 0.5
    rows, mass = np.column_stack([np.ones(400), pool]), np.full(400, 1 / 400)
    v, penalty, converged = _fitted(rows, sign, mass, np.arange(400) % 5, 5)
    assert converged
    assert penalty in PENALTIES
    ridge = penalty * 2 / 400  # per row; the intercept's is next to nothing on both sides
    model = LogisticRegression(C=1 / (ridge * 400), tol=1e-10, max_iter=1000).fit(pool, sign)
    assert v[1:] == pytest.approx(model.coef_[0], abs=2e-3)


def test_samples_that_are_alike_keep_nearly_equal_weights():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(500, 10)), rng.normal(size=(500, 10))
    assert fit(x, y).of("ess").value > 0.95 * 500


def test_no_weight_is_above_its_bound():
    share, base = np.array([100.0, 10.0, 1.0, 1.0]), np.full(4, 0.25)
    weights = capped(share, base, 1.5)
    assert weights == pytest.approx([0.375, 0.375, 0.125, 0.125], abs=ROUNDING(4))


def test_fewer_rows_than_parts_are_refused():
    with pytest.raises(InconclusiveError, match="fewer rows than --folds 5"):
        fit(np.zeros((4, 1)), np.ones((9, 1)))
