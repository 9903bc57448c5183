"""Cauchy-Schwarz divergence: loops, closed forms, underflow, the conditional form, its influences."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import divmatch
from divmatch.errors import FileError, InconclusiveError, SettingError
from divmatch.estimator import quantity
from divmatch.estimators import conditional
from divmatch.kernels.execution import executing
from divmatch.permutations import permutation_test
from divmatch.samples import Samples, as_samples
from tests.reference.cauchy_schwarz import conditional as plain_conditional
from tests.reference.cauchy_schwarz import divergence as reference
from tests.tolerances import LUCK, ROUNDING, SAME
from tests.truths import gaussian

MANY = settings(max_examples=40, deadline=None, derandomize=True, database=None)
METHODS = pytest.mark.parametrize("method", ["u", "v"])


def estimate(x, y, method="u", a=None, b=None, **given_settings):
    chosen = quantity("cs").chosen(method)
    wanted = chosen.checked({"bandwidth": 1.0} | given_settings)
    return chosen(as_samples(x, "x", a), as_samples(y, "y", b), **wanted)


def cs(*args, **options):
    return estimate(*args, **options).value


@st.composite
def samples(draw, columns=(1, 2, 5)):
    """Two samples of the same columns, rounded now and then so that rows are tied."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    d = draw(st.sampled_from(columns))
    n, m = draw(st.integers(3, 9)), draw(st.integers(3, 9))
    x, y = rng.normal(size=(n, d)) * 2, rng.normal(size=(m, d)) + 1
    return (np.round(x), np.round(y)) if draw(st.booleans()) else (x, y)


def weights(seed, n, m):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(n, 3.0)), rng.dirichlet(np.full(m, 3.0))


def closed_form(problem, s):
    """The divergence of the two Gaussians under the kernel of bandwidth s."""
    zero = np.zeros(len(problem.m1))
    own = [gaussian.mean_kernel(zero, 2 * cov, s) for cov in (problem.s1, problem.s2)]
    across = gaussian.mean_kernel(problem.m1 - problem.m2, problem.s1 + problem.s2, s)
    return math.log(own[0]) + math.log(own[1]) - 2 * math.log(across)


PAIR_A = gaussian.Problem(np.zeros(1), np.eye(1), np.ones(1), 4 * np.eye(1))


# ------------------------------------------------------------------------------------ oracle


@METHODS
@MANY
@given(pair=samples(), scale=st.sampled_from([0.8, 3.0]))
def test_equals_the_loops(method, pair, scale):
    x, y = pair
    expected = reference(x.tolist(), y.tolist(), scale=scale, unbiased=method == "u")
    # subtracting the rows' kernels with themselves costs digits where the others are small
    assert cs(x, y, method, bandwidth=scale) == pytest.approx(expected, abs=ROUNDING(81, scale=1e6))


@METHODS
@MANY
@given(pair=samples(), seed=st.integers(0, 2**32))
def test_equals_the_loops_with_weights(method, pair, seed):
    x, y = pair
    a, b = weights(seed, len(x), len(y))
    expected = reference(*(v.tolist() for v in (x, y, a, b)), scale=2.0, unbiased=method == "u")
    found = cs(x, y, method, a, b, bandwidth=2.0)
    assert found == pytest.approx(expected, abs=ROUNDING(81, scale=1e4))


# ------------------------------------------------------------------------------------- truth


def test_closed_form_of_pair_a():
    values = [closed_form(PAIR_A, s) for s in (0.2, 1.0, 1e-4)]
    assert values == pytest.approx([0.4171, 0.3105, 0.423144], abs=5e-5)


@pytest.mark.parametrize("s", [0.2, 1.0])
def test_truth_of_pair_a(s):
    x, y = PAIR_A.draw(np.random.default_rng(0), 1500, 1500)
    found = divmatch.cs(x, y, bandwidth=s)
    assert found.value == pytest.approx(closed_form(PAIR_A, s), abs=LUCK(found.se))


@pytest.mark.parametrize("d", [2, 4])
def test_truth_in_many_columns(d):
    rng = np.random.default_rng(d)
    problem = gaussian.problem(rng, d)
    found = divmatch.cs(*problem.draw(rng, 1200, 900), bandwidth=1.5)
    assert found.value == pytest.approx(closed_form(problem, 1.5), abs=LUCK(found.se))


def test_standard_error_is_the_spread_of_the_estimates():
    rng = np.random.default_rng(1)
    found = [divmatch.cs(*PAIR_A.draw(rng, 200, 150), bandwidth=1.0) for _ in range(200)]
    spread = np.std([f.value for f in found], ddof=1)
    assert np.mean([f.se for f in found]) == pytest.approx(spread, abs=LUCK(spread / 400**0.5))


