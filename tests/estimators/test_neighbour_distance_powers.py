"""Powers of the density ratio from neighbour distances: oracles, published means, refusals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divmatch.errors import InconclusiveError, SampleError, SettingError
from divmatch.estimator import quantity
from divmatch.estimators.neighbour_functionals import monomial, squared_l2
from divmatch.samples import as_samples
from tests.reference import neighbour_powers as reference
from tests.tolerances import LUCK, ROUNDING, SAME

MANY = settings(max_examples=15, deadline=None, derandomize=True, database=None)
SEEDS = st.integers(0, 2**32)


def estimate(name, x, y, a=None, b=None, **given):
    chosen = quantity(name).chosen("knn")
    return chosen(as_samples(x, "x", a), as_samples(y, "y", b), **chosen.checked(given))


def value(*args, **given):
    return estimate(*args, **given).value


def pair(seed, n=12, m=9, d=2):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.5 + 0.5


def gaussians(run, d, shift, sd_q):
    rng = np.random.default_rng([run, d])
    x = rng.normal(size=(5000, d))
    return x, rng.normal(size=(5000, d)) * sd_q + shift * np.eye(d)[0]


def close(expected):
    return pytest.approx(expected, abs=ROUNDING(25, scale=100 * (1 + abs(expected))))


# ------------------------------------------------------------------------------------ oracle


def test_by_hand():
    """ρ = (1, 1, 2), ν = (.4, .6, 1), k = 1: I_½ = (√(1/.4) + √(1/.6) + √2) / 3 · 1 / Γ(3/2)Γ(1/2)."""
    mean = (0.4**-0.5 + 0.6**-0.5 + 0.5**-0.5) / 3
    expected = -2 * math.log(mean / (math.gamma(1.5) * math.gamma(0.5)))
    found = value("renyi", [[0.0], [1.0], [3.0]], [[0.4], [2.0]], alpha=0.5, k=1)
    assert found == close(expected)


@pytest.mark.parametrize("order", [0.5, 0.8, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("d", [1, 3])
@MANY
@given(seed=SEEDS)
def test_tsallis_equals_the_loops(order, d, seed):
    x, y = pair(seed, d=d)
    power = reference.power(order, x.tolist(), y.tolist(), 4)
    expected = (power - 1) / (order - 1)
    found = value("renyi", x, y, alpha=order, k=4, tsallis=True)
    assert found == pytest.approx(expected, abs=ROUNDING(25, scale=100 * (1 + power)))


@MANY
@given(seed=SEEDS)
def test_renyi_equals_the_loops_with_weights(seed):
    x, y = pair(seed)
    rng = np.random.default_rng(seed)
    a, b = rng.dirichlet(np.full(12, 3.0)), rng.dirichlet(np.full(9, 3.0))
    power = reference.power(0.5, x.tolist(), y.tolist(), 3, a.tolist(), b.tolist())
    assert value("renyi", x, y, a, b, alpha=0.5, k=3) == close(-2 * math.log(power))


def test_order_one_is_kl():
    x, y = pair(1)
    assert SAME(value("renyi", x, y, alpha=1.0), value("kl", x, y))


@pytest.mark.parametrize("step", [1e-5, -1e-5])
def test_orders_near_one_lead_over_to_kl(step):
    x, y = pair(2, 300, 300)
    near = value("renyi", x, y, alpha=1 + step)
    assert near == pytest.approx(value("kl", x, y), abs=LUCK(0.0, bias=1e-3))


@pytest.mark.parametrize(
    ("kind", "reversed_", "order", "scale", "constant"),
    [
        ("hellinger", False, 0.5, -1.0, 1.0),
        ("hellinger-gan", False, 0.5, -2.0, 2.0),
        ("chi2", False, 2.0, 1.0, -1.0),
        ("neyman", True, 2.0, 1.0, -1.0),
        ("alpha:1.5", False, 1.5, 4 / 3, -4 / 3),
        ("alpha:-0.5", True, 1.5, 4 / 3, -4 / 3),
    ],
)
def test_kinds_that_are_powers(kind, reversed_, order, scale, constant):
    x, y = pair(3)
    rows = (y.tolist(), x.tolist()) if reversed_ else (x.tolist(), y.tolist())
    expected = constant + scale * reference.power(order, *rows, 4)
    assert value("fdiv", x, y, kind=kind, k=4) == close(expected)


@pytest.mark.parametrize("kind", ["kl", "alpha:1"])
def test_kind_kl_is_kl(kind):
    x, y = pair(4)
    assert SAME(value("fdiv", x, y, kind=kind), value("kl", x, y))


@pytest.mark.parametrize("kind", ["reverse-kl", "alpha:0"])
def test_kind_reverse_kl_is_kl_of_the_exchanged_samples(kind):
    x, y = pair(5)
    assert SAME(value("fdiv", x, y, kind=kind), value("kl", y, x))


def test_jeffreys_is_the_sum_of_both_directions():
    x, y = pair(6)
    assert value("fdiv", x, y, kind="jeffreys") == close(value("kl", x, y) + value("kl", y, x))


@pytest.mark.parametrize(("s", "t"), [(0.0, 1.0), (1.0, 0.0), (-0.5, 0.5), (1.0, 1.0)])
@MANY
@given(seed=SEEDS)
def test_monomial_equals_the_loops(s, t, seed):
    x, y = pair(seed)
    expected = reference.monomial(s, t, x.tolist(), y.tolist(), 4)
    found = monomial(as_samples(x, "x"), as_samples(y, "y"), s, t, k=4)
    assert found == close(expected)


# ------------------------------------------------------------- published means, n = m = 5000

# columns, shift, sd of Q, quantity, settings, published mean of 15 runs, sd of one run
PUBLISHED = [
    (1, 1.0, 2.0, "renyi", {"alpha": 0.8}, 0.4018, 0.018),
    (1, 1.0, 2.0, "fdiv", {"kind": "hellinger"}, 0.1511, 0.007),
    (3, 1.0, 1.0, "renyi", {"alpha": 0.8}, 0.3759, 0.018),
    (3, 1.0, 1.0, "fdiv", {"kind": "hellinger"}, 0.1174, 0.007),
]
HIGHER = [
    (10, 0.5, 1.0, "kl", {"k": 1}, 0.108, 0.03),
    (10, 0.5, 1.0, "kl", {"k": 5}, 0.098, 0.015),
    (10, 0.5, 1.0, "renyi", {"alpha": 0.8}, 0.078, 0.015),
    (10, 0.5, 1.0, "fdiv", {"kind": "hellinger"}, 0.024, 0.006),
]


def published(case, runs):
    d, shift, sd_q, name, given, mean, sd = case
    found = [value(name, *gaussians(run, d, shift, sd_q), **given) for run in range(runs)]
    assert np.mean(found) == pytest.approx(mean, abs=LUCK(sd * (1 / runs + 1 / 15) ** 0.5, z=4))


@pytest.mark.parametrize("case", PUBLISHED)
def test_published_means(case):
    published(case, 3)


@pytest.mark.slow
@pytest.mark.parametrize("case", HIGHER)
def test_published_means_in_ten_columns(case):
    published(case, 4)


def test_published_mean_of_the_l2_distance():
    """∫ (p − q)² = 1/(2√π) + 1/(4√π) − 2 N(1; 0, 5) = .100274."""
    found = []
    for run in range(3):
        x, y = gaussians(run, 1, 1.0, 2.0)
        found.append(squared_l2(as_samples(x, "x"), as_samples(y, "y")))
    truth = 0.75 / math.sqrt(math.pi) - 2 * math.exp(-0.1) / math.sqrt(10 * math.pi)
    assert np.mean(found) == pytest.approx(truth, abs=LUCK(0.007 / 3**0.5))


# ---------------------------------------------------------------------------------- property


@MANY
@given(seed=SEEDS, factor=st.sampled_from([0.01, 3.0, 1000.0]))
def test_scale_changes_nothing(seed, factor):
    x, y = pair(seed)
    expected = value("renyi", x, y, alpha=0.5)
    assert value("renyi", factor * x, factor * y, alpha=0.5) == close(expected)


def test_l2_distance_is_a_density():
    x, y = pair(8, 60, 50)
    found = squared_l2(as_samples(10 * x, "x"), as_samples(10 * y, "y"))
    assert found == close(squared_l2(as_samples(x, "x"), as_samples(y, "y")) / 100)


def test_l2_distance_is_symmetric():
    x, y = (as_samples(rows, "x") for rows in pair(9, 60, 50))
    assert squared_l2(x, y) == close(squared_l2(y, x))


def test_rows_without_weight_are_not_there():
    x, y = pair(10)
    more = np.vstack([x, x[:1] + 0.1])
    found = value("fdiv", more, y, [1] * 12 + [0], kind="chi2")
    assert found == close(value("fdiv", x, y, [1] * 12, kind="chi2"))


# ----------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("kind", ["js", "tv", "le-cam", "skew-js:0.3", "softened-rkl"])
def test_kinds_that_are_no_powers_are_refused_with_a_method_that_can(kind):
    with pytest.raises(SettingError, match=rf"--kind {kind}: .*take --method nnr"):
        estimate("fdiv", *pair(11), kind=kind)


def test_number_of_the_neighbour_must_exceed_the_power():
    with pytest.raises(SettingError, match=r"-k 2: --alpha 3 needs more than 2 neighbours"):
        estimate("renyi", *pair(12), alpha=3.0, k=2)


def test_automatic_number_of_the_neighbour_follows_the_order():
    assert estimate("renyi", *pair(13, 30, 30), alpha=8.0).params == {"k": 9}


def test_infinite_order_is_refused_with_advice():
    with pytest.raises(SettingError, match=r"--alpha inf: .*--alpha 2,4,8,16 is a lower bound"):
        estimate("renyi", *pair(14), alpha=math.inf)


def test_tied_rows_are_refused():
    with pytest.raises(SampleError, match=r"x: 6 of 6 rows .*use --method nnr"):
        estimate("renyi", [0.0] * 6, np.arange(6.0), alpha=0.5)


def test_too_few_rows_are_inconclusive():
    with pytest.raises(InconclusiveError, match=r"x: 5 rows, at least 6 \(k \+ 1"):
        estimate("renyi", *pair(15, 5, 9), alpha=0.5)
