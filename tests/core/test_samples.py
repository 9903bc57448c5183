"""Samples: what is let in, and what is said about the rest."""

import numpy as np
import pytest

from divmatch.errors import SampleError
from divmatch.samples import Samples, as_samples, as_weights, check_partners
from tests.tolerances import ROUNDING, SAME

ROWS = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


@pytest.mark.parametrize(
    "values",
    [
        ROWS,
        ROWS.tolist(),
        ROWS.astype(np.float32),
        ROWS.astype(int),
        ROWS.astype(np.uint8),
        np.asfortranarray(ROWS),
        np.repeat(ROWS, 2, axis=0)[::2],
        ROWS[:, ::-1][:, ::-1],
        ROWS.astype(">f8"),
    ],
    ids=["array", "lists", "float32", "integers", "bytes", "fortran", "every second", "reversed", "big endian"],
)  # fmt: skip
def test_points_are_float64_in_c_order(values):
    points = as_samples(values, "x").points
    assert SAME(points, ROWS)
    assert points.flags.c_contiguous


def test_truth_values_are_numbers():
    assert as_samples([[True], [False]], "x").points.tolist() == [[1.0], [0.0]]


def test_one_dimension_is_one_column():
    assert as_samples([1.0, 2.0, 3.0], "x").points.shape == (3, 1)


def test_samples_pass_unchanged():
    samples = as_samples(ROWS, "x")
    assert as_samples(samples, "y") is samples


def test_weights_given_with_samples_are_not_ignored():
    weighted = as_samples(as_samples(ROWS, "x"), "x", [1, 1, 2])
    assert weighted.masses().tolist() == [0.25, 0.25, 0.5]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], r"x: is empty \(shape \(0,\)\)"),
        (np.empty((0, 3)), r"x: is empty \(shape \(0, 3\)\)"),
        (np.empty((3, 0)), r"x: is empty \(shape \(3, 0\)\)"),
        (np.zeros((2, 2, 2)), r"x: has shape \(2, 2, 2\), expected rows and columns"),
        (5.0, r"x: has shape \(\), expected rows and columns"),
        (["a", "b"], "x: holds <U1 values, not numbers"),
        ([1 + 2j], "x: holds complex128 values, not numbers"),
        ([None, 1.0], "x: holds object values, not numbers"),
        (
            np.array(["2020-01-01"], dtype="datetime64[D]"),
            "x: holds datetime64.* values, not numbers",
        ),
        (
            [[1.0, np.nan], [2.0, 3.0]],
            r"x: 1 row with NaN or infinite values \(first: row 0, column 1, both from 0\)",
        ),
        (
            [[1.0], [np.inf], [np.nan]],
            r"x: 2 rows with NaN .*\(first: row 1, column 0, both from 0\)",
        ),
        ([[np.inf], [-np.inf]], r"x: 2 rows with NaN .*\(first: row 0, column 0, both from 0\)"),
        (
            np.float16([[np.inf], [0]]),
            r"x: 1 row with NaN .*\(first: row 0, column 0, both from 0\)",
        ),
    ],
)
def test_mistake_names_the_sample(values, message):
    with pytest.raises(SampleError, match=message):
        as_samples(values, "x")


def test_ragged_rows_are_a_sample_error():
    with pytest.raises(SampleError, match="x"):
        as_samples([[1.0, 2.0], [3.0]], "x")


def test_huge_finite_numbers_pass():
    huge = np.full((4, 1), 1.5e308)
    assert SAME(as_samples(huge, "x").points, huge)


def test_weights_sum_to_one():
    assert as_weights([1, 2, 5], 3, "x").tolist() == [0.125, 0.25, 0.625]


@pytest.mark.parametrize("shape", [(3,), (3, 1), (1, 3)])
def test_weights_may_be_a_row_or_a_column(shape):
    assert as_weights(np.ones(3).reshape(shape), 3, "x").shape == (3,)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], r"x: weights have shape \(2,\) and type int64, expected 3 numbers"),
        (np.ones((3, 3)), r"shape \(3, 3\)"),
        (["a", "b", "c"], "type <U1"),
        (5.0, r"shape \(\)"),
        ([1, -1, 1], r"x: weight -1.0 at row 1 \(from 0\); weights must be >= 0"),
        ([1, 1, np.nan], "x: weight nan at row 2"),
        ([np.inf, 1, 1], "x: weight inf at row 0"),
        ([0, 0, 0], "x: all weights are zero"),
    ],
)
def test_impossible_weights_are_refused(weights, message):
    with pytest.raises(SampleError, match=message):
        as_weights(weights, 3, "x")


def test_one_plain_number_is_no_weight_list():
    with pytest.raises(SampleError, match=r"shape \(\)"):
        as_weights(1.0, 1, "x")


def test_huge_weights_keep_their_ratio():
    assert as_weights([1e308, 1e308, 0], 3, "x").tolist() == [0.5, 0.5, 0.0]


def test_masses_of_unweighted_rows_are_equal():
    assert as_samples(ROWS, "x").masses().tolist() == [1 / 3] * 3


def test_effective_size_of_equal_weights_is_the_number_of_rows():
    assert as_samples(ROWS, "x", [2, 2, 2]).effective_size() == pytest.approx(
        3, abs=ROUNDING(3, scale=3)
    )


def test_effective_size_of_unequal_weights():
    assert as_samples(ROWS, "x", [1, 1, 2]).effective_size() == pytest.approx(
        8 / 3, abs=ROUNDING(3, scale=3)
    )


def test_taken_rows_share_the_weight():
    taken = as_samples(ROWS, "x", [1, 1, 2]).take(np.array([0, 2]))
    assert taken.masses() == pytest.approx([1 / 3, 2 / 3], abs=ROUNDING(2))


def test_taken_rows_may_be_a_mask():
    assert as_samples(ROWS, "x").take(np.array([True, False, True])).points.tolist() == [
        [1, 2],
        [5, 6],
    ]


def test_derived_values_are_computed_once():
    samples, calls = as_samples(ROWS, "x"), []
    for _ in range(3):
        samples.once("key", lambda: calls.append(1))
    assert len(calls) == 1


def test_derived_values_do_not_follow_to_a_part():
    samples = as_samples(ROWS, "x")
    samples.once("key", lambda: "whole")
    assert samples.take(np.array([0])).once("key", lambda: "part") == "part"


def test_partners_need_the_same_columns():
    left, right = Samples(np.zeros((2, 3)), name="real"), Samples(np.zeros((2, 4)), name="gen")
    with pytest.raises(SampleError, match="real has 3 columns, gen has 4; both need the same"):
        check_partners(left, right)
