"""Fréchet distance: matrix roots as oracle, closed forms, singular covariances, bias, test."""

import numpy as np
import pytest

import divmatch
from divmatch.errors import InconclusiveError
from divmatch.estimator import quantity
from divmatch.kernels.execution import executing
from divmatch.samples import as_samples
from divmatch.transport import bures
from divmatch.transport.bures import Gaussian, coupled, root
from divmatch.transport.frechet_bias import decays
from tests.reference import frechet as reference
from tests.tolerances import LUCK, ROUNDING, SAME


def generator(seed=0):
    return np.random.default_rng(seed)


def pair(n, m, d, seed=0, shift=0.5, scale=1.4):
    rng = generator(seed)
    mixing = np.eye(d) + 0.3 * rng.normal(size=(d, d))
    return rng.normal(size=(n, d)) @ mixing, rng.normal(size=(m, d)) * scale + shift


def plain(x, y, **settings):
    return divmatch.frechet(x, y, correction="none", **settings)


def squared(m1, a, m2, b, smooth=0.0):
    m1, m2 = np.atleast_1d(m1).astype(float), np.atleast_1d(m2).astype(float)
    return coupled(
        *(Gaussian(m, root(np.asarray(c, float), abs(m))) for m, c in ((m1, a), (m2, b)))
    ).squared(smooth)


def codes(result):
    return {note.code for note in result.warnings}


# ------------------------------------------------------------------------------ closed forms


def test_two_columns_that_do_not_commute():
    zero = np.zeros(2)
    found = squared(zero, [[2, 1], [1, 2]], zero, [[1, 0], [0, 3]])
    assert found == pytest.approx(0.5166852265, abs=1e-9)


def test_commuting_covariances_differ_by_their_roots():
    rng = generator(1)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    a, b = rng.random(6) + 0.1, rng.random(6) + 0.1
    zero = np.zeros(6)
    found = squared(zero, turn * a @ turn.T, zero, turn * b @ turn.T)
    assert found == pytest.approx(np.sum((a**0.5 - b**0.5) ** 2), abs=ROUNDING(36, scale=20))


def test_cutting_eigenvalues_off_costs_their_sum():
    zero = np.zeros(4)
    found = squared(zero, np.diag([5.0, 3, 2, 1]), zero, np.diag([5.0, 3, 0, 0]))
    assert found == pytest.approx(3.0, abs=ROUNDING(16, scale=20))


def test_covariances_of_different_directions_add_up():
    zero = np.zeros(3)
    found = squared(zero, np.diag([2.0, 0, 0]), zero, np.diag([0, 0, 5.0]))
    assert found == pytest.approx(7.0, abs=ROUNDING(9, scale=7))


def test_distance_of_points_is_that_of_the_means():
    none = np.zeros((2, 2))
    assert squared([0, 0], none, [3, 4], none) == pytest.approx(25.0)


@pytest.mark.parametrize("d", [1, 3, 8])
def test_well_conditioned_covariances_agree_with_matrix_roots(d):
    x, y = pair(60, 50, d, seed=d)
    assert plain(x, y).value == pytest.approx(reference.plug_in(x, y), rel=1e-10)


def test_weights():
    x, y = pair(40, 30, 3, seed=2)
    a, b = generator(3).random(40) + 0.1, generator(4).random(30) + 0.1
    found = plain(x, y, weights_x=a, weights_y=b).value
    assert found == pytest.approx(reference.plug_in(x, y, a, b), rel=1e-10)


def test_smooth_form_adds_below_the_root():
    a, b = np.array([2.0, 1.0, 0.0]), np.array([1.0, 3.0, 4.0])
    zero = np.zeros(3)
    found = squared(zero, np.diag(a), zero, np.diag(b), smooth=0.3)
    assert found == pytest.approx(
        np.sum(a + b - 2 * np.sqrt(a * b + 0.3)), abs=ROUNDING(9, scale=20)
    )


