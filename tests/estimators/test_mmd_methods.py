"""MMD from blocks, features and subsets; kernels by name; the kernel inception distance."""

import itertools

import numpy as np
import pytest

import divmatch
from divmatch.errors import InconclusiveError, SampleError, SettingError
from divmatch.estimator import quantity
from divmatch.estimators import mmd_methods
from divmatch.kernel_names import amplitude, frequencies, kernel_named
from divmatch.randomness import stream
from divmatch.samples import as_samples
from tests.reference.mmd import kernel as plain_kernel
from tests.reference.mmd import mmd2 as reference
from tests.tolerances import LUCK, ROUNDING
from tests.truths import gaussian

RANDOM = pytest.mark.parametrize("method", ["linear", "block", "subsets", "rff", "nystroem"])
BLOCKS = pytest.mark.parametrize("method", ["linear", "block"])
UNSCALED = pytest.mark.parametrize("kernel", ["riesz:1", "riesz:0.5", "poly"])


def estimate(x, y, method, a=None, b=None, seed=0, **settings):
    chosen = quantity("mmd").chosen(method)
    rng = {"rng": stream(seed, "test")} if chosen.random else {}
    samples = as_samples(x, "x", a), as_samples(y, "y", b)
    return chosen(*samples, **chosen.checked(settings), **rng)


def pair(n=40, m=30, d=2, seed=0, shift=0.5):
    rng = np.random.default_rng([seed, n, m, d])
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) + shift


def test_methods_are_declared_in_their_order():
    assert mmd_methods.MMD is quantity("mmd")
    assert list(quantity("mmd").methods)[:2] == ["u", "v"]


# ----------------------------------------------------------------------------------- kernels


@UNSCALED
@pytest.mark.parametrize("method", ["u", "v"])
def test_kernels_without_a_bandwidth_equal_the_loops(kernel, method):
    x, y = pair(9, 7, 3)
    expected = reference(x.tolist(), y.tolist(), name=kernel, unbiased=method == "u")
    found = estimate(x, y, method, kernel=kernel).value
    assert found == pytest.approx(expected, abs=ROUNDING(16, scale=200))


def test_riesz_is_the_energy_distance():
    x, y = pair()
    found = divmatch.mmd(x, y, kernel="riesz:1.5", method="v")
    energy = divmatch.energy(x, y, power=1.5, method="v")
    assert (found.value, found.unit) == (energy.value, energy.unit)


def test_weights_count_for_poly():
    x, y = pair(6, 5)
    a = np.arange(1.0, 7.0)
    expected = reference(x.tolist(), y.tolist(), (a / a.sum()).tolist(), None, name="poly")
    found = estimate(x, y, "u", a=a, kernel="poly").value
    assert found == pytest.approx(expected, abs=ROUNDING(11, scale=300))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("matern", "matern:1.5"),
        ("riesz", "riesz:1"),
        ("riesz:0.50", "riesz:0.5"),
        ("rbf", "gaussian"),
    ],
)
def test_kernel_is_recorded_in_full(given, kept):
    x, y = pair()
    assert divmatch.mmd(x, y, kernel=given).params["kernel"] == kept


@pytest.mark.parametrize(
    "kernel",
    ["gausian", "matern:2", "riesz:2", "riesz:0", "riesz:x", "riesz:", "rq:1", "poly:3", ""],
)
def test_unknown_kernel_is_refused(kernel):
    with pytest.raises(SettingError, match=r"--kernel .*expected"):
        divmatch.mmd([0.0, 1.0], [1.0, 2.0], kernel=kernel)


@UNSCALED
@pytest.mark.parametrize("bandwidth", [1.0, "agg"])
def test_bandwidth_of_a_kernel_without_one_is_refused(kernel, bandwidth):
    with pytest.raises(SettingError, match="has none"):
        divmatch.mmd([0.0, 1.0], [1.0, 2.0], kernel=kernel, bandwidth=bandwidth)


def test_cubes_that_are_no_numbers_are_refused():
    with pytest.raises(SampleError, match="takes cubes"):
        divmatch.mmd([0.0, 1e30], [1.0, 2.0], kernel="poly")


@pytest.mark.parametrize(
    "kernel", ["gaussian", "laplace", "imq", "mix", "matern:0.5", "matern:1.5", "matern:2.5", "rq"]
)
def test_frequencies_give_the_kernel(kernel):
    name, gap = kernel_named(kernel), np.array([0.4, -0.9])
    drawn = frequencies(name, 1.3, 2, 40_000, np.random.default_rng(0))
    waves = amplitude(name, 1.3) * np.cos(drawn @ gap)
    truth = plain_kernel(kernel, 1.3)([0.0, 0.0], gap.tolist())
    assert waves.mean() == pytest.approx(truth, abs=LUCK(waves.std() / 200))


