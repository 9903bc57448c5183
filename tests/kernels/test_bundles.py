"""Many kernels over groups of rows: twins against each other and against whole matrices."""

import numpy as np
import pytest

from divmatch.kernels import bundles, cpu, gpu
from divmatch.kernels.bundles import bundle_sums
from divmatch.kernels.execution import executing
from divmatch.kernels.pairwise import Profile, cross_sums
from tests.reference.mmd import kernel as plain_kernel
from tests.tolerances import ROUNDING, SAME

SCALES = (0.5, 2.0, 0.7, 3.0)  # two gaussians, two laplaces
NAMES = ("gaussian", "gaussian", "laplace", "laplace")
TWINS = pytest.mark.parametrize("twin", [cpu, gpu], ids=["compiled", "array module"])


@pytest.fixture(params=["array module", "compiled"])
def engine(request, monkeypatch):
    monkeypatch.setattr(bundles, "COMPILED_FROM", 0.0 if request.param == "compiled" else np.inf)
    with executing(device="cpu"):
        yield request.param


def rows(n, d=3, seed=0):
    return np.random.default_rng([seed, n, d]).normal(size=(n, d))


def matrices(x, y):
    kernels = [plain_kernel(name, s) for name, s in zip(NAMES, SCALES, strict=True)]
    return np.array([[[k(s, t) for t in y.tolist()] for s in x.tolist()] for k in kernels])


@TWINS
def test_bundle_is_the_mean_of_its_kernels(twin):
    x, y = rows(7), rows(9, seed=1)
    found = twin.tile(x, y, "bundle", 1.0, SCALES)
    assert found == pytest.approx(matrices(x, y).mean(axis=0), abs=ROUNDING(4, scale=20))


@pytest.mark.parametrize("edges", [[0, 40], [0, 1, 2, 40], [0, 13, 26, 39, 40], range(41)])
def test_sums_are_those_of_the_matrices(engine, monkeypatch, edges):
    monkeypatch.setattr(bundles, "ROWS", 8)
    monkeypatch.setattr(bundles, "COLUMNS", 16)
    z, w = rows(40), np.random.default_rng(1).random(40)
    w[3] = 0.0
    edges = np.array(edges)
    weighted = matrices(z, z) * w[:, None] * w
    expected = np.add.reduceat(np.add.reduceat(weighted, edges[:-1], axis=1), edges[:-1], axis=2)
    sums, squares = bundle_sums(z, w, edges, SCALES)
    assert sums == pytest.approx(expected, abs=ROUNDING(1600, scale=200))
    powers = (weighted * matrices(z, z)).sum(axis=(1, 2))
    assert squares == pytest.approx(powers, abs=ROUNDING(1600, scale=600))


def test_two_threads_give_the_same_bits(engine, monkeypatch):
    from divmatch.kernels import execution

    monkeypatch.setattr(execution, "THREADS_FROM", 0.0)
    z, edges = rows(300), np.arange(0, 301, 3)
    found = []
    for threads in (1, 2):
        with executing(threads=threads):
            found.append(bundle_sums(z, np.ones(300), edges, SCALES))
    assert SAME(found[0][0], found[1][0])
    assert SAME(found[0][1], found[1][1])


def test_bundle_of_distant_rows_is_small():
    profile = Profile("bundle", 1.0, SCALES)
    along, _ = cross_sums(profile, np.zeros((2, 1)), np.full((2, 1), 1e3), np.ones(2), np.ones(2))
    assert (along < 1e-100).all()
