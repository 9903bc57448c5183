"""Alignment of matched embeddings: against loops, at equal and at independent ones, and its p-values."""

import numpy as np
import pytest

import divmatch
from divmatch.errors import SampleError, SettingError
from tests.reference import shaped as reference
from tests.tolerances import LUCK, ROUNDING, SAME

RNG = np.random.default_rng(0)
A = RNG.normal(size=(40, 4))
B = np.column_stack([A[:, :2] + 0.3 * RNG.normal(size=(40, 2)), RNG.normal(size=40)])
METHODS = ("mutual-knn", "cycle-knn", "cknna", "cka", "cka-unbiased")
LOOPS = {
    "mutual-knn": lambda metric: reference.mutual_knn(A, B, 5, metric),
    "cycle-knn": lambda metric: reference.cycle_knn(A, B, 5, metric),
    "cknna": lambda metric: reference.cknna(A, B, 5, metric),
    "cka": lambda metric: reference.cka(A, B, metric),
    "cka-unbiased": lambda metric: reference.cka(A, B, metric, reference.hsic_unbiased),
}


def settings(method, k=5):
    return {"method": method} | ({} if "cka" in method else {"k": k})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_value_is_that_of_the_loops(method, metric):
    found = divmatch.align(A, B, metric=metric, **settings(method)).value
    assert found == pytest.approx(LOOPS[method](metric), abs=ROUNDING(1600, scale=5))


@pytest.mark.parametrize("method", ["mutual-knn", "cknna", "cka", "cka-unbiased"])
def test_rotated_scaled_and_shifted_rows_are_aligned(method):
    turn = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    found = divmatch.align(A, 3 * A @ turn + 5, metric="euclidean", **settings(method))
    assert found.value == pytest.approx(1.0, abs=ROUNDING(40, scale=100))


def test_independent_embeddings_share_k_of_n_neighbours():
    rng = np.random.default_rng(1)
    found = [
        divmatch.align(rng.normal(size=(600, 5)), rng.normal(size=(600, 8)), level=0.5)
        for _ in range(4)
    ]
    values = [one.value for one in found]
    assert found[0].params["chance"] == pytest.approx(10 / 599, abs=ROUNDING(1))
    assert np.mean(values) == pytest.approx(10 / 599, abs=LUCK(0.0022 / 2))


@pytest.mark.parametrize("method", METHODS)
def test_chance_is_the_mean_over_permutations(method):
    found = divmatch.align(A, B, permutations=400, **settings(method))
    null = found.test.null
    if method != "cknna":
        assert null["mean"] == pytest.approx(found.params["chance"], abs=LUCK(null["sd"] / 20))


@pytest.mark.parametrize("method", METHODS)
def test_statistic_of_an_order_is_the_value_of_the_moved_rows(method):
    from divmatch.estimators.alignment import packed

    estimator = divmatch.estimator.quantity("align").chosen(method)
    own = estimator.checked({key: v for key, v in settings(method).items() if key != "method"})
    order = np.random.default_rng(2).permutation(40)
    found = estimator.plan(packed(A, B)[0], **own).statistic(order[:, None])[0]
    expected = divmatch.align(A, B[order], **settings(method)).value
    assert found == pytest.approx(expected, abs=ROUNDING(1600, scale=5))


def test_corrected_value_is_none_for_chance_and_one_for_equal_rows():
    plain = divmatch.align(A, B)
    chance = 10 / 39
    found = divmatch.align(A, B, corrected=True).value
    assert found == pytest.approx((plain.value - chance) / (1 - chance), abs=ROUNDING(1))
    assert divmatch.align(A, A, corrected=True).value == 1.0


def test_alignment_is_found():
    assert divmatch.align(A, B, permutations=99).test.p_value == 0.01


def test_constant_embeddings_are_not_aligned():
    found = divmatch.align(
        np.zeros((200, 2)), np.zeros((200, 3)), metric="euclidean", permutations=49
    )
    assert found.value < 0.2
    assert "W64" in [note.code for note in found.warnings]


def test_rows_without_direction_are_named():
    with pytest.raises(SampleError, match=r"row 3 .*--metric euclidean"):
        divmatch.align(np.vstack([A[:3], [[0.0] * 4], A[3:]]), RNG.normal(size=(41, 2)))


@pytest.mark.parametrize("method", ["cknna", "cka-unbiased"])
def test_weights_without_a_meaning_are_refused(method):
    with pytest.raises(SettingError, match="not defined for rows with weights"):
        divmatch.align(A, B, weights=np.arange(40) + 1.0, **settings(method))


@pytest.mark.parametrize("method", ["mutual-knn", "cka"])
def test_rows_with_weights_are_not_permuted(method):
    with pytest.raises(SettingError, match="leave out --permutations"):
        divmatch.align(A, B, weights=np.arange(40) + 1.0, permutations=9, method=method)


def test_equal_weights_are_none():
    found = divmatch.align(A, B, weights=np.full(40, 3.0)).value
    assert found == pytest.approx(divmatch.align(A, B).value, abs=ROUNDING(40))


def test_number_of_threads_changes_no_digit():
    from divmatch.kernels.execution import executing

    found = []
    for threads in (1, 2):
        with executing(threads=threads):
            one = divmatch.align(A, B, permutations=9, k=5)
            found.append([one.value, one.se, one.test.p_value])
    assert SAME(found[0], found[1])


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_interval_covers_the_mean(method):
    rng = np.random.default_rng(3)
    found = []
    for _ in range(200):
        rows = rng.normal(size=(300, 6))
        found.append(
            divmatch.align(rows, rows[:, :4] + rng.normal(size=(300, 4)), **settings(method))
        )
    mean = np.mean([one.value for one in found])
    covered = np.mean([one.ci.low <= mean <= one.ci.high for one in found])
    assert 0.90 <= covered <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_p_values_of_independent_embeddings_are_uniform(method):
    rng = np.random.default_rng(4)
    p_values = [
        divmatch.align(
            rng.normal(size=(40, 3)), rng.normal(size=(40, 2)), permutations=19, **settings(method)
        ).test.p_value
        for _ in range(400)
    ]
    assert np.mean(np.array(p_values) <= 0.1) == pytest.approx(0.1, abs=LUCK((0.09 / 400) ** 0.5))
