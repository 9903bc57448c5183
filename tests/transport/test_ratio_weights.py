"""Weights from a density ratio: the known one of Gaussians, other solvers, bounds."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import divmatch
from divmatch.errors import InconclusiveError, SettingError
from divmatch.kernels.bumps import Bumps
from divmatch.kernels.least_squares import Pool
from divmatch.kernels.logistic import Rows
from divmatch.samples import as_samples
from divmatch.transport.likeliest import likeliest
from divmatch.transport.ratio_kernels import kliep, set_up, ulsif
from divmatch.transport.ratio_weights import PENALTIES, _fitted, capped
from tests.reference import weights as reference
from tests.tolerances import ROUNDING, SOLVER


def fit(x, y, **options):
    return divmatch.match.weights(x, y, method="ratio", metric="none", **options)


def test_ratio_of_gaussians_is_found():
    """ln of the weights is the known ln q/p up to a constant, within 5 %."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (20_000, 2)), rng.normal(0.4, 0.8, (20_000, 2))
    truth = 0.5 * (x**2).sum(axis=1) - 0.5 * ((x - 0.4) ** 2).sum(axis=1) / 0.64
    found = np.log(fit(x, y, moments=2).weights)
    assert np.polyfit(truth, found, 1)[0] == pytest.approx(1.0, abs=0.05)
    assert np.corrcoef(truth, found)[0, 1] > 0.995


def test_slopes_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    pool, sign = rng.normal(size=(400, 3)), np.repeat([1.0, -1.0], 200)
    pool[200:] += 0.5
    rows, mass = np.column_stack([np.ones(400), pool]), np.full(400, 1 / 400)
    v, penalty, converged = _fitted(rows, sign, mass, np.arange(400) % 5, 5)
    assert converged
    assert penalty in PENALTIES
    ridge = penalty * 2 / 400  # per row; the intercept's is next to nothing on both sides
    model = LogisticRegression(C=1 / (ridge * 400), tol=1e-10, max_iter=1000).fit(pool, sign)
    assert v[1:] == pytest.approx(model.coef_[0], abs=2e-3)


def test_samples_that_are_alike_keep_nearly_equal_weights():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(500, 10)), rng.normal(size=(500, 10))
    assert fit(x, y).of("ess").value > 0.95 * 500


def test_no_weight_is_above_its_bound():
    share, base = np.array([100.0, 10.0, 1.0, 1.0]), np.full(4, 0.25)
    weights = capped(share, base, 1.5)
    assert weights == pytest.approx([0.375, 0.375, 0.125, 0.125], abs=ROUNDING(4))


def test_fewer_rows_than_parts_are_refused():
    with pytest.raises(InconclusiveError, match="fewer rows than --folds 5"):
        fit(np.zeros((4, 1)), np.ones((9, 1)))


# ---------------------------------------------------------------------------------- by kernels


KERNELS = pytest.mark.parametrize("model", ["ulsif", "kliep"])


def normal(n, mean, spread, seed):
    return np.random.default_rng([n, seed]).normal(mean, spread, n)


def setup(n=60, m=50, centres=8):
    """Few kernels, so that a general solver finds the same."""
    x, y = as_samples(normal(n, 0, 1, 0), "x"), as_samples(normal(m, 0.6, 0.8, 1), "y")
    made = set_up(x, y, 5, np.random.default_rng(0))
    kept = Bumps(made.bumps.centres[:centres], made.bumps.scale)
    return replace(made, bumps=kept)


def test_ulsif_is_that_of_plain_loops():
    of = setup()
    found = ulsif(of)
    expected = reference.least_squares_ratio(
        of.p, of.q, of.bumps.centres, found.width, found.facts["ridge"]
    )
    assert found.alpha == pytest.approx(expected, abs=SOLVER(1e-10))


def test_held_out_ratios_come_from_the_other_parts():
    """Parts of unequal masses: each ratio from sums over the rows outside its own."""
    rng = np.random.default_rng(0)
    features, above = rng.random((40, 3)), np.arange(40) < 15
    mass, fold = rng.random(40), rng.integers(0, 3, 40)
    mass /= np.where(above, mass[above].sum(), mass[~above].sum())
    pool = Pool(40, lambda at: [features[at]], above, mass, fold, 3)
    (moments,) = pool.moments()
    found = pool.every_ratio([moments.solved([0.3])])[:, 0]
    for i in range(40):
        up, down = ((fold != fold[i]) & side for side in (above, ~above))
        mean = np.average(features[up], axis=0, weights=mass[up])
        square = (features[down].T * mass[down]) @ features[down] / mass[down].sum()
        alpha = np.linalg.solve(square + 0.3 * np.eye(3), mean)
        assert found[i] == pytest.approx(features[i] @ alpha, abs=SOLVER(1e-12))


