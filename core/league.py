"""League tables: which of many candidates can be told apart by their distance from one reference."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from divmatch.comparison import Difference, Standing, difference
from divmatch.exchange import larger
from divmatch.multiplicity import holm, letters
from divmatch.permutations import BETTER
from divmatch.record import Test


@dataclass(frozen=True)
class Pair:
    """Two candidates, by number, with their difference and its p-value, adjusted for all pairs."""

    one: int
    other: int
    difference: Difference
    test: Test | None

    @property
    def apart(self) -> bool:
        """Whether they are told apart, all pairs taken together."""
        p = self.test.adjusted if self.test else None
        return p is not None and p <= 1 - self.difference.level


@dataclass(frozen=True)
class League:
    """``order`` are the numbers of the candidates, nearest first; ``letters`` and ``pairs`` follow it.

    Pairs name the nearer candidate first. Two candidates share a letter if and only if they cannot
    be told apart.
    """

    order: tuple[int, ...]
    letters: tuple[str, ...]
    pairs: tuple[Pair, ...]

    def neighbours(self) -> list[Pair]:
        """Every candidate but the last with the one that follows it."""
        known = {(pair.one, pair.other): pair for pair in self.pairs}
        return [known[one] for one in zip(self.order, self.order[1:], strict=False)]


def league(
    found: Sequence[Standing],
    *,
    level: float = 0.95,
    paired: bool = False,
    exchanged: Callable[[int, int], Test] | None = None,
) -> League:
    """Rank candidates and compare all pairs of them.

    Parameters
    ----------
    found : sequence of Standing
        The candidates, against one reference.
    level : float
        1 − the chance that any two equally far candidates are told apart (Holm).
    paired : bool
        Whether equal row numbers of the candidates belong together.
    exchanged : callable, optional
        The permutation test of two candidates, by number.

    Returns
    -------
    League
        Order, letters, pairs.
    """
    order = sorted(range(len(found)), key=lambda k: _rank(found[k]))
    pairs = []
    for place, i in enumerate(order):
        for j in order[place + 1 :]:
            made = difference(found[i], found[j], level=level, paired=paired)
            test = larger(made.p_value, exchanged(i, j) if exchanged else None)
            pairs.append(Pair(i, j, made, test))
    pairs = _adjusted(pairs)
    place_of = {k: place for place, k in enumerate(order)}
    apart = np.zeros((len(order), len(order)), dtype=bool)
    for pair in pairs:
        i, j = place_of[pair.one], place_of[pair.other]
        apart[i, j] = apart[j, i] = pair.apart
    return League(tuple(order), tuple(letters(apart)), tuple(pairs))


def _rank(one: Standing) -> float:
    value = BETTER[one.result.better] * one.result.value
    return math.inf if math.isnan(value) else value


def _adjusted(pairs: Sequence[Pair]) -> list[Pair]:
    """Holm over the pairs that have a p-value."""
    p_values = iter(holm([pair.test.p_value for pair in pairs if pair.test]))
    return [
        replace(pair, test=replace(pair.test, adjusted=next(p_values))) if pair.test else pair
        for pair in pairs
    ]
