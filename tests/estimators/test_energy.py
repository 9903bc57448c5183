"""Energy distance: oracle, closed forms, invariances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import divmatch
from divmatch.estimator import influence_se, quantity
from divmatch.samples import as_samples
from tests.reference.energy import energy as reference
from tests.tolerances import LUCK, ROUNDING, SAME
from tests.truths import gaussian
from tests.truths.line import PAIRS

MANY = settings(max_examples=40, deadline=None, derandomize=True, database=None)
METHODS = pytest.mark.parametrize("method", ["u", "v"])
POWERS = pytest.mark.parametrize("power", [0.5, 1.0, 1.5])


def estimate(x, y, method="u", power=1.0, a=None, b=None):
    chosen = quantity("energy").chosen(method)
    return chosen(as_samples(x, "x", a), as_samples(y, "y", b), **chosen.checked({"power": power}))


def energy(*args, **settings):
    return estimate(*args, **settings).value


@st.composite
def samples(draw, columns=(1, 2, 3, 5)):
    """Two samples of the same columns, rounded now and then so that rows are tied."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    d = draw(st.sampled_from(columns))
    n, m = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    x, y = rng.normal(size=(n, d)) * 3, rng.normal(size=(m, d)) + 1
    return (np.round(x), np.round(y)) if draw(st.booleans()) else (x, y)


def close(value, x, y, power=1.0):
    """The value up to the rounding of a sum of distances of this size."""
    reach = (1 + np.abs(np.concatenate([x, y])).max() * 2 * x.shape[1] ** 0.5) ** power
    return pytest.approx(value, abs=ROUNDING(len(x) + len(y), scale=4 * reach))


# ------------------------------------------------------------------------------------ oracle


@METHODS
@POWERS
@MANY
@given(pair=samples())
def test_equals_the_loops(method, power, pair):
    x, y = pair
    expected = reference(x.tolist(), y.tolist(), power=power, unbiased=method == "u")
    assert energy(x, y, method, power) == close(expected, x, y, power)


@METHODS
@POWERS
@MANY
@given(pair=samples(), seed=st.integers(0, 2**32))
def test_equals_the_loops_with_weights(method, power, pair, seed):
    x, y = pair
    rng = np.random.default_rng(seed)
    a, b = rng.dirichlet(np.full(len(x), 3.0)), rng.dirichlet(np.full(len(y), 3.0))
    expected = reference(
        x.tolist(), y.tolist(), a.tolist(), b.tolist(), power=power, unbiased=method == "u"
    )
    spread = 1 / min(1 - a @ a, 1 - b @ b)
    reach = (1 + np.abs(np.concatenate([x, y])).max() * 2 * x.shape[1] ** 0.5) ** power
    tolerance = ROUNDING(len(x) + len(y), scale=8 * spread * reach)
    assert energy(x, y, method, power, a, b) == pytest.approx(expected, abs=tolerance)


# ------------------------------------------------------------------------------------- truth


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_truth_on_the_line(pair):
    x, y = pair.draw(np.random.default_rng(1), 4000, 3000)
    found = divmatch.energy(x, y)
    assert found.value == pytest.approx(pair.energy, abs=LUCK(found.se))


def test_truth_in_five_columns():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(1500, 5)), rng.normal(size=(2000, 5)) * 1.5 + 0.4
    found = divmatch.energy(x, y)
    truth = gaussian.energy(5 * 0.4**2, 1.0, 1.5**2, 5)
    assert found.value == pytest.approx(truth, abs=LUCK(found.se))


def test_truth_for_power_one_and_a_half():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2000, 1)), rng.normal(1.0, 2.0, size=(1500, 1))
    found = divmatch.energy(x, y, power=1.5)
    truth = gaussian.energy_power(1.0, 1.0, 4.0, 1.5)
    assert found.value == pytest.approx(truth, abs=LUCK(found.se))


def test_unbiased_at_the_null():
    rng = np.random.default_rng(4)
    values = [energy(rng.normal(size=(12, 2)), rng.normal(size=(9, 2))) for _ in range(600)]
    assert np.mean(values) == pytest.approx(0.0, abs=LUCK(np.std(values) / 600**0.5))


def test_power_one_on_the_line_is_twice_the_squared_gap_of_distribution_functions():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=50), rng.normal(size=70) + 0.3
    pooled = np.sort(np.concatenate([x, y]))
    gap = (x[:, None] <= pooled).mean(0) - (y[:, None] <= pooled).mean(0)
    area = 2 * np.sum(gap[:-1] ** 2 * np.diff(pooled))
    assert energy(x, y, "v") == pytest.approx(area, abs=ROUNDING(120, scale=10))


