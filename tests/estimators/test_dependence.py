"""Distance correlation: loops, closed forms, groups of columns, weights, permutations, chi-square."""

import math
from importlib.util import find_spec

import numpy as np
import pytest
from scipy import stats

import divmatch
from divmatch.errors import DivmatchError, InconclusiveError, SettingError
from divmatch.estimator import quantity
from divmatch.estimators import distance_moments as moments
from divmatch.estimators.column_groups import groups_of
from divmatch.kernels.execution import executing
from divmatch.samples import Samples, as_samples
from tests.reference import dependence as plain
from tests.tolerances import LUCK, ROUNDING, SAME

METHODS = pytest.mark.parametrize("method", ["u", "v"])
KINDS = pytest.mark.parametrize("kind", ["correlation", "covariance"])
WIDTHS = pytest.mark.parametrize(("x", "y"), [("0", "1"), ("0", "1,2"), ("0,3", "1-2")])


def sample(seed, n, d=4):
    """Rows whose columns depend on each other."""
    z = np.random.default_rng([seed, n, d]).normal(size=(n, d))
    return z + 0.7 * z[:, :1] ** 2


def normal_pair(seed, n, rho):
    z = np.random.default_rng([seed, n]).normal(size=(n, 2))
    z[:, 1] = rho * z[:, 0] + math.sqrt(1 - rho**2) * z[:, 1]
    return z


def columns(rows, text):
    names = {"0": [0], "1": [1], "1,2": [1, 2], "0,3": [0, 3], "1-2": [1, 2]}
    return rows[:, names[text]].tolist()


@METHODS
@KINDS
@WIDTHS
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_plain_loops(method, kind, x, y, weighted):
    rows = sample(0, 7)
    w = np.random.default_rng(1).random(7) + 0.5 if weighted else None
    found = divmatch.dcor(rows, x=x, y=y, method=method, kind=kind, weights=w).value
    a, b = (plain.distances(columns(rows, text)) for text in (x, y))
    w = np.full(7, 1 / 7) if w is None else w / w.sum()
    expected = getattr(plain, kind)(a, b, w.tolist(), method == "u")
    assert found == pytest.approx(expected, abs=ROUNDING(7**4, scale=20))


@METHODS
@KINDS
@pytest.mark.parametrize("groups", [["0", "1", "2"], ["0", "1-2", "3", "4"]])
def test_joint_equals_plain_loops(method, kind, groups):
    rows = sample(2, 9, 5)
    found = divmatch.dcor(
        rows, x=groups[0], y=groups[1:], form="joint", method=method, kind=kind
    ).value
    points = [rows[:, [int(g)] if g != "1-2" else [1, 2]].tolist() for g in groups]
    matrices = [plain.distances(p) for p in points]
    expected = plain.joint(matrices, 1.0, method == "u", kind == "correlation")
    assert found == pytest.approx(expected, abs=ROUNDING(9**4, scale=100))


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("constant", [0.3, 1.0, 2.0])
def test_joint_of_two_groups_is_the_pair_for_every_constant(unbiased, constant):
    rows, w = sample(3, 12), np.full(12, 1 / 12)
    one, other = (moments.distances(rows[:, c], w) for c in ([0, 3], [1]))
    pair = moments.covariance(one, other, w, unbiased=unbiased)
    joint = moments.joint_covariance([one, other], None, w, unbiased=unbiased, constant=constant)
    assert joint.value == pytest.approx(pair.value, abs=ROUNDING(144, scale=20))


def test_influence_of_joint_two_groups_is_that_of_the_pair():
    rows, w = sample(3, 12), np.full(12, 1 / 12)
    one, other = (moments.distances(rows[:, c], w) for c in ([0, 3], [1]))
    pair = moments.covariance(one, other, w, unbiased=False)
    found = moments.joint_covariance([one, other], None, w, unbiased=False).influence
    expected = 2 * (pair.rows - pair.rows.mean())
    assert found - found.mean() == pytest.approx(expected, abs=ROUNDING(144, scale=20))