def test_smooth_form_has_the_spread_of_samples_as_standard_error():
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(100, 2)) + 0.5, 1.5 * rng.normal(size=(100, 2))
        found.append(divmatch.frechet(x, y, smooth=0.5, correction="none"))
    spread = np.std([one.value for one in found], ddof=1)
    claimed = np.mean([one.se for one in found])
    assert claimed == pytest.approx(spread, abs=LUCK(spread / np.sqrt(400)))


# ------------------------------------------------------------- few rows, singular covariances


@pytest.mark.parametrize(("n", "m"), [(30, 20), (20, 30), (30, 300), (300, 30), (200, 201)])
def test_fewer_rows_than_columns_agree_with_singular_values_of_the_rows(n, m):
    x, y = pair(n, m, 200, seed=5)
    u, v = ((rows - rows.mean(axis=0)) / (len(rows) - 1) ** 0.5 for rows in (x, y))
    gap = x.mean(axis=0) - y.mean(axis=0)
    nuclear = np.linalg.svd(u @ v.T, compute_uv=False).sum()
    expected = gap @ gap + np.sum(u**2) + np.sum(v**2) - 2 * nuclear
    assert plain(x, y).value == pytest.approx(expected, rel=1e-11)


def test_few_rows_lie_in_their_span():
    """Turned into the columns that the rows span, the number is the same."""
    x, y = pair(9, 7, 40, seed=6)
    axes = np.linalg.qr(np.concatenate([x, y]).T)[0]
    expected = plain(x @ axes, y @ axes).value
    assert plain(x, y).value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [20, 400])
def test_columns_that_determine_each_other_cost_nothing(n):
    x, y = pair(n, n, 4, seed=7)
    twice = [np.column_stack([rows, rows @ np.ones(4), np.full(n, 3.7)]) for rows in (x, y)]
    (m1, a), (m2, b) = (reference.moments(rows) for rows in twice)
    gap, wide = m1 - m2, [(rows - rows.mean(axis=0)) / (n - 1) ** 0.5 for rows in twice]
    nuclear = np.linalg.svd(wide[0] @ wide[1].T, compute_uv=False).sum()
    expected = gap @ gap + np.trace(a) + np.trace(b) - 2 * nuclear
    assert plain(*twice).value == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("shape", [(200, 5), (50, 80), (300, 64)])
def test_a_sample_is_at_zero_from_itself(shape):
    x = generator(8).normal(size=shape) * np.exp(-np.arange(shape[1]) / 4)
    assert plain(x, x).value == pytest.approx(0.0, abs=ROUNDING(x.size, scale=10))


def test_directions_of_rounding_leave_no_root_of_it():
    """Ten columns of rank two: noise eigenvalues of 1e-16 would each cost 1e-8."""
    rng = generator(9)
    x, y = (rng.normal(size=(500, 2)) @ rng.normal(size=(2, 10)) for _ in range(2))
    u, v = ((rows - rows.mean(axis=0)) / 499**0.5 for rows in (x, y))
    nuclear = np.linalg.svd(u @ v.T, compute_uv=False).sum()
    gap = x.mean(axis=0) - y.mean(axis=0)
    expected = gap @ gap + np.sum(u**2) + np.sum(v**2) - 2 * nuclear
    assert plain(x, y).value == pytest.approx(expected, abs=1e-12 * (np.sum(u**2) + np.sum(v**2)))


# ------------------------------------------------------------------------------- invariances


def test_translation_adds_the_square_of_the_shift():
    x, y = pair(50, 60, 3, seed=10)
    y = y - y.mean(axis=0) + x.mean(axis=0)
    shift = np.array([3.0, -4.0, 12.0])
    assert plain(x, y + shift).value == pytest.approx(plain(x, y).value + 169.0, rel=1e-12)


def test_scaling_by_a_number_scales_its_square():
    x, y = pair(50, 60, 3, seed=11)
    assert plain(7 * x, 7 * y).value == pytest.approx(49 * plain(x, y).value, rel=1e-12)