def test_kliep_is_that_of_a_general_solver():
    of = setup()
    found = kliep(of)
    below, above = (reference.bumps(z, of.bumps.centres, found.width) for z in (of.p, of.q))
    expected = reference.likeliest_ratio(below, above)
    values = [np.log(above @ alpha).mean() for alpha in (found.alpha, expected)]
    assert found.converged
    assert values[0] >= values[1] - 1e-9
    assert above @ found.alpha == pytest.approx(above @ expected, abs=1e-4)
    assert (below @ found.alpha).mean() == pytest.approx(1.0, abs=SOLVER(1e-10))


def test_gap_bounds_what_is_left_to_gain():
    rng = np.random.default_rng(0)
    above, level, mass = rng.random((40, 6)), rng.random(6) + 0.5, np.full(40, 1 / 40)
    rows = Rows(40, 6, lambda at: above[at])
    best = likeliest(rows, mass, level, 1e-13)
    rough = likeliest(rows, mass, level, 0.1)
    values = [float(mass @ np.log(above @ one.alpha)) for one in (best, rough)]
    assert 0 <= values[0] - values[1] <= rough.gap <= 0.1


@KERNELS
def test_kernels_find_the_ratio_of_gaussians(model):
    """The weights stand for N(.6, .8²): mean and deviation, and every weight by its closed form."""
    x, y = normal(4000, 0, 1, 0), normal(4000, 0.6, 0.8, 1)
    w = fit(x, y, model=model).weights
    mean = float(w @ x)
    assert mean == pytest.approx(0.6, abs=0.05)
    assert float(w @ (x - mean) ** 2) ** 0.5 == pytest.approx(0.8, abs=0.05)
    truth = np.exp(0.5 * x**2 - 0.5 * ((x - 0.6) / 0.8) ** 2) / 0.8
    assert np.abs(w * 4000 - truth).mean() < 0.12


@KERNELS
def test_kernels_see_two_modes(model):
    """The mean and the spread of Q are those of P; the classifier of moments has nothing to go by."""
    x = normal(1500, 0, 1.5, 0)
    y = np.concatenate([normal(500, -1.45, 0.4, 1), normal(500, 1.45, 0.4, 2)])
    w = fit(x, y, model=model).weights
    assert w[np.abs(x) < 0.4].sum() < 0.05 < 0.15 < (np.abs(x) < 0.4).mean()


@KERNELS
def test_a_row_of_weight_two_is_a_row_twice(model):
    of = setup()
    twice = np.append(np.arange(len(of.p)), 3)
    doubled = replace(
        of, p=of.p[twice], a=np.full(61, 1 / 61), parts=(of.parts[0][twice], of.parts[1])
    )
    a = np.full(60, 1 / 61)
    a[3] = 2 / 61
    find = {"ulsif": ulsif, "kliep": kliep}[model]
    one, other = find(doubled), find(replace(of, a=a))
    assert one.place == other.place
    assert one.alpha == pytest.approx(other.alpha, abs=1e-6)


def test_negative_ratios_are_told():
    found = fit(normal(300, 0, 1, 0), normal(250, 1.5, 0.4, 1), model="ulsif")
    codes = {n.code for r in found.results for n in r.warnings}
    assert ("W78" in codes, (found.weights == 0).any()) == (True, True)


@KERNELS
def test_kernels_have_weights_for_held_out_rows(model):
    x, y = normal(300, 0, 1, 0), normal(250, 0.8, 0.7, 1)
    found = divmatch.match.weights(x, y, method=f"ratio:{model}")
    assert (found.held_out, found.settings["model"]) == ("both", model)
    assert found.after.value < found.before.value / 3


def test_a_row_out_of_all_reach_is_named():
    with pytest.raises(InconclusiveError, match="a row of Q is so far from the others"):
        fit(normal(60, 0, 1, 0), np.append(normal(50, 0, 1, 1), 1e5), model="kliep")


def test_moments_are_of_the_classifier():
    with pytest.raises(SettingError, match="leave --moments and --interactions out"):
        fit(np.zeros(9), np.ones(9), model="kliep", moments=2)
