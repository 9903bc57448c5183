"""Plug-in divergences: distinct rows, histograms, kernel densities, fitted Gaussians."""

import math

import numpy as np
import pytest
from scipy.stats import entropy, gaussian_kde
from sklearn.neighbors import KernelDensity

from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import quantity
from divmatch.estimators.discrete import distinct_rows
from divmatch.estimators.gaussian_forms import Frame, renyi_form
from divmatch.estimators.partition import cells_of_equal_mass
from divmatch.inference import infer
from divmatch.kernels.densities import log_kernel_sums
from divmatch.kernels.execution import executing
from divmatch.randomness import stream
from divmatch.samples import as_samples
from tests.reference import cells as reference
from tests.tolerances import LUCK, ROUNDING, SAME, SOLVER

N = 20000
PAIR_A = {  # N(0, 1) || N(1, 4)
    "kl": 0.443147,
    "reverse-kl": 1.306853,
    "jeffreys": 1.75,
    "js": 0.128175,
    "hellinger": 0.149195,
    "tv": 0.390066,
    "chi2": 0.744026,
    "le-cam": 0.434965,
    "softened-rkl": 1.050503,
    "skew-js:0.1": 0.451313,
}
ORDERS_A = {0.5: 0.323144, 1.0: 0.443147, 2.0: 0.556196, math.inf: 0.859814}


def result(name, method, x, y, a=None, b=None, **given):
    chosen = quantity(name).chosen(method)
    return infer(chosen, as_samples(x, "x", a), as_samples(y, "y", b), chosen.checked(given))


def codes(found):
    return [note.code for note in found.warnings]


def pair_a(seed=0, n=N):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 1)), rng.normal(1.0, 2.0, size=(n, 1))


def categories(seed=0, n=300, m=400):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, (n, 2)), rng.integers(0, 3, (m, 2)) % 3


# --------------------------------------------------------------------------------- distinct rows


@pytest.mark.parametrize("kind", ["kl", "js", "tv", "hellinger", "chi2"])
@pytest.mark.parametrize("weighted", [False, True])
def test_discrete_equals_the_loops(kind, weighted):
    x, y = categories(1)
    rng = np.random.default_rng(1)
    a, b = (rng.random(300), rng.random(400)) if weighted else (None, None)
    weights = (None, None) if a is None else (a.tolist(), b.tolist())
    p, q = reference.paired(x.tolist(), y.tolist(), *weights)
    found = result("fdiv", "discrete", x, y, a, b, kind=kind, correction="none").value
    assert found == pytest.approx(getattr(reference, kind)(p, q), abs=ROUNDING(700))


def test_discrete_kl_equals_scipy():
    x, y = categories(2)
    code, _ = distinct_rows(np.vstack([x, y]).astype(float))
    p, q = np.bincount(code[:300]), np.bincount(code[300:])
    found = result("kl", "discrete", x, y, correction="none").value
    assert found == pytest.approx(entropy(p, q), abs=ROUNDING(700))


def test_correction_of_kl_equals_the_loops():
    x, y = categories(3)
    p, q = reference.paired(x.tolist(), y.tolist())
    expected = reference.kl(p, q) - reference.kl_bias(p, q, 300, 400)
    assert result("kl", "discrete", x, y).value == pytest.approx(expected, abs=ROUNDING(700))


def test_uncorrected_value_keeps_its_bias_and_the_interval_moves():
    x, y = categories(4)
    plain, mended = (result("kl", "discrete", x, y, correction=c) for c in ("none", "first-order"))
    assert (plain.ci.low + plain.ci.high) / 2 == pytest.approx(mended.value, abs=ROUNDING(700))


@pytest.mark.parametrize(
    ("smooth", "pseudo"), [("laplace", 1.0), ("jeffreys", 0.5), ("perks", 1 / 3), (2.5, 2.5)]
)
def test_smoothing_adds_to_every_count(smooth, pseudo):
    found = result("kl", "discrete", [0, 0, 1], [0, 1, 2, 2], smooth=smooth).value
    p = (np.array([2, 1, 0]) + pseudo) / (3 + 3 * pseudo)
    q = (np.array([1, 1, 2]) + pseudo) / (4 + 3 * pseudo)
    assert found == pytest.approx(entropy(p, q), abs=ROUNDING(7))


def test_smoothing_and_correction_are_not_combined():
    with pytest.raises(SettingError, match="choose one"):
        result("kl", "discrete", [0, 1], [0, 1], smooth="laplace", correction="first-order")


def test_infinite_value_names_its_cells():
    found = result("kl", "discrete", [0, 0, 0, 7, 7, 9], [0, 0, 1])
    assert (found.value, codes(found)[0]) == (math.inf, "W02")
    assert "y has no mass on 2 of 4 cells holding 0.5 of x: 7, 9" in found.warnings[0].message