@pytest.mark.slow
@pytest.mark.parametrize("s", [0.2, 1.0])
def test_u_is_nearly_unbiased(s):
    rng = np.random.default_rng(2)
    values = [cs(*PAIR_A.draw(rng, 1500, 1500), bandwidth=s) for _ in range(60)]
    se = np.std(values, ddof=1) / 60**0.5
    assert np.mean(values) == pytest.approx(closed_form(PAIR_A, s), abs=LUCK(se, 4))


# -------------------------------------------------------------------------------- properties


@METHODS
@MANY
@given(pair=samples())
def test_symmetric(method, pair):
    x, y = pair
    assert cs(x, y, method) == pytest.approx(cs(y, x, method), abs=ROUNDING(81, scale=1e6))


@MANY
@given(pair=samples())
def test_v_is_never_negative(pair):
    assert cs(*pair, "v") >= -ROUNDING(81, scale=50)


def test_v_of_a_sample_and_itself_is_zero():
    x = np.random.default_rng(3).normal(size=(30, 2))
    assert cs(x, x[::-1], "v") == pytest.approx(0.0, abs=ROUNDING(30, scale=3))


def test_whole_weights_are_repeated_rows_for_v():
    rng = np.random.default_rng(4)
    x, y, a = rng.normal(size=(9, 2)), rng.normal(size=(7, 2)), rng.integers(1, 4, 9)
    found = cs(x, y, "v", a)
    assert found == pytest.approx(cs(np.repeat(x, a, axis=0), y, "v"), abs=ROUNDING(81, scale=10))


@METHODS
def test_scaling_data_and_bandwidth_together_changes_nothing(method):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(20, 2)), rng.normal(size=(15, 2))
    assert cs(8 * x, 8 * y, method, bandwidth=8.0) == pytest.approx(
        cs(x, y, method), abs=ROUNDING(35, scale=10)
    )


def test_negative_estimate_is_said():
    rng = np.random.default_rng(6)
    found = [estimate(rng.normal(size=(20, 1)), rng.normal(size=(20, 1))) for _ in range(20)]
    assert all((f.value < 0) == ("W01" in [note.code for note in f.notes]) for f in found)


# --------------------------------------------------------------------------------- underflow


@METHODS
def test_samples_far_apart_have_the_divergence_of_their_distance(method):
    assert cs([0.0, 0.0], [100.0, 100.0], method) == pytest.approx(1e4, rel=1e-14)


@METHODS
def test_influences_stay_finite_far_apart(method):
    rng = np.random.default_rng(7)
    found = estimate(rng.normal(size=(9, 2)), rng.normal(size=(7, 2)) + 300, method)
    assert np.isfinite(np.concatenate([found.terms_x, found.terms_y])).all()


def test_rows_far_from_each_other_keep_a_finite_self_term():
    assert cs([0.0, 200.0], [1.0, 1.0]) == pytest.approx(
        -20000 + math.log(1.0) + 1.0 - 2 * math.log(0.5), rel=1e-14
    )


def test_cancelled_self_terms_are_summed_anew():
    gap = 9.0  # exp(-40.5) is lost beside the kernel of a row with itself
    assert cs([0.0, gap], [0.0, 0.0]) == pytest.approx(-(gap**2) / 2 + 2 * math.log(2), rel=1e-12)


def test_bandwidth_that_leaves_one_pair_is_said():
    rng = np.random.default_rng(8)
    found = estimate(rng.normal(size=(50, 2)), rng.normal(size=(50, 2)), bandwidth=1e-3)
    assert "W08" in [note.code for note in found.notes]


def test_one_row_has_no_pairs():
    with pytest.raises(InconclusiveError, match="has no pairs"):
        cs([[0.0]], [[1.0], [2.0]])


# ----------------------------------------------------------------------------- permutations


@METHODS
@pytest.mark.parametrize("bandwidth", [1.0, 0.02])
def test_plan_of_a_split_is_the_estimate_of_its_parts(method, bandwidth):
    rng = np.random.default_rng(9)
    rows = rng.normal(size=(24, 2)) + np.repeat([[0.0], [4.0]], 12, axis=0)
    labels = np.column_stack([np.arange(24) < 12, rng.permutation(np.arange(24) < 12)])
    plan = (
        quantity("cs")
        .chosen(method)
        .plan(
            as_samples(rows, "pool"),
            bandwidth=bandwidth,
            given=None,
            bandwidth_given=1.0,
            invariant=None,
        )
    )
    apart = [cs(rows[split], rows[~split], method, bandwidth=bandwidth) for split in labels.T]
    assert plan.statistic(labels) == pytest.approx(apart, rel=1e-7)


