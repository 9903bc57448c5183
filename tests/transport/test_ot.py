"""Exact Wasserstein distances against closed forms, brute force, SciPy and POT."""

import math

import numpy as np
import pytest
import scipy.stats

import divmatch
from divmatch.errors import InconclusiveError, SampleError, SettingError
from divmatch.estimator import influence_se, quantity
from divmatch.kernels.execution import executing
from divmatch.samples import as_samples
from tests.reference import transport as reference
from tests.reference.sliced import transport as line_reference
from tests.tolerances import LUCK, ROUNDING

COSTS = {
    "euclidean": reference.euclidean,
    "cityblock": reference.cityblock,
    "chebyshev": reference.chebyshev,
    "cosine": reference.cosine,
    "lp:3": lambda left, right: reference.minkowski(left, right, 3),
    "sqeuclidean": lambda left, right: reference.euclidean(left, right) ** 2,
}
ORDERS = pytest.mark.parametrize("p", [1, 1.5, 2, 3])


def generator(seed=0):
    return np.random.default_rng(seed)


def pair(n, m, d, seed=0, shift=0.5):
    rng = np.random.default_rng([seed, n, m, d])
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.3 + shift


def codes(found):
    return [note.code for note in found.warnings]


# --------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("d", [2, 3])
def test_value_is_the_cheapest_of_all_pairings(cost, p, d):
    x, y = pair(6, 6, d)
    cheapest = reference.cheapest(x.tolist(), y.tolist(), lambda s, t: COSTS[cost](s, t) ** p)
    found = divmatch.ot(x, y, cost=cost, p=p).value
    assert found == pytest.approx(cheapest ** (1 / p), abs=ROUNDING(6, scale=100))


def test_whole_weights_are_repeated_rows():
    x, y = pair(4, 3, 2)
    a, b = [1, 3, 2, 1], [4, 1, 2]
    many = reference.repeated(x.tolist(), a), reference.repeated(y.tolist(), b)
    cheapest = reference.cheapest(*many, reference.euclidean)
    found = divmatch.ot(x, y, p=1, weights_x=a, weights_y=b).value
    assert found == pytest.approx(cheapest, abs=ROUNDING(7, scale=10))


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("d", [1, 2, 7])
def test_translation_moves_by_its_length(p, d):
    x, _ = pair(80, 1, d)
    shift = np.linspace(-1, 2, d)
    found = divmatch.ot(x, x[::-1] + shift, p=p).value
    assert found == pytest.approx(np.linalg.norm(shift), abs=ROUNDING(80, scale=10))


def test_second_order_splits_into_centres_and_shapes():
    x, y = pair(70, 50, 3)
    centred = divmatch.ot(x - x.mean(0), y - y.mean(0)).value ** 2
    gap = x.mean(0) - y.mean(0)
    expected = centred + gap @ gap
    assert divmatch.ot(x, y).value ** 2 == pytest.approx(expected, abs=ROUNDING(70, scale=50))


def test_golden_numbers_of_a_weighted_line():
    x, a, y, b = [0.0, 1.0, 3.0], [0.5, 0.25, 0.25], [0.5, 2.0], [0.6, 0.4]
    weights = {"weights_x": a, "weights_y": b}
    assert divmatch.ot(x, y, p=1, **weights).value == pytest.approx(0.7, abs=ROUNDING(4))
    assert divmatch.ot(x, y, p=2, **weights).value ** 2 == pytest.approx(0.55, abs=ROUNDING(4))


@ORDERS
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("m", [40, 31])
def test_line_is_the_plain_loop(p, weighted, m):
    x, y = pair(40, m, 1)
    a, b = np.full(40, 1 / 40), np.full(m, 1 / m)
    if weighted:
        a, b = (w / w.sum() for w in (generator(1).random(40), generator(2).random(m)))
    given = {"weights_x": a, "weights_y": b} if weighted else {}
    expected = line_reference(x[:, 0].tolist(), y[:, 0].tolist(), a.tolist(), b.tolist(), p)
    found = divmatch.ot(x, y, p=p, **given).value ** p
    assert found == pytest.approx(expected, abs=ROUNDING(80, scale=100))


