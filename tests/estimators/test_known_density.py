"""KL of a sample from a known density: by hand, closed forms, invariances, refusals, coverage."""

import math

import numpy as np
import pytest

import divmatch
from divmatch.errors import InconclusiveError, SampleError, SettingError
from tests.tolerances import LUCK, ROUNDING
from tests.truths import gaussian


def normal(x, mean=0.0, sd=1.0):
    """Log-density of independent normals at the rows."""
    z = (x - mean) / sd
    return -0.5 * (z**2).sum(axis=1) - x.shape[1] * math.log(sd * math.sqrt(2 * math.pi))


def rows(seed, n=1000, d=1):
    return np.random.default_rng([seed, n, d]).normal(size=(n, d))


def codes(found):
    return [note.code for note in found.warnings]


# ------------------------------------------------------------------------------------- oracles


def test_by_hand():
    """0, 1, 3 with k = 1 and q = 1: ρ = (1, 1, 2), ψ(1) = −γ, c = 2, n − 1 = 2."""
    expected = -np.euler_gamma - math.log(2) - math.log(2) - math.log(2) / 3
    found = divmatch.kl([0.0, 1.0, 3.0], log_q=np.zeros(3), k=1).value
    assert found == pytest.approx(expected, abs=ROUNDING(3, scale=5))


def plain(x, logs, k, weights=None):
    """The formula in loops; the mass of the k neighbours is that of the other rows' weights."""
    n, d = len(x), len(x[0])
    a = weights or [1 / n] * n
    ball = math.pi ** (d / 2) / math.gamma(d / 2 + 1)
    psi = sum(1 / j for j in range(1, k)) - 0.5772156649015329
    total = 0.0
    for i in range(n):
        near = sorted((math.dist(x[i], x[j]), j) for j in range(n) if j != i)[:k]
        mass = sum(a[j] for _, j in near) / k / (1 - a[i])
        log_p = psi + math.log(mass) - math.log(ball) - d * math.log(near[-1][0])
        total += a[i] * (log_p - logs[i])
    return total


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_value_equals_the_loops(d, weighted):
    x, logs, rng = rows(0, 20, d), rows(1, 20)[:, 0], np.random.default_rng(0)
    a = rng.dirichlet(np.full(20, 3.0)) if weighted else None
    found = divmatch.kl(x, log_q=logs, k=3, weights_x=a).value
    expected = plain(x.tolist(), logs.tolist(), 3, None if a is None else a.tolist())
    assert found == pytest.approx(expected, abs=ROUNDING(20, scale=20))


@pytest.mark.parametrize(("mean", "sd", "truth"), [(1.0, 2.0, 0.443147), (0.0, 1.0, 0.0)])
def test_truth_in_one_column(mean, sd, truth):
    found = [divmatch.kl(x, log_q=normal(x, mean, sd)).value for x in map(rows, range(2, 12))]
    assert np.mean(found) == pytest.approx(truth, abs=LUCK(np.std(found) / 10**0.5, bias=0.01))


def test_truth_in_three_columns():
    truth = gaussian.kl(np.zeros(3), np.eye(3), np.full(3, 0.5), 1.44 * np.eye(3))
    samples = [rows(seed, 2000, 3) for seed in range(5)]
    found = [divmatch.kl(x, log_q=normal(x, 0.5, 1.2)).value for x in samples]
    assert np.mean(found) == pytest.approx(truth, abs=LUCK(np.std(found) / 5**0.5, bias=0.03))


@pytest.mark.slow
@pytest.mark.parametrize(("d", "mean", "sd"), [(1, 1.0, 2.0), (1, 0.0, 1.0), (3, 0.5, 1.2)])
def test_interval_covers_the_truth(d, mean, sd):
    truth = gaussian.kl(np.zeros(d), np.eye(d), np.full(d, mean), sd**2 * np.eye(d))
    covered = []
    for seed in range(100):
        x = rows(seed, 500, d)
        ci = divmatch.kl(x, log_q=normal(x, mean, sd)).ci
        covered.append(ci.low <= truth <= ci.high)
    assert np.mean(covered) >= 0.95 - LUCK((0.95 * 0.05 / 100) ** 0.5, z=3)


# --------------------------------------------------------------------------------- invariances


@pytest.mark.parametrize("factor", [1e-3, 7.0])
@pytest.mark.parametrize("d", [1, 3])
def test_change_of_the_unit_changes_nothing(factor, d):
    x = rows(20, 50, d)
    logs = normal(x, 0.3)
    found = divmatch.kl(factor * x, log_q=logs - d * math.log(factor)).value
    assert found == pytest.approx(divmatch.kl(x, log_q=logs).value, abs=ROUNDING(50, scale=50))