# --------------------------------------------------------------------------------------- KID


def test_kid_of_a_shift_in_one_column():
    rng = np.random.default_rng(0)
    found = divmatch.mmd(rng.normal(size=3000), rng.normal(1.0, 1.0, 3000), kernel="poly")
    assert found.value == pytest.approx(22.0, abs=LUCK(found.se))


@pytest.mark.parametrize("method", ["u", "subsets"])
def test_kid_of_a_shift_in_four_columns(method):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2000, 4)), rng.normal(size=(2500, 4)) + np.eye(4)[0]
    more = {"subsets": 20, "subset_size": 300} if method == "subsets" else {}
    found = divmatch.mmd(x, y, kernel="poly", method=method, **more)
    assert found.value == pytest.approx(1.328125, abs=LUCK(found.se))


def test_subsets_of_all_rows_are_the_u_statistic():
    x, y = pair(12, 12)
    found = estimate(x, y, "subsets", kernel="poly", subsets=3)
    whole = estimate(x, y, "u", kernel="poly")
    assert found.value == pytest.approx(whole.value, abs=ROUNDING(24, scale=50))
    assert found.error == pytest.approx(0.0, abs=ROUNDING(24, scale=50))
    centred = whole.terms_x - whole.terms_x.mean()
    assert found.terms_x == pytest.approx(centred, abs=ROUNDING(24, scale=500))


def test_spread_of_subsets_is_that_of_the_error():
    x, y = pair(60, 50)
    found = estimate(x, y, "subsets", subsets=25, subset_size=10)
    assert found.error == pytest.approx(found.params["sd"] / 5, abs=ROUNDING(1))


# ------------------------------------------------------------------------------------ blocks


def test_linear_of_four_rows_is_one_of_the_pairings():
    x, y, k = [0.0, 1.0], [2.0, 4.0], plain_kernel("gaussian", 1.0)
    (p, q), (r, s) = [[v] for v in x], [[v] for v in y]
    own = k(p, q) + k(r, s)
    possible = [own - k(p, s) - k(q, r), own - k(p, r) - k(q, s)]
    found = estimate(x, y, "linear", bandwidth=1).value
    assert min(abs(found - value) for value in possible) < ROUNDING(4)


@BLOCKS
def test_mean_over_deals_is_the_u_statistic(method):
    x, y = pair(9, 8)
    values = [estimate(x, y, method, bandwidth=1, seed=s).value for s in range(600)]
    whole = estimate(x, y, "u", bandwidth=1).value
    assert np.mean(values) == pytest.approx(whole, abs=LUCK(np.std(values) / 600**0.5))


@BLOCKS
def test_truth_of_blocks(method):
    rng = np.random.default_rng(2)
    problem = gaussian.problem(rng, 3)
    found = divmatch.mmd(*problem.draw(rng, 6000, 5000), bandwidth=1.5, method=method)
    assert found.value == pytest.approx(problem.mmd2(1.5), abs=LUCK(found.se))


@BLOCKS
def test_standard_error_holds_where_the_distributions_agree(method):
    rng = np.random.default_rng(3)
    runs = [
        divmatch.mmd(rng.normal(size=200), rng.normal(size=150), bandwidth=1, method=method)
        for _ in range(250)
    ]
    values, squares = np.array([(run.value, run.se**2) for run in runs]).T
    assert values.mean() == pytest.approx(0.0, abs=LUCK(values.std() / 250**0.5))
    ratios = squares / values.var(ddof=1)  # its own error is about (2 / 250)^(1/2)
    assert ratios.mean() == pytest.approx(1.0, abs=LUCK((2 / 250) ** 0.5, z=4))


@BLOCKS
def test_interval_of_blocks_is_valid_at_the_null(method):
    x, y = pair(400, 300, shift=0.0)
    found = divmatch.mmd(x, y, method=method)
    assert "W04" not in [note.code for note in found.warnings]
    assert found.ci.method == "blocks"


@BLOCKS
def test_equal_weights_change_nothing(method):
    x, y = pair()
    plain, weighted = estimate(x, y, method), estimate(x, y, method, a=np.full(40, 3.0))
    assert weighted.value == pytest.approx(plain.value, abs=ROUNDING(70, scale=4))


