"""Designs: possible splits, draws and standard errors against plain loops."""

import math
from collections import Counter
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from divmatch.designs import Exchange, blocked, clustered, marks, paired
from divmatch.errors import SampleError
from divmatch.estimator import Estimate, influence_se, quantity
from divmatch.inference import infer
from divmatch.intervals import subsampled
from divmatch.kernels.execution import executing
from divmatch.permutations import exchanged, permutation_test, shuffled_pool, with_power
from divmatch.record import Test
from divmatch.samples import as_samples
from tests.reference import designs as reference
from tests.reference import inference as plain
from tests.reference.energy import energy as plain_energy
from tests.tolerances import LUCK, ROUNDING, SAME

ENERGY, SETTINGS = quantity("energy").chosen("u"), {"power": 1.0}


def pairs(n=4):
    return paired(marks("--paired", np.arange(n), np.arange(n)[::-1]))[0]


def blocks():
    return blocked(marks("--blocks", ["a", "a", "b", "b", "b"], ["a", "b", "b", "c"]))


def clusters():
    return clustered(marks("--cluster", [0, 0, 1, 2], [3, 4, 4, 4]))


def both():
    of = marks("--cluster", [0, 0, 1, 2], [3, 4, 4, 5])
    return clustered(of, marks("--blocks", ["a", "a", "b", "b"], ["a", "a", "a", "b"]))


DESIGNS = {"paired": pairs, "blocks": blocks, "cluster": clusters, "cluster in blocks": both}
EVERY = pytest.mark.parametrize("design", [make() for make in DESIGNS.values()], ids=DESIGNS)


def exchange(design):
    """The rows in the order of the samples."""
    return design.exchange(np.arange(len(design.units)))


def loops(design):
    """All possible labels, from the declaration alone."""
    made = exchange(design)
    return reference.all_labels(
        *(part.tolist() for part in (made.units, made.strata, made.observed))
    )


def rows(design, seed=0, d=1):
    n, total = design.n, len(design.units)
    points = np.random.default_rng(seed).normal(size=(total, d))
    return as_samples(points[:n], "x"), as_samples(points[n:], "y")


# ------------------------------------------------------------------------------------ splits


@EVERY
def test_number_of_splits(design):
    assert exchange(design).splits(10**6) == len(loops(design))


@EVERY
def test_more_splits_than_asked_are_not_counted(design):
    assert exchange(design).splits(len(loops(design)) - 1) is None


@EVERY
def test_other_splits_are_all_but_the_observed_one(design):
    found = sorted(tuple(labels.tolist()) for labels in exchange(design).others())
    observed = tuple(exchange(design).labels.tolist())
    assert found == sorted(set(loops(design)) - {observed})


@EVERY
def test_observed_labels_are_those_of_the_samples(design):
    assert SAME(exchange(design).labels, np.arange(len(design.units)) < design.n)


@EVERY
def test_every_split_is_drawn_equally_often(design):
    draw, rng = exchange(design).drawing(), np.random.default_rng(4)
    found = Counter(tuple(draw(rng).tolist()) for _ in range(4000))
    wanted = loops(design)
    share = np.array([found[labels] for labels in wanted]) / 4000
    p = 1 / len(wanted)
    assert np.abs(share - p).max() <= LUCK(math.sqrt(p * (1 - p) / 4000))


def test_rows_without_a_design_are_permuted_as_ever():
    labels = np.array([True, False, False, True, True])
    found = Exchange.of_rows(labels).drawing()(np.random.default_rng(5))
    assert SAME(found, np.random.default_rng(5).permutation(labels))


def test_many_rows_are_not_counted():
    assert Exchange.of_rows(np.arange(10**6) < 10**5).splits(999) is None


# --------------------------------------------------------------------------------- exact tests


