"""Faults that are known and not yet mended; strict, so that mending one must take it off the list."""

import pytest

KNOWN = (
    "test_setting_given_twice_is_refused",
    "test_weights_given_with_samples_are_not_ignored",
    "test_ragged_rows_are_a_sample_error",
    "test_huge_weights_keep_their_ratio",
    "test_mistake_is_a_setting_error[k-inf]",
    "test_mistake_is_a_setting_error[bandwidth-given22]",
    "test_mistake_is_a_setting_error[order-True]",
    "test_a_split_without_an_answer_counts_against_us",
    "test_one_plain_number_is_no_weight_list",
)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.name in KNOWN:
            item.add_marker(pytest.mark.xfail(reason="known fault", strict=True))
