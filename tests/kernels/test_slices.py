"""Slices: numbers along directions, forces, ascents, splits of a pool; twins against each other."""

import numpy as np
import pytest

from divmatch.kernels import cpu, gpu, slices
from divmatch.kernels.ascent import climbed
from divmatch.kernels.directions import SMALLEST_SPIRAL, Directions, controlled, directions
from divmatch.kernels.execution import executing
from divmatch.kernels.slices import Pool, Slices
from divmatch.kernels.slicings import LINEAR, Slicing
from tests.reference import slicings as reference
from tests.reference.sliced import transport
from tests.tolerances import LUCK, ROUNDING

PS = pytest.mark.parametrize("p", [1, 2, 3.5])
WEIGHTED = pytest.mark.parametrize("weighted", [False, True])


def generator(seed=0):
    return np.random.default_rng(seed)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1)[:, None]


# ---------------------------------------------------------------------------------- slicings


@pytest.mark.parametrize("radius", [0.5, 3.0])
def test_circular_numbers_equal_the_loops(radius):
    rows, vectors = generator().normal(size=(9, 3)), unit(generator(1).normal(size=(4, 3)))
    found = Slicing("circular", radius).numbers(rows, np.zeros(3), vectors)
    expected = [[reference.circular(row, v, radius) for row in rows] for v in vectors.tolist()]
    assert found == pytest.approx(np.array(expected), abs=ROUNDING(3, scale=10))


def test_circular_numbers_near_the_centre_keep_their_digits():
    vector, step = np.array([[0.6, 0.8]]), 1e-9
    rows = 5 * vector + np.array([[step, 0.0]])
    found = Slicing("circular", 5.0).numbers(rows, np.zeros(2), vector)
    assert found[0, 0] == pytest.approx(step, rel=1e-6)


@pytest.mark.parametrize(("d", "degree"), [(1, 3), (2, 3), (3, 5)])
def test_polynomials_equal_the_loops(d, degree):
    slicing, rows = Slicing("polynomial", degree), generator().normal(size=(7, d))
    vectors = unit(generator(1).normal(size=(3, slicing.columns(d))))
    found = slicing.numbers(rows, np.zeros(slicing.columns(d)), vectors)
    expected = [[reference.polynomial(r, v, degree) for r in rows.tolist()] for v in vectors]
    assert found == pytest.approx(np.array(expected), abs=ROUNDING(20, scale=200))


# -------------------------------------------------------------------------------- directions


def test_spirals_integrate_quadratic_forms_exactly():
    drawn = directions(3, 4 * SMALLEST_SPIRAL, generator())
    form = generator(1).normal(size=(3, 3))
    values = np.einsum("li,ij,lj->l", drawn.vectors, form, drawn.vectors)
    assert drawn.mean(values) == pytest.approx(np.trace(form) / 3, abs=ROUNDING(40))


def test_weights_of_the_smallest_spiral_are_positive():
    assert directions(3, 4 * SMALLEST_SPIRAL, generator()).weights.min() > 0


def test_a_circle_is_gone_round_where_opposites_differ():
    drawn = directions(2, 8, generator(), whole=True)
    assert drawn.vectors.sum(axis=0) == pytest.approx([0, 0], abs=ROUNDING(8))


def test_a_line_has_two_directions_where_opposites_differ():
    assert directions(1, 8, generator(), whole=True).vectors.tolist() == [[1.0], [-1.0]]


def test_control_by_quadratic_forms_is_the_intercept_of_least_squares():
    drawn = controlled(3, 30, generator())
    costs = generator(1).random(30)
    table = np.column_stack([np.ones(30), drawn.controls])
    expected = np.linalg.lstsq(table, costs)[0]
    assert drawn.mean(costs) == pytest.approx(expected[0], abs=ROUNDING(30, scale=4))


def test_control_by_the_means_has_mean_zero():
    apart = np.array([1.0, 2.0, -1.0, 0.5])
    drawn = controlled(4, 4000, generator(), apart)
    own = drawn.controls[:, 0]
    assert own.mean() == pytest.approx(0.0, abs=LUCK(own.std() / 4000**0.5))


@pytest.mark.parametrize("apart", [None, np.ones(4)])
def test_error_of_a_regression_covers(apart):
    form = np.diag([1.0, 2, 3, 4])

    def costs(v):
        return np.abs(v[:, 0]) + np.einsum("li,ij,lj->l", v, form, v)

    truth = 4 / (3 * np.pi) + 2.5
    held = 0
    for seed in range(200):
        drawn = controlled(4, 60, generator(seed), apart)
        values = costs(drawn.vectors)
        held += abs(drawn.mean(values) - truth) < 1.96 * drawn.error(values)
    assert held / 200 >= 0.95 - LUCK((0.95 * 0.05 / 200) ** 0.5, z=3)


# ------------------------------------------------------------------------------------ slopes


