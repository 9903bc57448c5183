"""Sums of products of distances and Stein kernels: twins, dense matrices, threads, memory."""

import tracemalloc

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from divmatch.kernels import backend, cpu, gpu, pairwise, products
from divmatch.kernels.execution import executing
from divmatch.kernels.forms import quadratic_forms
from divmatch.kernels.pairwise import Profile, matched, self_sums
from divmatch.kernels.products import (
    Centred,
    centred_products,
    distance_sums,
    permuted_products,
    permuted_sums,
    product_sums,
)
from tests.reference.stein import kernel, stein
from tests.tolerances import ROUNDING, SAME

SIZES = pytest.mark.parametrize("n", [1, 2, 3, 50, 257, 513])
DIFFERENCES = 1e-6  # of a step of 1e-4: its square, and rounding over its square
STEIN = pytest.mark.parametrize("name", ["gaussian", "imq"])


@pytest.fixture(params=["array module", "compiled"], autouse=True)
def engine(request, monkeypatch):
    compiled_from = 0.0 if request.param == "compiled" else np.inf
    monkeypatch.setattr(pairwise, "COMPILED_FROM", compiled_from)
    monkeypatch.setattr(products, "COMPILED_FROM", compiled_from)
    with executing(device="cpu"):
        yield request.param


def rows(n, p, seed=0, ties=False):
    made = np.random.default_rng([seed, n, p]).normal(size=(n, p))
    return made.round(1) if ties else made


def close(expected, n, scale=1.0):
    size = scale * max(1.0, float(np.abs(expected).max(initial=0.0)))
    return pytest.approx(expected, abs=ROUNDING(n, scale=50 * size))


# ------------------------------------------------------------------------------------- products


@SIZES
@pytest.mark.parametrize("p", [1, 3])
def test_distance_sums_are_a_product_with_the_matrix(n, p):
    x, v = rows(n, p, ties=True), np.random.default_rng(1).random((n, 2))
    assert distance_sums(x, v) == close(cdist(x, x) @ v, n)


@SIZES
@pytest.mark.parametrize(("p", "q"), [(1, 1), (1, 2), (3, 2)])
def test_product_sums_are_a_product_with_the_matrix(n, p, q):
    x, y, v = (
        rows(n, p, 2, ties=True),
        rows(n, q, 3, ties=True),
        np.random.default_rng(1).random((n, 2)),
    )
    assert product_sums(x, y, v) == close((cdist(x, x) * cdist(y, y)) @ v, n)


@SIZES
def test_dominated_sums_are_those_of_earlier_rows_with_smaller_ranks(n, engine):
    rng = np.random.default_rng(n)
    ranks, values = rng.permutation(n), rng.normal(size=(n, 4))
    below = (ranks[None] < ranks[:, None]) & (np.arange(n)[None] < np.arange(n)[:, None])
    twin = cpu if engine == "compiled" else gpu
    assert twin.dominated(ranks, values) == close(below @ values, n)


def test_permuted_sums_move_one_column():
    x, y = rows(70, 1, 4)[:, 0], rows(70, 1, 5)[:, 0]
    rng = np.random.default_rng(6)
    orders = np.column_stack([rng.permutation(70) for _ in range(5)])
    a, b = np.abs(x[:, None] - x), np.abs(y[:, None] - y)
    expected = [np.sum(a * b[np.ix_(order, order)]) for order in orders.T]
    assert permuted_sums(x, y, orders) == close(np.array(expected), 70)


def groups(n):
    """Three groups with edges of no meaning, and their centred matrices."""
    made, matrices = [], []
    for k, p in enumerate((1, 3, 2)):
        x = rows(n, p, 7 + k)
        a = cdist(x, x)
        made.append(Centred(x, a.mean(0), float(a.mean()), 0.5 + k))
        matrices.append((0.5 + k) * (a.mean(0)[:, None] + a.mean(0) - a.mean() - a))
    return made, matrices


@SIZES
def test_centred_products_with_and_without_each_group(n):
    made, (a, b, c) = groups(n)
    w = np.random.default_rng(8).random(n)
    a, b, c = a + 0.7, b + 0.7, c + 0.7
    expected = np.column_stack([(a * b * c) @ w, (b * c) @ w, (a * c) @ w, (a * b) @ w])
    assert centred_products(made, 0.7, w) == close(expected, n)