def test_rotation_changes_nothing():
    x, y = pair(80, 90, 4, seed=12)
    turn = np.linalg.qr(generator(13).normal(size=(4, 4)))[0]
    found = divmatch.frechet(x @ turn, y @ turn, correction="first-order").value
    assert found == pytest.approx(divmatch.frechet(x, y, correction="first-order").value, rel=1e-11)


# --------------------------------------------------------------------------- influences, bias


def evaluate(x, y, **settings):
    method = quantity("frechet").methods["gaussian"]
    return method(as_samples(x, "x"), as_samples(y, "y"), **method.checked(settings))


def test_influences_are_derivatives_by_the_weights():
    x, y = pair(30, 25, 3, seed=14)
    terms = evaluate(x, y, correction="none").terms_x
    found = terms - terms.mean()
    # the covariance is n / (n − 1) times that of the weights
    expected = [reference.influence(x, y, i) for i in range(5)]
    assert found[:5] == pytest.approx(expected, rel=0.04, abs=0.05)


def test_influences_average_to_the_derivative_of_scaling():
    """Σ terms has no error: tr A − tr(A^½BA^½)^½, times (n − 1)/n."""
    x, y = pair(30, 25, 3, seed=15)
    (m1, a), (m2, b) = reference.moments(x), reference.moments(y)
    cross = (
        np.trace(a) + np.trace(b) + np.sum((m1 - m2) ** 2) - reference.between(m1, a, m2, b)
    ) / 2
    expected = (np.trace(a) - cross) * 29 / 30
    assert evaluate(x, y, correction="none").terms_x.mean() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("heavy", [False, True])
def test_first_order_bias_is_that_of_the_jackknife(heavy):
    x, y = pair(150, 130, 2, seed=16)
    x = np.sign(x) * np.abs(x) ** (1.5 if heavy else 1)
    found = divmatch.frechet(x, y, correction="first-order").params["plug_in_bias"]
    assert found == pytest.approx(reference.jackknife_bias(x, y), rel=0.05)


def draws(n, d, runs, correction, scale=None, shift=0.0):
    scale = np.ones(d) if scale is None else scale
    found = []
    for run in range(runs):
        rng = generator([run, n, d])
        x, y = rng.normal(size=(n, d)), rng.normal(size=(n, d)) * scale + shift
        found.append(divmatch.frechet(x, y, correction=correction).value)
    return np.mean(found), np.std(found) / runs**0.5


def test_bias_of_equal_gaussians_is_what_theory_says():
    """(tr A)(1/n + 1/m) + (1/4)(1/(n − 1) + 1/(m − 1))(d² + d), to first order."""
    mean, se = draws(1000, 4, 60, "none")
    assert mean == pytest.approx(0.01801001, abs=LUCK(se, bias=0.0003))


@pytest.mark.parametrize(("n", "d"), [(100, 4), (100, 20)])
def test_extrapolation_leaves_no_bias_at_equal_gaussians(n, d):
    mean, se = draws(n, d, 60, "auto")
    assert mean == pytest.approx(0.0, abs=LUCK(se))


def test_extrapolation_leaves_no_bias_between_gaussians():
    scale = np.linspace(1, 2, 12)
    mean, se = draws(80, 12, 60, "auto", scale, 0.3)
    assert mean == pytest.approx(12 * 0.09 + np.sum((scale - 1) ** 2), abs=LUCK(se))


@pytest.mark.parametrize(
    ("n", "how"), [(10, "none"), (12, "extrapolated"), (59, "extrapolated"), (60, "first-order")]
)
def test_correction_goes_by_the_rows_for_a_column(n, how):
    assert divmatch.frechet(*pair(n, 70, 3, seed=17)).params["correction"] == how


def test_a_correction_that_was_asked_for_needs_rows():
    with pytest.raises(InconclusiveError, match="first-order needs at least 12 rows"):
        divmatch.frechet(*pair(10, 70, 3), correction="first-order")


