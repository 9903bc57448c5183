"""Confident numbers that would mislead: what warns, what does not, and what is counted instead."""

import math

import numpy as np
import pytest

import divmatch
from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import quantity
from divmatch.estimators.normality import departure
from divmatch.kernels.execution import executing
from divmatch.samples import Samples, as_samples
from tests.tolerances import LUCK, ROUNDING, SAME


def drawn(seed, *shape):
    return np.random.default_rng([seed, 71]).normal(size=shape)


def codes(found):
    return [note.code for note in found.warnings]


def message(found, code):
    return next(note.message for note in found.warnings if note.code == code)


# ----------------------------------------------------------------------------------- gaussian

SHAPES = {
    "exponential": lambda rng, *shape: rng.exponential(size=shape),
    "bimodal": lambda rng, *shape: rng.normal(size=shape) + 2 * rng.choice([-1, 1], shape),
    "uniform": lambda rng, *shape: rng.uniform(size=shape),
    "t with 3 degrees": lambda rng, *shape: rng.standard_t(3, shape),
    "moments of a Gaussian": lambda rng, *shape: rng.choice(
        [-math.sqrt(3), 0, math.sqrt(3)], p=[1 / 6, 2 / 3, 1 / 6], size=shape
    ),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(("n", "d"), [(300, 1), (200, 20), (20_000, 3)])
def test_rows_that_are_not_gaussian_are_warned_of(shape, n, d):
    rng = np.random.default_rng(72)
    found = divmatch.kl(shape(rng, n, d), drawn(1, n, d), method="gaussian")
    assert "x: column '" in message(found, "W42")


def test_other_gaussian_methods_warn_too():
    x = np.random.default_rng(73).exponential(size=500)
    for name, settings in (("renyi", {"alpha": 2}), ("fdiv", {"kind": "kl"})):
        found = getattr(divmatch, name)(x, drawn(2, 500), method="gaussian", **settings)
        assert "W42" in codes(found)


def test_two_heaps_across_the_columns_are_warned_of():
    """No column shows it, but the sum of all does."""
    side = np.random.default_rng(74).choice([-1, 1], (2000, 1))
    x = drawn(3, 2000, 20) + 2 * side / math.sqrt(20)
    found = divmatch.kl(x, drawn(4, 2000, 20), method="gaussian")
    assert "a combination of columns" in message(found, "W42")


@pytest.mark.parametrize(("n", "d", "runs"), [(200, 1, 300), (200, 20, 100), (2000, 5, 60)])
def test_gaussian_rows_are_not_warned_of(n, d, runs):
    """At most 1 % of samples: 5 of 300 once in a hundred times."""
    rng = np.random.default_rng(75)
    wrong = sum(
        departure(as_samples(rng.normal(size=(n, d)), "x")) is not None for _ in range(runs)
    )
    assert wrong <= 1 + runs // 75


@pytest.mark.parametrize("digits", [1, 3])
def test_rounded_gaussian_rows_are_not_warned_of(digits):
    x = np.round(drawn(5, 100_000), digits)
    assert departure(as_samples(x, "x")) is None


def test_weights_can_make_rows_gaussian():
    """Rows of a Student distribution, weighted to be normal."""
    x = np.random.default_rng(76).standard_t(3, 5000)
    weights = np.exp(-(x**2) / 2) * (1 + x**2 / 3) ** 2
    assert departure(as_samples(x, "x")) is not None
    assert departure(as_samples(x, "x", weights)) is None


def test_automatic_choice_does_not_warn_of_its_own_gaussian():
    side = np.random.default_rng(77).choice([-1, 1], 2000)
    found = divmatch.kl(drawn(6, 2000) + side, drawn(7, 2000) + side, method="auto")
    assert "W42" not in codes(found)


def test_unknown_bias_is_warned_of():
    assert "W38" in codes(divmatch.kl([0.0, 1.0], [0.5, 2.0], method="gaussian"))


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        (lambda x: np.c_[x, np.ones(50)], "column '2' is constant"),
        (lambda x: np.c_[x, x.sum(axis=1)], "column '2' is a sum of multiples of others"),
        (lambda x: np.tile(x[:2], 2), "no more rows than columns"),
    ],
    ids=["constant", "sum", "few rows"],
)
def test_singular_covariance_names_its_column(columns, why):
    with pytest.raises(InconclusiveError, match=why):
        divmatch.kl(columns(drawn(8, 50, 2)), columns(drawn(9, 50, 2)), method="gaussian")


