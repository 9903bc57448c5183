"""Sums over couplings: both twins against dense sums in NumPy."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from divmatch.kernels import couplings, cpu, gpu
from divmatch.kernels.couplings import Coupling
from divmatch.kernels.execution import executing
from divmatch.kernels.links import Links
from divmatch.kernels.pairwise import Profile
from divmatch.kernels.symmetric import SymmetricCoupling
from tests.tolerances import ROUNDING

TWINS = pytest.mark.parametrize("twin", [cpu, gpu], ids=["compiled", "array module"])
PROFILES = pytest.mark.parametrize(
    "profile", [Profile("distance", 2.0), Profile("distance", 1.0), Profile("cityblock", 1.0)]
)


@pytest.fixture(params=["array module", "compiled"])
def engine(request, monkeypatch):
    """Each twin in turn, whatever the size."""
    compiled_from = 0.0 if request.param == "compiled" else np.inf
    monkeypatch.setattr(couplings, "COMPILED_FROM", compiled_from)
    with executing(device="cpu"):
        yield request.param


def logits(rows, columns, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((rows, columns)) * 5, rng.normal(size=columns), rng.normal(size=rows)


@TWINS
@pytest.mark.parametrize("rows", [1, 3, 4, 9])
@pytest.mark.parametrize("level", [0.0, 1e4, -1e4])
def test_tile_sums(twin, rows, level):
    """Whatever the level it is shifted by: a poor one is noticed."""
    tile, shift, offset = logits(rows, 50)
    weights, keep = np.arange(1.0, rows + 1), np.linspace(0, 0.2, rows)
    found = twin.coupled_sums(tile, -2.0, shift, offset, np.full(rows, level), weights, keep, 0.9)
    z = -2.0 * tile + shift + offset[:, None]
    expected = logsumexp(z, axis=1)
    plan = weights[:, None] * np.exp(z - (keep + 0.9 * expected)[:, None])
    assert found[0] == pytest.approx(expected, abs=ROUNDING(50, scale=10))
    assert found[1] == pytest.approx(plan.sum(axis=0), abs=ROUNDING(50, scale=100))


@TWINS
@pytest.mark.parametrize("rows", [1, 4, 5])
def test_mirrored_sums(twin, rows):
    tile, shift, offset = logits(rows, 50)
    own, other = np.arange(1.0, rows + 1), np.linspace(0.1, 1, 50)
    found = twin.mirrored_sums(tile, -2.0, shift, offset, own, other)
    e = np.exp(-2.0 * tile + shift + offset[:, None])
    assert found[0] == pytest.approx(e @ other, rel=ROUNDING(50, scale=10))
    assert found[1] == pytest.approx(own @ e, rel=ROUNDING(50, scale=10))


@TWINS
def test_row_moments(twin):
    tile, shift, offset = logits(7, 50)
    z = -2.0 * tile + shift + offset[:, None]
    level = logsumexp(z, axis=1)
    z -= level[:, None]
    factors = np.linspace(0.5, 1, 50)
    found = twin.row_moments(tile, -2.0, shift, offset, level, factors)
    e = np.exp(z)
    expected = np.stack([(e * z).sum(1), e @ factors, (e * z) @ factors], axis=1)
    assert found == pytest.approx(expected, abs=ROUNDING(50, scale=10))


@TWINS
def test_entries_above(twin):
    tile, shift, _ = logits(7, 50)
    z, bars = -2.0 * tile + shift, np.linspace(-6, 30, 7)
    counts, columns, values = twin.entries_above(tile, -2.0, shift, bars)
    above = z > bars[:, None]
    assert counts.tolist() == above.sum(axis=1).tolist()
    assert columns.tolist() == np.nonzero(above)[1].tolist()
    assert values == pytest.approx(z[above], abs=ROUNDING(1, scale=30))


@PROFILES
@pytest.mark.parametrize("memory", [1, 1 << 28])
def test_sweep_is_that_of_the_matrix(engine, profile, memory):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(70, 3)), rng.normal(size=(33, 3))
    a, b = rng.random(70), rng.random(33)
    g, eps = rng.normal(size=33), 0.3
    gaps = x[:, None] - y
    cost = np.abs(gaps).sum(2) if profile.name == "cityblock" else (gaps**2).sum(2)
    if profile == Profile("distance", 1.0):
        cost = np.sqrt(cost)
    z = np.log(b) + (g - cost) / eps
    levels = logsumexp(z, axis=1)
    with executing(memory=memory):
        coupling = Coupling(profile, x, y, a, b)
        found = [coupling.sweep(g, eps) for _ in range(2)][1]
    assert found.levels == pytest.approx(levels, abs=ROUNDING(33, scale=100))
    expected = (a[:, None] * np.exp(z - levels[:, None])).sum(axis=0)
    assert found.columns == pytest.approx(expected, abs=ROUNDING(70, scale=100))


def test_far_columns_are_never_zero(engine):
    x, y = np.zeros((5, 1)), np.array([[0.0], [1e4]])
    found = Coupling(Profile("distance", 2.0), x, y, np.full(5, 0.2), np.full(2, 0.5)).sweep(
        np.zeros(2), 1.0
    )
    assert (found.columns > 0).all()


def test_too_many_entries_are_refused(engine):
    x = np.random.default_rng(0).normal(size=(50, 2))
    coupling = Coupling(Profile("distance", 2.0), x, x, np.full(50, 0.02), np.full(50, 0.02))
    levels = coupling.sweep(np.zeros(50), 1.0).levels
    assert coupling.entries(np.zeros(50), 1.0, levels, 1e-8, 100) is None
    found = coupling.entries(np.zeros(50), 1.0, levels, 1e-30, 2500)
    assert np.add.reduceat(found.values, found.starts[:-1]) == pytest.approx(np.ones(50), abs=1e-12)


def test_dense_plans_are_foreseen(monkeypatch):
    """Before the entries of some blocks of rows have taken the memory of all that are allowed."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1100, 2)), rng.normal(size=(3100, 2))
    coupling = Coupling(
        Profile("distance", 2.0), x, y, np.full(1100, 1 / 1100), np.full(3100, 1 / 3100)
    )
    levels = coupling.sweep(np.zeros(3100), 1.0).levels
    seen = []
    tile = coupling._tile
    monkeypatch.setattr(
        coupling, "_tile", lambda rows, *rest: (seen.append(rows), tile(rows, *rest))[1]
    )
    assert coupling.entries(np.zeros(3100), 1.0, levels, 1e-8, 400_000) is None
    assert sum(rows.stop - rows.start for rows in seen) < 1100 / 4


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(("n", "d"), [(40, 3), (2_300, 2)])  # one tile; several blocks of columns
def test_pairs_that_are_met_once_are_all_pairs(engine, n, d, single):
    """One term of a sample with itself, at a potential of which no sum is 1."""
    rng = np.random.default_rng(n)
    x, a, g = rng.normal(size=(n, d)), rng.random(n) + 0.1, rng.normal(size=n)
    a /= a.sum()
    profile = Profile("distance", 2.0)
    whole, half = Coupling(profile, x, x, a, a), SymmetricCoupling(profile, x, a)
    expected = whole.sweep(g, 0.7)
    found = half.sweep(g, 0.7, single=single and engine == "compiled")
    room = 1e-4 if half.single_sweeps else ROUNDING(n, scale=100)
    assert found.levels == pytest.approx(expected.levels, abs=room)
    sums = a * np.exp(expected.levels + g / 0.7) if half.halved else expected.columns
    assert found.columns == pytest.approx(sums, rel=room)


