"""Density ratios by least squares: a plain-loop reference, closed forms, weights, warnings."""

import math
from copy import deepcopy

import numpy as np
import pytest

import divmatch
from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import quantity
from divmatch.estimators import folds, least_squares
from divmatch.estimators.least_squares import WIDTHS, Kernels, held_out_ratios, ridges
from divmatch.inference import infer
from divmatch.kernels.execution import executing
from divmatch.randomness import stream
from divmatch.samples import as_samples
from tests.reference import critics as reference
from tests.tolerances import LUCK, ROUNDING, SAME, SOLVER

QUANTITIES = pytest.mark.parametrize("name", ["kl", "renyi", "fdiv"])


def estimate(x, y, name="kl", a=None, b=None, **given):
    chosen = quantity(name).chosen("ulsif")
    x, y = as_samples(x, "x", a), as_samples(y, "y", b)
    return chosen(x, y, **chosen.checked(given), rng=stream(0, "test"))


def codes(found):
    return {note.code for note in found.notes}


def narrow(seed, n=1000, d=2):
    """N(0, I) and N((1, 0, ...), 2.25 I), the truths of two columns: kl .4776, js .1304, chi2 .9248."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), 1.5 * rng.normal(size=(n, d)) + [1.0, *[0.0] * (d - 1)]


def compared(seed, a=None, b=None):
    """Our ratios and those of the reference, on the same folds and centres."""
    x, y = (as_samples(rows[:40], "x", w) for rows, w in zip(narrow(seed), (a, b), strict=True))
    rng = stream(seed, "test")
    found = held_out_ratios(x, y, 3, rng)
    own = deepcopy(rng)
    deal = folds.dealt(x, y, 3, own)
    kernels = Kernels(deal, own)
    p = deal.p
    plain = reference.ulsif(
        deal.points[p].tolist(),
        deal.points[~p].tolist(),
        deal.mass[p].tolist(),
        deal.mass[~p].tolist(),
        deal.fold[p].tolist(),
        deal.fold[~p].tolist(),
        kernels.centres.tolist(),
        [width * kernels.scale for width in WIDTHS],
        ridges(deal),
    )
    return (found.x[deal.rows[0]], found.y[deal.rows[1]]), plain


@pytest.fixture
def few_centres(monkeypatch):
    """As many kernels as plain loops have time for."""
    monkeypatch.setattr(least_squares, "CENTRES", 8)


# --------------------------------------------------------------------------------- reference


@pytest.mark.parametrize("side", [0, 1])
def test_ratios_are_those_of_plain_loops(few_centres, side):
    ours, plain = compared(1)
    assert ours[side] == pytest.approx(plain[side], abs=SOLVER(1e-11))


@pytest.mark.parametrize("side", [0, 1])
def test_weighted_ratios_are_those_of_plain_loops(few_centres, side):
    rng = np.random.default_rng(2)
    ours, plain = compared(2, rng.random(40), rng.random(40))
    assert ours[side] == pytest.approx(plain[side], abs=SOLVER(1e-11))


def test_kl_is_the_mean_logarithm_of_the_ratios():
    x, y = (as_samples(rows, "x") for rows in narrow(3, 100))
    found = held_out_ratios(x, y, 5, stream(0, "test")).x
    expected = sum(math.log(max(r, 0.05)) for r in found) / 100
    assert estimate(x, y).value == pytest.approx(expected, abs=ROUNDING(100))


def test_chi2_is_the_squared_loss():
    x, y = (as_samples(rows, "x") for rows in narrow(3, 100))
    found = held_out_ratios(x, y, 5, stream(0, "test"))
    expected = 2 * found.x.sum() / 100 - (found.y**2).sum() / 100 - 1
    made = estimate(x, y, "fdiv", kind="chi2")
    assert made.value == pytest.approx(expected, abs=ROUNDING(200, scale=4))


def test_order_one_is_kl():
    x, y = narrow(4, 100)
    assert estimate(x, y, "renyi", alpha=1.0).value == estimate(x, y).value


# ------------------------------------------------------------------------------ closed forms


@pytest.mark.parametrize(
    ("name", "given", "truth", "missed"),
    [
        ("kl", {}, 0.4776, 0.04),
        ("fdiv", {"kind": "js"}, 0.1304, 0.02),
        ("fdiv", {"kind": "chi2"}, 0.9248, 0.1),
        ("renyi", {"alpha": 0.5}, 0.3139, 0.03),
        ("renyi", {"alpha": 2.0}, 0.6548, 0.06),
    ],
)
def test_truth_of_normals_of_different_width(name, given, truth, missed):
    """What a held-out ratio misses makes a bound smaller."""
    x, y = narrow(5, 4000)
    found = getattr(divmatch, name)(x, y, method="ulsif", folds=2, **given)
    assert found.value == pytest.approx(truth, abs=LUCK(found.se, z=4, bias=missed))


def test_several_modes_are_no_trouble():
    """Four normals against a wide one: .345, of which the linear critic sees .26."""
    rng = np.random.default_rng(6)
    x = rng.normal(4.0 * rng.integers(0, 2, (2000, 2)) - 2.0)
    found = divmatch.kl(x, rng.normal(0.0, 5**0.5, (2000, 2)), method="ulsif")
    assert found.value == pytest.approx(0.345, abs=LUCK(found.se, z=4, bias=0.02))


def test_edges_are_no_trouble():
    """U(1, 2) in U(0, 4): chi2 is 3."""
    rng = np.random.default_rng(7)
    found = divmatch.fdiv(
        rng.uniform(1, 2, 4000), rng.uniform(0, 4, 4000), kind="chi2", method="ulsif"
    )
    assert found.value == pytest.approx(3.0, abs=LUCK(found.se, z=4, bias=0.25))


@QUANTITIES
def test_equal_distributions_are_near_zero(name):
    rng = np.random.default_rng(8)
    found = measure(name, rng.normal(size=(500, 3)), rng.normal(size=(500, 3)))
    assert abs(found.value) < 0.03


def measure(name, x, y):
    return getattr(divmatch, name)(x, y, method="ulsif")


# ---------------------------------------------------------------------------------- rows


@QUANTITIES
def test_row_of_weight_zero_is_not_there(name):
    x, y = narrow(9, 60)
    found = estimate(np.vstack([x, [[90.0, 90.0]]]), y, name, a=[1.0] * 60 + [0.0])
    expected = estimate(x, y, name)
    assert found.value == pytest.approx(expected.value, abs=SOLVER(1e-11))


def test_weights_stand_for_a_density():
    """Rows of N(0, 4) weighted by the ratio of N(0, 1) to it."""
    rng = np.random.default_rng(10)
    x, y = rng.normal(0, 2, 3000), rng.normal(1, 2, 2000)
    found = divmatch.kl(x, y, method="ulsif", weights_x=np.exp(-3 / 8 * x**2))
    assert found.value == pytest.approx(0.443147, abs=LUCK(found.se, z=4, bias=0.03))


def test_order_of_rows_does_not_matter():
    x, y = narrow(11, 80)
    rng = np.random.default_rng(11)
    found = estimate(rng.permutation(x), rng.permutation(y)).value
    assert found == pytest.approx(estimate(x, y).value, abs=ROUNDING(160, scale=5))


def test_threads_move_no_digit():
    x, y = narrow(12, 3000)
    found = []
    for threads in (1, 2):
        with executing(threads=threads):
            found.append(measure("kl", x, y).value)
    assert SAME(found[0], found[1])


def test_settings_of_one_call_share_the_ratios(monkeypatch):
    calls = []
    fitted = least_squares._cross_fitted
    monkeypatch.setattr(
        least_squares, "_cross_fitted", lambda *args: calls.append(1) or fitted(*args)
    )
    x, y = (as_samples(rows, "x") for rows in narrow(13, 40))
    for kind in ("js", "tv", "chi2"):
        estimate(x, y, "fdiv", kind=kind)
    assert len(calls) == 1


# --------------------------------------------------------------------------------- warnings


def test_raised_ratios_are_counted():
    """The share in the warning is that of the ratios below the floor."""
    x, y = (as_samples(rows, "x") for rows in narrow(14, 400, 5))
    ratio = held_out_ratios(x, y, 5, stream(0, "test")).x
    (note,) = (note for note in estimate(x, y).notes if note.code == "W27")
    assert f" {np.mean(ratio < 0.05):.2%} " in note.message


def test_chi2_raises_no_ratio():
    x, y = narrow(14, 400, 5)
    assert "W27" not in codes(estimate(x, y, "fdiv", kind="chi2"))


@QUANTITIES
def test_separable_samples_are_said_to_be(name):
    rng = np.random.default_rng(15)
    assert "W07" in codes(estimate(rng.normal(20, 1, 200), rng.normal(0, 1, 200), name))


def test_what_was_chosen_is_told_for_every_fold():
    made = estimate(*narrow(16, 60), folds=4)
    assert len(made.params["widths"]) == len(made.params["ridges"]) == 4


def test_order_infinity_is_refused():
    with pytest.raises(SettingError, match="--alpha inf"):
        estimate(*narrow(17, 20), "renyi", alpha=math.inf)


def test_fewer_rows_than_folds_are_inconclusive():
    with pytest.raises(InconclusiveError, match="at least 5 are needed"):
        estimate(np.zeros((4, 1)), np.ones((9, 1)))


# --------------------------------------------------------------------------------- statistics


@pytest.mark.slow
def test_bound_of_chi2_stays_below_on_average():
    values = np.array([estimate(*narrow(s), "fdiv", kind="chi2").value for s in range(60)])
    assert values.mean() <= 0.9248 + LUCK(values.std() / 60**0.5, z=4)


@pytest.mark.slow
def test_intervals_hold_the_truth():
    """95 % nominal, .86 at the least with 80 runs."""
    chosen = quantity("kl").chosen("ulsif")
    held = 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        x = as_samples(rng.normal(size=1000), "x")
        y = as_samples(rng.normal(1.0, 2.0, 1000), "y")
        ci = infer(chosen, x, y, chosen.checked({}), seed=seed).ci
        held += ci.low <= 0.443147 <= ci.high
    assert held >= 0.86 * 80