# ------------------------------------------------------------------------------ fitted ratios


@pytest.mark.parametrize("method", ["hist", "ulsif"])
@pytest.mark.parametrize(("d", "shift"), [(10, 0.3), (20, 0.21)])
def test_ratio_that_is_too_flat_is_warned_of(method, d, shift):
    found = divmatch.kl(drawn(10, 5000, d), drawn(11, 5000, d) + shift, method=method)
    assert found.value < 0.95 * d * shift**2 / 2
    assert "W43" in codes(found)


def test_ratio_that_misses_a_correlation_is_warned_of():
    x = drawn(12, 5000, 10) @ np.linalg.cholesky(np.full((10, 10), 0.5) + 0.5 * np.eye(10)).T
    assert "W43" in codes(divmatch.kl(x, drawn(13, 5000, 10), method="ulsif"))


def test_cells_in_more_columns_than_rows_are_warned_of():
    found = divmatch.kl(drawn(14, 60, 100), drawn(15, 60, 100) + 0.3, method="hist")
    assert "W43" in codes(found)


def test_cells_across_a_plane_are_warned_of():
    x, y = np.c_[drawn(16, 300, 2), np.ones(300)], np.c_[drawn(17, 300, 2), np.zeros(300)]
    assert "W43" in codes(divmatch.kl(x, y, method="hist"))


@pytest.mark.parametrize("method", ["hist", "ulsif"])
@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: (rng.normal(size=500), rng.normal(1.0, 1.0, 500)),
        lambda rng: (rng.normal(size=500), rng.normal(1.0, 2.0, 500)),
        lambda rng: (rng.exponential(1.0, 1000), rng.exponential(12.0, 1000)),
        lambda rng: (rng.beta(2, 2, (1000, 2)), rng.uniform(size=(1000, 2))),
        lambda rng: (rng.standard_t(3, (500, 3)), rng.standard_t(3, (500, 3))),
        lambda rng: (rng.normal(size=(1000, 10)), rng.normal(size=(1000, 10))),
        lambda rng: (rng.normal(size=(60, 100)), rng.normal(size=(60, 100))),
    ],
    ids=["shift", "wider", "exponential", "beta", "heavy tails", "equal", "many columns"],
)
def test_ratio_that_fits_is_not_warned_of(method, draw):
    wrong = sum(
        "W43" in codes(divmatch.kl(*draw(np.random.default_rng([seed, 78])), method=method))
        for seed in range(5)
    )
    assert wrong == 0


def test_one_cell_is_refused():
    with pytest.raises(InconclusiveError, match="one cell"):
        divmatch.kl(np.ones(50), np.zeros(50), method="hist")


# --------------------------------------------------------------------------------- categories


def encoded(codes_of, words="abcd"):
    """Rows of one category as the encoder spreads them."""
    points = math.sqrt(0.5) * (np.asarray(codes_of)[:, None] == np.arange(len(words)))
    return Samples(points, name="p", columns=tuple(f"job={word}" for word in words))


def share(counts):
    return np.repeat(np.arange(len(counts)), counts)


def test_categories_are_counted():
    p, q = [100, 200, 300, 400], [400, 300, 200, 100]
    found = divmatch.kl(encoded(share(p)), encoded(share(q)))
    assert found.params["chosen"] == "discrete"
    counts = divmatch.kl(encoded(share(p)), encoded(share(q)), method="discrete")
    assert SAME(found.value, counts.value)


def test_category_that_q_lacks_makes_kl_infinite_and_is_named():
    found = divmatch.kl(encoded(share([100, 200, 300, 400])), encoded(share([300, 300, 400, 0])))
    assert math.isinf(found.value)
    assert "holding 0.4 of p: d" in message(found, "W02")


@pytest.mark.parametrize(("kind", "truth"), [("tv", 0.4), ("js", None), ("hellinger", None)])
def test_bounded_divergences_of_categories_stay_finite(kind, truth):
    x, y = encoded(share([100, 200, 300, 400])), encoded(share([200, 300, 500, 0]))
    found = divmatch.fdiv(x, y, kind=kind)
    assert 0 < found.value < 1
    assert truth is None or found.value == pytest.approx(truth, abs=LUCK(found.se))


def test_hardly_filled_categories_are_not_counted():
    rng = np.random.default_rng(79)
    words = [f"w{k}" for k in range(80)]
    x, y = (encoded(rng.integers(0, 80, 120), words) for _ in range(2))
    assert divmatch.kl(x, y).params["chosen"] != "discrete"