# ---------------------------------------------------------------------------------- property


@MANY
@given(pair=samples())
def test_v_of_a_sample_and_itself_is_zero(pair):
    x, _ = pair
    assert energy(x, x.copy(), "v") == close(0.0, x, x)


@MANY
@given(pair=samples())
def test_u_of_a_sample_and_itself_is_minus_two_mean_distances_over_n(pair):
    x, _ = pair
    cross = np.mean(np.linalg.norm(x[:, None] - x, axis=2))
    assert energy(x, x.copy()) == close(-2 * cross / (len(x) - 1), x, x)


@MANY
@given(pair=samples())
def test_v_is_u_and_the_mean_self_distances(pair):
    x, y = pair
    means = [
        np.linalg.norm(s[:, None] - s, axis=2).sum() / len(s) ** 2 / (len(s) - 1) for s in pair
    ]
    assert energy(x, y, "v") - energy(x, y) == close(sum(means), x, y)


@MANY
@given(pair=samples())
def test_v_is_not_negative(pair):
    x, y = pair
    assert energy(x, y, "v") >= -ROUNDING(len(x) + len(y), scale=100)


@METHODS
@POWERS
@MANY
@given(pair=samples())
def test_symmetric(method, power, pair):
    x, y = pair
    assert energy(x, y, method, power) == close(energy(y, x, method, power), x, y, power)


@METHODS
@MANY
@given(pair=samples())
def test_translation_changes_nothing(method, pair):
    x, y = pair
    shift = np.linspace(-8.0, 8.0, x.shape[1])
    assert energy(x + shift, y + shift, method) == close(energy(x, y, method), x + 16, y + 16)


@METHODS
@MANY
@given(pair=samples(columns=(2, 3, 5)), seed=st.integers(0, 2**32))
def test_rotation_changes_nothing(method, pair, seed):
    x, y = pair
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(x.shape[1], x.shape[1])))[0]
    assert energy(x @ turn, y @ turn, method) == close(energy(x, y, method), 2 * x, 2 * y)


@METHODS
@POWERS
@MANY
@given(pair=samples(), factor=st.sampled_from([0.125, 3.0, 1000.0]))
def test_scales_by_the_declared_unit(method, power, pair, factor):
    x, y = pair
    expected = factor**power * energy(x, y, method, power)
    assert energy(factor * x, factor * y, method, power) == close(
        expected, factor * x, factor * y, power
    )


@METHODS
@MANY
@given(pair=samples(), seed=st.integers(0, 2**32))
def test_order_of_rows_does_not_matter(method, pair, seed):
    x, y = pair
    mixed = np.random.default_rng(seed).permutation(x)
    assert energy(mixed, y, method) == close(energy(x, y, method), x, y)


@MANY
@given(pair=samples(), seed=st.integers(0, 2**32))
def test_whole_weights_are_repeated_rows_for_v(pair, seed):
    x, y = pair
    counts = np.random.default_rng(seed).integers(1, 4, len(x))
    repeated = energy(np.repeat(x, counts, axis=0), y, "v")
    assert energy(x, y, "v", a=counts) == close(repeated, x, y)


@METHODS
@MANY
@given(pair=samples(columns=(1,)))
def test_one_column_equals_two_columns_of_which_one_is_constant(method, pair):
    x, y = pair
    wide = [np.column_stack([s, np.ones(len(s))]) for s in pair]
    assert energy(x, y, method) == close(energy(*wide, method), x, y)


@METHODS
@POWERS
def test_value_is_linear_in_the_weights_along_the_influence_of_v(method, power):
    """d/de of V at (1 − e) a + e δᵢ is the influence of row i less its mean; U has the same limit."""
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(7, 2)), rng.normal(size=(5, 2))
    a, i, step = np.full(7, 1 / 7), 3, 1e-3
    ahead, back = ((1 - e) * a + e * np.eye(7)[i] for e in (step, -step))
    slope = (energy(x, y, "v", power, ahead) - energy(x, y, "v", power, back)) / (2 * step)
    terms = estimate(x, y, "v", power).terms_x
    centred = terms[i] - terms.mean()
    if method == "u":  # leaves each row out of its own mean: n/(n − 1) times the within part
        within = np.linalg.norm(x[:, None] - x, axis=2) ** power
        mean = within.mean(1) / 6
        centred = estimate(x, y, "u", power).terms_x
        centred = centred[i] - centred.mean() + 2 * (mean[i] - mean.mean())
    assert slope == pytest.approx(centred, abs=ROUNDING(35, scale=10 / step))