def test_unshared_cells_are_finite_for_bounded_kinds():
    found = result("fdiv", "discrete", [0, 0], [1, 1], kind="js", correction="none").value
    assert found == pytest.approx(math.log(2), abs=ROUNDING(4))


def test_few_expected_rows_are_said():
    assert "W25" in codes(result("kl", "discrete", [0, 1, 2] * 3, [0, 1, 2] * 3))


def test_order_inf_is_the_largest_log_ratio():
    found = result("renyi", "discrete", [0] * 30 + [1] * 10, [0] * 20 + [1] * 20, alpha=math.inf)
    assert found.value == pytest.approx(math.log(1.5), abs=ROUNDING(2))
    assert "W15" in codes(found)


def test_distinct_rows_do_not_see_the_sign_of_zero():
    assert distinct_rows(np.array([[0.0, 1.0], [-0.0, 1.0]]))[0].tolist() == [0, 0]


def test_corrected_value_is_unbiased():
    rng = np.random.default_rng(5)
    p, q = rng.dirichlet(np.full(10, 10.0)), rng.dirichlet(np.full(10, 10.0))
    values = [
        result("kl", "discrete", rng.choice(10, 400, p=p), rng.choice(10, 600, p=q)).value
        for _ in range(300)
    ]
    truth = float(entropy(p, q))
    luck = LUCK(np.std(values) / 300**0.5, bias=0.0005)
    assert np.mean(values) == pytest.approx(truth, abs=luck)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kl", "renyi", "fdiv"])
def test_interval_of_discrete_covers(name):
    rng = np.random.default_rng(6)
    p, q = rng.dirichlet(np.full(10, 10.0)), rng.dirichlet(np.full(10, 10.0))
    truth = {
        "kl": reference.kl(p, q),
        "renyi": reference.renyi(2.0, p, q),
        "fdiv": reference.js(p, q),
    }[name]
    found = [
        result(name, "discrete", rng.choice(10, 400, p=p), rng.choice(10, 600, p=q)).ci
        for _ in range(1000)
    ]
    share = np.mean([ci.low <= truth <= ci.high for ci in found])
    assert share == pytest.approx(0.95, abs=LUCK((0.95 * 0.05 / 1000) ** 0.5, bias=0.01))


# ------------------------------------------------------------------------------------ histograms


def test_cells_of_one_column_hold_equal_mass():
    rows = np.random.default_rng(7).normal(size=(1000, 1))
    cell, count = cells_of_equal_mass(rows, np.full(1000, 1e-3), 7)
    assert count == 7
    assert np.ptp(np.bincount(cell)) <= 2


def test_atom_keeps_a_cell_of_its_own():
    rows = np.concatenate([np.zeros(500), np.random.default_rng(8).normal(size=500)])[:, None]
    cell, _ = cells_of_equal_mass(rows, np.full(1000, 1e-3), 16)
    assert len(set(cell[:500])) == 1
    assert (cell == cell[0]).sum() < 600


def test_equal_rows_share_a_cell():
    rows = np.random.default_rng(9).integers(0, 3, (200, 2)).astype(float)
    cell, _ = cells_of_equal_mass(rows, np.full(200, 1 / 200), 50)
    code, first = distinct_rows(rows)
    assert SAME(cell, cell[first][code])


def test_histogram_with_a_cell_for_every_atom_is_the_discrete_estimate():
    rng = np.random.default_rng(10)
    x, y = rng.choice(4, 400, p=[0.4, 0.3, 0.2, 0.1]), rng.choice(4, 400)
    found = result("kl", "hist", x, y, bins=64).value
    assert found == pytest.approx(result("kl", "discrete", x, y).value, abs=ROUNDING(800))


@pytest.mark.parametrize("kind", PAIR_A)
def test_histogram_finds_the_truth(kind):
    if kind in ("reverse-kl", "jeffreys", "softened-rkl"):
        pytest.skip("P holds next to nothing in the tails of Q, where the truth is made")
    found = result("fdiv", "hist", *pair_a(11), kind=kind)
    assert found.value == pytest.approx(PAIR_A[kind], abs=LUCK(found.se, bias=0.002))


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0])
def test_histogram_finds_orders(order):
    found = result("renyi", "hist", *pair_a(12), alpha=order)
    assert found.value == pytest.approx(ORDERS_A[order], abs=LUCK(found.se, bias=0.003))


def test_histogram_of_equal_rows_is_refused():
    with pytest.raises(InconclusiveError, match="all rows are equal"):
        result("kl", "hist", [1.0, 1.0], [1.0, 1.0])


# ------------------------------------------------------------------------------ kernel densities

WIDTHS = 0.8 * math.sqrt(0.5) ** np.arange(4)


