"""Critics trained on the Donsker-Varadhan bound: the optimum, its gradient, closed forms, warnings."""

import numpy as np
import pytest
from scipy.optimize import minimize

import divmatch
from divmatch.errors import SettingError
from divmatch.estimators.donsker_varadhan import Bounds
from divmatch.kernels.execution import executing
from divmatch.kernels.logistic import Rows, fit
from tests.reference import critics as reference
from tests.tolerances import LUCK, ROUNDING, SAME, SOLVER

RIDGE = 1e-2


def problem(seed, count=60, width=4, folds=2, scales=None):
    rng = np.random.default_rng(seed)
    rows, sign = rng.normal(size=(count, width)), np.sign(rng.normal(size=count))
    mass = rng.random((count, folds)) * (rng.random((count, folds)) < 0.8)
    for side in (sign > 0, sign < 0):
        mass[side] *= 0.5 / mass[side].sum(axis=0)
    scales = np.ones((1, width)) if scales is None else scales
    return Bounds(Rows(count, width, lambda at: rows[at]), sign, mass, scales, RIDGE), rows


def loss_of(made, rows, k, weights):
    return reference.dv_loss(rows, made.sign, made.mass[:, k], weights, RIDGE)


def narrow(seed, n=4000):
    """N(0, I) and N((1, 0), 2.25 I): KL .4776."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)), 1.5 * rng.normal(size=(n, 2)) + [1.0, 0.0]


@pytest.mark.parametrize("count", [60, 1300])
def test_loss_is_that_of_plain_loops(count):
    made, rows = problem(1, count)
    v = np.random.default_rng(2).normal(size=(4, 2, 1))
    for k in range(2):
        expected = loss_of(made, rows, k, v[:, k, 0])
        assert made.loss(v)[0][k, 0] == pytest.approx(expected, abs=ROUNDING(count, scale=10))


def test_gradient_is_the_slope_of_the_loss():
    made, _ = problem(3)
    v, step = np.random.default_rng(3).normal(size=(4, 2, 1)), 1e-5
    _, gradient = made.loss(v)
    for i in range(4):
        moved = np.zeros_like(v)
        moved[i] = step
        slope = (made.loss(v + moved)[0] - made.loss(v - moved)[0]) / (2 * step)
        assert gradient[i] == pytest.approx(slope, abs=SOLVER(1e-9))


def test_optima_are_those_of_scipy():
    made, rows = problem(4)
    v, converged = fit(made)
    assert converged
    for k in range(2):
        best = minimize(lambda w, k=k: loss_of(made, rows, k, w), np.zeros(4))
        assert loss_of(made, rows, k, v[:, k, 0]) <= best.fun + SOLVER(1e-10)


def test_feature_of_scale_zero_is_left_out():
    made, _ = problem(5, scales=np.array([[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    assert (fit(made)[0][3, :, 0] == 0).all()


def test_scores_of_any_size_overflow_nothing():
    made, _ = problem(6)
    value, gradient = made.loss(np.full((4, 2, 1), 1e4))
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


def test_kl_of_the_oracle():
    """2 folds, n = 4000: a bound, below .4776 by what the critic misses."""
    found = divmatch.kl(*narrow(7), method="dv", objective="dv", folds=2)
    assert found.value == pytest.approx(0.4776, abs=LUCK(found.se, z=4, bias=0.02))


def test_classifier_of_its_own_bound_agrees_with_the_logistic_one():
    found = [divmatch.kl(*narrow(8), method="dv", objective=o) for o in ("logistic", "dv")]
    assert found[1].value == pytest.approx(found[0].value, abs=LUCK(found[0].se, z=1))


def test_objective_means_dv():
    x, y = narrow(9, 60)
    assert divmatch.kl(x, y, objective="dv").method == "dv"


def test_weights_stand_for_a_density():
    """Rows of N(0, 1) weighted by exp(x − 1/2) are rows of N(1, 1)."""
    rng = np.random.default_rng(10)
    x, y = rng.normal(size=2000), rng.normal(size=2000)
    found = divmatch.kl(x, y, objective="dv", weights_x=np.exp(x - 0.5))
    assert found.value == pytest.approx(0.5, abs=LUCK(found.se, z=4, bias=0.02))


def test_row_of_weight_zero_is_not_there():
    x, y = narrow(11, 60)
    found = divmatch.kl(
        np.vstack([x, [[90.0, 90.0]]]), y, objective="dv", weights_x=[1.0] * 60 + [0.0]
    )
    assert found.value == pytest.approx(divmatch.kl(x, y, objective="dv").value, abs=SOLVER(1e-7))


def test_threads_move_no_digit():
    found = []
    for threads in (1, 2):
        with executing(threads=threads):
            found.append(divmatch.kl(*narrow(12, 800), objective="dv").value)
    assert SAME(found[0], found[1])


def test_separable_samples_are_said_to_be():
    rng = np.random.default_rng(13)
    found = divmatch.kl(rng.normal(20, 1, 200), rng.normal(0, 1, 200), objective="dv")
    assert "W07" in {note.code for note in found.warnings}


def test_network_has_no_such_objective():
    with pytest.raises(SettingError, match=r"--objective dv: .* use --critic linear"):
        divmatch.kl(*narrow(14, 60), objective="dv", critic="mlp")


@pytest.mark.slow
def test_bound_stays_below_on_average():
    values = np.array(
        [divmatch.kl(*narrow(s, 500), objective="dv", seed=s).value for s in range(40)]
    )
    assert values.mean() <= 0.4776 + LUCK(values.std() / 40**0.5, z=4, bias=0.01)
