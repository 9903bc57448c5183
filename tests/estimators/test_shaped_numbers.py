"""Prototype distance, KL of margins, density gap and tails: loops, closed forms, quoted medians."""

import math
from statistics import NormalDist

import numpy as np
import pytest

import divmatch
from divmatch.errors import InconclusiveError, SampleError, SettingError
from divmatch.estimators.tails import GAUSSIAN, LEVELS
from tests.reference import shaped as reference
from tests.tolerances import LUCK, ROUNDING, SAME

# ------------------------------------------------------------------------------------ prototypes

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(30, 3))
LABELS = np.arange(30) % 4
OTHERS = RNG.normal(1.0, 1.0, size=(5, 3))
EXACT = 0.5 * (math.log(9) + 0.0020734) - 0.5 * (math.log(2) - 0.5772157)  # E1(4.5) = .0020734


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("others", [None, OTHERS], ids=["own", "others"])
def test_prototype_distance_is_that_of_the_loops(plain, others):
    found = divmatch.prototypes(ROWS, LABELS, others, plain_means=plain).value
    expected = reference.prototypes(ROWS, LABELS, others, plain=plain)
    assert found == pytest.approx(expected, abs=ROUNDING(30, scale=10))


def test_prototype_distance_of_a_gaussian_is_its_closed_form():
    rows = np.random.default_rng(1).normal(size=(20_000, 2))
    found = divmatch.prototypes(rows, np.zeros(20_000), [[3.0, 0.0]])
    assert found.value == pytest.approx(EXACT, abs=LUCK(found.se))
    assert pytest.approx(1.041683, abs=1e-6) == EXACT


def test_labelled_others_are_class_means():
    labels = [0, 0, 1, 1, 1]
    means = [OTHERS[:2].mean(axis=0), OTHERS[2:].mean(axis=0)]
    found = divmatch.prototypes(ROWS, LABELS, OTHERS, labels).value
    expected = divmatch.prototypes(ROWS, LABELS, means).value
    assert found == pytest.approx(expected, abs=ROUNDING(30, scale=10))


def test_kl_scale_counts_columns_and_prototypes():
    plain = divmatch.prototypes(ROWS, LABELS, OTHERS).value
    found = divmatch.prototypes(ROWS, LABELS, OTHERS, kl_scale=True)
    assert found.value == pytest.approx(3 * plain + math.log(5 / 4), abs=ROUNDING(30, scale=10))
    assert found.unit == "nats"


def test_class_of_one_row_is_left_out_and_said():
    found = divmatch.prototypes(ROWS, [9, *LABELS[1:]])
    assert "1 row without another of the class" in found.warnings[0].message
    expected = reference.prototypes(ROWS, [9, *LABELS[1:]])
    assert found.value == pytest.approx(expected, abs=ROUNDING(30, scale=10))


def test_row_that_is_its_own_prototype_is_infinitely_near():
    found = divmatch.prototypes(ROWS, [9, *LABELS[1:]], plain_means=True)
    assert found.value == math.inf
    assert [note.code for note in found.warnings] == ["W02"]


def test_text_labels_are_classes():
    words = np.array(["d", "a", "c", "b"])[LABELS]
    found = divmatch.prototypes(ROWS, words).value
    assert found == pytest.approx(divmatch.prototypes(ROWS, LABELS).value, abs=ROUNDING(30))


def test_whole_weights_repeat_rows_with_plain_means():
    counts = np.arange(30) % 3 + 1
    found = divmatch.prototypes(ROWS, LABELS, weights=counts, plain_means=True)
    again = divmatch.prototypes(
        np.repeat(ROWS, counts, axis=0), np.repeat(LABELS, counts), plain_means=True
    )
    assert found.value == pytest.approx(again.value, abs=ROUNDING(60, scale=10))


def test_one_class_has_no_other_prototype():
    with pytest.raises(InconclusiveError, match="one class"):
        divmatch.prototypes(ROWS, np.zeros(30))