# -------------------------------------------------------------------------------- closed forms


def bracket(rho):
    s = math.sqrt
    return rho * math.asin(rho) + s(1 - rho**2) - rho * math.asin(rho / 2) - s(4 - rho**2) + 1


@METHODS
@pytest.mark.parametrize("rho", [0.3, 0.6, -0.9])
@KINDS
def test_bivariate_normal(method, rho, kind):
    truth = bracket(rho) * 4 / math.pi
    if kind == "correlation":
        truth = bracket(rho) / (1 + math.pi / 3 - math.sqrt(3))
    found = divmatch.dcor(normal_pair(4, 5000, rho), method=method, kind=kind)
    assert found.value == pytest.approx(truth, abs=LUCK(found.se, bias=0.001))


def test_bivariate_normal_in_figures():
    assert 4 / math.pi * bracket(0.6) == pytest.approx(0.12148, abs=5e-6)
    assert bracket(0.6) / bracket(1.0) == pytest.approx(0.30274, abs=5e-6)
    assert 4 / math.pi * bracket(1.0) == pytest.approx(0.401257, abs=5e-7)


def population(*bits):
    """All cases of a sum of bits, each once, as the whole population."""
    return np.array([[a ^ b, a, b] for a in (0, 1) for b in (0, 1)], dtype=float)


def test_exclusive_or_depends_on_both_bits_together_only():
    rows = population()
    for y in "12":
        assert divmatch.dcor(rows, x="0", y=y, method="v", kind="covariance").value == 0.0
    both = divmatch.dcor(rows, x="0", y="1,2", method="v", kind="covariance").value
    assert both == pytest.approx((2 - math.sqrt(2)) / 8, abs=ROUNDING(16))


def test_concatenated_groups_are_one_group():
    rows = sample(5, 30)
    apart = divmatch.dcor(rows, x="0", y=["1", "2"], form="concatenated")
    assert SAME(apart.value, divmatch.dcor(rows, x="0", y="1,2").value)


@pytest.mark.parametrize("constant", [0.5, 1.0, 3.0])
def test_joint_of_exclusive_or_is_an_eighth_for_every_constant(constant):
    w = np.full(4, 0.25)
    groups = [moments.distances(population()[:, [c]], w) for c in range(3)]
    found = moments.joint_covariance(groups, None, w, unbiased=False, constant=constant)
    assert found.value == pytest.approx(1 / 8, abs=ROUNDING(16, scale=50))


def test_joint_exclusive_or_of_a_sample():
    rng = np.random.default_rng(6)
    a, b = rng.random((2, 600)) < 0.5
    rows = np.column_stack([a ^ b, a, b]).astype(float)
    found = divmatch.dcor(rows, x="0", y=["1", "2"], form="joint", kind="covariance")
    assert found.value == pytest.approx(1 / 8, abs=0.005)  # figure of a run: .12415


# ------------------------------------------------------------------------------------- properties


@METHODS
@WIDTHS
def test_correlation_is_free_of_scale_and_place(method, x, y):
    rows = sample(7, 40)
    moved = rows.copy()
    moved[:, [0, 3]] = 5.0 - 3.0 * rows[:, [0, 3]]
    found, expected = (divmatch.dcor(r, x=x, y=y, method=method).value for r in (moved, rows))
    assert found == pytest.approx(expected, abs=ROUNDING(1600, scale=20))


@METHODS
@WIDTHS
@KINDS
def test_groups_may_be_swapped(method, x, y, kind):
    rows = sample(8, 40)
    found = divmatch.dcor(rows, x=x, y=y, method=method, kind=kind).value
    expected = divmatch.dcor(rows, x=y, y=x, method=method, kind=kind).value
    assert found == pytest.approx(expected, abs=ROUNDING(1600, scale=20))


