"""Power: perturbed uniforms at published rates, and dependence that the margins do not show."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from divmatch.inference import function_of
from tests.tolerances import LUCK

pytestmark = pytest.mark.slow

LEVEL = 0.05
RUNS = 200
MANY = 499  # permutations for the ranks of twenty kernels to be told apart


def bump(t):
    """A smooth wave on (-1, 0), up and then down."""
    made = np.zeros_like(t)
    up, down = (t > -1) & (t < -0.5), (t > -0.5) & (t < 0)
    made[up] = np.exp(-1 / (1 - (4 * t[up] + 3) ** 2))
    made[down] = -np.exp(-1 / (1 - (4 * t[down] + 1) ** 2))
    return made


def perturbed(rng, n, waves, size=2.7):
    """Rows of the density 1 + c/P Σ ±G(P u - v) on (0, 1) (Schrab et al. 2023, §5.4), by rejection."""
    signs = rng.choice([-1.0, 1.0], waves)
    top = 1 + size / waves * np.exp(-1)
    found = np.empty(0)
    while len(found) < n:
        u = rng.random(4 * n)
        waved = sum(
            s * bump(waves * u - v) for v, s in zip(range(1, waves + 1), signs, strict=True)
        )
        found = np.append(found, u[rng.random(4 * n) * top < 1 + size / waves * waved])
    return found[:n, None]


def flipped(rng, n):
    """Correlation .9 against -.9, the same margins."""
    x, y = (rng.normal(size=(n, 2)) @ np.array([[1, 0.9], [0, 0.19**0.5]]) for _ in "xy")
    return x, y * [1, -1]


def ring(rng, n):
    """A ring against the product of its margins."""
    angle = rng.uniform(0, 2 * np.pi, (3, n))
    radius = 1 + 0.1 * rng.normal(size=(3, n))
    columns, rows = radius * np.cos(angle), radius * np.sin(angle)
    return np.column_stack([columns[0], rows[0]]), np.column_stack([columns[1], rows[2]])


def power(draw, runs, name, bandwidth=None, permutations=99):
    """Share of runs whose p-value is at most the level."""
    measure, rejected = function_of(name), 0
    for run in range(runs):
        x, y = draw(np.random.default_rng([run, 7]))
        width = bandwidth(x, y) if callable(bandwidth) else bandwidth
        settings = {} if width is None else {"bandwidth": width}
        rejected += (
            measure(x, y, permutations=permutations, seed=run, **settings).test.p_value <= LEVEL
        )
    return rejected / runs


def spread(share, runs):
    return (share * (1 - share) / runs) ** 0.5


@pytest.mark.parametrize(("waves", "published"), [(2, 0.790), (3, 0.173), (4, 0.107)])
def test_one_bandwidth_against_perturbed_uniforms(waves, published):
    """Rates of 300 independent runs of exp(-r^2 / median^2), n = 500."""
    found = power(
        lambda rng: (rng.random((500, 1)), perturbed(rng, 500, waves)),
        RUNS,
        "mmd",
        bandwidth=lambda x, y: np.median(pdist(np.concatenate([x, y]))) / 2**0.5,
    )
    error = (spread(published, RUNS) ** 2 + spread(published, 300) ** 2) ** 0.5
    assert found == pytest.approx(published, abs=LUCK(error, z=3))


@pytest.mark.parametrize("bandwidth", ["agg", "fuse"])
def test_many_bandwidths_always_see_one_wave(bandwidth):
    found = power(
        lambda rng: (rng.random((500, 1)), perturbed(rng, 500, 1)), 50, "mmd", bandwidth, MANY
    )
    assert found == 1.0


@pytest.mark.parametrize("bandwidth", ["agg", "fuse"])
def test_many_bandwidths_see_more_than_one(bandwidth):
    """Three waves: the median is far too wide."""
    found = power(
        lambda rng: (rng.random((500, 1)), perturbed(rng, 500, 3)),
        RUNS // 2,
        "mmd",
        bandwidth,
        MANY,
    )
    assert found > 0.173 + 2 * spread(0.173, RUNS // 2)


DEPENDENCE = pytest.mark.parametrize("draw", [flipped, ring])


@DEPENDENCE
def test_dependence_is_seen_without_a_change_of_the_margins(draw):
    """By the statistic that `divmatch test` takes unless told otherwise."""
    assert power(lambda rng: draw(rng, 1000), 100, "energy") > 0.99


@DEPENDENCE
def test_many_bandwidths_see_dependence(draw):
    """One gaussian of the median bandwidth is too wide for the ring: .09; many saw it .98 of the times."""
    found = power(lambda rng: draw(rng, 1000), 50, "mmd", "agg", MANY)
    assert found > 0.9