@pytest.mark.parametrize("weighted", [False, True])
def test_first_order_of_a_line_is_that_of_scipy(weighted):
    x, y = (np.round(rows[:, 0], 1) for rows in pair(300, 200, 1))
    a, b = (generator(1).random(300), generator(2).random(200)) if weighted else (None, None)
    expected = scipy.stats.wasserstein_distance(x, y, a, b)
    found = divmatch.ot(x, y, p=1, weights_x=a, weights_y=b).value
    assert found == pytest.approx(expected, abs=ROUNDING(500, scale=10))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("m", [40, 31])
def test_summary_of_a_line_is_the_estimate(tied, m):
    x, y = pair(40, m, 1)
    x, y = (as_samples(np.round(z, 1) if tied else z, "z") for z in (x, y))
    method = quantity("ot").chosen(None)
    settings = method.checked({"p": 1}) | {"rng": generator()}
    brief, whole = method.summary(x, y, **settings), method(x, y, **settings)
    assert brief.terms_x is None
    assert (brief.value, brief.params) == (whole.value, whole.params)
    assert brief.se == pytest.approx(influence_se(whole, x, y), rel=1e-9)


@ORDERS
def test_line_is_a_plane_with_a_constant_column(p):
    x, y = pair(30, 25, 1)
    flat = [np.column_stack([rows, np.ones(len(rows))]) for rows in (x, y)]
    found, expected = divmatch.ot(*flat, p=p), divmatch.ot(x, y, p=p)
    assert found.value == pytest.approx(expected.value, abs=ROUNDING(30, scale=100))


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        (lambda u: (scipy.stats.norm.ppf(u), 1 + 1.5 * scipy.stats.norm.ppf(u)), 1.25),
        (lambda u: (-np.log1p(-u), -np.log1p(-u) / 2), 0.5),
        (lambda u: (u, 2 * u), 1 / 3),
    ],
    ids=["gaussian", "exponential", "uniform"],
)
def test_second_order_of_quantiles_is_the_closed_form(draw, truth):
    """Midpoint quantiles of both distributions; what the tails lack is of the order log n / n."""
    u = (np.arange(20_000) + 0.5) / 20_000
    assert divmatch.ot(*draw(u)).value ** 2 == pytest.approx(truth, abs=2e-3)


def test_huge_order_does_not_overflow():
    x, y = pair(30, 20, 1)
    assert divmatch.ot(x * 1e60, y * 1e60, p=50).value == pytest.approx(
        1e60 * divmatch.ot(x, y, p=50).value
    )


@pytest.mark.parametrize("cost", ["euclidean", "sqeuclidean", "cityblock", "lp:3"])
def test_value_scales_with_the_data(cost):
    x, y = pair(30, 25, 3)
    power = 2 if cost == "sqeuclidean" else 1
    scaled, plain = (divmatch.ot(t * x, t * y, cost=cost).value for t in (1e-40, 1.0))
    assert scaled == pytest.approx(plain * 1e-40**power, rel=ROUNDING(30, scale=100))


def test_cosine_does_not_see_lengths():
    x, y = pair(30, 25, 3)
    found = divmatch.ot(x * generator(1).random((30, 1)) * 1e50, y, cost="cosine").value
    assert found == pytest.approx(divmatch.ot(x, y, cost="cosine").value, abs=ROUNDING(30))


# ---------------------------------------------------------------------------------- certificate


@pytest.mark.parametrize("n", [50, 900])
@pytest.mark.parametrize("p", [1, 2])
def test_bounds_hold_the_value_and_meet(n, p):
    params = (found := divmatch.ot(*pair(n, n - 7, 4), p=p)).params
    assert params["lower"] <= found.value == params["upper"]
    assert params["gap"] <= 1e-10


def test_influences_are_potentials():
    """Their weighted mean is zero, and mass that moves to row 0 changes the value by its influence.

    With weights: without, subsets of both samples can have the same mass, and the slope two sides.
    """
    x, y = pair(40, 30, 2)
    method, samples = quantity("ot").chosen(None), as_samples(x, "x", generator(1).random(40))
    found = method(samples, as_samples(y, "y"), rng=generator())
    assert samples.masses() @ found.terms_x == pytest.approx(0.0, abs=ROUNDING(40))
    step = 1e-7
    more = samples.masses() * (1 - step)
    more[0] += step
    value = method(as_samples(x, "x", more), as_samples(y, "y"), rng=generator()).value
    assert (value - found.value) / step == pytest.approx(found.terms_x[0], abs=10 * step)


