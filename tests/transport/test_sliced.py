"""Sliced Wasserstein distance: oracles, closed forms, invariances, Monte Carlo error, intervals."""

import subprocess
import sys

import numpy as np
import pytest

import divmatch
from divmatch.estimator import influence_se, quantity
from divmatch.kernels.directions import Directions, directions
from divmatch.kernels.execution import executing
from divmatch.randomness import stream
from divmatch.samples import Samples, as_samples
from tests.reference import sliced as reference
from tests.tolerances import LUCK, ROUNDING

PS = pytest.mark.parametrize("p", [1, 2])
LINE = {"x": [0.0, 1.0, 3.0], "y": [0.5, 2.0], "weights_x": [2, 1, 1], "weights_y": [3, 2]}


def generator(seed=0):
    return np.random.default_rng(seed)


def evaluate(x, y, *, weights_x=None, weights_y=None, seed=0, **settings):
    method = quantity("sliced").chosen(None)
    return method(
        as_samples(x, "x", weights_x),
        as_samples(y, "y", weights_y),
        **method.checked(settings),
        rng=stream(seed, "test"),
    )


def pair(n, m, d, seed=0, shift=0.5):
    rng = generator(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.2 + shift


def weights(n, seed=0):
    made = generator(seed).random(n) + 0.1
    return made / made.sum()


# -------------------------------------------------------------------------------- one column


def test_one_column_weighted_first_order():
    assert evaluate(**LINE, p=1).value == pytest.approx(0.7, abs=ROUNDING(5))


def test_one_column_weighted_second_order():
    assert evaluate(**LINE, p=2).value ** 2 == pytest.approx(0.55, abs=ROUNDING(5))


def test_one_column_is_exact():
    found = evaluate(**LINE)
    assert found.exact
    assert found.error is None


def test_one_column_equals_scipy():
    from scipy.stats import wasserstein_distance

    x, y = pair(60, 41, 1)
    a, b = weights(60), weights(41, 1)
    found = evaluate(x, y, weights_x=a, weights_y=b, p=1).value
    assert found == pytest.approx(wasserstein_distance(x[:, 0], y[:, 0], a, b), abs=ROUNDING(101))


@PS
def test_one_column_equals_pot(p):
    from ot import wasserstein_1d

    x, y = pair(60, 41, 1)
    a, b = weights(60), weights(41, 1)
    found = evaluate(x, y, weights_x=a, weights_y=b, p=p).value
    oracle = wasserstein_1d(x[:, 0], y[:, 0], a, b, p=p)
    assert found**p == pytest.approx(oracle, abs=ROUNDING(101, scale=4))


@pytest.mark.parametrize(("p", "truth"), [(1, 0.5), (2, 0.5**0.5)])
def test_exponential_truth(p, truth):
    rng = generator(1)
    x, y = (
        as_samples(rng.exponential(size=50_000), "x"),
        as_samples(rng.exponential(0.5, size=50_000), "y"),
    )
    found = evaluate(x, y, p=p)
    bias = 2e-3  # O(1/n), times the logarithm of a heavy tail
    assert found.value == pytest.approx(truth, abs=LUCK(influence_se(found, x, y), bias=bias))


# ----------------------------------------------------------------------------- many columns


@PS
@pytest.mark.parametrize("d", [2, 3, 7])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_reference(p, d, weighted):
    x, y = pair(17, 12, d)
    a, b = (weights(17), weights(12, 1)) if weighted else (None, None)
    found = evaluate(x, y, weights_x=a, weights_y=b, p=p, projections=8).value
    vectors = directions(d, 8, stream(0, "test")).vectors
    a, b = (a, b) if weighted else (np.full(17, 1 / 17), np.full(12, 1 / 12))
    oracle = reference.sliced(x, y, a, b, p, vectors)
    assert found == pytest.approx(oracle, abs=ROUNDING(29, scale=10))


@PS
def test_equal_sizes_equal_the_reference(p):
    x, y = pair(20, 20, 3)
    found = evaluate(x, y, p=p, projections=9).value
    vectors = directions(3, 9, stream(0, "test")).vectors
    oracle = reference.sliced(x, y, [0.05] * 20, [0.05] * 20, p, vectors)
    assert found == pytest.approx(oracle, abs=ROUNDING(20, scale=10))


def test_isotropic_gaussians():
    rng = generator(2)
    x = as_samples(rng.normal(size=(20_000, 5)), "x")
    y = as_samples(2 * rng.normal(size=(20_000, 5)) + 1.25**0.5, "y")
    found = evaluate(x, y)
    se = np.hypot(influence_se(found, x, y), found.error)
    assert found.value == pytest.approx(1.5, abs=LUCK(se, bias=1e-3))


def test_anisotropic_gaussians_in_the_plane():
    rng = generator(3)
    x = as_samples(rng.normal(size=(40_000, 2)) * [2, 1], "x")
    y = as_samples(rng.normal(size=(40_000, 2)), "y")
    found = evaluate(x, y)
    se = np.hypot(influence_se(found, x, y), found.error)
    assert found.value == pytest.approx(0.4160711496**0.5, abs=LUCK(se, bias=1e-3))


@pytest.mark.parametrize("d", [2, 3, 8])
def test_means_come_apart_exactly(d):
    x, y = pair(50, 70, d)
    apart = x.mean(0) - y.mean(0)
    whole = evaluate(x, y).value ** 2
    centred = evaluate(x - x.mean(0), y - y.mean(0)).value ** 2
    assert whole == pytest.approx(apart @ apart / d + centred, abs=ROUNDING(120, scale=10))


def test_orthonormal_blocks():
    vectors = directions(6, 30, generator()).vectors.reshape(5, 6, 6)
    for block in vectors:
        assert block @ block.T == pytest.approx(np.eye(6), abs=ROUNDING(6))


def test_few_directions_still_make_groups():
    assert np.bincount(directions(50, 30, generator()).groups).tolist() == [7, 7, 8, 8]


# ------------------------------------------------------------------------------- invariances


@PS
@pytest.mark.parametrize("d", [1, 2, 5])
def test_translation(p, d):
    x, y = pair(80, 61, d)
    moved = evaluate(x + 1e8, y + 1e8, p=p).value
    exact = evaluate((x + 1e8) - 1e8, (y + 1e8) - 1e8, p=p).value
    assert moved == pytest.approx(exact, abs=ROUNDING(141, scale=10))


@PS
def test_scaling(p):
    x, y = pair(80, 61, 4)
    assert evaluate(8 * x, 8 * y, p=p).value == 8 * evaluate(x, y, p=p).value


@PS
@pytest.mark.parametrize("m", [61, 80])
def test_symmetry(p, m):
    x, y = pair(80, m, 4)
    there, back = evaluate(x, y, p=p), evaluate(y, x, p=p)
    assert there.value == pytest.approx(back.value, abs=ROUNDING(141, scale=10))
    assert there.terms_x == pytest.approx(back.terms_y, abs=ROUNDING(141, scale=1e3))


@PS
def test_order_of_rows(p):
    x, y = pair(80, 61, 4)
    mixed = generator(5).permutation(80)
    there, other = evaluate(x, y, p=p), evaluate(x[mixed], y, p=p)
    assert there.value == pytest.approx(other.value, abs=ROUNDING(141, scale=10))
    assert there.terms_x[mixed] == pytest.approx(other.terms_x, abs=ROUNDING(141, scale=1e3))


@PS
@pytest.mark.parametrize("d", [1, 4])
def test_whole_weights_are_repeated_rows(p, d):
    x, y = pair(30, 24, d)
    times = np.arange(30) % 3 + 1
    found = evaluate(x, y, weights_x=times, p=p)
    repeated = evaluate(np.repeat(x, times, axis=0), y, p=p)
    assert found.value == pytest.approx(repeated.value, abs=ROUNDING(84, scale=10))


@PS
@pytest.mark.parametrize("m", [30, 24])
def test_equal_weights_are_no_weights(p, m):
    x, y = pair(30, m, 3)
    given, none = evaluate(x, y, weights_x=np.ones(30), p=p), evaluate(x, y, p=p)
    assert given.value == pytest.approx(none.value, abs=ROUNDING(60, scale=10))
    assert given.terms_x == pytest.approx(none.terms_x, abs=ROUNDING(60, scale=1e3))


@PS
def test_unequal_sizes_are_repeated_rows(p):
    x, y = pair(30, 20, 4)
    found = evaluate(x, y, p=p).value
    same = evaluate(np.repeat(x, 2, axis=0), np.repeat(y, 3, axis=0), p=p).value
    assert found == pytest.approx(same, abs=ROUNDING(60, scale=10))


@PS
@pytest.mark.parametrize("d", [1, 2, 6])
def test_zero_for_equal_files(p, d):
    x, _ = pair(40, 1, d)
    found = evaluate(x, x.copy(), p=p, error=0.01)
    assert found.value == 0.0
    assert not found.terms_x.any()
    assert not found.notes


@PS
def test_constant_column_counts_for_nothing_but_its_share(p):
    x, y = pair(40, 30, 1)
    flat = evaluate(np.c_[x, np.ones(40)], np.c_[y, np.ones(30)], p=p, projections=400).value
    share = {1: 2 / np.pi, 2: 0.5}[p] ** (1 / p)  # E |cos|^p
    assert flat == pytest.approx(share * evaluate(x, y, p=p).value, rel=1e-4)


@PS
def test_ties(p):
    x = np.array([[0.0, 0.0]] * 6 + [[1.0, 1.0]] * 3)
    y = np.array([[0.0, 0.0]] * 2 + [[1.0, 1.0]] * 4)
    merged = evaluate(x[5:7], y[1:3], weights_x=[6, 3], weights_y=[2, 4], p=p).value
    assert evaluate(x, y, p=p).value == pytest.approx(merged, abs=ROUNDING(15, scale=2))


@PS
def test_one_row_each(p):
    assert evaluate([[0.0, 0, 0]], [[0.0, 3, 0]], p=2).value == pytest.approx(3**0.5)


# -------------------------------------------------------------------------------- influences


@PS
@pytest.mark.parametrize("weighted", [False, True])
def test_influence_is_the_derivative(p, weighted):
    x, y = pair(7, 5, 1)
    a, b = (weights(7), weights(5, 1)) if weighted else (np.full(7, 1 / 7), np.full(5, 0.2))
    given = {"weights_x": a, "weights_y": b} if weighted else {}
    found, step = evaluate(x, y, p=p, **given), 1e-6

    def at(row, by):
        more = a * (1 - by) + by * (np.arange(7) == row)
        return reference.transport(x[:, 0], y[:, 0], more, b, p) ** (1 / p)

    slopes = [(at(i, step) - at(i, -step)) / (2 * step) for i in range(7)]
    assert found.terms_x == pytest.approx(slopes, abs=1e-4)  # central differences


# ------------------------------------------------------------------------------------- noise


@PS
@pytest.mark.parametrize(("d", "n", "m"), [(3, 300, 300), (20, 400, 150)])
@pytest.mark.parametrize("weighted", [False, True])
def test_noise_is_the_mean_under_equality(p, d, n, m, weighted):
    rng, values, noises = generator(4), [], []
    for seed in range(40):
        given = {"weights_x": weights(n, seed)} if weighted else {}
        found = evaluate(rng.random((n, d)), rng.random((m, d)), p=p, seed=seed, **given)
        values.append(found.value**p)
        noises.append(found.params["noise"] ** p)
    away = np.mean(values) - np.mean(noises)
    se = np.std(values) / 40**0.5
    assert abs(away) <= LUCK(se, bias=0.05 * np.mean(values))  # first order in 1/n


def test_many_columns_of_one_distribution_are_marked():
    rng = generator(5)
    found = divmatch.sliced(rng.normal(size=(200, 40)), rng.normal(size=(200, 40)))
    assert found.value > 5 * found.se
    assert [note.code for note in found.warnings] == ["W04"]


def test_a_clear_difference_is_not_marked():
    x, y = pair(200, 200, 5)
    assert not evaluate(x, y).notes


# ------------------------------------------------------------------- directions and precision


@pytest.mark.parametrize("d", [2, 3, 10, 60])
def test_monte_carlo_error_covers(d):
    rng = generator(7)
    x, y = rng.normal(size=(100, d)) ** 3, rng.normal(size=(100, d)) + np.eye(d)[0]
    truth = evaluate(x, y, projections=6000, seed=999).value
    found = [evaluate(x, y, seed=seed) for seed in range(200)]
    inside = np.mean([abs(one.value - truth) < 1.96 * one.error for one in found])
    assert inside >= 0.95 - LUCK((0.95 * 0.05 / 200) ** 0.5, z=4)


def test_monte_carlo_error_of_equal_blocks():
    costs, groups = np.array([1.0, 1, 2, 2, 3, 3, 6, 6]), np.repeat(np.arange(4), 2)
    drawn = Directions(np.ones((8, 1)), groups, np.full(8, 1 / 8))
    assert drawn.error(costs) == pytest.approx((14 / 4) ** 0.5)  # Σ (mean − 3)² = 14


@pytest.mark.parametrize("d", [2, 20])
def test_error_asked_for_is_reached(d):
    x, y = pair(60, 50, d, shift=0.1)
    target = evaluate(x, y).error / evaluate(x, y).value / 3
    found = evaluate(x, y, error=target)
    assert found.error <= target * found.value
    assert "W06" not in [note.code for note in found.notes]


def test_error_out_of_reach_is_noted():
    x, y = pair(20, 20, 3)
    found = evaluate(x, y, error=1e-9, projections=6)
    assert [note.code for note in found.notes] == ["W06"]
    assert found.params["projections"] == 6 * 64


def test_projections_are_recorded():
    x, y = pair(20, 20, 30)
    assert evaluate(x, y).params["projections"] == 120


@PS
@pytest.mark.parametrize("weighted", [False, True])
def test_threads_change_no_digit(p, weighted):
    x, y = pair(3000, 2000, 6)
    given = {"weights_x": weights(3000)} if weighted else {}
    alone = evaluate(x, y, p=p, projections=300, **given)
    with executing(threads=2, memory=1 << 24):
        together = evaluate(x, y, p=p, projections=300, **given)
    assert alone.value == together.value
    assert alone.terms_x.tobytes() == together.terms_x.tobytes()


def test_kept_projections_change_no_digit():
    x, y = pair(50, 40, 3)
    first = as_samples(x, "x")
    evaluate(first, y + 1)
    assert evaluate(first, y).value == evaluate(x, y).value


def test_generator_is_left_as_it_was():
    x, y = pair(20, 20, 3)
    method, rng = quantity("sliced").chosen(None), generator()
    values = [method(as_samples(x, "x"), as_samples(y, "y"), rng=rng).value for _ in range(2)]
    assert values[0] == values[1]


def test_small_input_loads_only_numpy():
    code = (
        "import sys, divmatch; divmatch.sliced([[0., 1], [1, 2]], [[2., 3]]);"
        "print(sorted({'numba', 'scipy', 'ot', 'sklearn'} & set(sys.modules)))"
    )
    environment = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert done.stdout.strip() == b"[]", done.stderr


# ------------------------------------------------------------------------------- permutations


@PS
@pytest.mark.parametrize("d", [1, 2, 4])
@pytest.mark.parametrize("m", [31, 40])
@pytest.mark.parametrize("weighted", [False, True])
def test_plan_is_the_estimate_of_each_split(p, d, m, weighted):
    points = np.concatenate(pair(40, m, d))
    pool = Samples(points, weights(len(points)) if weighted else None)
    method = quantity("sliced").chosen(None)
    settings = method.checked({"p": p}) | {"rng": generator()}
    labels = np.stack([generator(s).permutation(len(points)) < 40 for s in range(5)], axis=1)
    plan = method.plan(pool, **settings)
    direct = [method(pool.take(s), pool.take(~s), **settings).value for s in labels.T]
    assert plan.statistic(labels) == pytest.approx(direct, abs=ROUNDING(len(points), scale=10))


@PS
def test_plan_does_not_depend_on_threads(p):
    pool = Samples(np.concatenate(pair(400, 300, 4)))
    method = quantity("sliced").chosen(None)
    settings = method.checked({"p": p}) | {"rng": generator()}
    labels = np.stack([generator(s).permutation(700) < 400 for s in range(9)], axis=1)
    alone = method.plan(pool, **settings).statistic(labels)
    with executing(threads=2):
        together = method.plan(pool, **settings).statistic(labels)
    assert alone.tobytes() == together.tobytes()


@PS
def test_equal_files_do_not_reject(p):
    x, _ = pair(30, 1, 3)
    assert divmatch.sliced(x, x.copy(), p=p, permutations=99).test.p_value == 1.0


def test_shifted_files_reject():
    x, y = pair(60, 50, 5)
    assert divmatch.sliced(x, y, permutations=99).test.p_value == 0.01


# --------------------------------------------------------------------- intervals (minutes long)


def normal_shift(rng, n, d):
    return rng.normal(size=(n, d)), rng.normal(size=(n, d)) + 1.0


def exponentials(rng, n, d):
    return rng.exponential(size=(n, d)), rng.exponential(0.5, size=(n, d))


def uniforms(rng, n, d):
    return rng.random((n, d)), 2 * rng.random((n, d))


def inside(draw, p, d, truth, repeats=1200):
    """Share of intervals that hold the truth."""
    rng, held = generator(11), 0
    for seed in range(repeats):
        found = divmatch.sliced(*draw(rng, 400, d), p=p, seed=seed)
        held += found.ci.low <= truth <= found.ci.high
    return held / repeats


def truth_of(draw, p, d):
    rng = generator(12)
    values = [divmatch.sliced(*draw(rng, 20_000, d), p=p, seed=s).value for s in range(10)]
    return np.mean(values)


PAIRS = pytest.mark.parametrize("draw", [normal_shift, exponentials, uniforms])


@pytest.mark.slow
@PS
@PAIRS
@pytest.mark.parametrize("d", [1, 2, 10, 50])
def test_interval_covers(p, d, draw):
    assert 0.92 <= inside(draw, p, d, truth_of(draw, p, d)) <= 0.98