@PS
@WEIGHTED
@pytest.mark.parametrize("m", [6, 9])
def test_slopes_are_the_derivatives(p, weighted, m):
    rng = generator()
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(m, 3)) + 1
    given = (np.arange(1.0, 7) / 21, np.full(m, 1 / m)) if weighted else None
    of, vectors = Slices(x, y, p, given), unit(rng.normal(size=(4, 3)))
    costs, found = of.slopes(vectors)
    assert costs == pytest.approx(of.costs(vectors), abs=ROUNDING(15, scale=50))
    step = 1e-6
    for j in range(3):
        more, less = (of.costs(vectors + way * step * np.eye(3)[j]) for way in (1, -1))
        assert found[:, j] == pytest.approx((more - less) / (2 * step), abs=1e-4)


def test_ascent_finds_the_top_eigenvector():
    root = generator().normal(size=(5, 5))
    form = root @ root.T

    def slopes(v):
        return np.einsum("li,ij,lj->l", v, form, v), 2 * v @ form

    found = climbed(slopes, generator(1).normal(size=(10, 5)), 2.0)
    assert found.value == pytest.approx(np.linalg.eigvalsh(form)[-1], rel=1e-5)
    assert found.settled


def test_ascent_stays_where_all_is_zero():
    found = climbed(lambda v: (np.zeros(len(v)), np.zeros(v.shape)), np.eye(3), 2.0)
    assert (found.value, found.settled) == (0.0, True)


# -------------------------------------------------------------------------------- the device


class Elsewhere:
    """A stand-in for the GPU: NumPy, with a note of what was sent there."""

    def __init__(self):
        self.sent = 0

    def to_device(self, array, work):
        self.sent += 1
        return array.copy()


@PS
@pytest.mark.parametrize("m", [20, 13])
def test_projections_and_sorts_on_a_device_have_the_same_costs(p, m, monkeypatch):
    rng, device = generator(), Elsewhere()
    of = Slices(rng.normal(size=(20, 4)), rng.normal(size=(m, 4)), p)
    vectors = directions(4, 12, rng).vectors
    expected = of.costs(vectors)
    monkeypatch.setattr(slices, "uses_gpu", lambda work: True)
    monkeypatch.setattr(slices, "to_device", device.to_device)
    with executing(memory=48 * 2 * 40):
        found = of.costs(vectors)
    assert device.sent > 0
    assert found == pytest.approx(expected, abs=ROUNDING(33, scale=50))


# ------------------------------------------------------------------------------------ splits


def splits(rng, total, n, count):
    return np.stack([rng.permutation(total) < n for _ in range(count)])


@PS
@WEIGHTED
@pytest.mark.parametrize("n", [10, 7, 1, 20])
@pytest.mark.parametrize("twin", [cpu, gpu], ids=["compiled", "array module"])
def test_splits_equal_the_loops(twin, n, weighted, p):
    rng, total = generator(n), 21 if n != 10 else 20
    order = rng.permutation(total).astype(np.int32)
    line, labels = np.sort(np.round(rng.normal(size=total), 1)), splits(rng, total, n, 3)
    weights = rng.random(total) if weighted else np.ones(total) / total
    found = np.empty(3)
    twin.split_costs(line, order, labels, weights if weighted else np.empty(0), p, found)
    for value, label in zip(found, labels, strict=True):
        marked = label[order]
        a, b = (weights[part] / weights[part].sum() for part in (marked, ~marked))
        expected = transport(line[marked], line[~marked], a, b, p)
        assert value == pytest.approx(expected, abs=ROUNDING(total, scale=30))


@PS
@WEIGHTED
@pytest.mark.parametrize("twin", [cpu, gpu], ids=["compiled", "array module"])
def test_a_split_without_a_part_is_undefined(twin, weighted, p):
    weights, found = np.ones(4) / 4 if weighted else np.empty(0), np.zeros(2)
    labels = np.array([[True] * 4, [False] * 4])
    with np.errstate(all="ignore"):
        twin.split_costs(np.arange(4.0), np.arange(4, dtype=np.int32), labels, weights, p, found)
    assert np.isnan(found).all()


@PS
def test_pool_keeps_no_order_that_does_not_fit(p):
    rng = generator()
    points, labels = rng.normal(size=(300, 3)), splits(rng, 300, 140, 5).T
    drawn = directions(3, 40, rng)

    def costs():
        pool = Pool(points, None, drawn.vectors, drawn.weights, p)
        return pool.costs(labels), pool.orders

    kept, orders = costs()
    with executing(memory=4 * 300 * 40):
        again, nothing = costs()
    assert kept.tobytes() == again.tobytes()
    assert (len(orders), nothing) == (5, None)


def test_error_needs_groups():
    few = Directions(np.ones((3, 1)), np.arange(3), np.full(3, 1 / 3))
    assert few.error(np.arange(3.0)) == 0.0


def test_linear_slices_are_what_the_projections_are():
    rows, vectors = generator().normal(size=(2000, 4)), unit(generator(1).normal(size=(3, 4)))
    centre = LINEAR.centre(rows)
    found = LINEAR.numbers(rows, centre, vectors)
    assert found == pytest.approx(vectors @ (rows - centre).T, abs=ROUNDING(4, scale=10))