@METHODS
def test_correlation_of_a_similar_column_is_one(method):
    x = sample(9, 50, 1)
    found = divmatch.dcor(np.hstack([x, 7 - 2 * x]), method=method).value
    assert found == pytest.approx(1.0, abs=ROUNDING(2500, scale=20))


@METHODS
@pytest.mark.parametrize("n", [30, 300])
def test_one_column_equals_two_of_which_one_is_constant(method, n):
    rows = sample(10, n, 2).round(1)
    wide = np.column_stack([rows, np.ones(n)])
    found = divmatch.dcor(wide, x="0,2", y="1", method=method).value
    assert found == pytest.approx(
        divmatch.dcor(rows, method=method).value, abs=ROUNDING(n * n, scale=20)
    )


@WIDTHS
def test_v_counts_whole_weights_as_repeated_rows(x, y):
    rows, counts = sample(11, 15), np.random.default_rng(11).integers(1, 4, 15)
    repeated = divmatch.dcor(np.repeat(rows, counts, axis=0), x=x, y=y, method="v").value
    found = divmatch.dcor(rows, x=x, y=y, method="v", weights=counts).value
    assert found == pytest.approx(repeated, abs=ROUNDING(900, scale=20))


@METHODS
def test_equal_weights_are_none(method):
    rows = sample(12, 20, 2)
    found = divmatch.dcor(rows, method=method, weights=np.full(20, 3.0)).value
    assert found == pytest.approx(divmatch.dcor(rows, method=method).value, abs=ROUNDING(400))


@pytest.mark.parametrize("form", ["pair", "joint"])
@KINDS
def test_influence_is_the_slope_along_a_weight(kind, form):
    rows, w, i, step = sample(13, 9), np.full(9, 1 / 9), 4, 1e-4
    estimator = quantity("dcor").chosen("v")
    settings = estimator.checked({"x": "0", "y": "1;2,3", "kind": kind, "form": form})

    def value(e):
        weights = (1 - e) * w + e * np.eye(9)[i]
        return estimator(as_samples(rows, "x", weights), **settings).value

    slope = (value(step) - value(-step)) / (2 * step)
    terms = estimator(as_samples(rows, "x"), **settings).terms_x
    # the next term of the difference is of the size of its square
    assert terms[i] - terms.mean() == pytest.approx(slope, abs=100 * step**2)


@METHODS
@KINDS
def test_standard_error_is_that_of_repeated_samples(method, kind):
    runs = [divmatch.dcor(normal_pair(s, 100, 0.7), method=method, kind=kind) for s in range(150)]
    spread = np.std([run.value for run in runs], ddof=1)
    mean = np.mean([run.se for run in runs])
    assert mean == pytest.approx(spread, abs=LUCK(spread / 300**0.5, bias=0.05 * spread))


@KINDS
def test_unbiased_for_independent_groups(kind):
    found = [divmatch.dcor(normal_pair(s, 30, 0.0), kind=kind).value for s in range(100)]
    assert np.mean(found) == pytest.approx(0.0, abs=LUCK(np.std(found, ddof=1) / 100**0.5))


def test_kinds_in_one_call_are_those_of_two(tmp_path):
    rows = as_samples(sample(14, 40, 2), "x")
    from divmatch.inference import infer_all

    estimator = quantity("dcor").chosen(None)
    several = [estimator.checked({"kind": kind}) for kind in ("correlation", "covariance")]
    found = infer_all(estimator, rows, None, several)
    for one, settings in zip(found, several, strict=True):
        assert SAME(one.value, divmatch.dcor(rows.points, **settings).value)


def test_rows_far_from_zero_keep_their_digits():
    rows = normal_pair(15, 5000, 0.5)
    found = divmatch.dcor(rows + np.array([1e7, -1e7])).value
    assert found == pytest.approx(divmatch.dcor(rows).value, abs=1e-8)  # 1e7 costs seven digits