def test_order_of_the_rows_changes_nothing():
    x = rows(21, 50, 2)
    logs, order = normal(x), np.random.default_rng(0).permutation(50)
    found = divmatch.kl(x[order], log_q=logs[order]).value
    assert found == pytest.approx(divmatch.kl(x, log_q=logs).value, abs=ROUNDING(50, scale=20))


def test_rows_without_weight_are_not_there():
    x = rows(22, 30)
    logs = np.concatenate([normal(x), [-math.inf]])
    found = divmatch.kl(np.vstack([x, [[0.1]]]), log_q=logs, weights_x=[1] * 30 + [0]).value
    assert found == pytest.approx(divmatch.kl(x, log_q=logs[:30]).value, abs=ROUNDING(30, scale=9))


# -------------------------------------------------------------------------------------- result


def test_result_has_one_sample():
    x = rows(23, 200, 2)
    found = divmatch.kl(x, log_q=normal(x))
    assert (found.n, found.d, found.method, found.direction) == ((200,), 2, "knn", "P||Q")
    assert (found.params, found.test, found.ci.method) == ({"k": 5}, None, "subsampling")


def test_subsamples_keep_the_rows_and_their_densities_together():
    """Densities that undo the spread of ln p leave an interval of noise of the distances alone."""
    x = np.exp(3 * rows(24, 400))
    logs = normal(np.log(x) / 3) - np.log(3 * x[:, 0])
    found = divmatch.kl(x, log_q=logs)
    shuffled = divmatch.kl(x, log_q=logs[::-1])
    assert found.se < 0.3 * shuffled.se


def test_zero_of_the_density_at_a_row_is_infinite():
    found = divmatch.kl([0.0, 1.0, 3.0], log_q=[0.0, 0.0, -math.inf], k=1)
    assert (found.value, codes(found)) == (math.inf, ["W02"])


def test_copies_are_said():
    x = np.vstack([rows(25, 50), rows(25, 50)[:5]])
    assert "W03" in codes(divmatch.kl(x, log_q=normal(x)))


# ------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("logs", "says"),
    [
        ([0.0, 1.0], "expected 3 log-densities, one for each row of x"),
        ([0.0, math.nan, 1.0], "nan at row 1"),
        ([0.0, 1.0, math.inf], "inf at row 2"),
        (["a", "b", "c"], "expected 3 log-densities"),
    ],
)
def test_what_are_no_log_densities_is_refused(logs, says):
    with pytest.raises(SampleError, match=f"log_q: .*{says}"):
        divmatch.kl([0.0, 1.0, 3.0], log_q=logs)


def test_too_few_rows_are_inconclusive():
    with pytest.raises(InconclusiveError, match=r"x: 3 rows, at least 6 \(k \+ 1"):
        divmatch.kl([0.0, 1.0, 3.0], log_q=np.zeros(3))


def test_rows_without_a_density_are_refused():
    x = np.column_stack([rows(26, 20), np.ones(20)])
    with pytest.raises(SampleError, match="column '1' has one value: the rows have no density"):
        divmatch.kl(x, log_q=np.zeros(20))


def test_tied_rows_are_refused():
    with pytest.raises(SampleError, match=r"x: 12 of 12 rows have 5 copies"):
        divmatch.kl(np.repeat([0.0, 1.0], 6), log_q=np.zeros(12))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "nnr"}, "kl --method nnr: cannot be combined with --log-q, expected knn"),
        ({"permutations": 9}, "--permutations: rows of Q are needed"),
        ({"weights_y": [1, 1, 1]}, "weights_y: rows of Q are needed"),
        ({"ties": "drop"}, "kl --log-q has no setting 'ties'"),
        ({"y": [1.0, 2.0]}, "kl: expected the rows y of Q, or log_q"),
    ],
)
def test_what_needs_rows_of_q_is_refused(options, says):
    with pytest.raises(SettingError, match=says):
        divmatch.kl([0.0, 1.0, 3.0], log_q=np.zeros(3), **options)


def test_q_is_needed():
    with pytest.raises(SettingError, match="kl: expected the rows y of Q, or log_q"):
        divmatch.kl([0.0, 1.0, 3.0])


def test_quantities_without_a_method_for_densities_refuse_them():
    with pytest.raises(SettingError, match="energy has no setting 'log_q'"):
        divmatch.energy([0.0, 1.0, 3.0], log_q=np.zeros(3))


def test_log_densities_that_are_none_are_warned_of():
    """A density of e⁵ everywhere integrates to inf."""
    found = divmatch.kl(np.random.default_rng(9).normal(size=200), log_q=np.full(200, 5.0))
    assert "W01" in [note.code for note in found.warnings]
