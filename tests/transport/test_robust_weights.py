"""Robust weights: closed forms, every vertex of the permutahedron, a general solver."""

from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import minimize

import divmatch
from divmatch.errors import SettingError
from divmatch.transport.robust_weights import spectral
from tests.tolerances import ROUNDING

LINE = [0.0, 1.0, 2.0]
LOSSES, SIGMA = np.array([1.0, 0.2, 0.9, 2.0]), np.array([0.0, 0.1, 0.3, 0.6])


def fit(losses, **options):
    return divmatch.match.weights(losses, method="dro", **options)


def steps(sigma):
    """The integral of a spectrum given on four equal shares."""
    edges = np.concatenate([[0.0], np.cumsum(sigma)])
    return lambda u: np.interp(u, np.linspace(0, 1, len(edges)), edges)


def test_price_of_entropy_has_its_known_weights_and_value():
    found = fit(LINE, tau=1.0)
    assert found.weights == pytest.approx([0.090031, 0.244728, 0.665241], abs=5e-7)
    assert found.fit.facts["objective"] == pytest.approx(1.308993676, abs=5e-10)


def test_radius_of_entropy_has_its_known_price():
    found = fit(LINE, radius=0.1)
    assert found.fit.facts["tau"] == pytest.approx(1.75573508, abs=5e-8)
    assert found.after.value == pytest.approx(1.360523155, abs=5e-9)


@pytest.mark.parametrize("ball", ["kl", "chi2"])
def test_the_divergence_is_the_radius(ball):
    losses = np.random.default_rng(0).normal(size=50)
    found = fit(losses, ball=ball, radius=0.2)
    assert found.fit.facts["divergence"] == pytest.approx(0.2, abs=1e-9)


@pytest.mark.parametrize("ball", ["kl", "chi2"])
def test_a_radius_beyond_all_reach_gives_the_worst_rows(ball):
    found = fit([0.0, 2.0, 2.0], ball=ball, radius=50.0)
    assert found.weights.tolist() == [0.0, 0.5, 0.5]


@pytest.mark.parametrize("ball", ["kl", "chi2"])
def test_price_agrees_with_a_general_solver(ball):
    rng = np.random.default_rng(1)
    losses, q = rng.normal(size=8), rng.random(8) + 0.2
    q /= q.sum()

    def objective(w):
        if ball == "kl":
            return 0.7 * w @ np.log(np.maximum(w, 1e-300) / q) - w @ losses
        return 0.35 * q @ (w / q - 1) ** 2 - w @ losses

    expected = minimize(
        objective, q, bounds=[(1e-12, 1)] * 8, method="SLSQP", options={"ftol": 1e-15, "maxiter": 500},
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
    ).x  # fmt: skip
    assert fit(losses, ball=ball, tau=0.7, weights_x=q).weights == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("nu", "penalty", "expected", "spectrum"),
    [
        (0.5, "chi2", 1.39125, SIGMA),
        (5.0, "chi2", 1.0661875, SIGMA),
        (0.3, "kl", 1.441157915, np.array([0.02, 0.1, 0.3, 0.58])),
    ],
)
def test_spectra_have_their_known_values(nu, penalty, expected, spectrum):
    w, q = spectral(LOSSES, np.full(4, 0.25), steps(spectrum), nu, penalty), np.full(4, 0.25)
    paid = nu * (w @ np.log(w / q) if penalty == "kl" else 0.5 * q @ (w / q - 1) ** 2)
    assert w @ LOSSES - paid == pytest.approx(expected, abs=5e-10)


def test_smoothed_spectrum_has_its_known_weights():
    w = spectral(LOSSES, np.full(4, 0.25), steps(SIGMA), 0.5, "chi2")
    assert w == pytest.approx([0.225, 0.0, 0.175, 0.6], abs=1e-12)


@pytest.mark.parametrize("kind", ["cvar", "extremile", "esrm"])
def test_a_spectrum_is_the_best_of_all_orders(kind):
    found = fit(LOSSES, ball=kind, tail=0.4, shape=2.0).weights
    every = [np.array(one) @ LOSSES for one in permutations(sorted(found))]
    assert found @ LOSSES == pytest.approx(max(every), abs=ROUNDING(4))


def test_cvar_is_the_mean_of_the_worst_rows():
    losses = np.arange(10.0)
    assert fit(losses, ball="cvar", tail=0.8).after.value == pytest.approx(8.5)
    assert fit(losses, ball="cvar", tail=0.75).after.value == pytest.approx((9 + 8 + 7 * 0.5) / 2.5)


@pytest.mark.parametrize("nu", [0.0, 0.5])
@pytest.mark.parametrize("penalty", ["chi2", "kl"])
def test_rows_of_one_loss_share_alike(nu, penalty):
    found = fit([3.0, 1.0, 3.0, 2.0], ball="extremile", smoothing=nu, penalty=penalty).weights
    assert found[0] == pytest.approx(found[2], abs=ROUNDING(4))


@pytest.mark.parametrize("penalty", ["chi2", "kl"])
def test_a_row_of_double_weight_is_two_rows(penalty):
    options = {"ball": "cvar", "tail": 0.5, "smoothing": 0.4, "penalty": penalty}
    twice = fit([1.0, 2.0, 2.0, 5.0], **options).weights
    once = fit([1.0, 2.0, 5.0], weights_x=[1, 2, 1], **options).weights
    assert once == pytest.approx([twice[0], twice[1] + twice[2], twice[3]], abs=1e-9)


def test_a_high_price_changes_nothing():
    assert fit(LINE, tau=1e9).weights == pytest.approx([1 / 3] * 3, abs=1e-8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 1.0, "radius": 1.0}, "--tau and --radius: one price or one radius"),
        ({"ball": "cvar", "tau": 1.0}, "leave --tau and --radius out"),
        ({"ball": "extremile", "shape": 0.5}, "--shape 0.5: extremile needs at least 1"),
        ({"loss": "price"}, "--loss price: x has no such column"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(SettingError, match=message):
        fit(LINE, **options)


def test_the_column_has_to_be_named_if_there_are_several():
    with pytest.raises(SettingError, match="--loss: x has 2 columns; name the one that is meant"):
        fit(np.ones((3, 2)))
