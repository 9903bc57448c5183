"""Nearest neighbours: every engine, the plain loops and SciPy give the same rows and digits."""

import inspect
import subprocess
import sys
import tracemalloc

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from divmatch.errors import SampleError
from divmatch.kernels import cpu, gpu, neighbours
from divmatch.kernels.cpu import neighbours as compiled
from divmatch.kernels.execution import executing
from divmatch.kernels.gpu import neighbours as modules
from divmatch.kernels.neighbours import Neighbours
from tests.reference import neighbours as reference

ENGINES = ["blocks", "tree", "product"]
numbers = st.integers(1, 2**32 - 1)
compiler_needed = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="millions of pairs in interpreted loops"
)


def forced(name, points):
    """An index that always asks one engine."""

    class Forced(Neighbours):
        def _choice(self, queries):
            return name

    return Forced(np.ascontiguousarray(points, dtype=np.float64))


def assert_same_lists(found, distances, rows):
    assert np.array_equal(found[1], rows)
    assert np.array_equal(found[0], distances)


def by_loops(points, queries, k, exclude_self=False):
    distances, rows = reference.nearest(points.tolist(), queries.tolist(), k, exclude_self)
    return np.array(distances), np.array(rows)


def all_distances(points, queries):
    """The whole matrix, from differences, by the array-module twin."""
    k = len(points)
    found = modules.nearest(modules.indexed(points), queries, k, np.full(len(queries), -1))
    matrix = np.empty((len(queries), k))
    np.put_along_axis(matrix, found[1], found[0], axis=1)
    return matrix


