"""Entropy balancing, raking, generalised empirical likelihood: closed forms, other solvers, invariances."""

import numpy as np
import pytest

import divmatch
from divmatch.errors import InconclusiveError
from divmatch.samples import as_samples
from tests.reference.weights import nearest, raked, tilted
from tests.tolerances import ROUNDING, SOLVER

LINE, HALF = [-1.0, 0.0, 1.0], [0.0, 1.0]
POWERS = {"et": 0.0, "el": -1.0, "chi2": 1.0, "hellinger": -0.5}


def fit(x, y, **options):
    return divmatch.match.weights(x, y, metric="none", **options)


def generator(seed):
    return np.random.default_rng([7, seed])


def cloud(seed, n=40, k=3, shift=0.25):
    rng = generator(seed)
    return rng.normal(size=(n, k)), rng.normal(shift, 1.0, size=(n, k))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("et", [0.116204, 0.267592, 0.616204]),
        ("el", [0.137146, 0.225708, 0.637146]),
        ("chi2", [1 / 12, 1 / 3, 7 / 12]),
    ],
)
def test_three_points_have_their_known_weights(kind, expected):
    assert fit(LINE, HALF, method="gel", kind=kind).weights == pytest.approx(expected, abs=5e-7)


def test_three_points_have_their_known_divergence():
    found = fit(LINE, HALF)
    assert found.fit.facts["divergence"] == pytest.approx(0.197377588, abs=5e-10)
    slope = found.fit.arrays["multipliers"][1] * np.sqrt(1.5)  # of the standardised column
    assert slope == pytest.approx(0.8341151944, abs=5e-10)


def test_likelihood_ratio_of_three_points():
    found = fit(LINE, HALF, kind="el")
    assert -2 * np.log(3 * found.weights).sum() == pytest.approx(1.260284, abs=5e-7)


def f_of(gamma):
    """Cressie and Read's f and its slope."""
    if gamma == 0:
        return lambda t: t * np.log(t) - t + 1, np.log
    if gamma == -1:
        return lambda t: t - 1 - np.log(t), lambda t: 1 - 1 / t
    return (
        lambda t: (t ** (gamma + 1) - 1) / (gamma * (gamma + 1)) - (t - 1) / gamma,
        lambda t: (t**gamma - 1) / gamma,
    )


@pytest.mark.parametrize("kind", ["et", "el", "chi2", 2.0])
@pytest.mark.parametrize(
    "options", [{}, {"delta": 0.1}, {"max_weight": 2.0, "delta": 0.25}], ids=["", "delta", "bound"]
)
def test_weights_are_those_of_another_solver(kind, options):
    x, y = cloud(1, n=20, k=2, shift=0.3)
    q = generator(2).random(20) + 0.5
    q /= q.sum()
    found = fit(x, y, kind=kind, weights_x=q, **options)
    spread = np.sqrt(q @ (x - q @ x) ** 2)
    f, slope = f_of(POWERS.get(kind, kind))
    expected = nearest(
        f, slope, x / spread, y.mean(axis=0) / spread, q,
        delta=options.get("delta", 0.0), most=options.get("max_weight", np.inf),
    )  # fmt: skip
    assert found.weights == pytest.approx(expected, abs=1e-6)


def test_many_rows_agree_with_the_dual_of_another_hand():
    rng = generator(3)
    x, y = rng.normal(size=(5000, 8)), rng.normal(0.2, 0.9, size=(3000, 8))
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    features = np.hstack([z, z**2])
    other = (y - x.mean(axis=0)) / x.std(axis=0)
    expected = tilted(features, np.hstack([other, other**2]).mean(axis=0), np.full(5000, 1 / 5000))
    assert fit(x, y, moments=2).weights == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", ["et", "el", "chi2"])
def test_moments_are_reproduced(kind):
    x, y = cloud(4, n=300)
    weights = fit(x, y, kind=kind, moments=2, interactions=True).weights
    assert weights @ x == pytest.approx(y.mean(axis=0), abs=1e-8)
    assert weights @ (x**2) == pytest.approx((y**2).mean(axis=0), abs=1e-8)
    assert weights @ (x[:, 0] * x[:, 1]) == pytest.approx((y[:, 0] * y[:, 1]).mean(), abs=1e-8)


def test_raking_is_iterative_proportional_fitting(tmp_path):
    counts = np.array([[40, 30], [35, 50]])
    rows = np.array([(i, j) for i in (0, 1) for j in (0, 1) for _ in range(counts[i, j])], float)
    (tmp_path / "m.toml").write_text("[0]\nmean = 0.5\n[1]\nmean = 0.6\n")
    weights = fit(rows, None, margins=tmp_path / "m.toml").weights
    made = np.array([[weights[(rows == (i, j)).all(axis=1)].sum() for j in (0, 1)] for i in (0, 1)])
    expected = raked(counts, np.array([0.5, 0.5]), np.array([0.4, 0.6]))
    assert made == pytest.approx(expected, abs=SOLVER(1e-10))
    assert made[0, 0] == pytest.approx(0.238290391, abs=5e-10)
    assert made[0, 0] * made[1, 1] / (made[0, 1] * made[1, 0]) == pytest.approx(1.904762, abs=5e-7)


