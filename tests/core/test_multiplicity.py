"""Holm's p-values against the definition, letters against what they promise."""

import numpy as np
import pytest

from divmatch.multiplicity import holm, letters
from tests.reference import comparison as reference
from tests.tolerances import ROUNDING


def graph(seed, n=7, share=0.5):
    rng = np.random.default_rng(seed)
    apart = np.triu(rng.random((n, n)) < share, 1)
    return apart | apart.T


@pytest.mark.parametrize("seed", range(5))
def test_holm_follows_its_definition(seed):
    p = np.round(np.random.default_rng(seed).random(9) ** 3, 2).tolist()  # with ties
    assert holm(p) == pytest.approx(reference.holm(p), abs=ROUNDING(1))


def test_holm_of_a_known_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_no_comparison_needs_no_adjustment():
    assert holm([]) == []


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_items_share_a_letter_exactly_where_they_are_not_told_apart(seed, share):
    apart = graph(seed, share=share)
    words = letters(apart)
    for i in range(len(apart)):
        for j in range(len(apart)):
            assert reference.share_a_letter(words, i, j) != apart[i, j]


def test_a_chain_has_overlapping_groups():
    """Neighbours cannot be told apart, all others can."""
    numbers = np.arange(4)
    assert letters(np.abs(numbers[:, None] - numbers) > 1) == ["a", "ab", "bc", "c"]


def test_no_letter_is_left_over():
    """Of the groups that splitting leaves, those that say nothing new go."""
    for seed in range(20):
        words = letters(graph(seed))
        every = sorted(set("".join(words)))
        for letter in every:
            fewer = [word.replace(letter, "") for word in words]
            pairs = [(i, j) for i in range(7) for j in range(7)]
            said = [reference.share_a_letter(words, i, j) for i, j in pairs]
            assert [reference.share_a_letter(fewer, i, j) for i, j in pairs] != said


def test_more_groups_than_letters_are_numbered():
    words = letters(~np.eye(60, dtype=bool))
    assert (words[0], words[51], words[52]) == ("a", "Z", "[53]")
    assert len(set(words)) == 60
