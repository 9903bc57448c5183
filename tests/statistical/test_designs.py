"""p-values in designs: uniform where rows depend on each other, as those of plain permutations are not."""

import numpy as np
import pytest

from divmatch.cli.test import equivalence
from divmatch.designs import blocked, clustered, marks, paired
from divmatch.estimator import quantity
from divmatch.inference import infer
from divmatch.permutations import permutation_test
from divmatch.samples import as_samples
from tests.statistical.test_pvalues import LEVELS, PERMUTATIONS, shares
from tests.tolerances import LUCK
from tests.truths.gaussian import energy as true_energy

pytestmark = pytest.mark.slow

RUNS = 400
METHODS = ["energy", "mmd", "knn", "sliced"]


def pairs(rng):
    """Strongly correlated pairs, in any order."""
    effect, order = 3 * rng.normal(size=(24, 1)), rng.permutation(24)
    x, y = (effect + rng.normal(size=(24, 2)) for _ in range(2))
    return x, y[order], paired(marks("--paired", np.arange(24), order))[0]


def blocks(rng):
    """Blocks with effects, which hold unequal shares of both samples."""
    effect = 3 * rng.normal(size=(4, 1))
    of_x, of_y = np.repeat(np.arange(4), [8, 4, 4, 2]), np.repeat(np.arange(4), [2, 4, 6, 12])
    x, y = (effect[of] + rng.normal(size=(len(of), 2)) for of in (of_x, of_y))
    return x, y, blocked(marks("--blocks", of_x, of_y))


def clusters(rng):
    """Clusters with effects and random sizes, more of them in the second sample."""
    effect, sizes = 3 * rng.normal(size=(16, 1)), rng.integers(1, 5, 16)
    of = np.repeat(np.arange(16), sizes)
    points = effect[of] + rng.normal(size=(len(of), 2))
    first = of < 7
    return points[first], points[~first], clustered(marks("--cluster", of[first], of[~first]))


def clusters_in_blocks(rng):
    """Two levels of effects, blocks that hold unequal shares."""
    of, block = np.repeat(np.arange(16), 2), np.repeat([0, 1, 0, 1, 0, 1], [8, 2, 4, 6, 4, 8])
    points = 4 * rng.normal(size=(2, 1))[block] + 2 * rng.normal(size=(16, 1))[of]
    points = points + rng.normal(size=(32, 2))
    x, y = slice(0, 14), slice(14, 32)
    return points[x], points[y], clustered(
        marks("--cluster", of[x], of[y]), marks("--blocks", block[x], block[y])
    )  # fmt: skip


DRAWS = [pairs, blocks, clusters, clusters_in_blocks]
EVERY = pytest.mark.parametrize("draw", DRAWS, ids=lambda draw: draw.__name__)


def p_values(name, draw, *, weighted=False, rounded=False, designed=True, runs=RUNS, **options):
    estimator = quantity(name).chosen(None)
    settings, found = estimator.checked({}), []
    if name == "sliced":
        settings |= {"projections": 10} if "projections" in settings else {}
    for run in range(runs):
        rng = np.random.default_rng([run, 7])
        x, y, design = draw(rng)
        x, y = ((np.round(s / 2) * 2 if rounded else s) for s in (x, y))
        x, y = (
            as_samples(s, n, rng.exponential(size=len(s)) + 0.2 if weighted else None)
            for s, n in ((x, "x"), (y, "y"))
        )
        given = dict(settings)
        if estimator.random:
            given["rng"] = np.random.default_rng(run)
        params = estimator(x, y, **given).params
        given |= {key: params[key] for key in given if key in params}
        options = {"permutations": PERMUTATIONS, "seed": run} | options
        test = permutation_test(
            estimator, x, y, given, **options | {"seed": run}, design=design if designed else None
        )
        found.append(test.p_value)
    return np.array(found)


@EVERY
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_uniform_without_ties(name, draw, weighted):
    share, se = shares(p_values(name, draw, weighted=weighted))
    assert np.abs(share - LEVELS).max() <= LUCK(se.max(), z=4)


@EVERY
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_never_too_small_with_ties(name, draw, weighted):
    share, se = shares(p_values(name, draw, weighted=weighted, rounded=True))
    assert (share - LEVELS <= LUCK(se, z=4)).all()


@EVERY
def test_plain_permutations_are_not_uniform(draw):
    share, se = shares(p_values("energy", draw, designed=False))
    assert np.abs(share - LEVELS).max() > LUCK(se.max(), z=4)


def independent(rng):
    x, y = rng.normal(size=(14, 2)), rng.normal(size=(21, 2))
    return x, y, None


def test_sequential_p_values_are_never_too_small():
    p = p_values("energy", independent, permutations=500, precision=0.03)
    levels = np.array(LEVELS)
    share = (p[:, None] <= levels).mean(axis=0)
    assert (share - levels <= LUCK(np.sqrt(levels * (1 - levels) / len(p)), z=4)).all()


def test_exact_p_values_are_never_too_small():
    def few(rng):
        return rng.normal(size=(3, 2)), rng.normal(size=(4, 2)), None

    p = p_values("energy", few, permutations=99)
    share, se = shares(p)
    assert (share - LEVELS <= LUCK(se, z=4)).all()


# -------------------------------------------------------------------- equivalence and power


@pytest.mark.parametrize("n", [30, 200])
@pytest.mark.parametrize("shift", [0.2, 0.5, 1.0])
def test_equivalence_is_not_claimed_too_often(n, shift):
    """The truth is DELTA itself: at most a share alpha may pass, also where DELTA is hardly seen."""
    estimator, delta, passed = quantity("energy").chosen("u"), true_energy(shift**2, 1.0, 1.0, 1), 0
    for run in range(RUNS):
        rng = np.random.default_rng([run, 8])
        x, y = as_samples(rng.normal(size=n), "x"), as_samples(rng.normal(size=n) + shift, "y")
        found = infer(estimator, x, y, {"power": 1.0}, permutations=99, level=0.9, seed=run)
        passed += equivalence(found, delta, 0.05)["status"] == "pass"
    assert passed / RUNS <= 0.05 + LUCK((0.05 * 0.95 / RUNS) ** 0.5, z=4)


def test_the_detectable_effect_is_seen_in_four_cases_out_of_five():
    estimator, n, seen = quantity("energy").chosen("u"), 100, []
    rng = np.random.default_rng(9)
    first = infer(
        estimator, *(as_samples(rng.normal(size=n), s) for s in "xy"), {"power": 1.0}, permutations=999
    )  # fmt: skip
    wanted = first.test.null["detectable"]
    shifts = np.linspace(0, 2, 2001)
    shift = shifts[np.argmin([abs(true_energy(s**2, 1.0, 1.0, 1) - wanted) for s in shifts])]
    for run in range(200):
        rng = np.random.default_rng([run, 10])
        x, y = as_samples(rng.normal(size=n), "x"), as_samples(rng.normal(size=n) + shift, "y")
        test = permutation_test(estimator, x, y, {"power": 1.0}, permutations=199, seed=run)
        seen.append(test.p_value <= 0.05)
    assert 0.7 <= np.mean(seen) <= 0.9