def test_kernel_sums_equal_scikit_learns():
    rng = np.random.default_rng(13)
    at, rows = rng.normal(size=(40, 2)), rng.normal(size=(50, 2))
    weights = rng.dirichlet(np.full(50, 3.0))
    found = log_kernel_sums(at, rows, weights, WIDTHS)
    for place, width in enumerate(WIDTHS):
        tree = KernelDensity(bandwidth=width).fit(rows, sample_weight=weights)
        expected = tree.score_samples(at) + np.log(2 * math.pi * width**2)
        assert found[:, place] == pytest.approx(expected, abs=ROUNDING(50, scale=100))


def test_own_kernel_is_left_out():
    rows = np.random.default_rng(14).normal(size=(30, 2))
    weights = np.full(30, 1 / 30)
    found = log_kernel_sums(rows, rows, weights, WIDTHS, exclude_self=True)
    for i in range(30):
        others = np.delete(rows, i, axis=0)
        alone = log_kernel_sums(rows[i : i + 1], others, weights[1:], WIDTHS)
        assert found[i] == pytest.approx(alone[0], abs=ROUNDING(30, scale=100))


def test_kernels_far_away_do_not_vanish():
    found = log_kernel_sums(np.array([[1e4]]), np.zeros((1, 1)), np.ones(1), np.array([1.0]))
    assert found[0, 0] == pytest.approx(-0.5e8, rel=ROUNDING(1))


def test_kernel_sums_do_not_depend_on_the_threads():
    rows = np.random.default_rng(15).normal(size=(2000, 2))
    weights = np.full(2000, 1 / 2000)
    found = []
    for threads in (1, 2):
        with executing(threads=threads):
            found.append(log_kernel_sums(rows, rows, weights, WIDTHS))
    assert SAME(found[0], found[1])


def test_kde_shape_is_that_of_scipy():
    """At SciPy's own bandwidth, log densities at other rows are the same."""
    rng = np.random.default_rng(16)
    rows, at = rng.normal(size=(200, 2)) @ [[1.0, 0.5], [0.0, 0.3]], rng.normal(size=(20, 2))
    theirs = gaussian_kde(rows.T)
    turn = np.linalg.inv(np.linalg.cholesky(np.cov(rows.T))).T
    width = theirs.factor
    ours = log_kernel_sums(at @ turn, rows @ turn, np.full(200, 1 / 200), np.array([width]))[:, 0]
    ours += np.log(np.abs(np.linalg.det(turn))) - 2 * math.log(width * math.sqrt(2 * math.pi))
    assert ours == pytest.approx(theirs.logpdf(at.T), abs=ROUNDING(200, scale=1000))


def left_out(rows):
    """The log density of every row under the others, and the bandwidth that makes them likeliest."""
    spread = rows.std(ddof=1)
    best = (-math.inf, None, None)
    for step in range(2, -7, -1):
        width = spread * 2 ** (step / 2) * len(rows) ** -0.2
        logs = [
            KernelDensity(bandwidth=width).fit(np.delete(rows, i, 0)).score_samples(rows[i : i + 1])
            for i in range(len(rows))
        ]
        best = max(best, (float(np.sum(logs)), width, np.ravel(logs)), key=lambda found: found[0])
    return best[1], best[2]


def test_kde_leaves_rows_out_and_takes_the_likeliest_bandwidth():
    rng = np.random.default_rng(29)
    x, y = rng.normal(size=(40, 1)), rng.normal(0.5, 1.5, size=(30, 1))
    width_y, _ = left_out(y)
    of_q = KernelDensity(bandwidth=width_y).fit(y).score_samples(x)
    expected = float(np.mean(left_out(x)[1] - of_q))
    assert result("kl", "kde", x, y).value == pytest.approx(expected, abs=ROUNDING(70, scale=100))


@pytest.mark.parametrize("kind", ["kl", "js", "hellinger", "tv", "chi2", "le-cam"])
def test_kde_finds_the_truth(kind):
    found = result("fdiv", "kde", *pair_a(17, 1000), kind=kind)
    bias = 0.1 * PAIR_A[kind]  # of densities smeared by their kernels
    assert found.value == pytest.approx(PAIR_A[kind], abs=LUCK(found.se, z=3, bias=bias))


def test_kde_is_invariant_under_affine_maps():
    rng = np.random.default_rng(18)
    x, y = rng.normal(size=(80, 2)), rng.normal(size=(70, 2)) + 0.5
    turn = np.array([[3.0, 1.0], [0.5, 2.0]])
    found = result("kl", "kde", x @ turn + 7, y @ turn + 7).value
    assert found == pytest.approx(result("kl", "kde", x, y).value, abs=SOLVER(1e-12))


def test_kde_says_when_its_ratio_is_extrapolated():
    rng = np.random.default_rng(19)
    assert "W14" in codes(result("kl", "kde", rng.normal(size=90), rng.normal(8, 1, size=90)))


