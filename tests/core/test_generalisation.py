"""Memorisation: published anchors, an exact p-value, intervals that hold the truth."""

import numpy as np
import pytest

import divmatch
from divmatch.errors import SampleError, SettingError
from divmatch.estimator import parse_metric
from divmatch.samples import as_samples
from tests.reference.energy import energy
from tests.tolerances import LUCK, ROUNDING

PLANNED = [
    "energy:method=v",
    "energy",
    "mmd:bandwidth=1",
    "mmd:method=v,kernel=laplace,bandwidth=2",
]


def real(seed, n=200, t=200, d=8):
    rng = np.random.default_rng([7, seed])
    return rng, rng.normal(size=(n, d)), rng.normal(size=(t, d))


def memoriser(seed, m=2000):
    rng, train, test = real(seed)
    return test, train[rng.integers(0, len(train), m)], train


def generator(seed, m=2000):
    rng, train, test = real(seed)
    return test, rng.normal(size=(m, 8)), train


def mean_of(draw, number, runs=6):
    """Mean of one of the numbers over runs, and its standard error."""
    found = [
        getattr(divmatch.memorisation(*draw(seed), permutations=0), number).value
        for seed in range(runs)
    ]
    return np.mean(found), np.std(found, ddof=1) / runs**0.5


@pytest.mark.parametrize(
    ("draw", "number", "anchor"),
    [
        (memoriser, "gen_train", 0.0020),
        (memoriser, "gen_test", 0.0395),
        (generator, "gen_test", 0.0208),
        (generator, "gen_train", 0.0208),
    ],
)
def test_anchors_of_the_energy_distance(draw, number, anchor):
    """The anchors are one run each: their own luck counts as well."""
    mean, se = mean_of(draw, number)
    assert mean == pytest.approx(anchor, abs=LUCK(se * 7**0.5, z=4))


def test_memorised_rows_are_found():
    found = divmatch.memorisation(*memoriser(0))
    assert found.memorised
    assert found.gap.test.p_value == 1 / 200
    assert found.ratio.value > 5


def test_memorised_rows_with_noise_are_found():
    test, gen, train = memoriser(1)
    gen = gen + 0.2 * np.random.default_rng(1).normal(size=gen.shape)
    assert divmatch.memorisation(test, gen, train).memorised


def test_a_true_generator_is_not_accused():
    found = divmatch.memorisation(*generator(2))
    assert not found.memorised
    assert found.gap.test.p_value > 0.05


def test_the_critic_finds_a_generator_near_its_training_rows():
    """Where train and test differ by more than luck, held-out rows tell."""
    rng, train, test = real(3, 100, 100)
    found = divmatch.memorisation(
        test + 1.0,
        train[rng.integers(0, 100, 200)],
        train,
        statistic="c2st:mode=wgan",
        permutations=19,
    )
    assert found.memorised
    assert found.gap.test.p_value == 0.05


def test_numbers_are_those_of_the_quantity():
    test, gen, train = (rows[:30] for rows in memoriser(4))
    found = divmatch.memorisation(test, gen, train, permutations=0)
    pairs = ((train, gen), (test, gen), (train, test))
    truth = [energy(x.tolist(), y.tolist(), unbiased=False) for x, y in pairs]
    values = [one.value for one in found.results]
    expected = [*truth, truth[1] - truth[0], truth[1] / truth[0]]
    assert values == pytest.approx(expected, abs=ROUNDING(900, scale=10 * expected[-1]))


@pytest.mark.parametrize("statistic", PLANNED)
@pytest.mark.parametrize("weighted", [False, True])
def test_plan_of_a_contrast_is_the_difference_of_two_estimates(statistic, weighted):
    rng = np.random.default_rng(5)
    rows, other = rng.normal(size=(40, 3)), rng.normal(size=(25, 3))
    pool = as_samples(rows, "pool", rng.random(40) if weighted else None)
    y = as_samples(other, "y", rng.random(25) if weighted else None)
    estimator, settings = parse_metric(statistic, scoring=False)
    labels = np.column_stack([rng.permutation(40) < 15 for _ in range(6)])
    found = estimator.contrast(pool, y, **settings).statistic(labels)
    truth = [
        estimator(pool.take(~split), y, **settings).value
        - estimator(pool.take(split), y, **settings).value
        for split in labels.T
    ]
    assert found == pytest.approx(truth, abs=ROUNDING(1600, scale=10))


def test_plan_respects_a_group():
    rng = np.random.default_rng(6)
    pool, y = (
        as_samples(rng.normal(size=(20, 2)), "pool"),
        as_samples(rng.normal(size=(15, 2)), "y"),
    )
    estimator, settings = parse_metric("energy", scoring=False)
    settings |= {"invariant": "perm:0,1"}
    split = np.arange(20) < 9
    found = estimator.contrast(pool, y, **settings).statistic(split[:, None])[0]
    rest, part = (estimator(pool.take(rows), y, **settings).value for rows in (~split, split))
    assert found == pytest.approx(rest - part, abs=ROUNDING(400, scale=10))