def test_threads_do_not_change_a_digit(monkeypatch):
    monkeypatch.setattr("divmatch.kernels.execution.THREADS_FROM", 0.0)
    found = []
    for threads in (1, 2):
        with executing(threads=threads, device="cpu"):
            found.append(divmatch.dcor(sample(16, 600), x="0", y="1-2", permutations=9).as_dict())
    assert found[0] == found[1]


@pytest.mark.skipif(find_spec("dcor") is None, reason="dcor is not installed")
@pytest.mark.parametrize("d", [1, 2])
def test_agrees_with_dcor(d):
    import dcor

    rows = sample(17, 300, 2 * d)
    x, y = rows[:, :d], rows[:, d:]
    expected = dcor.u_distance_correlation_sqr(x, y)
    names = {"x": "0", "y": "1"} if d == 1 else {"x": "0-1", "y": "2-3"}
    assert divmatch.dcor(rows, **names).value == pytest.approx(expected, abs=ROUNDING(90_000))


# ---------------------------------------------------------------------------------------- groups


TABLE = Samples(
    np.random.default_rng(18).random((9, 6)),
    columns=("age", "pay", "kind=a", "kind=b", "emb[0]", "emb[1]"),
    name="t",
)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ("age", "pay", ((0,), (1,))),
        ("kind", "emb", ((2, 3), (4, 5))),
        ("age,kind", "p*", ((0, 2, 3), (1,))),
        ("age", None, ((0,), (1, 2, 3, 4, 5))),
        (None, "age;pay", ((2, 3, 4, 5), (0, 1))),
        ("age", "pay;kind=a", ((0,), (1, 2))),
    ],
)
def test_groups_are_named_by_column(x, y, expected):
    assert groups_of(TABLE, x, y, "pair").columns == expected


def test_joint_keeps_its_groups_apart():
    assert groups_of(TABLE, "age", "pay;kind", "joint").columns == ((0,), (1,), (2, 3))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give --x and --y, x has 4 columns"),
        ({"x": "0", "y": "0,1"}, "column '0' is in two groups"),
        ({"x": "0-3"}, "--x names every column"),
        ({"x": "9"}, "column '9' not found"),
        ({"x": "0", "y": "1", "form": "joint"}, "needs three groups"),
        ({"x": "0", "y": ["1", "1"], "form": "joint"}, "column '1' is in two groups"),
        ({"x": "0", "y": "1", "form": "both"}, "expected pair or joint"),
    ],
)
def test_groups_that_are_none_are_one_line(given, message):
    with pytest.raises(DivmatchError, match=message) as caught:
        divmatch.dcor(sample(19, 10), **given)
    assert "\n" not in str(caught.value)


@METHODS
@KINDS
@pytest.mark.parametrize("form", ["pair", "joint"])
def test_constant_group_depends_on_nothing(method, kind, form):
    rows = sample(20, 20)
    rows[:, 1] = 3.0
    found = divmatch.dcor(
        rows,
        x="0",
        y=["1", "2"] if form == "joint" else "1",
        method=method,
        kind=kind,
        form=form,
        permutations=9,
    )
    assert "W33" in [note.code for note in found.warnings]
    if form == "pair":
        assert (found.value, found.test.p_value) == (0.0, 1.0)


@pytest.mark.parametrize("weights", [None, [1, 1, 1, 0, 0]])
def test_unbiased_needs_four_rows(weights):
    rows = sample(21, 5 if weights else 3, 2)
    with pytest.raises(InconclusiveError, match="needs 4; choose --method v"):
        divmatch.dcor(rows, weights=weights)


def test_weighted_rows_are_not_permuted():
    with pytest.raises(SettingError, match="rows with weights have no permutations"):
        divmatch.dcor(sample(22, 10, 2), weights=np.arange(1, 11), permutations=9)


def test_joint_has_no_weighted_unbiased_form():
    with pytest.raises(SettingError, match="choose --method v"):
        divmatch.dcor(sample(22, 10), x="0", y=["1", "2"], form="joint", weights=np.arange(1, 11))


# ----------------------------------------------------------------------------------------- tests