def test_standard_error_is_that_of_repeated_samples():
    rng = np.random.default_rng(7)
    runs = [
        estimate(rng.normal(size=(200, 1)), rng.normal(1.0, 1.0, size=(300, 1))) for _ in range(300)
    ]
    x, y = as_samples(np.zeros((200, 1)), "x"), as_samples(np.zeros((300, 1)), "y")
    mean = np.mean([influence_se(run, x, y) for run in runs])
    spread = np.std([run.value for run in runs], ddof=1)
    assert mean == pytest.approx(spread, abs=LUCK(spread / 600**0.5, bias=0.02 * spread))


# ------------------------------------------------------------------------------------- rules


def test_unit_names_the_power():
    assert divmatch.energy([0.0, 1.0], [1.0, 3.0], power=1.5).unit == "data unit^1.5"


def test_unit_of_power_one_is_the_data_unit():
    assert divmatch.energy([0.0, 1.0], [1.0, 3.0]).unit == "data unit"


def test_negative_estimate_is_kept_and_said():
    found = divmatch.energy([0.0, 1.0, 2.0], [0.0, 1.0, 2.0])
    assert found.value < 0
    assert "W01" in [note.code for note in found.warnings]


def test_one_row_has_no_pairs():
    with pytest.raises(divmatch.errors.InconclusiveError, match="no pairs; only the method v"):
        energy([[1.0]], [[1.0], [2.0]])


@pytest.mark.parametrize("power", [0, 2, -1, "two"])
def test_power_outside_its_range_is_refused(power):
    with pytest.raises(divmatch.errors.SettingError, match="expected a number above 0, below 2"):
        divmatch.energy([0.0, 1.0], [1.0, 2.0], power=power)


def test_weights_of_any_scale_are_the_same_bits():
    x, y = [[0.0], [1.0], [5.0]], [[2.0], [3.0]]
    assert SAME(energy(x, y, a=[1, 2, 1]), energy(x, y, a=[4, 8, 4]))


# ------------------------------------------------------------------------------- one column


@METHODS
@MANY
@given(pair=samples(columns=(1,)))
def test_summary_has_the_value_and_the_standard_error_of_the_rows(method, pair):
    x, y = (as_samples(part, name) for part, name in zip(pair, "xy", strict=True))
    chosen = quantity("energy").chosen(method)
    brief, whole = chosen.summary(x, y, power=1.0), chosen(x, y, power=1.0)
    assert brief.terms_x is None
    assert brief.value == whole.value
    scale = 1 + np.abs(np.concatenate(pair)).max()
    assert influence_se(brief, x, y) == pytest.approx(
        influence_se(whole, x, y), abs=ROUNDING(24, scale=scale**2) ** 0.5
    )


def test_summary_leaves_weighted_rows_to_the_influences():
    x, y = np.arange(5.0), np.arange(4.0)
    chosen = quantity("energy").chosen(None)
    weighted = as_samples(x, "x", [1, 2, 3, 4, 5])
    assert chosen.summary(weighted, as_samples(y, "y"), power=1.0).terms_x is not None


@METHODS
def test_weights_of_one_column_equal_repeated_rows(method):
    rng = np.random.default_rng(7)
    x, y, times = rng.normal(size=30), rng.normal(size=25), rng.integers(1, 4, 30)
    if method == "v":  # u leaves out the pairs of a row with its copies
        again = energy(np.repeat(x, times), y, "v")
        assert energy(x, y, "v", a=times) == pytest.approx(again, abs=ROUNDING(90, scale=20))
    same = energy(x, y, method, a=np.full(30, 2.0))
    assert same == pytest.approx(energy(x, y, method), abs=ROUNDING(60, scale=20))


def test_a_million_numbers_keep_their_digits():
    """x and y interleave with one step between them: F − G is 1/n on every other gap."""
    n = 500_000
    x, y = np.arange(0.0, 2.0 * n, 2.0), np.arange(1.0, 2.0 * n, 2.0)
    rng = np.random.default_rng(0)
    found = divmatch.energy(rng.permutation(x), rng.permutation(y), method="v").value
    assert found == pytest.approx(2.0 / n, rel=1e-12)