def test_kl_scale_needs_others():
    with pytest.raises(SettingError, match="--others"):
        divmatch.prototypes(ROWS, LABELS, kl_scale=True)


# ----------------------------------------------------------------------------------------- klom

X, Y = RNG.normal(0.5, 1.0, size=(30, 7)), RNG.normal(size=(25, 7))
KLOM = {
    "hist": lambda: reference.klom(X, Y, 20),
    "miller-madow": lambda: reference.klom(X, Y, 20, corrected=True),
    "knn": lambda: reference.klom_knn(X, Y, 5),
}


@pytest.mark.parametrize("method", KLOM)
@pytest.mark.parametrize("kind", ["mean", "p95"])
def test_klom_is_that_of_the_loops(method, kind):
    values = KLOM[method]()
    expected = np.mean(values) if kind == "mean" else np.quantile(values, 0.95)
    found = divmatch.klom(X, Y, method=method, kind=kind).value
    assert found == pytest.approx(expected, abs=ROUNDING(200, scale=20))


def test_bins_are_shared():
    assert divmatch.klom(Y, Y).value == pytest.approx(0.0, abs=ROUNDING(25))
    assert divmatch.klom(Y + 50, Y).value == pytest.approx(math.log(1e5), abs=3.0)


def test_margins_are_clipped():
    huge = np.where(X > 1, 1e9, X)
    found = divmatch.klom(huge, Y).value
    assert SAME(found, divmatch.klom(np.where(X > 1, 100.0, X), Y).value)


def test_klom_says_what_it_clips():
    said = [
        n.message for n in divmatch.klom(np.where(X > 1, 1e6, X), Y).warnings if n.code == "W67"
    ]
    assert said == [f"unlearned: {np.count_nonzero(X > 1)} margins beyond +-100 are taken as +-100"]
    assert all(note.code != "W67" for note in divmatch.klom(X, Y).warnings)


def test_null_of_a_hundred_models_has_the_quoted_bias():
    rng = np.random.default_rng(2)
    found = divmatch.klom(rng.normal(size=(100, 300)), rng.normal(size=(100, 300)))
    assert found.value == pytest.approx(0.3255, abs=LUCK(0.165 / 300**0.5, bias=0.03))


def test_neighbours_have_no_bias_to_speak_of():
    rng = np.random.default_rng(3)
    found = divmatch.klom(rng.normal(size=(100, 300)), rng.normal(size=(100, 300)), method="knn")
    assert found.value == pytest.approx(0.0, abs=LUCK(found.se, bias=0.01))


def test_shift_of_one_is_a_half():
    rng = np.random.default_rng(4)
    found = divmatch.klom(rng.normal(1, 1, size=(10_000, 3)), rng.normal(size=(10_000, 3)))
    assert found.value == pytest.approx(0.5, abs=LUCK(found.se, bias=0.005))


def test_baseline_is_that_of_halves_of_the_oracle():
    rng = np.random.default_rng(5)
    found = divmatch.klom(rng.normal(size=(50, 200)), rng.normal(size=(100, 200)))
    halves = divmatch.klom(rng.normal(size=(50, 200)), rng.normal(size=(50, 200)))
    assert found.params["baseline_models"] == 50
    assert found.params["baseline"] == pytest.approx(halves.value, abs=LUCK(halves.se))
    assert "W65" in [note.code for note in found.warnings]


def test_few_oracle_models_have_no_baseline():
    found = divmatch.klom(X, Y[:3])
    assert found.params["baseline"] is None
    assert "too few for a null baseline" in found.warnings[0].message


def test_tied_margins_are_no_matter_for_neighbours():
    with pytest.raises(InconclusiveError, match="the same margin"):
        divmatch.klom(np.round(X), np.round(Y), method="knn", k=2)


# ---------------------------------------------------------------------------------- density gap