def test_every_other_statistic_is_computed_afresh():
    test, gen, train = (rows[:40] for rows in generator(7))
    found = divmatch.memorisation(test, gen, train, statistic="sliced", permutations=19)
    assert 1 / 20 <= found.gap.test.p_value <= 1


def test_automatic_bandwidth_is_one_for_all_pairs():
    test, gen, train = (rows[:50] for rows in memoriser(8))
    found = divmatch.memorisation(test, 3.0 * gen, train, statistic="mmd", permutations=9)
    assert len({one.params["bandwidth"] for one in found.results[:3]}) == 1


def test_interval_of_the_gap_is_that_of_the_influences():
    """Far from every degenerate point the generated rows are shared, the real ones are not."""
    rng = np.random.default_rng(9)
    test, train, gen = rng.normal(size=(80, 1)), rng.normal(size=(90, 1)), rng.normal(9, 1, (70, 1))
    found = divmatch.memorisation(test, gen, train, permutations=0)
    # all rows lie on one side of the others: D = 2 (mean gen − mean real) − within
    within = [np.abs(rows - rows.T).mean() for rows in (test, train)]
    expected = 2 * (train.mean() - test.mean()) - within[0] + within[1]
    assert found.gap.value == pytest.approx(expected, abs=ROUNDING(8100, scale=20))
    halves = [
        np.var(-2 * rows[:, 0] - 2 * np.abs(rows - rows.T).mean(axis=1), ddof=1) / len(rows)
        for rows in (test, train)
    ]
    assert found.gap.se == pytest.approx(sum(halves) ** 0.5, rel=1e-9)


@pytest.mark.parametrize("method", ["u", "v"])
def test_no_distance_from_the_training_rows_is_an_infinite_ratio(method):
    test, _, train = memoriser(10)
    found = divmatch.memorisation(test + 0.5, train, train, statistic=f"energy:method={method}")
    assert found.ratio.value == np.inf
    assert {"W02", "W30"} <= {note.code for note in found.ratio.warnings}


def test_no_distance_from_either_is_no_ratio():
    rows = np.random.default_rng(11).normal(size=(20, 2))
    found = divmatch.memorisation(rows, rows, rows)
    assert np.isnan(found.ratio.value)
    assert found.ratio.as_dict()["value"] is None
    assert (found.gap.value, found.gap.test.p_value, found.memorised) == (0.0, 1.0, False)


def test_unequal_sizes_are_said():
    test, gen, train = generator(12)
    codes = [note.code for note in divmatch.memorisation(test[:100], gen, train).ratio.warnings]
    assert "W31" in codes
    assert "W30" not in codes


def test_without_permutations_the_interval_decides():
    found = divmatch.memorisation(*memoriser(13), permutations=0)
    assert found.gap.test is None
    assert found.memorised == (found.gap.ci.low > 0)


def test_same_seed_same_digits():
    rows = memoriser(14, 300)
    values = [
        [one.as_dict() for one in divmatch.memorisation(*rows, seed=4).results] for _ in range(2)
    ]
    assert values[0] == values[1]


def test_weightless_rows_are_not_there():
    test, gen, train = (rows[:40] for rows in memoriser(15))
    far = as_samples(np.vstack([train, [[50.0] * 8]]), "train", [1] * 40 + [0])
    found = divmatch.memorisation(test, gen, far, permutations=0).ratio.value
    expected = divmatch.memorisation(
        test, gen, as_samples(train, "train", [1] * 40), permutations=0
    )
    assert found == pytest.approx(expected.ratio.value, rel=1e-9)


def test_different_columns_are_refused():
    test, gen, train = memoriser(16)
    with pytest.raises(SampleError, match="train has 7 columns, gen has 8"):
        divmatch.memorisation(test, gen, train[:, :7])


def test_negative_permutations_are_refused():
    with pytest.raises(SettingError, match="at least 0"):
        divmatch.memorisation(*memoriser(17), permutations=-1)


@pytest.mark.slow
def test_p_value_keeps_its_level():
    """200 generators that know nothing of the split: at most 5 % + 4 sd of p-values up to .05."""
    values = [
        divmatch.memorisation(*generator(100 + s, 300), permutations=39).gap.test.p_value
        for s in range(200)
    ]
    assert np.mean(np.array(values) <= 0.05) <= LUCK((0.05 * 0.95 / 200) ** 0.5, z=4, bias=0.05)


@pytest.mark.slow
def test_interval_of_the_ratio_covers_one():
    """A generator that is off by the same from train and test; 300 runs, 95 % ± 4 sd."""
    hits = 0
    for seed in range(300):
        rng, train, test = real(seed, 150, 150, d=2)
        found = divmatch.memorisation(test, rng.normal(1.0, 1.0, (200, 2)), train, permutations=0)
        hits += found.ratio.ci.low <= 1.0 <= found.ratio.ci.high
    assert hits / 300 == pytest.approx(0.95, abs=LUCK((0.95 * 0.05 / 300) ** 0.5, z=4))