@pytest.mark.parametrize("kind", ["et", "el", "chi2"])
def test_targets_that_hold_already_change_nothing(kind):
    x, _ = cloud(5)
    q = generator(6).random(40) + 0.1
    found = fit(x, x, kind=kind, weights_x=q, weights_y=q).weights
    assert found == pytest.approx(q / q.sum(), abs=ROUNDING(40))


@pytest.mark.parametrize("kind", ["et", "el", "chi2"])
def test_other_units_and_mixed_columns_give_the_same_weights(kind):
    x, y = cloud(7)
    turn = generator(8).normal(size=(3, 3))
    found = fit(x @ turn * 100 - 5, y @ turn * 100 - 5, kind=kind).weights
    assert found == pytest.approx(fit(x, y, kind=kind).weights, abs=1e-9)


def test_a_repeated_row_shares_the_weight_of_one():
    x, y = cloud(9)
    q = np.full(41, 1 / 40)
    q[[0, 40]] /= 2
    found = fit(np.vstack([x, x[:1]]), y, weights_x=q).weights
    expected = fit(x, y).weights
    assert found[0] + found[40] == pytest.approx(expected[0], abs=1e-10)
    assert found[1:40] == pytest.approx(expected[1:], abs=1e-10)


def test_columns_that_follow_from_others_change_nothing():
    x, y = cloud(10)
    wide = [np.column_stack([rows, rows.sum(axis=1), 2 * rows[:, 0]]) for rows in (x, y)]
    assert fit(*wide).weights == pytest.approx(fit(x, y).weights, abs=1e-9)


def test_columns_that_follow_from_others_in_p_alone_are_named():
    x, y = cloud(11)
    wide = np.column_stack([x, 2 * x[:, 0]]), np.column_stack([y, 2 * y[:, 0] + 1])
    with pytest.raises(
        InconclusiveError, match=r"no weights of 40 rows of x give \d = .* beside the"
    ):
        fit(*wide)


def test_a_category_that_q_lacks_gets_no_weight():
    rng = generator(12)
    x = np.column_stack([rng.normal(size=30), np.arange(30) % 3 == 0])
    y = np.column_stack([rng.normal(0.1, 1, size=30), np.zeros(30)])
    found = fit(x, y)
    assert not found.weights[::3].any()
    assert found.weights @ x == pytest.approx(y.mean(axis=0), abs=1e-8)
    assert "W71" in [note.code for note in found.after.warnings]


def test_no_row_is_left_says_so():
    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(InconclusiveError, match="no row is left that meets 0, 1 at once"):
        fit(x, [[1.0, 1.0]])


def test_no_weight_grows_more_than_allowed():
    x, y = cloud(13)
    free, bounded = fit(x, y), fit(x, y, max_weight=1.5)
    assert free.weights.max() * 40 > 1.5
    assert bounded.weights.max() * 40 <= 1.5 + ROUNDING(40)
    assert bounded.weights @ x == pytest.approx(y.mean(axis=0), abs=1e-8)


def test_a_bound_that_leaves_no_weights_names_it():
    x, y = cloud(14, shift=1.0)
    with pytest.raises(InconclusiveError, match=r"40 rows of x, each at most 1\.1 times as large"):
        fit(x, y, max_weight=1.1)


def test_weights_of_other_rows_are_the_same_function():
    x, y = cloud(15, n=200)
    found = fit(x, y, moments=2)
    assert found.fit.extend(as_samples(x, "x")).weights == pytest.approx(found.weights, abs=1e-12)


@pytest.mark.parametrize("kind", ["et", "el", "chi2"])
def test_no_other_row_grows_more_than_those_of_the_fit(kind):
    """A row far beyond would take all the weight, or have none that is defined."""
    x, y = cloud(16, n=100)
    found = fit(x, y, moments=2, kind=kind)
    others = np.vstack([x[:20], np.full((1, 3), 40.0)])
    made = found.fit.extend(as_samples(others, "x")).weights
    known = int(np.argmax(found.weights[:20]))
    growth = made[-1] / made[known] * found.weights[known]
    assert growth <= found.weights.max() * (1 + 1e-9)


def test_a_delta_that_is_named_is_enough():
    """For one mean out of reach, and for means that exclude each other."""
    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, 0.4]])
    for y in (np.full((4, 2), 3.0), np.full((4, 2), 0.8)):
        with pytest.raises(InconclusiveError, match="give --delta") as refused:
            fit(x, y)
        least = float(str(refused.value).partition("--delta ")[2].partition(",")[0])
        with pytest.raises(InconclusiveError):
            fit(x, y, delta=0.9 * least)
        assert fit(x, y, delta=least).converged


def test_categories_at_their_ends_count_as_constraints():
    """Rows of 1 alone are allowed: before, the mean was 1/2 (one deviation of 1/2 off)."""
    x = np.r_[np.zeros(10), np.ones(10)]
    found = fit(x, np.ones(5))
    assert (found.before.value, found.after.value) == (1.0, 0.0)
    assert found.fit.facts["constraints"] == 1
