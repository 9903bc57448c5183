"""Neighbours in two groups of columns: every path finds the same rows as plain loops."""

import numpy as np
import pytest

from divmatch.kernels import joint_neighbours
from divmatch.kernels.joint_neighbours import near
from tests.reference.mutual_information import gap
from tests.tolerances import SAME

WIDTHS = pytest.mark.parametrize(("p", "q"), [(1, 1), (2, 1), (1, 3), (5, 4)])
KINDS = pytest.mark.parametrize("digits", [None, 1, 0], ids=["distinct", "tied", "copies"])


def groups(p, q, digits=None, n=60):
    rng = np.random.default_rng([p, q])
    x, y = rng.normal(size=(n, p)), rng.normal(size=(n, q))
    return (x, y) if digits is None else (np.round(x, digits), np.round(y, digits))


def fields(found):
    return [getattr(found, name) for name in ("radius", "inside_x", "inside_y", "copies")]


@WIDTHS
@KINDS
def test_blocks_are_the_plain_loop(p, q, digits):
    x, y = groups(p, q, digits)
    found = near(x, y, 3)
    for i in range(len(x)):
        dx, dy = ([gap(z[i], other) for other in z] for z in (x, y))
        both = [max(pair) for pair in zip(dx, dy, strict=True)]
        e = sorted(both)[3]
        assert found.radius[i] == e
        inside = [sum(d < e or d == e == 0 for d in own) for own in (dx, dy)]
        assert [found.inside_x[i], found.inside_y[i]] == inside
        assert found.copies[i] == (3 if e > 0 else both.count(0))


@WIDTHS
@KINDS
def test_trees_find_what_blocks_find(p, q, digits, monkeypatch):
    x, y = groups(p, q, digits)
    expected = fields(near(x, y, 3))
    monkeypatch.setattr(joint_neighbours, "TREE_FROM", 0)
    monkeypatch.setattr(joint_neighbours, "TREE_COLUMNS", 9)
    assert all(map(SAME, fields(near(x, y, 3)), expected))


@pytest.mark.parametrize("step", [0.1, 1 / 3, 1e-9])
def test_the_neighbour_at_the_edge_is_never_counted(step):
    """On a grid whose steps are no binary numbers x + e is not what lies e away."""
    x = (np.arange(80) * step)[:, None]
    y = np.random.default_rng(0).permutation(80)[:, None] * step
    found = near(x, y, 2)
    expected = [sum(gap(a, b) < e for b in x) for a, e in zip(x, found.radius, strict=True)]
    assert found.inside_x.tolist() == expected


@WIDTHS
@KINDS
def test_equal_weights_are_none(p, q, digits):
    x, y = groups(p, q, digits)
    plain, weighted = near(x, y, 3), near(x, y, 3, np.ones(60))
    assert all(map(SAME, fields(weighted), fields(plain)))
    for name in ("joint", "weight_x", "weight_y"):
        assert getattr(weighted, name) == pytest.approx(np.ones(60))


def test_weights_are_means_over_the_rows_inside():
    x, y = groups(1, 2)
    w = np.random.default_rng(1).random(60) + 0.5
    found = near(x, y, 4, w)
    for i in range(60):
        inside = [w[j] for j in range(60) if gap(x[i], x[j]) < found.radius[i]]
        assert found.weight_x[i] == pytest.approx(np.mean(inside))
