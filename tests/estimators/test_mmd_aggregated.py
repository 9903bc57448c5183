"""Aggregated and fused tests: against the published algorithm, level, power, weights, groups."""

import itertools

import numpy as np
import pytest

import divmatch
from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimators import mmd_aggregated
from divmatch.estimators.mmd_aggregated import (
    Statistics,
    _sizes,
    aggregated_p_value,
    bundle_of,
    fuse,
    grouped,
)
from divmatch.kernels.pairwise import Profile
from divmatch.samples import as_samples
from tests.reference.mmd import aggregated_p_value as published
from tests.reference.mmd import mmd2 as reference
from tests.tolerances import LUCK, ROUNDING

SCALES = (0.5, 2.0, 0.7, 3.0)
NAMES = ("gaussian", "gaussian", "laplace", "laplace")


def pair(n=12, m=9, d=2, seed=0, shift=0.0):
    rng = np.random.default_rng([seed, n, m, d])
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) + shift


def p_value(x, y, word="agg", permutations=199, seed=0, **options):
    found = divmatch.mmd(x, y, bandwidth=word, permutations=permutations, seed=seed, **options)
    return found.test.p_value


# ---------------------------------------------------------------------------------- algorithm


@pytest.mark.parametrize("seed", range(30))
def test_p_value_is_the_smallest_level_at_which_the_published_test_rejects(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(3, 1 + 19 + 24))
    values[:, 0] += rng.choice([0.0, 1.0, 3.0])
    if seed % 3 == 0:
        values = np.round(values)
    assert aggregated_p_value(values, 19) == pytest.approx(published(values.tolist(), 19))


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("groups", [512, 8])
def test_statistics_are_those_of_the_loops(monkeypatch, unbiased, weighted, groups):
    monkeypatch.setattr(mmd_aggregated, "GROUPS", groups)
    monkeypatch.setattr(mmd_aggregated, "FEWEST", 2)
    x, y = pair()
    rng = np.random.default_rng(1)
    a, b = (rng.random(12) + 0.2, rng.random(9) + 0.2) if weighted else (None, None)
    made = grouped(as_samples(x, "x", a), as_samples(y, "y", b), 0)
    assert len(made.edges) - 1 == (21 if groups == 512 else 7)
    found = Statistics(Profile("bundle", 1.0, SCALES), made, unbiased=unbiased)
    labels = np.column_stack([made.of_x, made.labels(np.random.default_rng(0), 1)[:, 0]])
    values = found.of(labels)
    for column in (0, 1):
        of_x = np.repeat(labels[:, column], np.diff(made.edges))
        parts = [(made.points[s], made.weights[s] / made.weights[s].sum()) for s in (of_x, ~of_x)]
        (p, v), (q, w) = ((points.tolist(), weights.tolist()) for points, weights in parts)
        expected = [
            reference(p, q, v, w, name=name, scale=s, unbiased=unbiased)
            for name, s in zip(NAMES, SCALES, strict=True)
        ]
        assert values[:, column] == pytest.approx(expected, abs=ROUNDING(21, scale=30))


def test_labels_move_groups_of_equal_size_alone():
    monkey = grouped(*(as_samples(rows, "x") for rows in pair(700, 500)), 0)
    sizes = np.diff(monkey.edges)
    assert len(set(sizes[: monkey.movable])) == 1
    assert (monkey.of_x * sizes).sum() == 700
    labels = monkey.labels(np.random.default_rng(0), 50)
    assert (labels.T @ sizes == 700).all()
    assert (labels[monkey.movable :] == monkey.of_x[monkey.movable :, None]).all()


@pytest.mark.parametrize(
    ("n", "m"), [(1, 1), (2, 3), (256, 256), (257, 256), (2000, 2000), (3, 100_000), (50, 9000)]
)
def test_groups_are_few_and_of_both_samples(n, m):
    size, (first, second) = _sizes(n, m)
    assert first >= 1
    assert second >= 1
    assert size * first <= n
    assert size * second <= m
    assert first + second <= mmd_aggregated.GROUPS
    assert min(first, second) >= min(n, m, mmd_aggregated.FEWEST)


def test_value_is_that_of_the_mean_kernel():
    x, y = pair()
    found = divmatch.mmd(x, y, bandwidth="agg")
    scales = bundle_of("gaussian", np.concatenate([x, y]), np.full(21, 1 / 21)).profile.scales
    assert found.params["kernels"].startswith(f"10 gaussian s {scales[0]:.4g} to")
    names = ["gaussian"] * 10 + ["laplace"] * 10
    each = [
        reference(x.tolist(), y.tolist(), name=name, scale=s)
        for name, s in zip(names, scales, strict=True)
    ]
    assert found.value == pytest.approx(np.mean(each), abs=ROUNDING(21, scale=20))


def test_bandwidths_are_quantiles_of_the_distances():
    from scipy.spatial.distance import pdist

    rows = np.random.default_rng(2).normal(size=(30, 2))
    scales = bundle_of("gaussian", rows, np.full(30, 1 / 30)).profile.scales
    for found, metric, factor in (
        (scales[:10], "euclidean", 2**-0.5),
        (scales[10:], "cityblock", 1.0),
    ):
        low, high = np.quantile(pdist(rows, metric), [0.05, 0.95])
        expected = factor * np.geomspace(low / 2, 2 * high, 10)
        assert found == pytest.approx(expected, abs=ROUNDING(30, scale=30))