@METHODS
def test_conditional_plan_of_a_split_is_the_estimate_of_its_parts(method):
    rng = np.random.default_rng(10)
    rows = rng.normal(size=(24, 3)) + np.repeat([[0.0], [1.0]], 12, axis=0)
    labels = np.column_stack([np.arange(24) < 12, rng.permutation(np.arange(24) < 12)])
    wanted = {"bandwidth": 1.0, "bandwidth_given": 0.4, "given": "0", "invariant": None}
    plan = quantity("cs").chosen(method).plan(as_samples(rows, "pool"), **wanted)
    apart = [cs(rows[split], rows[~split], method, **wanted) for split in labels.T]
    assert plan.statistic(labels) == pytest.approx(apart, rel=1e-7)


def test_named_columns_survive_the_shuffling_of_a_test():
    rng = np.random.default_rng(11)
    x, y = (Samples(rng.normal(size=(20, 2)), None, n, ("age", "income")) for n in ("x", "y"))
    estimator = quantity("cs").chosen("u")
    wanted = {"bandwidth": 1.0, "bandwidth_given": 1.0, "given": "age", "invariant": None}
    found = permutation_test(estimator, x, y, wanted, permutations=19)
    assert 0 < found.p_value <= 1


# ------------------------------------------------------------------------------- conditional


def curve(rng, n, m, delta=1.0):
    """y = sin 3x + δ·1{second} + e/2; x uniform in the first, its root in the second sample."""
    x1, x2 = rng.random(n), np.sqrt(rng.random(m))
    y1 = np.sin(3 * x1) + 0.5 * rng.normal(size=n)
    y2 = np.sin(3 * x2) + delta + 0.5 * rng.normal(size=m)
    return np.column_stack([x1, y1]), np.column_stack([x2, y2])


ON_CURVE = {"given": "0", "bandwidth": 0.3, "bandwidth_given": 0.05}


@METHODS
@pytest.mark.parametrize("weighted", [False, True])
def test_conditional_equals_the_loops(method, weighted):
    p, q = curve(np.random.default_rng(12), 30, 24)
    a, b = weights(12, 30, 24) if weighted else (None, None)
    lists = [v.tolist() for v in (p, q, a, b)] if weighted else [p.tolist(), q.tolist()]
    expected = plain_conditional(*lists, scales=(0.2, 0.3), unbiased=method == "u")
    found = cs(p, q, method, a, b, **ON_CURVE | {"bandwidth_given": 0.2})
    assert found == pytest.approx(expected, abs=ROUNDING(54, scale=1e3))


@METHODS
def test_compiled_kernels_give_the_same_conditional_divergence(method, monkeypatch):
    from divmatch.kernels import pairwise

    p, q = curve(np.random.default_rng(13), 60, 50)
    expected = cs(p, q, method, **ON_CURVE)
    monkeypatch.setattr(pairwise, "COMPILED_FROM", 0.0)
    with executing(device="cpu"):
        assert cs(p, q, method, **ON_CURVE) == pytest.approx(expected, rel=1e-9)


@METHODS
def test_conditional_influences_are_derivatives_of_the_weights(method):
    rng = np.random.default_rng(14)
    p, q = curve(rng, 40, 30)
    a, b = weights(14, 40, 30)
    found = estimate(p, q, method, a, b, **ON_CURVE)
    step = 1e-6
    for terms, which in ((found.terms_x, 0), (found.terms_y, 1)):
        masses = (a, b)[which]
        for row in (0, 7, 19):
            moved = []
            for sign in (1, -1):
                shifted = masses * (1 - sign * step)
                shifted[row] += sign * step
                pair = (shifted, b) if which == 0 else (a, shifted)
                moved.append(cs(p, q, method, *pair, **ON_CURVE))
            slope = (moved[0] - moved[1]) / (2 * step)
            # leaving rows out divides by 1 − a, whose change is of the order of a row's own weight
            slack = 0.0 if method == "v" else 2 * masses.max() * np.abs(terms).max()
            expected = terms[row] - masses @ terms
            assert slope == pytest.approx(expected, abs=1e-5 * np.abs(terms).max() + slack)


def test_conditional_truth_of_shifted_curves():
    rng = np.random.default_rng(15)
    values = [cs(*curve(rng, 600, 600), **ON_CURVE) for _ in range(8)]
    se = np.std(values, ddof=1) / 8**0.5
    assert np.mean(values) == pytest.approx(1 / (2 * 0.25 + 0.09), abs=LUCK(se))