def test_gap_of_two_components_is_the_quoted_one():
    means, sds = [[-2.0], [2.0]] * 100, [[0.5]] * 200
    found = divmatch.density_gap(means, sds, draws=200)
    assert found.value == pytest.approx(1.625094, abs=LUCK(found.error["monte_carlo_se"]))
    assert reference.density_gap_1d([-2, 2], [0.5, 0.5]) == pytest.approx(1.625094, abs=1e-6)
    assert divmatch.density_gap(means, sds, kind="mean-kl").value == pytest.approx(
        2.318147, abs=1e-6
    )


@pytest.mark.parametrize("form", ["marginal", "joint"])
def test_mean_kl_is_information_and_gap(form):
    rng = np.random.default_rng(6)
    means, sds = rng.normal(size=(30, 3)), rng.uniform(0.3, 1, size=(30, 3))
    gap, kl, information = (
        divmatch.density_gap(means, sds, form=form, kind=kind).value
        for kind in ("gap", "mean-kl", "mi")
    )
    assert kl == pytest.approx(gap + information, abs=ROUNDING(30, scale=5))


def test_forms_agree_in_one_column():
    means, sds = RNG.normal(size=(30, 1)), RNG.uniform(0.3, 1, size=(30, 1))
    found = [divmatch.density_gap(means, sds, form=form).value for form in ("marginal", "joint")]
    assert found[0] == pytest.approx(found[1], abs=ROUNDING(960, scale=5))


def test_gap_is_that_of_the_integral():
    means, sds = RNG.normal(size=20), RNG.uniform(0.3, 1, size=20)
    found = divmatch.density_gap(means, sds, draws=2000)
    expected = reference.density_gap_1d(means, sds)
    assert found.value == pytest.approx(expected, abs=LUCK(found.error["monte_carlo_se"]))


def test_collapse_has_no_gap_and_no_kl():
    for kind in ("gap", "mean-kl", "mi"):
        found = divmatch.density_gap(np.zeros((20, 2)), np.ones((20, 2)), kind=kind)
        assert found.value == pytest.approx(0.0, abs=ROUNDING(640))


def test_spread_may_be_a_variance_or_its_logarithm():
    means, sds = RNG.normal(size=(10, 2)), RNG.uniform(0.3, 1, size=(10, 2))
    expected = divmatch.density_gap(means, sds).value
    for spread, given in (("variance", sds**2), ("log-variance", 2 * np.log(sds))):
        found = divmatch.density_gap(means, given, spread=spread).value
        assert found == pytest.approx(expected, abs=ROUNDING(320, scale=5))


def test_spread_must_be_above_zero():
    with pytest.raises(SampleError, match=r"sd at row 1 \(from 0\), column 0, is -1"):
        divmatch.density_gap([[0.0], [1.0]], [[1.0], [-1.0]])


def test_weights_repeat_rows():
    means, sds = RNG.normal(size=(10, 2)), RNG.uniform(0.3, 1, size=(10, 2))
    counts = np.arange(10) % 3 + 1
    found = divmatch.density_gap(means, sds, weights=counts, draws=500)
    again = divmatch.density_gap(
        np.repeat(means, counts, axis=0), np.repeat(sds, counts, axis=0), draws=500
    )
    error = found.error["monte_carlo_se"] + again.error["monte_carlo_se"]
    assert found.value == pytest.approx(again.value, abs=LUCK(error))


# ---------------------------------------------------------------------------------------- tails

