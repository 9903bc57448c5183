"""Maximum mean discrepancy: oracle, closed forms, bandwidth, invariances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import divmatch
from divmatch.bandwidth import median_distance, resolved
from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import quantity
from divmatch.samples import as_samples
from tests.reference.mmd import kernel as plain_kernel
from tests.reference.mmd import median_distance as plain_median
from tests.reference.mmd import mmd2 as reference
from tests.tolerances import LUCK, ROUNDING, SAME
from tests.truths import gaussian
from tests.truths.line import PAIRS

MANY = settings(max_examples=40, deadline=None, derandomize=True, database=None)
METHODS = pytest.mark.parametrize("method", ["u", "v"])
KERNELS = pytest.mark.parametrize(
    "kernel",
    ["gaussian", "laplace", "imq", "mix", "matern:0.5", "matern:1.5", "matern:2.5", "rq"],
)


def estimate(x, y, method="u", kernel="gaussian", bandwidth=1.0, a=None, b=None):
    chosen = quantity("mmd").chosen(method)
    wanted = chosen.checked({"kernel": kernel, "bandwidth": bandwidth})
    return chosen(as_samples(x, "x", a), as_samples(y, "y", b), **wanted)


def mmd(*args, **settings):
    return estimate(*args, **settings).value


@st.composite
def samples(draw, columns=(1, 2, 3, 5)):
    """Two samples of the same columns, rounded now and then so that rows are tied."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    d = draw(st.sampled_from(columns))
    n, m = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    x, y = rng.normal(size=(n, d)) * 2, rng.normal(size=(m, d)) + 1
    return (np.round(x), np.round(y)) if draw(st.booleans()) else (x, y)


def close(value, x, y, scale=1.0):
    """The value up to rounding; the exponents are at most some dozens, and so are their errors."""
    return pytest.approx(value, abs=ROUNDING(len(x) + len(y), scale=50 * scale))


# ------------------------------------------------------------------------------------ oracle


@METHODS
@KERNELS
@MANY
@given(pair=samples(), scale=st.sampled_from([0.5, 1.0, 3.0]))
def test_equals_the_loops(method, kernel, pair, scale):
    x, y = pair
    expected = reference(x.tolist(), y.tolist(), name=kernel, scale=scale, unbiased=method == "u")
    assert mmd(x, y, method, kernel, scale) == close(expected, x, y)


@METHODS
@KERNELS
@MANY
@given(pair=samples(), seed=st.integers(0, 2**32))
def test_equals_the_loops_with_weights(method, kernel, pair, seed):
    x, y = pair
    rng = np.random.default_rng(seed)
    a, b = rng.dirichlet(np.full(len(x), 3.0)), rng.dirichlet(np.full(len(y), 3.0))
    expected = reference(
        x.tolist(),
        y.tolist(),
        a.tolist(),
        b.tolist(),
        name=kernel,
        scale=2.0,
        unbiased=method == "u",
    )
    spread = 1 / min(1 - a @ a, 1 - b @ b)
    assert mmd(x, y, method, kernel, 2.0, a, b) == close(expected, x, y, spread)


# ------------------------------------------------------------------------------------- truth


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
@pytest.mark.parametrize("s", [0.5, 2.0])
def test_truth_on_the_line(pair, s):
    x, y = pair.draw(np.random.default_rng(1), 1500, 1000)
    found = divmatch.mmd(x, y, bandwidth=s)
    assert found.value == pytest.approx(pair.mmd2(s), abs=LUCK(found.se))


@pytest.mark.parametrize("d", [2, 3, 5])
def test_truth_in_many_columns(d):
    rng = np.random.default_rng(d)
    problem = gaussian.problem(rng, d)
    found = divmatch.mmd(*problem.draw(rng, 1200, 900), bandwidth=1.5)
    assert found.value == pytest.approx(problem.mmd2(1.5), abs=LUCK(found.se))


def test_truth_of_the_mixture_is_the_mean_over_its_bandwidths():
    rng = np.random.default_rng(6)
    problem = gaussian.problem(rng, 2)
    found = divmatch.mmd(*problem.draw(rng, 1200, 900), bandwidth=1.5, kernel="mix")
    truth = np.mean([problem.mmd2(1.5 * c) for c in (0.25, 0.5, 1, 2, 4)])
    assert found.value == pytest.approx(truth, abs=LUCK(found.se))


def test_truth_of_the_laplace_kernel():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=1500), rng.normal(1.0, 1.0, size=1200)
    found = divmatch.mmd(x, y, kernel="laplace", bandwidth=1)
    assert found.value == pytest.approx(
        gaussian.mmd2_laplace(1.0, 1.0, 1.0, 1.0), abs=LUCK(found.se)
    )


@KERNELS
def test_unbiased_at_the_null(kernel):
    rng = np.random.default_rng(8)
    values = [
        mmd(rng.normal(size=(12, 2)), rng.normal(size=(9, 2)), kernel=kernel) for _ in range(400)
    ]
    assert np.mean(values) == pytest.approx(0.0, abs=LUCK(np.std(values) / 400**0.5))


