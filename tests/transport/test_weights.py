"""What weights of every kind are to have: constraints met, and the closed-form ratio of two Gaussians."""

import numpy as np
import pytest
from scipy.special import ndtr

import divmatch
from tests.tolerances import LUCK

N, M, MEAN, SD = 1500, 1500, 0.5, 0.8  # P is N(0, 1), Q is N(MEAN, SD²)


@pytest.fixture(scope="module")
def gaussians():
    rng = np.random.default_rng(0)
    return np.sort(rng.normal(size=N)), rng.normal(MEAN, SD, M)


def truth(x):
    """q/p."""
    return np.exp(0.5 * x**2 - 0.5 * ((x - MEAN) / SD) ** 2) / SD


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("entropy", {"moments": 2}),
        ("gel:et", {"moments": 2}),
        ("mmd", {"moments": 2}),
        ("ratio:classifier", {"moments": 2}),
        ("ratio:ulsif", {}),
        ("ratio:kliep", {}),
    ],
)
def test_every_weight_is_the_ratio_of_the_gaussians(gaussians, method, settings):
    """Two moments are met up to about 2/√m deviations, which the ratio of the tails doubles."""
    x, y = gaussians
    w = divmatch.match.weights(x, y, method=method, metric="none", **settings).weights
    assert np.abs(N * w - truth(x)).mean() < LUCK(2 / M**0.5, z=2)


@pytest.mark.parametrize("method", ["kmm", "mmd", "entropy", "ratio:kliep"])
def test_weighted_rows_have_the_distribution_of_q(gaussians, method):
    """The weighted distribution function against the known one, at every row."""
    x, y = gaussians
    settings = {} if method in ("kmm", "ratio:kliep") else {"moments": 2}
    w = divmatch.match.weights(x, y, method=method, metric="none", **settings).weights
    reached = np.abs(np.cumsum(w) - ndtr((x - MEAN) / SD)).max()
    assert reached < LUCK(1.36 * (1 / M + np.sum(w**2)) ** 0.5, z=1)


def test_tilting_a_gaussian_moves_its_mean(gaussians):
    """N(0, 1) tilted to the mean m is N(m, 1): q/p = exp(mx − m²/2)."""
    x, _ = gaussians
    w = divmatch.match.weights(x, method="tilt", targets=f"0={MEAN}", metric="none").weights
    assert np.abs(N * w - np.exp(MEAN * x - MEAN**2 / 2)).mean() < LUCK(1 / N**0.5, z=3)


def test_importance_weights_are_the_ratio_itself(gaussians):
    x, _ = gaussians
    logs = np.column_stack([np.log(truth(x)) - x**2 / 2, -(x**2) / 2])
    found = divmatch.match.weights(logs, method="is", log_p="0", log_q="1", smooth=False)
    assert N * found.weights == pytest.approx(truth(x) / truth(x).mean(), rel=1e-12)


def test_entropic_adversary_of_a_linear_loss_moves_the_mean(gaussians):
    """exp(x/τ) times N(0, 1) is N(1/τ, 1)."""
    x, _ = gaussians
    w = divmatch.match.weights(x, method="dro", tau=1 / MEAN).weights
    assert np.abs(N * w - np.exp(MEAN * x - MEAN**2 / 2)).mean() < LUCK(1 / N**0.5, z=3)


@pytest.mark.parametrize(
    "method",
    ["entropy", "gel:el", "gel:chi2", "gel:hellinger", "gel:0.5", "tilt", "tilt:el", "mmd"],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_constraints_are_met_to_eight_digits(method, weighted):
    rng = np.random.default_rng(1)
    x, q = rng.normal(size=(150, 3)), rng.random(150) + 0.1 if weighted else None
    y = rng.normal(0.2, 1.0, (120, 3))
    if method.startswith("tilt"):
        given = {"targets": ",".join(f"{j}={float(y[:, j].mean())!r}" for j in range(3))}
        found = divmatch.match.weights(x, method=method, weights_x=q, **given)
    else:
        found = divmatch.match.weights(x, y, method=method, weights_x=q, metric="none")
    assert found.weights @ x == pytest.approx(y.mean(axis=0), abs=1e-8)