DRAWN = {
    "gaussian": lambda rng: rng.normal(size=(4000, 20)),
    "t": lambda rng: rng.standard_t(3, size=(4000, 20)),
    "laplace": lambda rng: rng.laplace(size=(4000, 20)),
    "mixture": lambda rng: rng.normal(size=(4000, 20)) * np.abs(rng.standard_t(3, size=(4000, 1))),
}
QUOTED = {
    "gaussian": (0.997, 0.997, 20.9, "gaussian-like"),
    "t": (1.41, 2.29, 3.2, "heavy"),
    "laplace": (1.11, 1.21, 13.0, "gaussian-like"),
    "mixture": (2.32, 2.38, 2.9, "heavy"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_tails_have_the_quoted_medians(name):
    rows = DRAWN[name](np.random.default_rng(7))
    for kind, expected in zip(("direction", "radius", "hill"), QUOTED[name], strict=False):
        found = divmatch.tails(rows, kind=kind, projections=50)
        assert found.value == pytest.approx(expected, abs=LUCK(found.se, bias=0.02 * expected))


@pytest.mark.parametrize("name", DRAWN)
def test_word_for_the_radius(name):
    rows = DRAWN[name](np.random.default_rng(8))
    assert divmatch.tails(rows).params["tail"] == QUOTED[name][3]


def test_exponential_tails_are_called_so():
    rows = np.random.default_rng(9).laplace(size=20_000)
    assert divmatch.tails(rows, kind="direction").params["tail"] == "exponential-like"


def test_slope_is_that_of_the_quantiles():
    rows = np.random.default_rng(10).laplace(size=(1000, 1))
    expected = reference.tail_slope(rows[:, 0], LEVELS, GAUSSIAN)
    found = divmatch.tails(rows, kind="direction").value
    assert found == pytest.approx(expected, abs=ROUNDING(1000, scale=10))


def test_gaussian_quantiles_are_those_of_the_standard_library():
    exact = [NormalDist().inv_cdf(1 - share / 2) for share in LEVELS]
    assert pytest.approx(exact, abs=1e-9) == GAUSSIAN


def test_hill_index_of_a_power_law():
    rows = np.random.default_rng(11).pareto(3, size=(20_000, 1)) + 1
    found = divmatch.tails(np.vstack([rows, -rows]), kind="hill")
    assert found.value == pytest.approx(3.0, abs=LUCK(found.se))


def test_slopes_have_no_unit():
    rows = DRAWN["t"](np.random.default_rng(12))[:500]
    for kind in ("radius", "direction", "hill"):
        found = divmatch.tails(rows * 7 + 3, kind=kind).value
        assert found == pytest.approx(
            divmatch.tails(rows, kind=kind).value, abs=ROUNDING(500, scale=1e3)
        )


def test_few_rows_are_said():
    assert [note.code for note in divmatch.tails(ROWS).warnings] == ["W62"]


def test_too_few_rows_are_no_number():
    with pytest.raises(InconclusiveError, match="expected at least 20"):
        divmatch.tails(ROWS[:15])


# ------------------------------------------------------------------------------------- coverage


def _rows(rng):
    return rng.normal(size=(150, 2)) + 2 * (np.arange(150)[:, None] % 3)


COVERED = {
    "prototypes": lambda rng: divmatch.prototypes(_rows(rng), np.arange(150) % 3),
    "klom": lambda rng: divmatch.klom(
        rng.normal(0.5, 1, size=(200, 60)), rng.normal(size=(200, 60))
    ),
    "klom-knn": lambda rng: divmatch.klom(
        rng.normal(0.5, 1, size=(200, 60)), rng.normal(size=(200, 60)), method="knn"
    ),
    "density-gap": lambda rng: divmatch.density_gap(
        rng.normal(size=(150, 1)), np.full((150, 1), 0.5)
    ),
    "tails": lambda rng: divmatch.tails(rng.standard_t(3, size=(2000, 5))),
    "tails-direction": lambda rng: divmatch.tails(
        rng.standard_t(3, size=(2000, 5)), kind="direction", projections=30
    ),
    "tails-hill": lambda rng: divmatch.tails(rng.standard_t(3, size=(2000, 5)), kind="hill"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COVERED)
def test_interval_covers_the_mean(name):
    rng = np.random.default_rng(13)
    found = [COVERED[name](rng) for _ in range(200)]
    mean = np.mean([one.value for one in found])
    covered = np.mean([one.ci.low <= mean <= one.ci.high for one in found])
    assert 0.90 <= covered <= 1.0
