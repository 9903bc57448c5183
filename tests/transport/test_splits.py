"""Permuted Sinkhorn divergences: the values of the estimate, whoever solves a split."""

import numpy as np
import pytest

from divmatch.estimator import quantity
from divmatch.samples import as_samples
from divmatch.transport import splits
from divmatch.transport.splits import EXACT, relaxation, sweeps_left
from tests.tolerances import ROUNDING


def pool(n=50, weighted=False):
    rng = np.random.default_rng(n)
    return as_samples(rng.normal(size=(n, 2)), "pool", rng.random(n) if weighted else None)


def drawn(n, count=4):
    return np.stack(
        [np.random.default_rng(b).permutation(n) < n // 2 for b in range(count)], axis=1
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("given", [{}, {"debiased": False}, {"unbalanced": 0.5}], ids=str)
@pytest.mark.parametrize("eps", ["abs:0.5", "abs:0.02"])
def test_value_of_a_split_is_the_estimate(weighted, given, eps):
    estimator, rows = quantity("sinkhorn").chosen(None), pool(weighted=weighted)
    settings, labels = estimator.checked({"eps": eps, **given}), drawn(50)
    found = estimator.plan(rows, **settings).statistic(labels)
    direct = [estimator(rows.take(s), rows.take(~s), **settings).value for s in labels.T]
    assert found == pytest.approx(direct, abs=ROUNDING(50, scale=50))


def test_what_would_take_too_long_is_left_after_a_dozen_sweeps(monkeypatch):
    """And the own terms, which are quick at any eps, are not solved one by one."""
    solved = {"between": 0, "within": 0, "products": 0}

    def counting(name, function):
        def counted(*given, **more):
            solved[name] += 1
            return function(*given, **more)

        return counted

    for name in ("between", "within"):
        monkeypatch.setattr(splits, name, counting(name, getattr(splits, name)))
    product = splits.Splits._product
    monkeypatch.setattr(splits.Splits, "_product", counting("products", product))
    estimator = quantity("sinkhorn").chosen(None)
    settings = estimator.checked({"eps": "abs:0.001"})
    estimator.plan(pool(80), **settings).statistic(drawn(80))
    assert (solved["between"], solved["within"]) == (4, 1)  # one of the pool itself
    assert solved["products"] < 2 * (splits.JUDGED + 1) + 120


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.99, 0.999])
def test_sweeps_are_foreseen(rate):
    """Over-relaxed Gauss-Seidel on two unknowns whose plain error shrinks by ``rate``."""
    omega = float(relaxation(np.array(rate)))
    x, y, sweeps = 1.0, rate**0.5, 0
    size = [1.0]
    while size[-1] > EXACT:
        x += omega * (rate**0.5 * y - x)
        y += omega * (rate**0.5 * x - y)
        size.append(max(abs(x), abs(y)))
        sweeps += 1
    expected = float(sweeps_left(np.array(rate), np.array(omega), np.array(1.0)))
    assert 0.7 * sweeps - 5 <= expected <= 1.1 * sweeps + 5