@TWINS
def test_linked_sums(twin):
    """Every second pair of a matrix."""
    cost, shift, _ = logits(5, 8)
    seen = np.add.outer(np.arange(5), np.arange(8)) % 2 == 0
    weights, keep = np.arange(1.0, 6.0), np.linspace(0, 0.2, 5)
    found = twin.linked_sums(
        np.concatenate([[0], np.cumsum(seen.sum(axis=1))]), np.nonzero(seen)[1].astype("int32"),
        cost[seen], -2.0, shift, weights, keep, 0.9,
    )  # fmt: skip
    z = np.where(seen, -2.0 * cost + shift, -np.inf)
    expected = logsumexp(z, axis=1)
    plan = weights[:, None] * np.exp(z - (keep + 0.9 * expected)[:, None])
    assert found[0] == pytest.approx(expected, abs=ROUNDING(8, scale=10))
    assert found[1] == pytest.approx(plan.sum(axis=0), abs=ROUNDING(8, scale=100))


def test_all_links_are_the_coupling(engine):
    rng = np.random.default_rng(0)
    x, y, g = rng.normal(size=(30, 2)), rng.normal(size=(20, 2)), rng.normal(size=20)
    whole = Coupling(Profile("distance", 2.0), x, y, np.full(30, 1 / 30), np.full(20, 0.05))
    levels = whole.sweep(g, 0.7).levels
    links = Links(whole, whole.entries(g, 0.7, levels, 1e-300, 600), g, 0.7, levels)
    other = rng.normal(size=20)
    one, two = (part.sweep(other, 0.3) for part in (whole, links))
    assert two.levels == pytest.approx(one.levels, abs=ROUNDING(20, scale=1000))
    assert two.columns == pytest.approx(one.columns, abs=ROUNDING(30, scale=100))