@pytest.mark.slow
@pytest.mark.parametrize(("delta", "truth"), [(1.0, 1 / 0.59), (0.0, 0.0), (0.5, 0.25 / 0.59)])
def test_conditional_truth_over_many_samples(delta, truth):
    rng = np.random.default_rng(16)
    values = [cs(*curve(rng, 1500, 1500, delta), **ON_CURVE) for _ in range(20)]
    se = np.std(values, ddof=1) / 20**0.5
    assert np.mean(values) == pytest.approx(truth, abs=LUCK(se, 4, bias=0.01))


def test_conditional_divergence_does_not_see_the_marginals():
    rng = np.random.default_rng(17)
    found = [cs(*curve(rng, 400, 400, 0.0), **ON_CURVE) for _ in range(8)]
    plain = [cs(*curve(rng, 400, 400, 0.0), bandwidth=0.3) for _ in range(8)]
    assert abs(np.mean(found)) < np.mean(plain) / 2


@pytest.mark.slow
def test_v_of_equal_conditionals_is_biased_upward_a_little():
    rng = np.random.default_rng(18)
    values = [cs(*curve(rng, 1500, 1500, 0.0), "v", **ON_CURVE) for _ in range(3)]
    assert np.mean(values) == pytest.approx(0.026, abs=LUCK(0.008 / 3**0.5))


@pytest.mark.slow
def test_conditional_standard_error_is_the_spread_of_the_estimates():
    rng = np.random.default_rng(19)
    found = [divmatch.cs(*curve(rng, 300, 300), **ON_CURVE) for _ in range(40)]
    spread = np.std([f.value for f in found], ddof=1)
    assert np.mean([f.se for f in found]) == pytest.approx(spread, abs=LUCK(spread / 80**0.5))


@METHODS
def test_rows_without_a_neighbour_in_the_other_sample_make_it_infinite(method):
    p, q = curve(np.random.default_rng(20), 30, 30)
    q[:, 0] += 100
    found = estimate(p, q, method, **ON_CURVE)
    assert found.value == math.inf


@METHODS
def test_infinite_conditional_divergence_is_said(method):
    p, q = curve(np.random.default_rng(20), 30, 30)
    q[:4, 0] += 100
    found = estimate(p, q, method, **ON_CURVE)
    assert [note.code for note in found.notes] == ["W02"]


def test_compiled_kernels_agree_that_it_is_infinite(monkeypatch):
    from divmatch.kernels import pairwise

    monkeypatch.setattr(pairwise, "COMPILED_FROM", 0.0)
    p, q = curve(np.random.default_rng(20), 30, 30)
    q[:4, 0] += 100
    with executing(device="cpu"):
        assert cs(p, q, **ON_CURVE) == math.inf


def test_products_that_underflow_are_summed_by_logarithms():
    p, q = curve(np.random.default_rng(21), 30, 30)
    q[:, 1] += 13.0  # some exp(-r²/(2·0.4²)) are below 1e-250, none below 1e-308
    found = estimate(p, q, "v", **ON_CURVE | {"bandwidth": 0.4})
    exact = plain_conditional(p.tolist(), q.tolist(), scales=(0.05, 0.4), unbiased=False)
    assert found.value == pytest.approx(exact, rel=1e-9)


def test_median_bandwidths_are_those_of_the_blocks():
    p, q = curve(np.random.default_rng(22), 30, 30)
    found = estimate(p, q, given="0", bandwidth="median")
    blocks = [divmatch.mmd(p[:, [c]], q[:, [c]]).params["bandwidth"] for c in (0, 1)]
    assert SAME([found.params["bandwidth_given"], found.params["bandwidth"]], blocks)


@pytest.mark.parametrize("wanted", ["0", "0-1", "0,1", "!2"])
def test_given_columns_are_found_by_position_range_and_exclusion(wanted):
    rng = np.random.default_rng(23)
    x = as_samples(rng.normal(size=(20, 3)), "x")
    first, rest = conditional.split(x, wanted)
    assert (first.d, rest.d) == ((1, 2) if wanted == "0" else (2, 1))


def test_given_all_columns_leaves_nothing():
    with pytest.raises(SettingError, match="names all 2 columns"):
        cs(np.eye(2), np.eye(2), given="0,1")


def test_given_an_unknown_column_is_refused():
    with pytest.raises(FileError, match="--given 7: column '7' not found"):
        cs(np.eye(2), np.eye(2), given="7")


def test_given_nothing_is_refused():
    with pytest.raises(SettingError, match="names no column"):
        cs(np.eye(2), np.eye(2), given=" ,")


def test_given_and_invariant_are_not_combined():
    with pytest.raises(SettingError, match="cannot be combined"):
        cs(np.eye(3), np.eye(3), given="0", invariant="perm:1,2")