@pytest.mark.parametrize("n", [5, 300])
def test_permuted_products_move_every_group_but_the_first(n):
    made, (a, b, c) = groups(n)
    rng = np.random.default_rng(9)
    orders = np.stack([np.column_stack([rng.permutation(n) for _ in range(3)]) for _ in range(2)])
    expected = [
        np.sum((a + 0.7) * (b + 0.7)[np.ix_(one, one)] * (c + 0.7)[np.ix_(two, two)])
        for one, two in zip(*orders.transpose(0, 2, 1), strict=True)
    ]
    found = permuted_products(made, 0.7, orders)
    assert found == pytest.approx(expected, abs=ROUNDING(n * n, scale=100 * n))


def test_threads_do_not_change_a_digit(monkeypatch):
    monkeypatch.setattr("divmatch.kernels.execution.THREADS_FROM", 0.0)
    x, y, v = rows(900, 2, 10), rows(900, 1, 11), np.random.default_rng(1).random((900, 2))
    found = []
    for threads in (1, 3):
        with executing(threads=threads):
            found.append(product_sums(x, y, v))
    assert SAME(*found)


def test_streamed_products_keep_no_matrix():
    x, y, v = rows(4000, 2, 12), rows(4000, 2, 13), np.ones((4000, 1))
    product_sums(x[:600], y[:600], v[:600])
    tracemalloc.start()
    product_sums(x, y, v)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4000 * 4000 * 8 / 8


def test_small_plane_needs_no_compiler():
    assert backend.host_twin(1e3, 1e6) is gpu


# ---------------------------------------------------------------------------------------- Stein


def dense(name, s, z):
    """The Stein kernel as the formula of each kernel has it."""
    d = z.shape[1] // 2
    x, t = z[:, :d], z[:, d:]
    squares = cdist(x, x, "sqeuclidean")
    lean = np.einsum("ijc,ijc->ij", t[:, None] - t, x[:, None] - x)
    if name == "gaussian":
        k = np.exp(-squares / (2 * s**2))
        return k * (t @ t.T + lean / s**2 + d / s**2 - squares / s**4)
    b, base = -0.5, s**2 + squares
    return (
        t @ t.T * base**b
        - 2 * b * (lean + d) * base ** (b - 1)
        - 4 * b * (b - 1) * squares * base ** (b - 2)
    )


@STEIN
@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("n", [1, 40, 300])
def test_stein_sums_are_a_product_with_the_matrix(name, d, n):
    z, a = rows(n, 2 * d, 14), np.random.default_rng(2).random(n)
    found = self_sums(Profile(f"stein-{name}", 0.8), z, a)
    assert found == close(dense(name, 0.8, z) @ a, n)


@STEIN
def test_stein_forms_are_those_of_the_matrix(name):
    z, v = rows(300, 6, 15), np.random.default_rng(3).normal(size=(300, 4))
    h = dense(name, 1.2, z)
    w = np.linspace(0.5, 1.0, 300)
    forms, mixed, own = quadratic_forms(Profile(f"stein-{name}", 1.2), z, v, w)
    v = v * w[:, None]
    assert forms == close(np.einsum("ib,ij,jb->b", v, h, v), 300, scale=300)
    assert mixed == close(w @ h @ v, 300, scale=300)
    assert own == close(w @ h @ w, 300, scale=300)


@STEIN
def test_stein_diagonal_is_the_matrix_own(name):
    z = rows(70, 4, 16)
    profile = Profile(f"stein-{name}", 1.2)
    assert matched(profile, z, z) == close(np.diag(dense(name, 1.2, z)), 4)


@STEIN
def test_stein_kernel_is_what_differences_of_the_kernel_give(name):
    z = rows(5, 6, 17)
    h = dense(name, 0.9, z)
    expected = [
        [stein(kernel(name, 0.9), x[:3], y[:3], x[3:], y[3:]) for y in z.tolist()]
        for x in z.tolist()
    ]
    assert h == pytest.approx(np.array(expected), abs=DIFFERENCES)


@STEIN
@pytest.mark.parametrize("twin", [cpu, gpu], ids=["compiled", "array module"])
def test_stein_tile_far_from_zero_keeps_its_digits(name, twin):
    z = rows(6, 4, 18)
    far = z + np.array([1e6, 1e6, 0.0, 0.0])
    z[:, :2] = far[:, :2] - 1e6
    found = twin.tile(far, far, f"stein-{name}", 0.8)
    assert found == close(dense(name, 0.8, z), 4)
