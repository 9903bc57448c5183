"""The figure after a match: honest on held-out rows, where the same rows would flatter it."""

import numpy as np
import pytest

import divmatch
from tests.tolerances import LUCK

pytestmark = pytest.mark.slow
RUNS = 80


@pytest.fixture(scope="module")
def figures():
    """Before, after, and the energy distance of the weighted rows to the very rows they were fitted to."""
    before, held, seen = [], [], []
    for seed in range(RUNS):
        rng = np.random.default_rng([42, seed])
        x, y = rng.normal(size=(150, 3)), rng.normal(0.3, 1.0, size=(150, 3))
        found = divmatch.match.weights(x, y, moments=2)
        before.append(found.before.value)
        held.append(found.after.value)
        seen.append(divmatch.energy(x, y, weights_x=found.weights).value)
    return np.array(before), np.array(held), np.array(seen)


def test_weights_fitted_to_the_rows_look_better_than_they_are(figures):
    """Exact weights exist in the population, so that 0 is the truth; on its own rows a fit goes below."""
    _, _, seen = figures
    assert seen.mean() < -LUCK(seen.std() / RUNS**0.5)


def test_held_out_rows_do_not_flatter(figures):
    """What is left is the luck of fits to half of the rows: at least 0."""
    before, held, _ = figures
    assert held.mean() > -LUCK(held.std() / RUNS**0.5, z=3)
    assert held.mean() < before.mean()


def test_the_interval_of_both_halves_covers_the_distance():
    """Before a match it is the interval of an estimate whose truth is known."""
    rng = np.random.default_rng(0)
    truth = divmatch.energy(rng.normal(size=20_000), rng.normal(0.5, 1.0, 20_000)).value
    covered = 0
    for seed in range(RUNS):
        rng = np.random.default_rng([43, seed])
        x, y = rng.normal(size=(200, 1)), rng.normal(0.5, 1.0, (200, 1))
        before = divmatch.match.weights(x, y, method="entropy").before
        covered += before.ci.low <= truth <= before.ci.high
    assert covered / RUNS == pytest.approx(0.95, abs=LUCK((0.95 * 0.05 / RUNS) ** 0.5, z=3))