@EVERY
@pytest.mark.parametrize("weighted", [False, True])
def test_exact_p_value_is_that_of_all_splits(design, weighted):
    x, y = rows(design, 6)
    if weighted:
        rng = np.random.default_rng(7)
        x, y = (as_samples(s, s.name, rng.random(s.n) + 0.1) for s in (x, y))
    found = permutation_test(ENERGY, x, y, SETTINGS, permutations=999, design=design)
    points = [*x.points.tolist(), *y.points.tolist()]
    masses = [*(x.masses() * x.n).tolist(), *(y.masses() * y.n).tolist()]

    def value(labels):
        parts = [[i for i, inside in enumerate(labels) if inside == side] for side in (True, False)]
        shares = [[masses[i] / sum(masses[j] for j in part) for i in part] for part in parts]
        return plain_energy(*([points[i] for i in part] for part in parts), *shares, unbiased=True)

    observed = value(exchange(design).labels.tolist())
    undefined_counts = [value(labels) for labels in loops(design)]
    large = sum(not v < observed - ROUNDING(30) for v in undefined_counts)
    assert found.p_value == large / len(undefined_counts)


def test_exact_p_value_of_plain_rows():
    x, y = np.arange(4.0), np.arange(3.0) + 2.5
    values = list(plain.all_values(plain_energy, [[v] for v in [*x, *y]], 4))
    observed = plain_energy([[v] for v in x], [[v] for v in y])
    found = permutation_test(
        ENERGY, as_samples(x, "x"), as_samples(y, "y"), SETTINGS, permutations=34
    )
    assert found.p_value == sum(v >= observed - ROUNDING(7) for v in values) / 35


@pytest.mark.parametrize(("permutations", "method"), [(34, "exact"), (33, "permutation")])
def test_exact_where_there_are_no_more_splits_than_asked(permutations, method):
    x, y = as_samples(np.arange(4.0), "x"), as_samples(np.arange(3.0), "y")
    found = permutation_test(ENERGY, x, y, SETTINGS, permutations=permutations)
    assert found.method == method


def test_exact_p_value_has_no_monte_carlo_error():
    x, y = as_samples(np.arange(4.0), "x"), as_samples(np.arange(3.0), "y")
    assert permutation_test(ENERGY, x, y, SETTINGS, permutations=99).error == 0.0


@EVERY
@pytest.mark.parametrize("memory", [1, 900])
def test_exact_p_value_does_not_depend_on_the_memory(design, memory):
    x, y = rows(design, 8)
    whole = permutation_test(ENERGY, x, y, SETTINGS, permutations=999, design=design)
    with executing(memory=memory):
        found = permutation_test(ENERGY, x, y, SETTINGS, permutations=999, design=design)
    assert found.p_value == whole.p_value


# ---------------------------------------------------------------------------- drawn permutations


def test_drawn_labels_go_with_the_pooled_rows():
    """Pairs of equal rows: whatever is exchanged, the statistic stays the same."""
    points = np.random.default_rng(9).normal(size=(30, 2))
    x, y = as_samples(points, "x"), as_samples(points[::-1], "y")
    found = permutation_test(ENERGY, x, y, SETTINGS, permutations=49, design=pairs(30))
    assert found.p_value == 1.0


def test_exchange_of_a_pool_knows_which_rows_are_of_x():
    x, y = rows(blocks())
    assert SAME(exchanged(blocks(), 3).labels, shuffled_pool(x, y, 3)[1])


def test_monte_carlo_error_is_in_the_test():
    x, y = rows(pairs(30))
    found = permutation_test(ENERGY, x, y, SETTINGS, permutations=99)
    count = round(found.p_value * 100) - 1
    assert found.error == pytest.approx(reference.error(count, 99), abs=ROUNDING(4))


@pytest.mark.parametrize("memory", [1, 40 * 60 * 7, 1 << 30])
def test_sequential_test_does_not_depend_on_the_memory(memory):
    x, y = rows(pairs(30), 10)
    options = {"permutations": 2500, "precision": 0.02}
    whole = permutation_test(ENERGY, x, y, SETTINGS, **options)
    with executing(memory=memory):
        found = permutation_test(ENERGY, x, y, SETTINGS, **options)
    assert (found.p_value, found.permutations) == (whole.p_value, whole.permutations)