@METHODS
@KINDS
@pytest.mark.parametrize(
    ("x", "y", "form"), [("0", "1", "pair"), ("0", "1,2", "pair"), ("0", "1;2,3", "joint")]
)
def test_plan_is_the_estimate_of_the_permuted_rows(method, kind, x, y, form):
    rows, estimator = sample(23, 25), quantity("dcor").chosen(method)
    settings = estimator.checked({"x": x, "y": y, "kind": kind, "form": form})
    plan = estimator.plan(as_samples(rows, "x"), **settings)
    rng = np.random.default_rng(24)
    orders = np.column_stack(
        [np.concatenate([rng.permutation(25) for _ in range(plan.moved)]) for _ in range(3)]
    )
    expected = []
    for order in orders.T:
        moved = rows.copy()
        moved[:, 1:3] = rows[order[:25], 1:3]
        if form == "joint":
            moved[:, 2:] = rows[order[25:], 2:]
        expected.append(estimator(as_samples(moved, "x"), **settings).value)
    assert plan.statistic(orders) == pytest.approx(expected, abs=ROUNDING(625, scale=50))


@pytest.mark.parametrize("form", ["pair", "joint"])
def test_permutations_find_dependence(form):
    y = ["1", "2"] if form == "joint" else "1,2"
    found = divmatch.dcor(sample(25, 80), x="0", y=y, form=form, permutations=49)
    assert found.test.p_value == 1 / 50
    assert found.test.method == "permutation"


@pytest.mark.parametrize("rho", [0.0, 0.2, 0.9])
def test_chi_square_p_value_is_the_tail(rho):
    found = divmatch.dcor(normal_pair(26, 200, rho))
    expected = stats.chi2.sf(200 * found.value + 1, 1)
    assert found.test.method == "chi-square"
    assert found.test.p_value == pytest.approx(expected, rel=ROUNDING(100))


def test_chi_square_needs_equal_weights_and_the_unbiased_form():
    rows = normal_pair(27, 50, 0.5)
    assert divmatch.dcor(rows, method="v").test is None
    assert divmatch.dcor(rows, weights=np.arange(1, 51)).test is None


def levels_of(p):
    levels = np.array([0.05, 0.1, 0.25, 0.5, 0.75])
    se = np.sqrt(levels * (1 - levels) / len(p))
    return (np.array(p)[:, None] <= levels + 1e-9).mean(axis=0), levels, se


@pytest.mark.slow
@METHODS
@pytest.mark.parametrize(("y", "form"), [("1", "pair"), ("1-3", "pair"), ("1;2,3", "joint")])
def test_p_values_are_uniform_for_independent_groups(method, y, form):
    p = []
    for seed in range(400):
        rows = np.random.default_rng([28, seed]).normal(size=(20, 4))
        found = divmatch.dcor(
            rows, x="0", y=y, form=form, method=method, permutations=19, seed=seed
        )
        p.append(found.test.p_value)
    share, levels, se = levels_of(p)
    assert np.abs(share - levels).max() <= LUCK(se.max(), z=4)


@pytest.mark.slow
def test_chi_square_p_values_are_never_too_small():
    p = [divmatch.dcor(normal_pair(s, 100, 0.0)).test.p_value for s in range(2000)]
    share, levels, se = levels_of(p)
    assert share[0] <= levels[0] + LUCK(se[0], z=4)


@pytest.mark.slow
@METHODS
@KINDS
def test_interval_covers(method, kind):
    truth = bracket(0.6) * 4 / math.pi
    if kind == "correlation":
        truth = bracket(0.6) / bracket(1.0)
    hits = 0
    for seed in range(400):
        found = divmatch.dcor(normal_pair(seed, 300, 0.6), method=method, kind=kind)
        hits += found.ci.low <= truth <= found.ci.high
    assert hits / 400 == pytest.approx(0.95, abs=LUCK(math.sqrt(0.95 * 0.05 / 400), z=3))