def test_unfinished_search_is_a_warning(monkeypatch):
    monkeypatch.setattr("divmatch.kernels.transport.ROUNDS", 1)
    found = divmatch.ot(*pair(900, 900, 5))
    assert "W18" in codes(found)
    assert found.params["gap"] > 1e-10


# -------------------------------------------------------------------------- settings and refusals


@pytest.mark.parametrize("p", [1, 2])
def test_clusters_far_apart_keep_the_digits_of_each(p):
    """Next to the cost from one to the other theirs is as small as rounding."""
    (x, y), (z, w) = pair(40, 30, 3), pair(40, 30, 3, seed=1)
    found = divmatch.ot(np.concatenate([x, z + 1e7]), np.concatenate([y, w + 1e7]), p=p)
    each = [divmatch.ot(*one, p=p).value for one in ((x, y), (z, w))]
    assert found.value == pytest.approx(np.mean(np.power(each, p)) ** (1 / p), rel=1e-7)
    assert found.params["gap"] <= 1e-9
    assert found.se < found.value


@pytest.mark.parametrize(("p", "d"), [(40, 1), (40, 3), (1000, 1)])
def test_high_orders_keep_their_digits(p, d):
    x, y = pair(40, 30, d)
    found = divmatch.ot(x, y, p=p)
    assert found.params["gap"] <= 1e-9
    assert found.value == pytest.approx(divmatch.ot(x, y, orlicz=f"power:{p}").value, rel=1e-9)


@pytest.mark.parametrize("settings", [{"p": 5000}, {"orlicz": "power:5000"}])
def test_powers_too_small_for_numbers_are_no_zero(settings):
    with pytest.raises(InconclusiveError, match="choose a smaller"):
        divmatch.ot(*pair(40, 30, 3), **settings)


def test_order_is_left_to_the_cost():
    x, y = pair(20, 15, 2)
    orders = [divmatch.ot(x, y, cost=cost).params["p"] for cost in ("euclidean", "cityblock")]
    assert orders == [2.0, 1.0]


def test_squared_cost_is_the_square_of_the_second_order():
    x, y = pair(20, 15, 2)
    squared = divmatch.ot(x, y, cost="sqeuclidean")
    assert squared.value == pytest.approx(divmatch.ot(x, y).value ** 2, abs=ROUNDING(20, scale=10))
    assert squared.unit == "data unit^2"


@pytest.mark.parametrize("cost", ["lp", "lp:0.5", "lp:x", "lp:inf", "euclidian", ""])
def test_unknown_cost_is_refused(cost):
    with pytest.raises(SettingError, match=r"^--cost"):
        divmatch.ot(*pair(5, 5, 2), cost=cost)


def test_order_below_one_is_refused():
    with pytest.raises(SettingError, match="at least 1"):
        divmatch.ot(*pair(5, 5, 2), p=0.5)


def test_row_without_direction_is_refused():
    x, y = pair(5, 5, 2)
    y[3] = 0
    with pytest.raises(SampleError, match=r"^y: all numbers are zero at row 3"):
        divmatch.ot(x, y, cost="cosine")


def test_too_little_memory_is_refused_before_the_start():
    x = as_samples(np.broadcast_to(generator().normal(size=(1, 2)), (40_000, 2)), "x")
    with (
        executing(memory=16 << 20),
        pytest.raises(SettingError, match=r"GiB .* use divmatch sliced or sinkhorn, --sample N"),
    ):
        divmatch.ot(x, x)


def test_columnwise_takes_no_other_cost():
    with pytest.raises(SettingError, match="cannot be combined"):
        divmatch.ot(*pair(5, 5, 2), columnwise=True, cost="cosine")


# -------------------------------------------------------------------------- columnwise, debiased


@ORDERS
def test_columnwise_is_the_mean_over_columns(p):
    x, y = pair(30, 25, 4)
    each = [divmatch.ot(x[:, c], y[:, c], p=p).value for c in range(4)]
    found = divmatch.ot(x, y, p=p, columnwise=True)
    assert found.value == pytest.approx(np.mean(each), abs=ROUNDING(30, scale=10))
    assert "W53" not in codes(found)