@BLOCKS
def test_rows_without_weight_count_for_nothing(method):
    x, y = pair(31, 30)
    a = np.ones(31)
    a[4] = 0.0
    found = estimate(x, y, method, a=a, bandwidth=1).value
    without = estimate(np.delete(x, 4, axis=0), y, method, bandwidth=1).value
    assert found == pytest.approx(without, abs=ROUNDING(60, scale=4))


@BLOCKS
def test_weights_move_the_truth(method):
    """A normal weighted by exp(x − ½) is the normal shifted by one."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=20_000), rng.normal(1.0, 1.0, size=20_000)
    found = divmatch.mmd(x, y, weights_x=np.exp(x - 0.5), bandwidth=1, method=method)
    assert found.value == pytest.approx(0.0, abs=LUCK(found.se))


@RANDOM
def test_one_row_has_no_pairs(method):
    with pytest.raises(InconclusiveError, match="one row with all the weight"):
        estimate([[1.0]], [[0.0], [2.0]], method, bandwidth=1)


# ---------------------------------------------------------------------------------- features


@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "imq", "mix", "matern:2.5", "rq"])
def test_fourier_features_agree_with_the_u_statistic(kernel):
    x, y = pair(200, 150)
    a, b = np.arange(1.0, 201.0), None
    found = estimate(x, y, "rff", a, b, kernel=kernel, bandwidth=1)
    whole = estimate(x, y, "u", a, b, kernel=kernel, bandwidth=1)
    assert found.value == pytest.approx(whole.value, abs=LUCK(found.error))
    assert found.error < 0.05


def test_error_of_fourier_features_is_that_of_repeated_draws():
    x, y = pair(60, 50)
    runs = [estimate(x, y, "rff", features=40, bandwidth=1, seed=s) for s in range(300)]
    spread = np.std([run.value for run in runs], ddof=1)
    mean = np.mean([run.error for run in runs])
    assert mean == pytest.approx(spread, abs=LUCK(spread / 600**0.5, bias=0.05 * spread))


def test_influence_of_fourier_features_approaches_that_of_the_kernel():
    x, y = pair(60, 50)
    found = estimate(x, y, "rff", features=20_000, bandwidth=1)
    whole = estimate(x, y, "u", bandwidth=1)
    assert found.terms_x == pytest.approx(whole.terms_x, abs=LUCK(2 / 10_000**0.5))


@pytest.mark.parametrize("kernel", ["riesz:1", "poly"])
def test_kernels_without_spectral_measure_are_refused(kernel):
    with pytest.raises(SettingError, match="no random features"):
        divmatch.mmd([0.0, 1.0], [1.0, 2.0], kernel=kernel, method="rff")


@pytest.mark.parametrize("kernel", ["gaussian", "poly", "rq"])
def test_nystroem_with_all_rows_is_the_u_statistic(kernel):
    x, y = pair(14, 11)
    a = np.arange(1.0, 15.0)
    found, whole = (
        estimate(x, y, "nystroem", a, kernel=kernel),
        estimate(x, y, "u", a, kernel=kernel),
    )
    assert found.value == pytest.approx(whole.value, abs=1e-8)
    assert found.terms_x == pytest.approx(whole.terms_x, abs=1e-8)
    assert found.params["residual"] == pytest.approx(0.0, abs=1e-8)


def test_few_landmarks_leave_a_residual():
    x, y = pair(200, 150)
    assert estimate(x, y, "nystroem", landmarks=3).params["residual"] > 0.1


def test_nystroem_refuses_riesz():
    with pytest.raises(SettingError, match="not positive definite"):
        divmatch.mmd([0.0, 1.0], [1.0, 2.0], kernel="riesz:1", method="nystroem")


@RANDOM
@pytest.mark.parametrize("word", ["agg", "fuse"])
def test_aggregation_is_for_the_methods_of_all_pairs(method, word):
    with pytest.raises(SettingError, match="choose --method u or v"):
        divmatch.mmd([0.0, 1.0], [1.0, 2.0], method=method, bandwidth=word)


@pytest.mark.parametrize("method", ["rff", "nystroem"])
def test_plan_is_the_estimate_at_every_split(method):
    x, y = pair(5, 4)
    pool = np.concatenate([x, y])
    chosen = quantity("mmd").chosen(method)
    settings = {**chosen.checked({"bandwidth": 1.0}), "rng": stream(0, "test")}
    plan = chosen.plan(as_samples(pool, "pool"), **settings)
    splits = [np.isin(np.arange(9), own) for own in itertools.combinations(range(9), 5)][::9]
    expected = [estimate(pool[s], pool[~s], method, bandwidth=1.0).value for s in splits]
    assert plan.statistic(np.array(splits).T) == pytest.approx(expected, abs=1e-9)
