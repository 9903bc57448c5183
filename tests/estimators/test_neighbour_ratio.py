"""Divergences from labels of neighbours: oracles, published means, ties, weights, saturation."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

import divmatch
from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import influence_se, quantity
from divmatch.estimators.neighbour_ratio_ensemble import members
from divmatch.samples import as_samples
from tests.reference import neighbour_labels as reference
from tests.tolerances import LUCK, ROUNDING, SAME

MANY = settings(max_examples=12, deadline=None, derandomize=True, database=None)
SEEDS = st.integers(0, 2**32)
POWERS = {"hellinger": 0.5, "chi2": 2.0, "neyman": -1.0, "alpha:1.5": 1.5}


def estimate(name, x, y, method="nnr", a=None, b=None, **given):
    chosen = quantity(name).chosen(method)
    return chosen(as_samples(x, "x", a), as_samples(y, "y", b), **chosen.checked(given))


def value(*args, **given):
    return estimate(*args, **given).value


def codes(found):
    return [note.code for note in found.notes]


def pair(seed, n=14, m=11, d=2):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.3 + 0.4


def rounded(seed):
    """Rows on a coarse grid: copies, and many equal distances between different rows."""
    return tuple(np.round(rows) for rows in pair(seed))


def close(expected):
    return pytest.approx(expected, abs=ROUNDING(25, scale=100 * (1 + abs(expected))))


# ------------------------------------------------------------------------------------ oracle


def test_ratio_by_hand():
    """1 has the neighbour 0, 10 the neighbour 3, both of P: ratios 1 and 1, and chi2 is 0."""
    found = value("fdiv", [0.0, 3.0], [1.0, 10.0], k=1, kind="chi2", form="paper")
    assert found == close(0.0)


def test_kl_by_hand():
    """All four balls hold one row of P: ψ(1) − ψ(2) at 0 and ψ(1) − ψ(2) at 3, + ln(2)."""
    found = value("kl", [0.0, 3.0], [1.0, 4.0], k=1)
    assert found == close(-1.0 + math.log(2))


@pytest.mark.parametrize("rows", [pair, rounded])
@pytest.mark.parametrize("k", [1, 5])
@MANY
@given(seed=SEEDS)
def test_kl_equals_the_loops(rows, k, seed):
    x, y = rows(seed)
    assert value("kl", x, y, k=k) == close(reference.kl(x.tolist(), y.tolist(), k))


@pytest.mark.parametrize("rows", [pair, rounded])
@MANY
@given(seed=SEEDS)
def test_kl_equals_the_loops_with_weights(rows, seed):
    x, y = rows(seed)
    rng = np.random.default_rng(seed)
    a, b = rng.dirichlet(np.full(14, 3.0)), rng.dirichlet(np.full(11, 3.0))
    expected = reference.kl(x.tolist(), y.tolist(), 4, a.tolist(), b.tolist())
    assert value("kl", x, y, a=a, b=b, k=4) == close(expected)


@pytest.mark.parametrize("rows", [pair, rounded])
@pytest.mark.parametrize("order", [0.5, 1.5, 2.0, 3.0])
@MANY
@given(seed=SEEDS)
def test_tsallis_equals_the_loops(rows, order, seed):
    x, y = rows(seed)
    expected = (reference.power(order, x.tolist(), y.tolist(), 5) - 1) / (order - 1)
    assert value("renyi", x, y, k=5, alpha=order, tsallis=True) == close(expected)


@MANY
@given(seed=SEEDS)
def test_tsallis_equals_the_loops_with_weights(seed):
    x, y = pair(seed)
    rng = np.random.default_rng(seed)
    a, b = rng.dirichlet(np.full(14, 3.0)), rng.dirichlet(np.full(11, 3.0))
    expected = reference.power(2.0, x.tolist(), y.tolist(), 5, a.tolist(), b.tolist()) - 1
    assert value("renyi", x, y, a=a, b=b, k=5, alpha=2.0, tsallis=True) == close(expected)


def blurred(found):
    """Half of the gap between the value and the divergence that is right to first order."""
    assert SAME(found.doubt, abs(found.bias))
    return found.value - 2 * found.bias


@pytest.mark.parametrize("rows", [pair, rounded])
@MANY
@given(seed=SEEDS)
def test_blur_of_kl_equals_the_loops(rows, seed):
    x, y = rows(seed)
    expected = reference.sharp_kl(x.tolist(), y.tolist(), 5)
    assert blurred(estimate("kl", x, y, k=5)) == close(expected)


@pytest.mark.parametrize("kind", POWERS)
@MANY
@given(seed=SEEDS)
def test_blur_of_powers_equals_the_loops(kind, seed):
    x, y = pair(seed)
    power = reference.sharp_power(POWERS[kind], x.tolist(), y.tolist(), 5)
    scale = {"hellinger": -1.0, "alpha:1.5": 1 / 0.75}.get(kind, 1.0)
    assert blurred(estimate("fdiv", x, y, k=5, kind=kind)) == close(scale * (power - 1))


@pytest.mark.parametrize("rows", [pair, rounded])
@MANY
@given(seed=SEEDS)
def test_blur_of_jensen_shannon_equals_the_loops(rows, seed):
    x, y = rows(seed)
    expected = reference.sharp_jensen_shannon(x.tolist(), y.tolist(), 5)
    assert blurred(estimate("fdiv", x, y, k=5, kind="js")) == close(expected)


def test_blur_of_total_variation_is_its_gap_when_the_samples_are_swapped():
    x, y = pair(3, 60, 60)
    one, other = (estimate("fdiv", *rows, kind="tv") for rows in ((x, y), (y, x)))
    assert one.bias == close((one.value - other.value) / 2)


def test_rows_without_their_own_kind_are_warned_of():
    """Five rows among a thousand: most balls of P hold no other row of P."""
    rng = np.random.default_rng(8)
    assert "W29" in codes(estimate("kl", rng.normal(size=(5, 2)), rng.normal(size=(1000, 2))))


def test_cells_are_not_blurred():
    """Where balls are cells the ratio is constant in them: no bias, but that of the row left out."""
    rng = np.random.default_rng(7)
    found = estimate("kl", rng.binomial(1, 0.3, 2000), rng.binomial(1, 0.6, 2000))
    assert abs(found.bias) < 0.001


def test_renyi_is_the_logarithm():
    x, y = pair(1, 200, 200)
    expected = math.log1p(value("renyi", x, y, alpha=2.0, tsallis=True))
    assert value("renyi", x, y, alpha=2.0) == close(expected)


@pytest.mark.parametrize("rows", [pair, rounded])
@MANY
@given(seed=SEEDS)
def test_jensen_shannon_equals_the_loops(rows, seed):
    x, y = rows(seed)
    expected = reference.jensen_shannon(x.tolist(), y.tolist(), 5)
    assert value("fdiv", x, y, k=5) == close(expected)


@pytest.mark.parametrize("kind", ["js", "tv", "le-cam", "chi2", "kl"])
@MANY
@given(seed=SEEDS)
def test_form_of_the_paper_equals_the_loops(kind, seed):
    x, y = pair(seed)
    f = {
        "js": lambda r: 0.5 * ((r * math.log(r) if r else 0) - (r + 1) * math.log((r + 1) / 2)),
        "tv": lambda r: abs(r - 1) / 2,
        "le-cam": lambda r: (r - 1) ** 2 / (r + 1),
        "chi2": lambda r: (r - 1) ** 2,
        "kl": lambda r: r * math.log(r) if r else 0.0,
    }[kind]
    expected = reference.paper(f, x.tolist(), y.tolist(), 5)
    assert value("fdiv", x, y, k=5, kind=kind, form="paper") == close(expected)


@pytest.mark.parametrize("kind", POWERS)
def test_kinds_that_are_powers(kind):
    x, y = (rows.tolist() for rows in pair(2))
    power = reference.power(POWERS[kind], x, y, 5)
    expected = {
        "hellinger": 1 - power,
        "chi2": power - 1,
        "neyman": power - 1,
        "alpha:1.5": (power - 1) / 0.75,
    }[kind]
    assert value("fdiv", x, y, k=5, kind=kind) == close(expected)


def test_jeffreys_is_the_sum_of_both_directions():
    x, y = pair(3)
    both = value("kl", x, y, k=5) + value("kl", y, x, k=5)
    assert value("fdiv", x, y, k=5, kind="jeffreys") == close(both)


def test_softened_reverse_kl_is_reverse_kl_less_twice_js():
    x, y = pair(4)
    expected = value("kl", y, x, k=5) - 2 * value("fdiv", x, y, k=5)
    assert value("fdiv", x, y, k=5, kind="softened-rkl") == close(expected)


@pytest.mark.parametrize("order", [0.95, 1.0, 1.05])
def test_orders_near_one_lead_over_to_kl(order):
    x, y = pair(5, 400, 300, 1)
    near = value("renyi", x, y, alpha=1 + (order - 1) * 1e-6)
    assert near == pytest.approx(value("kl", x, y), abs=LUCK(0.0, bias=1e-5))


@pytest.mark.parametrize(("s", "mean"), [(2.0, 0.344874), (0.5, 0.766389), (-0.5, 1.303880)])
def test_published_mean_of_the_gamma_quotient(s, mean):
    """Twelve labels, each of P with probability .37: nearly (.37 / .63)^s."""
    labels = np.arange(13)
    quotients = [reference.gamma_quotient(s, j, 12 - j) for j in labels]
    found = float(binom(12, 0.37).pmf(labels) @ quotients)
    assert found == pytest.approx(mean, abs=LUCK(0.0, bias=1e-5))


@pytest.mark.parametrize(("rows", "d"), [(400, 1), (4000, 2), (4000, 5)])
def test_weights_of_the_ensemble_by_hand(rows, d):
    ks, weights = members(rows, d, "reduced")
    lengths = [k / math.sqrt(rows) for k in ks]
    expected = reference.ensemble_weights(lengths, [2 / d])
    assert weights == pytest.approx(expected, abs=ROUNDING(len(ks), scale=1e3))


@pytest.mark.parametrize(("ensemble", "d"), [("reduced", 3), ("paper", 1), ("paper", 2)])
def test_weights_of_the_ensemble_cancel_the_bias(ensemble, d):
    ks, weights = members(4000, d, ensemble)
    lengths = np.array(ks) / math.sqrt(4000)
    powers = [2] if ensemble == "reduced" else range(1, d + 1)
    found = [float(weights @ lengths ** (i / d)) for i in [0, *powers]]
    assert found == pytest.approx([1.0] + [0.0] * len(powers), abs=ROUNDING(10, scale=1e4))


def test_ensemble_is_the_mixture_of_its_members():
    x, y = pair(6, 300, 250)
    ks, weights = members(250, 2, "reduced")
    expected = weights @ [value("kl", x, y, k=k) for k in ks]
    assert value("kl", x, y, "nnr-ensemble") == close(expected)


def test_norm_of_the_weights_is_reported():
    found = estimate("kl", *pair(7, 300, 250), "nnr-ensemble").params["weight_norm"]
    assert found == pytest.approx(np.linalg.norm(members(250, 2, "reduced")[1]), abs=ROUNDING(10))


def test_weights_that_multiply_noise_are_refused():
    with pytest.raises(SettingError, match=r"--ensemble paper: .* norm .*above 5"):
        estimate("kl", *pair(8, 300, 250, 3), "nnr-ensemble", ensemble="paper")


# ------------------------------------------- published means: Beta(2, 2)^d on the uniform, n = m = 4000

# columns, quantity, settings, published mean, sd of one run
PUBLISHED = [
    (1, "kl", {"k": 63}, 0.1266, 0.01),
    (1, "renyi", {"k": 63, "alpha": 2.0}, 0.1857, 0.012),
    (1, "renyi", {"k": 20, "alpha": 0.5}, 0.0766, 0.006),
    (1, "kl", {"k": 20, "form": "paper"}, 0.2355, 0.015),
    (1, "kl", {"k": 60, "form": "paper"}, 0.1601, 0.012),
    (1, "kl", {"k": 200, "form": "paper"}, 0.1317, 0.01),
    (1, "kl", {"method": "nnr-ensemble", "ensemble": "paper"}, 0.2105, 0.015),
    (2, "kl", {"k": 63}, 0.2588, 0.015),
    (2, "renyi", {"k": 20, "alpha": 0.5}, 0.1313, 0.01),
]
HIGHER = [
    (2, "kl", {"method": "nnr-ensemble"}, 0.2594, 0.0115),
    (2, "renyi", {"method": "nnr-ensemble", "alpha": 0.5}, 0.1418, 0.012),
    (2, "renyi", {"k": 63, "alpha": 2.0}, 0.3624, 0.02),
    (3, "kl", {"k": 63}, 0.3936, 0.015),
    (3, "renyi", {"k": 63, "alpha": 2.0}, 0.5155, 0.02),
    (3, "renyi", {"k": 20, "alpha": 0.5}, 0.1309, 0.015),
    (6, "kl", {"k": 63}, 0.7692, 0.02),
    (6, "renyi", {"k": 63, "alpha": 2.0}, 0.9412, 0.03),
    (6, "renyi", {"k": 20, "alpha": 0.5}, -0.0546, 0.02),
]


@cache
def cubes(run, d):
    """Kept between the tests, which share the counts of equal k."""
    rng = np.random.default_rng([run, d])
    return as_samples(rng.beta(2, 2, size=(4000, d)), "x"), as_samples(rng.random((4000, d)), "y")


def mean_over(runs, d, name, given):
    return np.mean([value(name, *cubes(run, d), **given) for run in range(runs)])


@pytest.mark.parametrize(("d", "name", "given", "mean", "sd"), PUBLISHED)
def test_published_means(d, name, given, mean, sd):
    """The published mean is taken to be of ten runs."""
    found = mean_over(2, d, name, given)
    assert found == pytest.approx(mean, abs=LUCK(sd * (1 / 2 + 1 / 10) ** 0.5, z=4))


@pytest.mark.slow
@pytest.mark.parametrize(("d", "name", "given", "mean", "sd"), HIGHER)
def test_published_means_in_more_columns(d, name, given, mean, sd):
    found = mean_over(5, d, name, given)
    assert found == pytest.approx(mean, abs=LUCK(sd * (1 / 5 + 1 / 10) ** 0.5, z=4))


# ------------------------------------------------------------------------------------- truth

# N(0, 1) and N(1, 4): truth, bias allowed at n = m = 1500
GAUSSIANS = [
    ("kl", 0.443147, 0.02),
    ("hellinger", 0.149195, 0.012),
    ("js", 0.128175, 0.003),
    ("tv", 0.390066, 0.03),
    ("chi2", 0.744026, 0.03),
    ("le-cam", 0.434965, 0.01),
    ("skew-js:0.1", 0.451313, 0.01),
    ("skew-js:0.5", 0.512700, 0.012),
]


@cache
def gaussians(run):
    rng = np.random.default_rng([30, run])
    return as_samples(rng.normal(size=1500), "x"), as_samples(rng.normal(1, 2, 1500), "y")


@pytest.mark.parametrize(("kind", "truth", "bias"), GAUSSIANS)
def test_truth_between_gaussians(kind, truth, bias):
    found = [estimate("fdiv", *gaussians(run), kind=kind) for run in range(4)]
    se = influence_se(found[0], *gaussians(0)) / 2
    assert np.mean([run.value for run in found]) == pytest.approx(truth, abs=LUCK(se, 4, bias))


P, Q = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.2, 0.3, 0.4])
ATOMS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
DISCRETE = {
    "kl": float(P @ np.log(P / Q)),
    "reverse-kl": float(Q @ np.log(Q / P)),
    "js": float(P @ np.log(2 * P / (P + Q)) + Q @ np.log(2 * Q / (P + Q))) / 2,
    "tv": float(np.abs(P - Q).sum()) / 2,
    "hellinger": 1 - float(np.sqrt(P * Q).sum()),
    "chi2": float(((P - Q) ** 2 / Q).sum()),
    "neyman": float(((P - Q) ** 2 / P).sum()),
    "le-cam": float(((P - Q) ** 2 / (P + Q)).sum()),
}


@pytest.mark.parametrize("kind", DISCRETE)
@pytest.mark.parametrize("method", ["nnr", "nnr-ensemble"])
def test_discrete_rows_give_the_closed_form(kind, method):
    """Every ball is an atom with its hundreds of copies: only the O(1/n) of the corrections is left."""
    x, y = ATOMS.repeat([400, 300, 200, 100], axis=0), ATOMS.repeat([200, 400, 600, 800], axis=0)
    assert value("fdiv", x, y, method, kind=kind) == pytest.approx(
        DISCRETE[kind], abs=LUCK(0.0, bias=0.03 if kind in ("chi2", "neyman") else 0.01)
    )


def test_rounded_rows_of_one_distribution_are_at_distance_zero():
    """One decimal, n = 500: peers give nan, .48 and 16.9."""
    values = []
    for run in range(20):
        x, y = np.round(np.random.default_rng([31, run]).normal(size=(2, 500, 1)), 1)
        values.append(value("kl", x, y))
    assert np.mean(values) == pytest.approx(0.0, abs=LUCK(np.std(values) / 20**0.5, bias=0.005))


@pytest.mark.parametrize("kind", ["js", "tv", "le-cam", "hellinger"])
def test_bounded_kinds_reach_their_bound_without_overlap(kind):
    """ln 2, 1, 2, 1 up to what k = 40 labels leave open."""
    rng = np.random.default_rng(32)
    x, y = rng.normal(size=(1600, 1)), rng.normal(50.0, 1.0, (1600, 1))
    bound = {"js": math.log(2), "tv": 1.0, "le-cam": 2.0, "hellinger": 1.0}[kind]
    found = value("fdiv", x, y, kind=kind)
    assert found == pytest.approx(bound, abs=LUCK(0.0, bias=0.1 if kind == "hellinger" else 0.01))


# ------------------------------------------------------------------------- ties, weights, order


@pytest.mark.parametrize("method", ["nnr", "nnr-ensemble"])
@MANY
@given(seed=SEEDS)
def test_order_of_tied_rows_does_not_matter(method, seed):
    x, y = rounded(seed)
    rng = np.random.default_rng(seed)
    found = value("kl", rng.permutation(x), rng.permutation(y), method)
    assert found == close(value("kl", x, y, method))


def test_only_the_order_of_distances_matters():
    x, y = pair(9, 100, 80, 1)
    x, y = np.exp2(np.round(x * 256)), np.exp2(np.round(y * 256))  # doubling gaps keep no distance
    assert value("kl", 2.0 * x, 2.0 * y) == close(value("kl", x, y))


def test_equal_weights_change_nothing():
    x, y = pair(10, 60, 50)
    assert value("kl", x, y, a=[0.3] * 60, b=[2.0] * 50) == close(value("kl", x, y))


@pytest.mark.parametrize("method", ["nnr", "nnr-ensemble"])
def test_rows_without_weight_are_not_there(method):
    x, y = pair(11, 60, 50)
    more = np.vstack([x, y[:5] + 0.01])
    found = value("kl", more, y, method, a=[1] * 60 + [0] * 5)
    assert found == close(value("kl", x, y, method, a=[1] * 60))


def test_rows_without_weight_have_no_influence():
    x, y = pair(12, 60, 50)
    terms = estimate("kl", x, y, a=[0, 0, 0] + [1] * 57).terms_x
    assert SAME(terms[:3], np.zeros(3))


def test_weights_turn_draws_from_one_gaussian_into_another():
    """Rows of N(0, 1) weighted by N(.5, 1) / N(0, 1) stand for N(.5, 1): KL is 1/8."""
    rng = np.random.default_rng(13)
    x, y = rng.normal(size=(3000, 1)), rng.normal(size=(3000, 1))
    ratio = np.exp(0.5 * x[:, 0] - 0.125)
    assert value("kl", x, y, a=ratio) == pytest.approx(0.125, abs=LUCK(0.012, bias=0.01))


def test_a_weight_of_two_is_not_a_row_given_twice():
    """The effective size knows how unequal the weights are, not what they were before scaling."""
    x, y = pair(14, 60, 50)
    twice = np.vstack([x, x[:20]])
    assert value("kl", x, y, k=5, a=[2] * 20 + [1] * 40) != close(value("kl", twice, y, k=5))


# ----------------------------------------------------------------------------------- warnings


@pytest.mark.parametrize(
    ("shift", "published"), [(1.0, 0.512), (2.0, 1.85), (3.0, 3.29), (5.0, 4.58)]
)
def test_published_saturation(shift, published):
    """N(0, 1) and N(shift, 1), n = 4000, k = 63: truth .5, 2, 4.5, 12.5."""
    rng = np.random.default_rng(15)
    found = value("kl", rng.normal(size=4000), rng.normal(shift, 1.0, 4000), k=63)
    assert found == pytest.approx(published, abs=LUCK(0.05, z=3))


def test_saturated_share_is_reported():
    """Published: 46 % of the rows have no neighbour in Q at a shift of three."""
    rng = np.random.default_rng(16)
    found = estimate("kl", rng.normal(size=4000), rng.normal(3.0, 1.0, 4000), k=63)
    assert found.params["saturated"] == pytest.approx(0.46, abs=LUCK(0.01))


def test_saturation_is_warned_about():
    rng = np.random.default_rng(17)
    assert codes(estimate("kl", rng.normal(size=500), rng.normal(3.0, 1.0, 500))) == ["W07"]


def test_overlapping_samples_raise_no_warning():
    assert codes(estimate("kl", *pair(18, 500, 500))) == []


def test_powers_without_overlap_are_inconclusive():
    with pytest.raises(InconclusiveError, match=r"mean of \(p/q\)\^2 is not positive"):
        estimate("renyi", np.arange(50.0), 1000.0 + np.arange(50.0), alpha=2.0)


def test_infinite_order_is_refused_with_advice():
    with pytest.raises(SettingError, match=r"--alpha inf: .*--alpha 2,4,8,16 is a lower bound"):
        estimate("renyi", *pair(19), alpha=math.inf)


def test_paper_needs_a_floor_where_f_is_infinite_at_zero():
    with pytest.raises(SettingError, match="--ratio-floor 0: reverse-kl is infinite"):
        estimate("fdiv", *pair(20), kind="reverse-kl", form="paper")


def test_floor_is_the_smallest_ratio():
    far = [1000.0, 1001.0, 1002.0, 1003.0, 1004.0, 1005.0]
    found = value("fdiv", [0.0, 1.0], far, k=2, kind="reverse-kl", form="paper", ratio_floor=0.01)
    assert found == close(-math.log(0.01))


def test_too_few_rows_are_inconclusive():
    with pytest.raises(InconclusiveError, match="4 rows in both samples, more than k = 5"):
        estimate("kl", [0.0, 1.0], [2.0, 3.0])


# --------------------------------------------------------------------------------- influence


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kl", "js", "hellinger", "tv"])
def test_standard_error_is_that_of_repeated_samples(kind):
    runs = []
    for run in range(200):
        rng = np.random.default_rng([33, run])
        runs.append(divmatch.fdiv(rng.normal(size=800), rng.normal(1, 2, 900), kind=kind))
    spread = np.std([run.value for run in runs], ddof=1)
    assert np.mean([run.se for run in runs]) == pytest.approx(
        spread, abs=LUCK(spread / 400**0.5, bias=0.2 * spread)
    )


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "truth"), [row[:2] for row in GAUSSIANS[:4]])
def test_intervals_hold_the_truth(kind, truth):
    """N(0, 1) and N(1, 4), n = m = 1000: at least 90 of 100."""
    held = 0
    for run in range(100):
        rng = np.random.default_rng([34, run])
        x, y = rng.normal(size=1000), rng.normal(1, 2, 1000)
        ci = divmatch.fdiv(x, y, kind=kind, method="nnr").ci
        held += ci.low <= truth <= ci.high
    assert held >= 90