@pytest.mark.parametrize(("kind", "error"), [(np.float32, 3e-7), (np.float64, 2e-15)])
def test_exponentials_keep_their_digits(kind, error):
    """Shares of two entries whose gap goes through all powers of two."""
    gaps = np.linspace(-40, 40, 997).astype(kind)
    zeros = np.zeros(1)
    for gap in gaps[::83]:
        tile = np.array([[0, gap]], dtype=kind)
        found = cpu.coupled_sums(tile, 1.0, np.zeros(2, kind), zeros, zeros, zeros + 1, zeros, 1.0)
        expected = 1 / (1 + np.exp(float(gap) * np.array([1.0, -1.0])))
        assert found[1] == pytest.approx(expected, rel=error * (1 + abs(float(gap))), abs=1e-18)


@TWINS
def test_largest_entries(twin):
    tile, shift, _ = logits(7, 50)
    tile[:, 20] = tile[:, 10]
    shift[20] = shift[10] = 40.0  # ties: the first comes first
    places, values = twin.largest_entries(tile, -2.0, shift, 4)
    z = -2.0 * tile + shift
    expected = np.argsort(-z, axis=1, kind="stable")[:, :4]
    assert places.tolist() == expected.tolist()
    assert values == pytest.approx(np.take_along_axis(z, expected, 1), abs=ROUNDING(1, scale=60))


@TWINS
def test_tops(twin):
    tile, shift, _ = logits(7, 50)
    rows, columns = twin.tops(tile, -2.0, shift)
    z = -2.0 * tile + shift
    assert rows == pytest.approx(z.max(axis=1), abs=ROUNDING(1, scale=30))
    expected = (z - z.max(axis=1, keepdims=True)).max(axis=0)
    assert columns == pytest.approx(expected, abs=ROUNDING(1, scale=30))


@PROFILES
def test_transforms_are_feasible_and_tight(engine, profile):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(70, 3)), rng.normal(size=(33, 3))
    coupling = Coupling(profile, x, y, np.full(70, 1 / 70), np.full(33, 1 / 33))
    metric = {1.0: "euclidean", 2.0: "sqeuclidean"}[profile.scale]
    cost = cdist(x, y, "cityblock" if profile.name == "cityblock" else metric)
    f, g = coupling.transforms(rng.normal(size=33))
    room = ROUNDING(3, scale=100)
    assert (cost - f[:, None] - g).min() >= -room
    assert (cost - f[:, None] - g).min(axis=0) == pytest.approx(np.zeros(33), abs=room)