def test_debiased_is_zero_on_average_for_equal_distributions():
    rng, found = generator(1), []
    for seed in range(60):
        value = divmatch.ot(*rng.normal(size=(2, 40, 3)), debias=True, seed=seed).value
        found.append(math.copysign(value**2, value))
    assert np.mean(found) == pytest.approx(0.0, abs=LUCK(np.std(found) / 60**0.5))


def test_debiased_sees_a_translation_whole():
    rng = generator(2)
    x, y = rng.normal(size=(300, 5)), rng.normal(size=(300, 5)) + 3.0
    plain, debiased = divmatch.ot(x, y), divmatch.ot(x, y, debias=True)
    assert debiased.value == pytest.approx(3 * 5**0.5, abs=LUCK(plain.se))


def test_negative_debiased_distance_is_noted():
    found = [
        divmatch.ot(*generator(s).normal(size=(2, 20, 2)), debias=True, seed=s) for s in range(8)
    ]
    assert all((one.value < 0) == ("W01" in codes(one)) for one in found)
    assert any(one.value < 0 for one in found)


def test_single_rows_have_no_halves():
    with pytest.raises(InconclusiveError, match="at least 2"):
        divmatch.ot([[0.0, 1.0]], [[1.0, 2.0]], debias=True)


def test_many_columns_are_a_warning():
    assert "W53" in codes(divmatch.ot(*pair(50, 50, 5)))
    assert "W53" not in codes(divmatch.ot(*pair(50, 50, 1)))


# ----------------------------------------------------------------------------------- permutations


@ORDERS
@pytest.mark.parametrize("settings", [{}, {"columnwise": True}, {"debias": True}])
@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_plan_is_the_estimate_of_each_split(p, settings, d, weighted):
    pool = as_samples(
        np.concatenate(pair(20, 15, d)), "pool", generator(3).random(35) if weighted else None
    )
    method = quantity("ot").chosen(None)
    checked = method.checked({"p": p, **settings}) | {"rng": generator()}
    labels = np.stack([generator(s).permutation(35) < 20 for s in range(5)], axis=1)
    direct = [method(pool.take(s), pool.take(~s), **checked).value for s in labels.T]
    found = method.plan(pool, **checked).statistic(labels)
    assert found == pytest.approx(direct, abs=ROUNDING(35, scale=100))


def test_equal_files_do_not_reject():
    x, _ = pair(30, 1, 3)
    assert divmatch.ot(x, x.copy(), permutations=99).test.p_value == 1.0


def test_shifted_files_reject():
    x, y = pair(40, 30, 3, shift=2)
    assert divmatch.ot(x, y, permutations=99).test.p_value == 0.01


def test_equal_columns_do_not_reject():
    x, _ = pair(30, 1, 3)
    assert divmatch.ot(x, x[::-1], permutations=99, columnwise=True).test.p_value == 1.0


# --------------------------------------------------------------------------------------- interval


@pytest.mark.slow
@pytest.mark.parametrize("p", [1, 2])
def test_interval_of_a_line_covers(p):
    """N(0, 1) and N(1, 1.5²); W₁ from 10⁶ quantiles, W₂ in closed form."""
    u = scipy.stats.norm.ppf((np.arange(1_000_000) + 0.5) / 1_000_000)
    truth = 1.25**0.5 if p == 2 else float(np.abs(1 + 0.5 * u).mean())
    rng, held = generator(7), 0
    for _ in range(1000):
        x, y = rng.normal(size=400), rng.normal(1, 1.5, size=400)
        ci = divmatch.ot(x, y, p=p).ci
        held += ci.low <= truth <= ci.high
    assert held / 1000 == pytest.approx(0.95, abs=LUCK(0.0069, z=4))


@pytest.mark.slow
def test_interval_of_many_columns_covers_the_mean_distance():
    rng = generator(8)
    pairs = [rng.normal(size=(2, 200, 3)) for _ in range(400)]
    found = [divmatch.ot(x, y * 1.5 + 1) for x, y in pairs]
    mean = np.mean([one.value for one in found])
    held = np.mean([one.ci.low <= mean <= one.ci.high for one in found])
    assert held == pytest.approx(0.95, abs=LUCK(0.011, z=4))