# --------------------------------------------------------------------------------- bandwidth


def test_median_distance_is_the_middle_of_all_pairs():
    rows = np.random.default_rng(9).normal(size=(17, 3))
    assert median_distance(rows, "x")[0] == pytest.approx(
        plain_median(rows.tolist()), abs=ROUNDING(3, scale=5)
    )


def test_median_bandwidth_is_that_of_the_pooled_rows():
    rng = np.random.default_rng(10)
    x, y = rng.normal(size=(9, 2)), rng.normal(size=(6, 2)) + 3
    pooled = plain_median([*x.tolist(), *y.tolist()])
    assert estimate(x, y, bandwidth="median").params["bandwidth"] == pytest.approx(
        pooled, abs=ROUNDING(2, scale=10)
    )


def test_reference_bandwidth_is_that_of_the_first_sample():
    rng = np.random.default_rng(11)
    x, y = rng.normal(size=(9, 2)), rng.normal(size=(6, 2)) + 3
    assert estimate(x, y, bandwidth="reference").params["bandwidth"] == pytest.approx(
        plain_median(x.tolist()), abs=ROUNDING(2, scale=10)
    )


def test_median_bandwidth_of_three_gaussian_columns():
    rng = np.random.default_rng(12)
    medians = [
        estimate(rng.normal(size=(400, 3)), rng.normal(size=(500, 3)), bandwidth="median").params[
            "bandwidth"
        ]
        for _ in range(20)
    ]
    se = np.std(medians, ddof=1) / 20**0.5
    assert np.mean(medians) == pytest.approx(2.175304, abs=LUCK(se))


def test_median_bandwidth_of_many_rows_is_still_the_median():
    rng = np.random.default_rng(13)
    rows = [(rng.normal(size=(2500, 3)), rng.normal(size=(2500, 3))) for _ in range(3)]
    medians = [resolved("median", as_samples(x, "x"), as_samples(y, "y"))[0] for x, y in rows]
    se = np.std(medians, ddof=1) / 3**0.5
    assert np.mean(medians) == pytest.approx(2.175304, abs=LUCK(se))


def test_value_with_the_median_is_that_with_its_number():
    rng = np.random.default_rng(14)
    x, y = rng.normal(size=(20, 2)), rng.normal(size=(15, 2))
    found = estimate(x, y, bandwidth="median")
    assert SAME(found.value, mmd(x, y, bandwidth=found.params["bandwidth"]))


def test_zero_median_takes_the_mean_of_the_other_distances():
    found = estimate(np.zeros((9, 1)), [[0.0], [3.0]], bandwidth="median", method="v")
    assert found.params["bandwidth"] == 3.0


def test_zero_median_is_said():
    found = estimate(np.zeros((9, 1)), [[0.0], [3.0]], bandwidth="median", method="v")
    assert [note.code for note in found.notes] == ["W09"]


def test_equal_rows_have_no_bandwidth():
    with pytest.raises(InconclusiveError, match="all rows are equal"):
        mmd(np.ones((4, 2)), np.ones((3, 2)), bandwidth="median")


def test_rows_without_weight_do_not_move_the_median():
    x, y = [[0.0], [1.0], [500.0]], [[2.0], [4.0]]
    given = estimate(x, y, bandwidth="median", a=[1, 1, 0]).params["bandwidth"]
    assert SAME(given, estimate(x[:2], y, bandwidth="median").params["bandwidth"])


@pytest.mark.parametrize("bandwidth", [0, -1, "medain", float("nan"), float("inf")])
def test_impossible_bandwidth_is_refused(bandwidth):
    with pytest.raises(
        SettingError, match=r"--bandwidth .*expected median or reference or agg or fuse or a number"
    ):
        divmatch.mmd([0.0, 1.0], [1.0, 2.0], bandwidth=bandwidth)


def test_rbf_is_another_name_of_gaussian():
    assert SAME(
        mmd([[0.0], [1.0]], [[2.0], [3.0]], kernel="rbf"), mmd([[0.0], [1.0]], [[2.0], [3.0]])
    )


def test_rbf_is_recorded_as_gaussian():
    assert divmatch.mmd([0.0, 1.0], [2.0, 3.0], kernel="rbf").params["kernel"] == "gaussian"


def test_resolved_bandwidth_is_recorded():
    assert divmatch.mmd([0.0], [2.0], method="v").params["bandwidth"] == 2.0


# ---------------------------------------------------------------------------------- property


@KERNELS
@MANY
@given(pair=samples())
def test_v_of_a_sample_and_itself_is_zero(kernel, pair):
    x, _ = pair
    assert mmd(x, x.copy(), "v", kernel) == close(0.0, x, x)


@KERNELS
@MANY
@given(pair=samples())
def test_u_of_a_sample_and_itself_is_minus_two_gaps_of_the_diagonal_over_n(kernel, pair):
    """−(2/n) (mean of the diagonal − mean off it)."""
    x, _ = pair
    of_rows = plain_kernel(kernel, 1.0)
    n, rows = len(x), x.tolist()
    off = sum(of_rows(rows[i], rows[j]) for i in range(n) for j in range(n) if i != j) / (n * n - n)
    expected = -2 / n * (of_rows(rows[0], rows[0]) - off)
    assert mmd(x, x.copy(), kernel=kernel) == close(expected, x, x)


