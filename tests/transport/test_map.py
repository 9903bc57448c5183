"""Maps: what they do to the rows of a fit, to other rows, and what their Monge gaps are."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

import divmatch
from divmatch.matcher import task
from divmatch.transport import plan
from divmatch.transport.bures import Gaussian, root
from divmatch.transport.map_gaussian import bures_map
from divmatch.transport.maps import Staircase
from divmatch.transport.shrinkage import intensity, share_of
from tests.reference import maps as reference
from tests.tolerances import SAME

METHODS = ("gaussian", "quantile", "ot", "sinkhorn", "monge")


def fit(x, y, method="gaussian", **options):
    return divmatch.match.map(x, y, method=method, metric="none", **options)


def rows(n, d, seed=0):
    return np.random.default_rng([seed, n, d]).normal(size=(n, d))


def weights(n, seed=0):
    return np.random.default_rng([seed, n]).random(n) + 0.1


def test_all_methods_are_there():
    assert tuple(task("map").methods) == METHODS


# ---------------------------------------------------------------------------------- gaussian


def closed_form(a, b):
    """A^−½ (A^½ B A^½)^½ A^−½."""
    half = sqrtm(a).real
    return np.linalg.inv(half) @ sqrtm(half @ b @ half).real @ np.linalg.inv(half)


def test_map_between_gaussians_is_that_of_the_paper():
    first, second = np.array([[2.0, 1.0], [1.0, 2.0]]), np.diag([1.0, 3.0])
    made = bures_map(*(Gaussian(np.zeros(2), root(c, np.zeros(2))) for c in (first, second)))
    expected = [[0.801784, -0.267261], [-0.267261, 1.336306]]
    assert made.factor @ made.factor.T == pytest.approx(np.array(expected), abs=1e-6)


def test_fitted_map_is_the_closed_form_of_the_moments():
    x, y = rows(90, 3) @ rows(3, 3, 1), rows(80, 3, 2) @ rows(3, 3, 3) + 5
    matrix = closed_form(np.cov(x.T), np.cov(y.T))
    expected = y.mean(0) + (x - x.mean(0)) @ matrix
    assert fit(x, y).points == pytest.approx(expected, abs=1e-10)


def test_weighted_rows_get_the_weighted_moments():
    x, y, a, b = rows(60, 2), rows(50, 2, 1) * [2, 0.5], weights(60), weights(50)
    moved = fit(x, y, weights_x=a, weights_y=b).points
    assert np.average(moved, 0, a) == pytest.approx(np.average(y, 0, b), abs=1e-12)
    found, wanted = (np.cov(z.T, aweights=w) for z, w in ((moved, a), (y, b)))
    assert found == pytest.approx(wanted, abs=1e-12)


def test_units_that_differ_by_a_million_are_no_obstacle():
    unit = np.array([1e3, 1e-3])
    x, y = rows(60, 2), rows(50, 2, 1) * [1, 2]
    moved = fit(x * unit, y * unit).points / unit
    assert np.cov(moved.T) == pytest.approx(np.cov(y.T), rel=1e-3, abs=1e-3)


def test_units_too_far_apart_for_one_map_are_refused():
    unit = np.array([1e9, 1e-3])
    with pytest.raises(divmatch.errors.SampleError, match=r"column '1' .*--scale ref-sd"):
        fit(rows(60, 2) * unit, rows(50, 2, 1) * unit)


@pytest.mark.parametrize("columns", [[0, 0, 1], [0, 1, 2]])
def test_singular_covariance_of_p_is_no_obstacle(columns):
    x, y = rows(100, 3)[:, columns], rows(90, 3, 1)[:, columns] * 2.0
    moved = fit(x, y, shrink=0.0).points
    assert np.cov(moved.T) == pytest.approx(np.cov(y.T), abs=1e-9)


def test_flat_target_is_reached():
    x, y = rows(100, 2), np.c_[rows(90, 1, 1), np.full(90, 4.0)]
    moved = fit(x, y).points
    assert moved[:, 1] == pytest.approx(np.full(100, 4.0), abs=1e-12)
    assert moved[:, 0].var(ddof=1) == pytest.approx(y[:, 0].var(ddof=1), rel=1e-12)


def test_fewer_rows_than_columns_without_shrinkage():
    x, y = rows(8, 20), rows(7, 20, 1)
    moved = fit(x, y, shrink=0.0).points
    assert np.isfinite(moved).all()
    assert moved.mean(0) == pytest.approx(y.mean(0), abs=1e-12)


def test_few_rows_are_shrunk_aloud():
    mixed = rows(6, 6, 2)
    found = fit(rows(12, 6) @ mixed, rows(60, 6, 1) @ mixed)
    assert [note.code for note in found.fit.notes] == ["W51"]
    assert 0 < found.fit.facts["shrink_p"] < 1
    assert found.fit.facts["shrink_q"] is None


def test_shrinkage_is_that_of_ledoit_and_wolf():
    x = rows(12, 3)
    x = (x - x.mean(0)) / x.std(0)
    found = intensity(x, np.full(12, 1 / 12))
    assert found == pytest.approx(reference.shrinkage(x.tolist()), rel=1e-12)


def test_shrinkage_is_that_of_scikit_learn():
    from sklearn.covariance import ledoit_wolf_shrinkage

    x = rows(15, 4) @ rows(4, 4, 1)
    standard = (x - x.mean(0)) / x.std(0)
    expected = ledoit_wolf_shrinkage(standard)
    assert share_of(x * 1e6 + 7, np.full(15, 1 / 15)) == pytest.approx(expected, rel=1e-6)


# ---------------------------------------------------------------------------------- quantile


def test_values_without_ties_go_to_those_of_the_same_rank():
    x, y = rows(50, 1), rows(50, 1, 1)
    moved = fit(x, y, "quantile").points[:, 0]
    ranks = np.argsort(np.argsort(x[:, 0]))
    assert SAME(moved, np.sort(y[:, 0])[ranks])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "m"), [(30, 30), (30, 7), (7, 30)])
def test_tied_and_weighted_values_go_to_means_of_quantiles(n, m, weighted):
    x, y = np.round(rows(n, 1) * 2) / 2, np.round(rows(m, 1, 1) * 2)
    a, b = (weights(n), weights(m)) if weighted else (np.ones(n), np.ones(m))
    expected = reference.quantiles(
        x[:, 0].tolist(), (a / a.sum()).tolist(), y[:, 0].tolist(), (b / b.sum()).tolist()
    )
    given = {"weights_x": a, "weights_y": b} if weighted else {}
    assert fit(x, y, "quantile", **given).points[:, 0] == pytest.approx(expected, abs=1e-12)


def test_many_rows_go_to_the_quantiles_of_numpy():
    x, y = rows(20000, 1), np.random.default_rng(1).exponential(size=(20000, 1))
    moved = fit(x, y, "quantile").map([-1.0, 0.0, 1.0])[:, 0]
    share = [(x[:, 0] <= v).mean() for v in (-1.0, 0.0, 1.0)]
    assert moved == pytest.approx(np.quantile(y[:, 0], share), abs=1e-3)


def test_quantile_map_is_linear_between_knots_and_a_translation_beyond():
    made = Staircase(np.array([0.0, 2.0]), np.array([10.0, 20.0]), np.array([0, 2]))
    at = np.array([[-3.0], [0.5], [2.0], [7.0]])
    assert made(at)[:, 0].tolist() == [7.0, 12.5, 20.0, 25.0]


def test_quantile_map_takes_each_column_by_itself():
    x, y = rows(40, 2), rows(40, 2, 1) * [1, 5]
    moved = fit(x, y, "quantile").points
    for c in range(2):
        alone = fit(x[:, c], y[:, c], "quantile").points[:, 0]
        assert SAME(np.ascontiguousarray(moved[:, c]), alone)


# --------------------------------------------------------------------------- plans and potentials


def test_exact_map_of_as_many_rows_is_an_assignment():
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    x, y = rows(40, 3), rows(40, 3, 1) + 1
    assert SAME(fit(x, y, "ot").points, y[linear_sum_assignment(cdist(x, y) ** 2)[1]])


@pytest.mark.parametrize("how", ["exact", "entropic"])
def test_projection_is_the_mean_of_partners(how):
    import ot

    x, y, a, b = rows(30, 2), rows(20, 2, 1) + 1, weights(30), weights(20)
    a, b = a / a.sum(), b / b.sum()
    moved = fit(x, y, "ot", plan=how, eps="abs:0.5", weights_x=a, weights_y=b).points
    costs = ot.dist(x, y)
    found = ot.emd(a, b, costs) if how == "exact" else ot.sinkhorn(a, b, costs, 0.5, stopThr=1e-12)
    assert moved == pytest.approx(found @ y / a[:, None], abs=1e-7)


def test_new_row_goes_along_with_its_nearest():
    import ot

    x, y, z = rows(40, 2), rows(40, 2, 1) + 3, rows(25, 2, 2)
    peer = ot.da.EMDTransport(norm=None, out_of_sample_map="ferradans").fit(Xs=x, Xt=y)
    assert fit(x, y, "ot").map(z) == pytest.approx(peer.transform(Xs=z), abs=1e-9)


def test_equal_rows_go_to_one_place():
    x, y = np.repeat(rows(10, 2), 3, axis=0), rows(30, 2, 1)
    moved = fit(x, y, "ot").points.reshape(10, 3, 2)
    assert SAME(moved[:, 0], moved[:, 1])
    direct = plan.exact(x, y, cost="sqeuclidean", p=1).barycentric().reshape(10, 3, 2).mean(1)
    assert moved[:, 0] == pytest.approx(direct, abs=1e-12)


def test_row_without_weight_goes_along_with_its_nearest():
    x, y, a = rows(20, 2), rows(20, 2, 1), np.ones(20)
    a[3] = 0.0
    found, without = fit(x, y, "ot", weights_x=a), fit(np.delete(x, 3, 0), y, "ot")
    assert found.points[3] == pytest.approx(without.map(x[3:4])[0], abs=1e-12)


def test_entropic_map_is_that_of_plain_loops():
    x, y, z, a, b = rows(15, 2), rows(12, 2, 1), rows(5, 2, 2) * 3, weights(15), weights(12)
    found = fit(x, y, "sinkhorn", debiased=False, eps="abs:0.4", weights_x=a, weights_y=b)
    made = found.fit.mapping
    b = b / b.sum()
    expected = [reference.entropic(row, y.tolist(), b, made.g, 0.4) for row in z.tolist()]
    assert found.map(z) == pytest.approx(np.array(expected), abs=1e-10)


def test_entropic_map_of_the_rows_is_the_projection_of_pot():
    import ot

    x, y = rows(30, 2), rows(25, 2, 1) + 1
    found = fit(x, y, "sinkhorn", debiased=False, eps="abs:0.5").points
    a, b = np.full(30, 1 / 30), np.full(25, 1 / 25)
    matrix = ot.sinkhorn(a, b, ot.dist(x, y), 0.5, stopThr=1e-13)
    assert found == pytest.approx(30 * matrix @ y, abs=1e-7)


def test_debiased_map_takes_off_the_map_to_itself():
    x, y, z = rows(15, 2), rows(12, 2, 1), rows(4, 2, 2)
    found = fit(x, y, "sinkhorn", eps="abs:0.4")
    made, at = found.fit.mapping, z.tolist()
    there = [reference.entropic(r, y.tolist(), made.b, made.g, 0.4) for r in at]
    home = [reference.entropic(r, x.tolist(), made.own_a, made.own_f, 0.4) for r in at]
    expected = z + np.array(there) - np.array(home)
    assert found.map(z) == pytest.approx(expected, abs=1e-10)


def test_slopes_between_gaussians_are_the_closed_forms():
    """N(0, 1) to N(0, 2.25) at eps 1: of the plain map 1.270690633, debiased 1.4899."""
    grid = np.linspace(-6, 6, 241)[:, None]
    law = {f"weights_{s}": np.exp(-(grid[:, 0] ** 2) / 2 / v) for s, v in (("x", 1), ("y", 2.25))}
    for debiased, slope in ((False, 1.270690633), (True, 1.489880)):
        found = fit(grid, grid, "sinkhorn", eps="abs:1", debiased=debiased, **law)
        ends = found.map([-0.5, 0.5])[:, 0]
        assert ends[1] - ends[0] == pytest.approx(slope, abs=1e-4)


# ------------------------------------------------------------------------------------ any method


@pytest.mark.parametrize("method", METHODS)
def test_map_of_the_rows_is_where_they_went(method):
    x, y = rows(60, 2), rows(50, 2, 1) + 1
    found = fit(x, y, method)
    assert SAME(found.map(x), found.points)


@pytest.mark.parametrize("method", METHODS)
def test_translation_is_found(method):
    x, step = rows(40, 2), np.array([3.0, -1.0])
    moved = fit(x, x + step, method)
    assert moved.points == pytest.approx(x + step, abs=1e-3)
    assert moved.map([[0.3, 0.2]])[0] == pytest.approx([3.3, -0.8], abs=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_held_out_rows_come_nearer(method):
    x, y = rows(80, 2), rows(70, 2, 1) * [2, 0.5] + 2
    found = divmatch.match.map(x, y, method=method)
    assert found.held_out == "both"
    assert found.after.value < 0.1 * found.before.value


@pytest.mark.parametrize("method", METHODS)
def test_whole_weights_are_copies(method):
    counts = np.array([1, 2, 3] * 8)
    x, y = rows(24, 2), rows(30, 2, 1) + 1
    given = {"shrink": 0.0} if method == "gaussian" else {}
    given |= {"features": 0} if method == "monge" else {}
    weighted = fit(x, y, method, weights_x=counts, **given)
    copied = fit(np.repeat(x, counts, axis=0), y, method, **given)
    firsts = np.cumsum(counts) - counts
    loose = 0.05 if method in ("gaussian", "monge") else 1e-6  # covariances divide by other sizes
    assert weighted.points == pytest.approx(copied.points[firsts], abs=loose)


def test_no_map_of_other_columns():
    with pytest.raises(divmatch.errors.DivmatchError, match="has 2 columns, rows has 3"):
        fit(rows(9, 2), rows(9, 2, 1), "quantile").map(rows(4, 3))
