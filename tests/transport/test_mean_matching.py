"""Kernel mean matching: the exact weights of three points, another solver, both forms of the kernel."""

import numpy as np
import pytest
from scipy.optimize import minimize

import divmatch
from divmatch.kernels.execution import executing
from divmatch.kernels.pairwise import Profile
from divmatch.transport.interior_point import gap_of, minimum
from divmatch.transport.kernel_factor import Dense, Rows, low_rank
from tests.tolerances import SOLVER

THREE = np.array([-1.0, 0.0, 1.0])


def fit(x, y, **options):
    return divmatch.match.weights(x, y, method="kmm", metric="none", **options)


def clouds(seed, n=40, d=2, shift=0.5):
    rng = np.random.default_rng([11, seed])
    return rng.normal(size=(n, d)), rng.normal(shift, 1.0, size=(n + 5, d))


def gaussian(x, y, s):
    squares = ((x[:, None, :] - y[None, :, :]) ** 2).sum(axis=2)
    return np.exp(-squares / (2 * s * s))


@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "imq", "riesz:1", "rq", "matern:2.5"])
def test_common_support_gives_back_the_weights_of_q(kernel):
    y = np.repeat(THREE, [2, 3, 5])
    options = {} if kernel.startswith("riesz") else {"bandwidth": 1.0}
    found = fit(THREE, y, kernel=kernel, ridge=0, tol=1e-12, **options)
    assert found.weights == pytest.approx([0.2, 0.3, 0.5], abs=1e-5)


def test_weights_are_those_of_another_solver():
    x, y = clouds(1)
    q = np.random.default_rng(2).random(40) + 0.5
    q /= q.sum()
    found = fit(x, y, bandwidth=1.0, max_weight=2.0, ridge=1e-3, tol=1e-12, weights_x=q)
    kernel, mu = gaussian(x, x, 1.0), gaussian(x, y, 1.0).mean(axis=1)
    kernel += 1e-3 * (1 - q @ kernel @ q) * np.eye(40)
    expected = minimize(
        lambda w: 0.5 * w @ kernel @ w - mu @ w,
        q,
        jac=lambda w: kernel @ w - mu,
        bounds=[(0, 2 * one) for one in q],
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(40)},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    ).x
    assert found.weights == pytest.approx(expected, abs=1e-5)


def test_mmd_is_what_it_says():
    x, y = clouds(3)
    found = fit(x, y, bandwidth=1.5)
    w = found.weights
    expected = (
        w @ gaussian(x, x, 1.5) @ w
        - 2 * w @ gaussian(x, y, 1.5).mean(axis=1)
        + gaussian(y, y, 1.5).mean()
    )
    assert found.fit.facts["mmd2_after"] == pytest.approx(expected, abs=1e-12)
    assert found.fit.facts["mmd2_after"] < 0.2 * found.fit.facts["mmd2_before"]


def test_riesz_minimises_the_energy_distance():
    """No other weights have a smaller one: moving mass between any two rows makes it larger."""
    x, y = clouds(4, n=15)
    found = fit(x, y, kernel="riesz:1", tol=1e-10, ridge=0).weights
    least = divmatch.energy(x, y, method="v", weights_x=found).value
    rng = np.random.default_rng(5)
    for _ in range(30):
        other = np.abs(found + rng.normal(0, 1e-3, 15))
        assert divmatch.energy(x, y, method="v", weights_x=other).value > least


def test_no_weight_exceeds_its_bound():
    x, y = clouds(6)
    assert fit(x, y, max_weight=1.5).weights.max() <= 1.5 / 40 * (1 + 1e-12)


@pytest.mark.parametrize("name", ["gaussian", "distance"])
def test_factor_of_low_rank_gives_the_weights_of_all_pairs(name):
    """Their values under the exact kernel are within the tolerance."""
    x, _ = clouds(7, n=150)
    profile, sign = Profile(name, 1.0), 1.0 if name == "gaussian" else -1.0
    rows = Rows(profile, sign, x)
    exact = rows.columns(slice(None))
    mu = exact @ np.full(150, 1 / 150) + 0.05 * np.sin(x[:, 0])
    start, upper = np.full(150, 1 / 150), np.full(150, 1.0)
    factor, left = low_rank(rows, 1e-9, 150)
    assert np.abs(factor.factor @ factor.factor.T - exact).max() <= max(left, 1e-9) * 2
    values = []
    for kernel in (Dense(rows), factor):
        found = minimum(kernel, mu, upper, start, tolerance=1e-7)
        assert found.converged
        assert gap_of(exact @ found.weights - mu, found.weights, upper) <= SOLVER(1e-7)
        values.append(0.5 * found.weights @ exact @ found.weights - mu @ found.weights)
    assert values[0] == pytest.approx(values[1], abs=SOLVER(1e-7))


def test_a_kernel_that_does_not_fit_is_approximated_with_a_warning():
    x, y = clouds(8, n=1200, d=8)
    with executing(memory=4 << 20):
        found = fit(x, y, bandwidth=1.0)
    assert "W72" in [note.code for note in found.after.warnings]
    assert found.weights.sum() == pytest.approx(1.0)


def test_gap_counts_what_bounds_allow():
    """The best weights put .5 on the two smallest gradients."""
    gradient, upper = np.array([3.0, 1.0, 2.0]), np.full(3, 0.5)
    assert gap_of(gradient, np.array([0.5, 0.5, 0.0]), upper) == pytest.approx(2.0 - 1.5)