@KERNELS
@MANY
@given(pair=samples())
def test_v_is_not_negative(kernel, pair):
    x, y = pair
    assert mmd(x, y, "v", kernel) >= -ROUNDING(len(x) + len(y), scale=4)


@METHODS
@KERNELS
@MANY
@given(pair=samples())
def test_symmetric(method, kernel, pair):
    x, y = pair
    assert mmd(x, y, method, kernel) == close(mmd(y, x, method, kernel), x, y)


@METHODS
@KERNELS
@MANY
@given(pair=samples())
def test_translation_changes_nothing(method, kernel, pair):
    x, y = pair
    shift = np.linspace(-8.0, 8.0, x.shape[1])
    assert mmd(x + shift, y + shift, method, kernel) == close(mmd(x, y, method, kernel), x, y)


@pytest.mark.parametrize("kernel", ["gaussian", "imq", "mix"])
@MANY
@given(pair=samples(columns=(2, 3, 5)), seed=st.integers(0, 2**32))
def test_rotation_changes_nothing(kernel, pair, seed):
    x, y = pair
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(x.shape[1], x.shape[1])))[0]
    assert mmd(x @ turn, y @ turn, "u", kernel) == close(mmd(x, y, "u", kernel), x, y)


@METHODS
@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "mix"])
@MANY
@given(pair=samples(), factor=st.sampled_from([0.01, 3.0, 1000.0]))
def test_median_bandwidth_makes_the_value_free_of_units(method, kernel, pair, factor):
    x, y = pair
    if not np.ptp(np.concatenate([x, y]), axis=0).any():
        y = y + 1.0
    scaled = mmd(factor * x, factor * y, method, kernel, "median")
    assert scaled == close(mmd(x, y, method, kernel, "median"), x, y)


@METHODS
@MANY
@given(pair=samples(), factor=st.sampled_from([0.25, 3.0, 1000.0]))
def test_imq_scales_by_one_over_the_bandwidth(method, pair, factor):
    x, y = pair
    scaled = factor * mmd(factor * x, factor * y, method, "imq", factor)
    assert scaled == close(mmd(x, y, method, "imq", 1.0), x, y)


@METHODS
@KERNELS
@MANY
@given(pair=samples(), seed=st.integers(0, 2**32))
def test_order_of_rows_does_not_matter(method, kernel, pair, seed):
    x, y = pair
    mixed = np.random.default_rng(seed).permutation(x)
    assert mmd(mixed, y, method, kernel) == close(mmd(x, y, method, kernel), x, y)


@KERNELS
@MANY
@given(pair=samples(), seed=st.integers(0, 2**32))
def test_whole_weights_are_repeated_rows_for_v(kernel, pair, seed):
    x, y = pair
    counts = np.random.default_rng(seed).integers(1, 4, len(x))
    repeated = mmd(np.repeat(x, counts, axis=0), y, "v", kernel)
    assert mmd(x, y, "v", kernel, a=counts) == close(repeated, x, y)


@KERNELS
def test_influence_is_the_slope_of_v_in_the_weight(kernel):
    """d/de of V at (1 − e) a + e δᵢ is the influence of row i less its mean."""
    rng = np.random.default_rng(15)
    x, y = rng.normal(size=(7, 2)), rng.normal(size=(5, 2))
    step = 1e-3
    ahead, back = ((1 - e) / 7 + e * np.eye(7)[3] for e in (step, -step))
    slope = (mmd(x, y, "v", kernel, a=ahead) - mmd(x, y, "v", kernel, a=back)) / (2 * step)
    terms = estimate(x, y, "v", kernel).terms_x
    assert slope == pytest.approx(terms[3] - terms.mean(), abs=ROUNDING(35, scale=4 / step))


def test_influence_of_the_second_sample_is_that_of_the_first_when_swapped():
    rng = np.random.default_rng(16)
    x, y = rng.normal(size=(7, 2)), rng.normal(size=(5, 2))
    assert estimate(x, y).terms_y == pytest.approx(
        estimate(y, x).terms_x, abs=ROUNDING(12, scale=4)
    )


def test_standard_error_is_that_of_repeated_samples():
    rng = np.random.default_rng(17)
    runs = [
        divmatch.mmd(rng.normal(size=100), rng.normal(1.0, 1.0, size=150), bandwidth=1)
        for _ in range(300)
    ]
    spread = np.std([run.value for run in runs], ddof=1)
    mean = np.mean([run.se for run in runs])
    assert mean == pytest.approx(spread, abs=LUCK(spread / 600**0.5, bias=0.02 * spread))


def test_mean_over_all_splits_of_the_pool_is_zero():
    from tests.reference.inference import all_values

    rows = np.random.default_rng(18).normal(size=(7, 2)).tolist()
    values = list(all_values(lambda x, y: mmd(x, y), rows, 3))
    assert np.mean(values) == pytest.approx(0.0, abs=ROUNDING(35, scale=4))
