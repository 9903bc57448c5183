"""Many comparisons at once: Holm's adjusted p-values, and letters for what cannot be told apart."""

from collections.abc import Sequence
from string import ascii_letters

import numpy as np
from numpy.typing import ArrayLike


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: rejecting those up to α makes any false rejection at most α likely.

    The k-th smallest of N is multiplied by N − k + 1, and is at least as large as the one before.
    Source: Holm 1979, Scandinavian Journal of Statistics 6. Valid under any dependence.
    """
    count = len(p_values)
    adjusted, largest = [0.0] * count, 0.0
    for k, i in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (count - k) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def letters(different: ArrayLike) -> list[str]:
    """Two items share a letter if and only if they are not told apart.

    Parameters
    ----------
    different : array_like
        Symmetric (N, N), True where two items are told apart; in the order of the table.

    Returns
    -------
    list of str
        The letters of every item, `a` for the first.

    Notes
    -----
    Source: Piepho 2004, J. Comput. Graph. Stat. 13: every pair that differs splits the groups that
    hold both; a group within another one is absorbed, and one whose pairs all share another is left
    out.
    """
    apart = np.asarray(different, dtype=bool)
    groups = [frozenset(range(len(apart)))]
    for i, j in zip(*np.nonzero(np.triu(apart, 1)), strict=True):
        groups = _absorbed(_split(groups, int(i), int(j)))
    groups = sorted(_needed(groups), key=sorted)
    return [
        "".join(_letter(k) for k, group in enumerate(groups) if item in group)
        for item in range(len(apart))
    ]


Group = frozenset[int]


def _split(groups: list[Group], i: int, j: int) -> list[Group]:
    made = []
    for group in groups:
        made += [group - {i}, group - {j}] if {i, j} <= group else [group]
    return made


def _absorbed(groups: list[Group]) -> list[Group]:
    kept: list[Group] = []
    for group in sorted(groups, key=len, reverse=True):
        if not any(group <= other for other in kept):
            kept.append(group)
    return kept


def _needed(groups: list[Group]) -> list[Group]:
    """Without the groups that say nothing which the others do not say: the smallest go first."""
    shared: dict[tuple[int, int], int] = {}
    for pair in (pair for group in groups for pair in _pairs(group)):
        shared[pair] = shared.get(pair, 0) + 1
    kept = []
    for group in sorted(groups, key=len):
        if all(shared[pair] > 1 for pair in _pairs(group)):
            for pair in _pairs(group):
                shared[pair] -= 1
        else:
            kept.append(group)
    return kept


def _pairs(group: Group) -> list[tuple[int, int]]:
    return [(i, j) for i in group for j in group if i <= j]


def _letter(number: int) -> str:
    """Letters from a to z and A to Z, then numbers in brackets."""
    return ascii_letters[number] if number < len(ascii_letters) else f"[{number + 1}]"