# --------------------------------------------------------------------------------------- Gaussians


@pytest.mark.parametrize("kind", PAIR_A)
def test_gaussian_finds_the_truth(kind):
    found = result("fdiv", "gaussian", *pair_a(20), kind=kind)
    assert found.value == pytest.approx(PAIR_A[kind], abs=LUCK(found.se))


@pytest.mark.parametrize("order", ORDERS_A)
def test_gaussian_finds_orders(order):
    found = result("renyi", "gaussian", *pair_a(21), alpha=order)
    assert found.value == pytest.approx(ORDERS_A[order], abs=LUCK(found.se))


def test_gaussian_tsallis_of_order_two_is_chi2():
    found = result("renyi", "gaussian", *pair_a(22), alpha=2, tsallis=True)
    expected = result("fdiv", "gaussian", *pair_a(22), kind="chi2")
    assert found.value == pytest.approx(expected.value, rel=ROUNDING(1))
    assert found.unit == "1"


def test_gaussian_is_infinite_where_a_mixed_covariance_is():
    found = result("fdiv", "gaussian", *pair_a(23), kind="neyman")  # chi2 of (Q, P)
    assert (found.value, codes(found)) == (math.inf, ["W02"])


@pytest.mark.parametrize("kind", ["kl", "hellinger", "chi2"])
def test_draws_agree_with_the_closed_form(kind, monkeypatch):
    from divmatch.estimators import gaussian

    rng = np.random.default_rng(24)
    x, y = rng.normal(size=(300, 3)), 1.3 * rng.normal(size=(300, 3)) + 0.3
    closed = result("fdiv", "gaussian", x, y, kind=kind)
    monkeypatch.setattr(gaussian, "_closed", lambda *_: None)
    drawn = result("fdiv", "gaussian", x, y, kind=kind)
    error = drawn.error["monte_carlo_se"]
    assert 0 < error < 0.01
    assert drawn.value == pytest.approx(closed.value, abs=LUCK(error))
    assert drawn.se == pytest.approx(closed.se, rel=0.1)


def test_influences_of_orders_are_derivatives_of_the_closed_form():
    """One more row of weight e moves the value by e times its influence."""
    rng = np.random.default_rng(25)
    x, y = rng.normal(size=(500, 2)), 1.4 * rng.normal(size=(400, 2)) + 0.4
    chosen = quantity("renyi").chosen("gaussian")
    settings = chosen.checked({"alpha": 1.7})
    found = chosen(as_samples(x, "x"), as_samples(y, "y"), **settings)
    step = 1e-5
    for row in (3, 8):
        weights = np.full(500, (1 - step) / 500)
        weights[row] += step
        moved = chosen(as_samples(x, "x", weights), as_samples(y, "y"), **settings)
        expected = found.terms_x[row] - found.terms_x.mean()
        # the unbiased covariance adds a little of its own
        assert (moved.value - found.value) / step == pytest.approx(expected, abs=0.02)


def test_order_is_continuous_at_one():
    of = Frame(np.zeros((1, 2)), np.zeros((1, 2)), np.array([0.3, -0.2]), np.array([0.5, 1.4]))
    near = renyi_form(1 + 1e-9, of).value
    assert near == pytest.approx(renyi_form(1.0, of).value, abs=SOLVER(1e-9))


@pytest.mark.parametrize(("d", "n", "m"), [(1, 10, 12), (4, 20, 25)])
def test_corrected_gaussian_kl_is_unbiased(d, n, m):
    rng = np.random.default_rng(26)
    runs = 1500
    chosen = quantity("kl").chosen("gaussian")
    settings = chosen.checked({})
    values = []
    for _ in range(runs):
        x, y = rng.normal(size=(n, d)), 1.3 * rng.normal(size=(m, d)) + 0.3
        values.append(chosen(as_samples(x, "x"), as_samples(y, "y"), **settings).value)
    truth = 0.5 * d * (1.09 / 1.69 - 1 + math.log(1.69))
    assert np.mean(values) == pytest.approx(truth, abs=LUCK(np.std(values) / runs**0.5, z=4))


def test_correction_needs_rows():
    rng = np.random.default_rng(27)
    with pytest.raises(InconclusiveError, match="--correction none"):
        result("kl", "gaussian", rng.normal(size=9), rng.normal(size=3), correction="first-order")


def test_draws_leave_their_generator_alone():
    rng = np.random.default_rng(28)
    x, y = as_samples(rng.normal(size=(50, 2)), "x"), as_samples(rng.normal(size=(50, 2)), "y")
    chosen = quantity("fdiv").chosen("gaussian")
    source = stream(0, "test")
    values = [chosen(x, y, **chosen.checked({"kind": "tv"}), rng=source).value for _ in range(2)]
    assert values[0] == values[1]