def test_a_large_bias_is_told():
    x, y = pair(100, 100, 30, seed=18, shift=0.0, scale=1.0)
    assert "W58" in codes(divmatch.frechet(x, y))


def test_few_rows_give_a_rough_interval_down_to_zero():
    found = divmatch.frechet(*(generator(s).normal(size=(20, 50)) for s in (19, 20)))
    assert found.ci.low <= 0.0 <= found.value <= found.ci.high
    assert "W59" in codes(found)


def test_equal_gaussians_are_told_to_be_near():
    assert "W04" in codes(divmatch.frechet(*pair(200, 200, 1, seed=21, shift=0.0, scale=1.0)))


def test_samples_of_rows_stand_for_all(monkeypatch):
    from divmatch.transport import frechet_bias

    x, y = pair(4000, 4000, 3, seed=22)
    whole = divmatch.frechet(x, y)
    monkeypatch.setattr(frechet_bias, "FULL_WORK", 0.0)
    monkeypatch.setattr(frechet_bias, "ENOUGH", 1000)
    part = divmatch.frechet(x, y)
    assert part.params["plug_in"] == whole.params["plug_in"]
    assert part.se == pytest.approx(whole.se, rel=LUCK(1000**-0.5, z=4))
    assert part.params["plug_in_bias"] == pytest.approx(whole.params["plug_in_bias"], rel=0.1)
    assert "W66" in codes(part) - codes(whole)


def test_decays_add_up_to_the_inverse_of_a_sum():
    roots = np.exp(generator(25).uniform(-12, 3, 40))
    slow = decays(roots)
    assert slow @ slow.T == pytest.approx(1 / (roots[:, None] + roots), rel=1e-11)


def test_decays_give_the_bias_of_the_curvatures(monkeypatch):
    from divmatch.transport import frechet_bias

    x, y = pair(200, 150, 6, seed=26)
    found = [divmatch.frechet(x, y, correction="first-order", smooth=0.1).params["plug_in_bias"]]
    monkeypatch.setattr(frechet_bias, "DECAYS_FROM", 1)
    found += [divmatch.frechet(x, y, correction="first-order", smooth=0.1).params["plug_in_bias"]]
    assert found[0] == pytest.approx(found[1], rel=1e-10)


# ------------------------------------------------------------------------------ many rows, columns


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_many_rows_keep_their_digits_wherever_they_are(offset):
    """About zero the mean is taken off at last; it must not be far from it."""
    x, y = pair(17_000, 16_500, 3, seed=27)
    expected = reference.plug_in(x, y)
    assert plain(x + offset, y + offset).value == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("alike", [False, True])
def test_panels_leave_out_nothing_but_zeros(monkeypatch, alike):
    x, y = pair(60, 50, 7, seed=28)
    if alike:  # then the factor is not triangular
        x[:, 5] = x[:, 0] - x[:, 1]
    whole = divmatch.frechet(x, y, correction="first-order")
    monkeypatch.setattr(bures, "PANEL", 2)
    part = divmatch.frechet(x, y, correction="first-order")
    assert part.value == pytest.approx(whole.value, rel=1e-11)
    assert part.se == pytest.approx(whole.se, rel=1e-9)


# ------------------------------------------------------------------------- test, determinism


def test_permutations_see_a_covariance_that_changed_its_sign():
    rng = generator(23)
    rows = rng.normal(size=(120, 2)) @ np.array([[1.0, 0.9], [0.0, 0.4]])
    found = divmatch.frechet(rows[:60], rows[60:] * [1, -1], permutations=99)
    assert found.test.p_value == 0.01


def test_threads_change_no_digit():
    x, y = pair(9000, 8500, 40, seed=24)
    values = []
    for threads in (1, 3):
        with executing(threads=threads):
            values.append(divmatch.frechet(x, y).value)
    assert SAME(*values)