def test_sequential_test_stops_at_its_precision():
    x, y = rows(pairs(30), 11)
    found = permutation_test(ENERGY, x, y, SETTINGS, permutations=2500, precision=0.02)
    assert found.error <= 0.02


def test_sequential_test_is_cheaper_than_its_cap():
    x, y = rows(pairs(30), 12)
    y = as_samples(y.points + 3, "y")
    found = permutation_test(ENERGY, x, y, SETTINGS, permutations=2500, precision=0.01)
    assert found.permutations < 200


def test_missed_precision_is_flagged():
    x, y = rows(pairs(30), 13)
    found = infer(ENERGY, x, y, SETTINGS, permutations=19, precision=0.01)
    assert "W06" in [note.code for note in found.warnings]


def test_hopeless_designs_are_flagged():
    found = infer(ENERGY, *rows(pairs(3)), SETTINGS, permutations=99, design=pairs(3))
    assert "8 possible splits" in [note.message[:17] for note in found.warnings if note.code == "W40"]  # fmt: skip


# --------------------------------------------------------------------------- standard errors


@EVERY
def test_standard_error_is_that_of_sums_over_groups(design):
    x, y = rows(design, 14)
    rng = np.random.default_rng(15)
    x, y = (as_samples(s, s.name, rng.random(s.n) + 0.1) for s in (x, y))
    terms = [rng.normal(size=s.n) for s in (x, y)]
    shares = [
        [a * (t - np.dot(s.masses(), own)) for a, t in zip(s.masses(), own, strict=True)]
        for s, own in zip((x, y), terms, strict=True)
    ]
    groups = [design.groups[: design.n].tolist(), design.groups[design.n :].tolist()]
    if design.apart:
        variance = sum(map(reference.grouped_variance, shares, groups))
    else:
        variance = reference.grouped_variance(shares[0] + shares[1], groups[0] + groups[1])
    found = design.se(Estimate(0.0, *terms), x, y)
    assert found == pytest.approx(math.sqrt(variance), abs=ROUNDING(10, scale=10))


def test_clusters_of_one_row_are_independent_rows():
    x, y = rows(pairs(12), 16)
    terms = np.random.default_rng(17).normal(size=(2, 12))
    design = clustered(marks("--cluster", np.arange(12), np.arange(12, 24)))
    expected = influence_se(Estimate(0.0, *terms), x, y)
    assert design.se(Estimate(0.0, *terms), x, y) == pytest.approx(expected, abs=ROUNDING(24))


def test_pairs_that_differ_by_a_constant_have_no_error():
    x, y = rows(pairs(12), 18)
    terms = np.random.default_rng(19).normal(size=12)
    design = paired(marks("--paired", np.arange(12), np.arange(12)))[0]
    found = design.se(Estimate(0.0, terms, 5 - terms), x, y)
    assert found == pytest.approx(0.0, abs=ROUNDING(12, scale=10))


def test_interval_goes_by_the_design():
    x, y = rows(pairs(40), 20)
    y = as_samples(x.points[::-1] + 0.5, "y")
    found = infer(ENERGY, x, y, SETTINGS, design=pairs(40))
    assert found.se == pairs(40).se(ENERGY(x, y, **SETTINGS), x, y)


@EVERY
def test_subsamples_hold_whole_groups(design):
    left, right = design.subset(np.random.default_rng(21))
    taken = np.concatenate([left, right + design.n])
    rest = np.setdiff1d(np.arange(len(design.units)), taken)
    assert not set(design.groups[taken]) & set(design.groups[rest])


def test_subsamples_of_pairs_are_those_of_rows():
    """As many pairs in a subsample as there would be rows."""
    left, _ = pairs(64).subset(np.random.default_rng(22))
    assert len(left) == 16