def test_fused_statistic_is_a_soft_maximum():
    values, norms = np.array([[0.1, 0.0], [0.3, 0.2]]), np.array([1.0, 2.0])
    rate = (5 * 4) ** 0.5
    expected = [np.log(np.mean(np.exp(rate * v / norms))) / rate for v in values.T]
    assert fuse(values, norms, 5) == pytest.approx(expected, abs=ROUNDING(2))


# --------------------------------------------------------------------------------- properties


def test_bandwidths_have_the_unit_of_the_rows():
    rows, masses = np.random.default_rng(5).normal(size=(40, 2)), np.full(40, 1 / 40)
    small, large = (bundle_of("gaussian", f * rows, masses).profile.scales for f in (2.0**-20, 1.0))
    assert np.array(small) * 2.0**20 == pytest.approx(large, abs=ROUNDING(40, scale=20))


@pytest.mark.parametrize("word", ["agg", "fuse"])
def test_order_of_rows_changes_nothing(word):
    x, y = pair(40, 30, shift=0.4)
    assert p_value(x[::-1], y[::-1], word) == p_value(x, y, word)


@pytest.mark.parametrize("word", ["agg", "fuse"])
def test_a_sample_and_itself_do_not_differ(word):
    x, _ = pair(30, 30)
    assert p_value(x, x.copy(), word) > 0.9


@pytest.mark.parametrize("word", ["agg", "fuse"])
@pytest.mark.parametrize("method", ["u", "v"])
@pytest.mark.parametrize("n", [80, 600])
def test_a_plain_difference_is_seen(word, method, n):
    x, y = pair(n, n - 10, shift=2.0)
    assert p_value(x, y, word, 999, method=method) <= 0.01


def test_weights_are_seen():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=300), rng.normal(size=200)
    assert p_value(x, y, permutations=999, weights_x=np.exp(x)) <= 0.01


def test_same_seed_same_p_value():
    x, y = pair(40, 30, shift=0.3)
    assert p_value(x, y, seed=5) == p_value(x, y, seed=5)


def test_few_permutations_are_warned_of():
    found = divmatch.mmd(*pair(), bandwidth="agg", permutations=99)
    assert "W37" in [note.code for note in found.warnings]


def test_equal_rows_have_no_bandwidths():
    with pytest.raises(InconclusiveError, match="all rows are equal"):
        divmatch.mmd(np.ones((4, 2)), np.ones((5, 2)), bandwidth="agg")


@pytest.mark.parametrize(
    ("given", "says"),
    [({"kernel": "laplace"}, "together"), ({"invariant": "perm:0,1"}, "--invariant")],
)
def test_what_cannot_be_combined_is_refused(given, says):
    with pytest.raises(SettingError, match=says):
        divmatch.mmd(*pair(), bandwidth="agg", **given)


def test_least_p_values_are_exact_over_all_relabellings():
    """Every split of six rows: the level of the test is not above what it says."""
    pool = np.random.default_rng(4).normal(size=(6, 1))
    splits = [np.isin(np.arange(6), own) for own in itertools.combinations(range(6), 3)]
    found = np.array([p_value(pool[s], pool[~s], permutations=199) for s in splits])
    assert (found <= 0.05).mean() <= 0.1


# -------------------------------------------------------------------------------- statistical


def bumps(t):
    """The perturbation G on (−1, 0): a smooth bump, then the same with the other sign."""
    made = np.zeros_like(t)
    for low, sign, centre in ((-1.0, 1.0, 3.0), (-0.5, -1.0, 1.0)):
        inside = (t > low) & (t < low + 0.5)
        made[inside] = sign * np.exp(-1 / (1 - (4 * t[inside] + centre) ** 2))
    return made


def perturbed_uniform(rng, n, perturbations):
    """Uniform rows whose density has that many bumps of random signs, c = 2.7."""
    signs, made = rng.choice([-1.0, 1.0], perturbations), np.empty(0)
    top = 1 + 2.7 / (np.e * perturbations)
    while len(made) < n:
        u = rng.random(2 * n)
        waves = sum(s * bumps(perturbations * u - v) for v, s in enumerate(signs, 1))
        density = 1 + 2.7 / perturbations * waves
        made = np.concatenate([made, u[rng.random(2 * n) * top < density]])
    return made[:n]


@pytest.mark.slow
@pytest.mark.parametrize("word", ["agg", "fuse"])
@pytest.mark.parametrize("sizes", [(60, 45), (400, 300)], ids=["rows", "groups"])
def test_level(word, sizes):
    found = []
    for run in range(300):
        rng = np.random.default_rng([5, run])
        found.append(p_value(rng.random(sizes[0]), rng.random(sizes[1]), word, seed=run))
    for level in (0.05, 0.2):
        share = np.mean(np.array(found) <= level)
        assert share <= level + LUCK((level * (1 - level) / 300) ** 0.5, z=3)
        assert share >= level - LUCK((level * (1 - level) / 300) ** 0.5, z=4)


@pytest.mark.slow
@pytest.mark.parametrize(("perturbations", "least"), [(1, 0.99), (2, 0.85), (3, 0.2)])
def test_power_against_perturbed_uniforms(perturbations, least):
    """Rows of n = m = 500 at the level 5 %; the median bandwidth sees 1.00, .79 and .17 of them."""
    seen = []
    for run in range(100):
        rng = np.random.default_rng([6, perturbations, run])
        x, y = rng.random(500), perturbed_uniform(rng, 500, perturbations)
        seen.append(p_value(x, y, permutations=300, seed=run) <= 0.05)
    assert np.mean(seen) >= least