def test_rare_counts_that_q_lacks_by_chance_are_no_infinity():
    """Poisson(1) and Poisson(0.5): ln 2 − 1/2."""
    rng = np.random.default_rng(80)
    x, y = np.minimum(rng.poisson(1.0, 2000), 9), np.minimum(rng.poisson(0.5, 2000), 9)
    found = divmatch.kl(x, y)
    assert x.max() > y.max()
    assert math.isfinite(found.value)


def test_numbers_are_not_taken_for_categories():
    x, y = np.round(drawn(18, 1000), 1), np.round(drawn(19, 1000), 1)
    assert divmatch.kl(x, y).params["chosen"] != "discrete"


def test_a_column_that_the_others_determine_in_p_alone_is_warned_of():
    x, noise = drawn(20, 300, 3), drawn(21, 300)
    y = drawn(22, 300, 3)
    found = divmatch.kl(np.c_[x, 3 * x[:, 0]], np.c_[y, 3 * y[:, 0] + noise])
    assert "determine another" in message(found, "W02")


def test_a_column_that_the_others_determine_in_both_is_not_warned_of():
    x, y = drawn(23, 300, 3), drawn(24, 300, 3)
    assert "W02" not in codes(divmatch.kl(np.c_[x, 3 * x[:, 0]], np.c_[y, 3 * y[:, 0]]))


# ------------------------------------------------------------------------------------- scales


@pytest.mark.parametrize("method", ["knn", "knn-reduced", "nnr", "nnr-ensemble"])
def test_columns_that_distances_do_not_see_are_warned_of(method):
    unit = np.array([1e-12, 1.0, 1e12])
    found = divmatch.kl(drawn(25, 200, 3) * unit, (drawn(26, 200, 3) + 1) * unit, method=method)
    assert "column '2' spreads" in message(found, "W44")


def test_rare_category_is_no_unlike_scale():
    x, y = (np.c_[drawn(27 + k, 5000), np.arange(5000) < 2] for k in range(2))
    assert "W44" not in codes(divmatch.kl(x, y, method="nnr"))


# ----------------------------------------------------------------------------------- messages


def test_settings_of_two_methods_are_told_apart():
    with pytest.raises(SettingError, match=r"-k belongs to knn and nnr, --bins belongs to hist$"):
        quantity("kl").chosen(None, {"k", "bins"})


def test_setting_of_another_method_names_it():
    with pytest.raises(SettingError, match=r"no setting 'bins'; --bins belongs to hist$"):
        divmatch.kl([0.0, 1.0], [0.0, 1.0], method="knn", bins=5)


@pytest.mark.parametrize(
    ("kind", "advice"),
    [("alpha", "write alpha:0.5"), ("skew-js", "write skew-js:0.5"), ("js:2", "write js")],
)
def test_kind_with_or_without_its_number(kind, advice):
    with pytest.raises(SettingError, match=f"{advice}$"):
        divmatch.fdiv([0.0, 1.0], [0.0, 1.0], kind=kind)


def test_lipschitz_of_a_few_rows_warns():
    found = divmatch.fdiv(drawn(28, 3, 2), drawn(29, 3, 2), method="lipschitz")
    assert "W38" in codes(found)


def test_lipschitz_of_many_rows_is_refused_with_its_limit():
    rows = np.zeros(8000)
    with executing(memory=2**40), pytest.raises(SettingError, match="at most about 3000 each"):
        divmatch.fdiv(rows, rows, method="lipschitz")


def test_lipschitz_that_does_not_fit_names_what_does():
    rows = np.zeros(2000)
    with executing(memory=2**24), pytest.raises(SettingError, match="use --sample 512"):
        divmatch.fdiv(rows, rows, method="lipschitz")


def test_ensemble_of_two_rows_says_so():
    with pytest.raises(InconclusiveError, match="2 rows in the smaller sample"):
        divmatch.kl([0.0, 1.0], [0.5, 2.0], method="nnr-ensemble")


def test_given_takes_the_name_of_a_category():
    rng = np.random.default_rng(81)
    parts = []
    for _ in range(2):
        job = rng.integers(0, 2, 60)
        points = np.c_[rng.normal(size=60), job, 1 - job]
        parts.append(Samples(points, columns=("age", "job=a", "job=b")))
    by_name = divmatch.cs(*parts, given="job").value
    assert by_name == pytest.approx(
        divmatch.cs(*parts, given="job=a,job=b").value, abs=ROUNDING(60, scale=10)
    )