def test_subsampling_draws_by_the_design():
    x, y = rows(pairs(64), 23)
    chosen = quantity("kl").chosen("knn")
    settings = chosen.checked({})
    alike = [subsampled(chosen, x, y, [settings], 0, design)[0] for design in (None, pairs(64))]
    assert alike[0] != alike[1]


@pytest.mark.parametrize(("groups", "flagged"), [(9, True), (10, False)])
def test_few_groups_are_flagged(groups, flagged):
    of = np.repeat(np.arange(groups), 3)
    design = blocked(marks("--blocks", of, of))
    found = infer(ENERGY, *rows(design, 24), SETTINGS, design=design)
    assert ("W40" in [note.code for note in found.warnings]) == flagged


# ------------------------------------------------------------------------------------- power


def powered(value, se, *, degenerate=True, mean=0.0, design=None, alpha=0.05):
    null = {"mean": mean, "sd": 1.0, "q95": 2.0, "critical": 2.0, "detectable": 3.0}
    result = infer(ENERGY, *rows(pairs(9)), SETTINGS)
    test = Test(0.05, "permutation", 99, null, design=design)
    return with_power(test, replace(result, value=value, se=se), alpha, degenerate=degenerate)


def test_power_is_half_where_the_estimate_is_critical():
    assert powered(2.0, 0.5).power == 0.5


def test_power_is_never_below_the_level():
    assert powered(-1.0, 0.5).power == 0.05


def test_power_goes_by_both_spreads():
    found = powered(3.0, 2.0).power
    assert found == pytest.approx(NormalDist().cdf(1 / 5**0.5), abs=ROUNDING(4))


@pytest.mark.parametrize(("value", "se"), [(2.0, 0.5), (0.1, 1.0), (9.0, 3.0)])
def test_detectable_effect_has_a_power_of_four_fifths(value, se):
    effect = powered(value, se).null["detectable"]
    spread = (1 + effect * se**2 / max(value, 1.0)) ** 0.5
    assert NormalDist().cdf((effect - 2) / spread) == pytest.approx(0.8, abs=ROUNDING(9))


def test_detectable_effect_of_a_statistic_with_a_steady_error():
    found = powered(9.0, 3.0, degenerate=False).null["detectable"]
    assert found == pytest.approx(2 + 3 * NormalDist().inv_cdf(0.8), abs=ROUNDING(4, scale=9))


def test_effects_in_a_design_are_counted_from_the_mean_at_equality():
    pulled = powered(-1.0, 0.0, mean=-1.0, design="paired").null["detectable"]
    assert pulled == powered(0.0, 0.0).null["detectable"] + 1


# ------------------------------------------------------------------------------------- errors


def test_rows_without_a_partner_are_left_out():
    _, left, right = paired(marks("--paired", ["a", "b", "c"], ["c", "d", "a"]))
    assert (left.tolist(), right.tolist()) == ([0, 2], [0, 2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: paired(marks("--paired k", [1, 2, 1], [1, 2])), "'1' is in P 2 times, again at row 2"),
        (lambda: paired(marks("--paired k", [1, 2], [3, 4])), "no key is in both P and Q"),
        (lambda: blocked(marks("--blocks b", [1, 2], [3, 4])), "no block has rows of both P and Q"),
        (lambda: clustered(marks("--cluster c", [1, 2], [2])), "cluster '2' has rows of both P and Q"),
        (
            lambda: clustered(marks("--cluster c", [1, 1], [2]), marks("--blocks b", [1, 2], [1])),
            "cluster '1' lies in several blocks",
        ),
        (
            lambda: clustered(marks("--cluster c", [1], [2]), marks("--blocks b", [1], [2])),
            "no block has clusters of both",
        ),
        (lambda: marks("--paired k", [1, 2], ["1", "2"]), "number in P, text in Q"),
    ],
)  # fmt: skip
def test_what_cannot_be_exchanged_is_refused(make, message):
    with pytest.raises(SampleError, match=message):
        make()