def normal(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def mixed_scales(n, d):
    return 10.0 ** np.random.default_rng(1).integers(-30, 31, (n, d)) * normal(n, d)


AWKWARD = {
    "one column": np.random.default_rng(0).integers(0, 20, (70, 1)).astype(float),
    "grid": np.random.default_rng(0).integers(0, 3, (80, 2)).astype(float),
    "constant": np.full((40, 5), 0.1),
    "two rows": np.ones((2, 3)),
    "offset 1e8": 1e8 + normal(70, 6),
    "scale 1e-30": 1e-30 * normal(70, 9),
    "scale 1e30": 1e30 * normal(70, 9),
    "underflowing": 1e-200 * normal(40, 3),
    "overflowing float32 squares": 1e140 * normal(40, 3),
    "all scales": mixed_scales(60, 3),
    "outliers": np.vstack([normal(60, 4), np.full((1, 4), 1e30), [[1e20, 0.0, 0.0, 0.0]]]),
    "two far clusters": np.vstack([normal(40, 3), 1e9 + normal(40, 3)]),
    "500 columns": normal(30, 500),
    "4096 columns": normal(12, 4096),
    "more than a tile": np.random.default_rng(2).integers(0, 9, (700, 2)).astype(float),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("exclude_self", [True, False])
@pytest.mark.parametrize("points", AWKWARD.values(), ids=AWKWARD.keys())
def test_awkward_points_have_the_lists_of_the_plain_loops(engine, exclude_self, points):
    points = points[:150] if len(points) < 700 else points
    queries = points if exclude_self else points[:20] + np.abs(points[:1]) / 8
    k = min(4, len(points) - 1)
    if len(points) == 700:
        queries = points if exclude_self else queries
        oracle = forced("blocks", points).nearest(queries, k, exclude_self=exclude_self)
    else:
        oracle = by_loops(points, queries, k, exclude_self)
    found = forced(engine, points).nearest(queries, k, exclude_self=exclude_self)
    assert_same_lists(found, *oracle)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("points", AWKWARD.values(), ids=AWKWARD.keys())
def test_a_radius_from_a_list_counts_its_own_point(engine, points):
    index = forced(engine, points)
    radius = index.nearest(points, 1, exclude_self=True)[0][:, 0]
    counts = index.count_within(points, radius, exclude_self=True)
    assert np.array_equal(counts, (all_distances(points, points) <= radius[:, None]).sum(1) - 1)
    assert counts.min() >= 1


@pytest.mark.parametrize("engine", ENGINES)
def test_all_rows_can_be_asked_for(engine):
    points, queries = normal(30, 3), normal(7, 3, seed=1)
    found = forced(engine, points).nearest(queries, 30)
    assert_same_lists(found, *by_loops(points, queries, 30))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_row_stays_in_the_lists_of_its_copies(engine):
    found = forced(engine, [[0.0], [0.0], [5.0]]).nearest(
        np.array([[0.0], [0.0], [5.0]]), 1, exclude_self=True
    )
    assert_same_lists(found, [[0.0], [0.0], [5.0]], [[1], [0], [0]])


@pytest.mark.parametrize("engine", ENGINES)
def test_no_queries_give_no_rows(engine):
    index = forced(engine, normal(9, 2))
    assert index.nearest(np.empty((0, 2)), 3)[1].shape == (0, 3)
    assert index.count_within(np.empty((0, 2)), np.empty(0)).shape == (0,)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_ball_is_closed_and_none_has_a_negative_radius(engine):
    index = forced(engine, [[0.0], [3.0], [4.0]])
    queries = np.zeros((5, 1))
    counts = index.count_within(queries, np.array([-1.0, 0.0, 3.0, 3.5, np.inf]))
    assert counts.tolist() == [0, 1, 2, 2, 3]


def test_the_plain_loops_count_what_the_engines_count():
    points, queries = normal(40, 5), normal(9, 5, seed=1)
    radius = np.linspace(0.5, 3.0, 9)
    counts = reference.count_within(points.tolist(), queries.tolist(), radius.tolist())
    for engine in ENGINES:
        assert forced(engine, points).count_within(queries, radius).tolist() == counts


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("points", AWKWARD.values(), ids=AWKWARD.keys())
def test_balls_of_awkward_points_hold_what_all_distances_say(engine, points):
    queries = points[:60] + np.abs(points[:1]) / 8
    matrix = all_distances(points, queries)
    radius = matrix[np.arange(len(points)) % len(queries), np.arange(len(points))]  # on the edge
    reach = matrix[np.arange(len(queries)), np.arange(len(queries)) // 2]
    values = np.arange(1.0, len(points) + 1)
    found = forced(engine, points).crossing(queries, reach, radius, values)
    inside = matrix <= radius
    assert np.array_equal(found.counts, inside.sum(axis=1))
    assert np.array_equal(found.sums, np.where(inside, values, 0.0).sum(axis=1))
    assert np.array_equal(found.holding, inside.sum(axis=0))
    assert np.array_equal(found.held, (matrix <= reach[:, None]).sum(axis=0))


@settings(max_examples=40, deadline=None)
@given(numbers, st.integers(2, 60), st.integers(1, 9), st.floats(-1e8, 1e8))
def test_engines_agree_on_balls_of_all_sizes(seed, n, d, offset):
    rng = np.random.default_rng(seed)
    points, queries = offset + rng.normal(size=(n, d)), offset + rng.normal(size=(30, d))
    radius, reach = np.abs(rng.standard_cauchy(n)) ** 3, np.abs(rng.standard_cauchy(30)) ** 3
    matrix = all_distances(points, queries)
    for engine in ENGINES:
        found = forced(engine, points).crossing(queries, reach, radius, np.ones(n))
        assert np.array_equal(found.counts, (matrix <= radius).sum(axis=1))
        assert np.array_equal(found.holding, (matrix <= radius).sum(axis=0))
        assert np.array_equal(found.held, (matrix <= reach[:, None]).sum(axis=0))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_ball_without_end_holds_everything(engine):
    radius, reach = np.array([np.inf, 0.0, -9.0]), np.array([-9.0, np.inf])
    found = forced(engine, [[0.0], [3.0], [4.0]]).crossing(
        np.array([[3.0], [1e200]]), reach, radius, np.array([1.0, 10.0, 100.0])
    )
    assert found.counts.tolist() == [2, 1]
    assert found.sums.tolist() == [11.0, 1.0]
    assert found.holding.tolist() == [2, 1, 0]
    assert found.held.tolist() == [1, 1, 1]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("d", [1, 3, 7, 16])
def test_scipy_finds_the_same_rows_of_points_without_ties(engine, d):
    points, queries = normal(1500, d), normal(300, d, seed=1)
    found = forced(engine, points).nearest(queries, 5)
    assert np.array_equal(found[1], cKDTree(points).query(queries, 5)[1])


@settings(max_examples=60, deadline=None)
@given(numbers, st.integers(2, 60), st.integers(1, 9), st.integers(1, 4), st.booleans())
def test_engines_agree_on_grids_full_of_ties(seed, n, d, wide, exclude_self):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, wide + 1, (n, d)) / 3.0
    queries = points if exclude_self else rng.integers(0, wide + 1, (rng.integers(1, 40), d)) / 3.0
    k = int(rng.integers(1, n - exclude_self + 1))
    oracle = by_loops(points, queries, k, exclude_self)
    for engine in ENGINES:
        found = forced(engine, points).nearest(queries, k, exclude_self=exclude_self)
        assert_same_lists(found, *oracle)


@settings(max_examples=40, deadline=None)
@given(numbers, st.integers(2, 60), st.integers(1, 9), st.booleans())
def test_engines_agree_on_counts_at_tied_radii(seed, n, d, exclude_self):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 3, (n, d)) / 3.0
    queries = points if exclude_self else rng.integers(0, 3, (rng.integers(1, 40), d)) / 3.0
    matrix = all_distances(points, queries)
    radius = matrix[np.arange(len(queries)), rng.integers(0, n, len(queries))]
    counts = (matrix <= radius[:, None]).sum(axis=1) - exclude_self
    for engine in ENGINES:
        index = forced(engine, points)
        assert np.array_equal(
            index.count_within(queries, radius, exclude_self=exclude_self), counts
        )


@settings(max_examples=40, deadline=None)
@given(numbers, st.integers(-30, 30), st.floats(-1e8, 1e8), st.integers(1, 12))
def test_engines_agree_at_any_place_and_scale(seed, exponent, offset, d):
    rng = np.random.default_rng(seed)
    points = 10.0**exponent * (offset + rng.normal(size=(50, d)))
    queries = 10.0**exponent * (offset + rng.normal(size=(20, d)))
    oracle = forced("blocks", points).nearest(queries, 6)
    assert_same_lists(forced("tree", points).nearest(queries, 6), *oracle)
    assert_same_lists(forced("product", points).nearest(queries, 6), *oracle)


@compiler_needed
@pytest.mark.parametrize("d", [2, 16, 64])
def test_several_tiles_have_the_lists_of_all_distances(d):
    points = normal(1500, d)
    oracle = forced("blocks", points).nearest(points, 7, exclude_self=True)
    for engine in ENGINES[1:]:
        assert_same_lists(forced(engine, points).nearest(points, 7, exclude_self=True), *oracle)


@compiler_needed
@pytest.mark.parametrize("d", [2, 16])
@pytest.mark.parametrize("engine", ENGINES)
def test_two_threads_give_the_digits_of_one(engine, d):
    points = normal(1200, d)
    answers = []
    for threads in (1, 2):
        with executing(threads=threads):
            index = forced(engine, points)
            distances, rows = index.nearest(points, 5, exclude_self=True)
            counts = index.count_within(points, distances[:, -1])
            balls = index.crossing(points, *distances.T[:3])
            found = (distances, rows, counts, balls.sums, balls.holding, balls.held)
            answers.append(b"".join(part.tobytes() for part in found))
    assert answers[0] == answers[1]


SHARED = AWKWARD | {
    "copies": np.repeat(normal(40, 9), 8, axis=0),
    "half overflows": np.vstack([normal(150, 9), 1e60 * normal(150, 9)]),
    "odd size": normal(333, 9),
    "grid of nine columns": np.random.default_rng(3).integers(0, 2, (517, 9)) / 3.0,
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("points", SHARED.values(), ids=SHARED.keys())
def test_a_pair_looked_at_once_has_the_lists_of_all_distances(monkeypatch, points, threads):
    monkeypatch.setattr(compiled, "PANEL_ROWS", min(64, len(points) // 2))
    points = np.ascontiguousarray(points)
    k = min(4, len(points) - 1)
    oracle = forced("blocks", points).nearest(points, k, exclude_self=True)
    with executing(threads=threads), np.errstate(over="ignore"):
        found = compiled.nearest_others(compiled.indexed(points), k)
    assert found is not None
    assert_same_lists(found, *oracle)


@pytest.mark.parametrize("panels", [2, 4, 10])
def test_every_two_panels_meet_once_and_none_twice_in_a_round(panels):
    rounds = list(compiled._rounds(panels))
    met = [frozenset(pair) for pairs in rounds for pair in pairs]
    assert len(met) == len(set(met)) == panels * (panels + 1) // 2
    for pairs in rounds[1:]:
        assert sorted(panel for pair in pairs for panel in pair) == list(range(panels))


def test_lists_of_all_points_beyond_the_memory_are_not_made():
    with executing(memory=100_000):
        assert compiled.nearest_others(compiled.indexed(normal(2100, 9)), 5) is None


@pytest.mark.parametrize("engine", ENGINES)
def test_little_memory_changes_nothing(engine):
    points = normal(400, 3)
    oracle = forced("blocks", points).nearest(points, 5, exclude_self=True)
    with executing(memory=20_000):
        found = forced(engine, points).nearest(points, 5, exclude_self=True)
    assert_same_lists(found, *oracle)


@compiler_needed
def test_an_array_of_every_pair_is_never_made():
    points = normal(20_000, 64)  # all pairs: 480 MB
    tracemalloc.start()
    try:
        forced("product", points).nearest(points[:3000], 5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50e6


@pytest.mark.parametrize("engine", ["tree", "product"])
def test_copies_beyond_k_leave_the_index(engine):
    index = forced(engine, np.ones((100_000, 3)))
    distances, rows = index.nearest(np.zeros((5000, 3)), 4)
    assert np.array_equal(rows, np.tile(np.arange(4), (5000, 1)))
    assert np.array_equal(distances, np.full((5000, 4), np.sqrt(3.0)))
    reduced = index._reduced(4)
    assert reduced is not None
    assert reduced[1].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("exclude_self", "there"), [(True, "8 other rows"), (False, "9 rows")])
def test_more_neighbours_than_rows_are_refused(exclude_self, there):
    points = normal(9, 2)
    with pytest.raises(SampleError, match=f"10 nearest neighbours were asked for, but {there}"):
        Neighbours(points).nearest(points, 10, exclude_self=exclude_self)


@pytest.mark.parametrize(
    ("shape", "name"),
    [((1000, 3), "blocks"), ((9000, 3), "tree"), ((200, 64), "blocks"), ((9000, 64), "product")],
)
def test_the_engine_follows_size_and_columns(shape, name):
    with executing(device="cpu"):
        assert Neighbours(np.zeros(shape))._choice(shape[0]) == name


def test_a_small_job_loads_neither_compiler_nor_scipy():
    program = (
        "import sys, numpy as np; from divmatch.kernels.neighbours import Neighbours;"
        "x = np.random.default_rng(0).normal(size=(500, 3)); Neighbours(x).nearest(x, 3);"
        "sys.exit(bool({'numba', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_twins_have_the_same_functions_and_parameters():
    for name in ("indexed", "rows_at_once", "nearest", "count_within", "crossing"):
        mine, other = (inspect.signature(getattr(twin, name)) for twin in (cpu, gpu))
        assert list(mine.parameters) == list(other.parameters)


def test_many_small_questions_earn_the_compiled_twin(monkeypatch):
    monkeypatch.setattr(compiled, "insert", None)  # as if nothing had loaded it
    monkeypatch.setattr(neighbours, "_DONE", [0.0])
    monkeypatch.setattr(neighbours, "COMPILED_FROM", 3 * 40.0 * 40.0 * (20 + 8))
    index = Neighbours(np.random.default_rng(0).normal(size=(40, 20)))
    with executing(device="cpu"):
        for _ in range(2):
            assert index._choice(40) == "blocks"
            index.nearest(index._points, 3)
        assert index._choice(40) == "product"
