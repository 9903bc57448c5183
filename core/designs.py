"""Designs: which rows are exchanged together, and with which others, when labels are permuted."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divmatch.errors import SampleError, at_row
from divmatch.estimator import Array, Estimate
from divmatch.samples import Samples

Codes = NDArray[np.intp]
ROUGH = 10  # with fewer independent groups a standard error is hardly known


@dataclass(frozen=True, eq=False)
class Exchange:
    """Labels of pooled rows that move by whole units, among the units of one stratum.

    ``units`` is the unit of every row, ``strata`` the stratum of every unit, and ``observed`` tells
    which units are of the first sample.
    """

    units: Codes
    strata: Codes
    observed: NDArray[np.bool_]

    @staticmethod
    def of_rows(labels: NDArray[np.bool_]) -> "Exchange":
        """Every row by itself, all rows with one another."""
        return Exchange(np.arange(len(labels)), np.zeros(len(labels), dtype=np.intp), labels)

    @property
    def labels(self) -> NDArray[np.bool_]:
        """The observed labels of the rows."""
        return self.observed[self.units]

    def drawing(self) -> Callable[["np.random.Generator"], NDArray[np.bool_]]:
        """How to draw labels, every possible split equally likely."""
        if not self.strata.any():
            return lambda rng: rng.permutation(self.observed)[self.units]
        sorted_, moved = np.argsort(self.strata, kind="stable"), np.empty_like(self.observed)

        def draw(rng: "np.random.Generator") -> NDArray[np.bool_]:
            order = np.argsort(self.strata + rng.random(len(self.strata)))
            moved[sorted_] = self.observed[order]
            return moved[self.units]

        return draw

    def splits(self, most: int) -> int | None:
        """The number of possible splits, the observed one included; None if more than ``most``."""
        units = np.bincount(self.strata)
        chosen = np.bincount(self.strata, weights=self.observed).astype(int)
        total = 1
        for size, k in zip(units.tolist(), chosen.tolist(), strict=True):
            if 0 < k < size:
                if total * size > most:  # there are at least as many ways as units
                    return None
                total *= math.comb(size, k)
        return total if total <= most else None

    def others(self) -> Iterator[NDArray[np.bool_]]:
        """The labels of every possible split but the observed one."""
        strata = [np.flatnonzero(self.strata == s) for s in np.unique(self.strata)]
        ways = [combinations(units, int(self.observed[units].sum())) for units in strata]
        for chosen in product(*ways):
            labels = np.zeros(len(self.observed), dtype=bool)
            labels[[unit for units in chosen for unit in units]] = True
            if (labels != self.observed).any():
                yield labels[self.units]


@dataclass(frozen=True, eq=False)
class Marks:
    """What a column says of every row of both samples: a key, a block, a cluster.

    ``x`` and ``y`` are numbers of ``words``, which tell what stood in the column.
    """

    name: str
    words: tuple[str, ...]
    x: Codes
    y: Codes

    def both(self) -> Codes:
        """The numbers of all rows, those of x first."""
        return np.concatenate([self.x, self.y])

    def of(self, x: Codes, y: Codes) -> "Marks":
        """The same words for other rows."""
        return Marks(self.name, self.words, x, y)

    def in_both(self) -> NDArray[np.bool_]:
        """Whether each word occurs in both samples."""
        found = [np.bincount(codes, minlength=len(self.words)) > 0 for codes in (self.x, self.y)]
        return np.asarray(found[0] & found[1])


def marks(name: str, x: ArrayLike, y: ArrayLike) -> Marks:
    """Number what stands in a column of both samples; numbers and texts are not the same."""
    sides = [np.asarray(x).reshape(-1), np.asarray(y).reshape(-1)]
    kinds = ["number" if side.dtype.kind in "biuf" else "text" for side in sides]
    if kinds[0] != kinds[1]:
        raise SampleError(f"{name}: {kinds[0]} in P, {kinds[1]} in Q; both must be of one kind")
    found, codes = np.unique(np.concatenate(sides), return_inverse=True)
    words = tuple(str(value).removesuffix(".0") for value in found.tolist())
    return Marks(name, words, codes[: len(sides[0])], codes[len(sides[0]) :])


@dataclass(frozen=True, eq=False)
class Design:
    """How the rows of two samples belong together.

    Labels are permuted by whole ``units``, (n + m,) with the rows of x first, within ``strata``, one
    a unit. Rows of different ``groups`` are independent. With ``apart`` no group has rows of both
    samples.
    """

    name: str
    units: Codes
    strata: Codes
    groups: Codes
    n: int
    apart: bool = False

    def exchange(self, order: Codes) -> Exchange:
        """The labels of the pool whose rows are in this order."""
        observed = np.zeros(len(self.strata), dtype=bool)
        observed[self.units[: self.n]] = True
        return Exchange(self.units[order], self.strata, observed)

    def sides(self) -> list[Codes]:
        """The groups of both samples, numbered from 0: by themselves where they are apart."""
        sides = [self.groups[: self.n], self.groups[self.n :]]
        if self.apart:
            return [np.unique(side, return_inverse=True)[1] for side in sides]
        return sides

    def independent(self) -> int:
        """The number of independent groups, of the sample that has fewer if they are apart."""
        return min(self._sizes())

    def _sizes(self) -> list[int]:
        sides = self.sides() if self.apart else [self.groups]
        return [int(side.max()) + 1 for side in sides]

    def se(self, estimate: Estimate, x: Samples, y: Samples) -> float | None:
        """Standard error from the influences summed by groups: G / (G − 1) Σ_g (Σ_i aᵢ (ψᵢ − ψ̄))²."""
        if estimate.terms_x is None or estimate.terms_y is None or self.independent() < 2:
            return None
        shares = [_shares(x, estimate.terms_x), _shares(y, estimate.terms_y)]
        parts = list(zip(shares, self.sides(), strict=True))
        if not self.apart:
            parts = [(np.concatenate(shares), self.groups)]
        variance = 0.0
        for terms, groups in parts:
            sums = np.bincount(groups, weights=terms)
            variance += len(sums) / (len(sums) - 1) * float(sums @ sums)
        return math.sqrt(variance)

    def fraction(self) -> float:
        """The share of the groups in a subsample, as that of independent rows."""
        return float(self.independent() ** (-1 / 3))

    def subset(self, rng: "np.random.Generator") -> list[Codes]:
        """The rows of both samples in a random part of the groups."""
        kept = [_kept(rng, size, self.fraction()) for size in self._sizes()]
        both = kept if self.apart else kept * 2
        return [np.flatnonzero(mask[own]) for mask, own in zip(both, self.sides(), strict=True)]


def _shares(samples: Samples, terms: Array) -> Array:
    weights = samples.masses()
    return np.asarray(weights * (terms - weights @ terms))


def _kept(rng: "np.random.Generator", count: int, fraction: float) -> NDArray[np.bool_]:
    mask = np.zeros(count, dtype=bool)
    mask[rng.choice(count, int(fraction * count), replace=False, shuffle=False)] = True
    return mask


# ------------------------------------------------------------------------------- the designs


def paired(keys: Marks) -> tuple[Design, Codes, Codes]:
    """Rows with the same key are exchanged with each other: the design, and the rows that have a partner.

    Raises
    ------
    SampleError
        If a key is twice in one sample, or no key is in both.
    """
    for codes, where in ((keys.x, "P"), (keys.y, "Q")):
        often = np.bincount(codes, minlength=len(keys.words))
        if (often > 1).any():
            code = int(np.argmax(often > 1))
            row = at_row(int(np.flatnonzero(codes == code)[1]))
            raise SampleError(
                f"{keys.name}: key {_quoted(keys, code)} is in {where} {often[code]} times, again "
                f"{row}, expected once; --blocks permutes the rows of one key"
            )
    shared = keys.in_both()
    if not shared.any():
        raise SampleError(f"{keys.name}: no key is in both P and Q; {_examples(keys)}")
    rows_x, rows_y = np.flatnonzero(shared[keys.x]), np.flatnonzero(shared[keys.y])
    left = keys.of(keys.x[rows_x], keys.y[rows_y])
    return _within("paired", left), rows_x, rows_y


def blocked(blocks: Marks) -> Design:
    """Labels are permuted among the rows of each block."""
    if not blocks.in_both().any():
        raise SampleError(
            f"{blocks.name}: no block has rows of both P and Q, so nothing can be exchanged; "
            "--cluster exchanges whole clusters"
        )
    return _within("blocks", blocks)


def clustered(clusters: Marks, blocks: Marks | None = None) -> Design:
    """Whole clusters are exchanged between the samples, within blocks if there are any."""
    both = clusters.in_both()
    if both.any():
        raise SampleError(
            f"{clusters.name}: cluster {_quoted(clusters, int(np.argmax(both)))} has rows of both P and "
            "Q, expected whole clusters in one of them; --blocks permutes the rows within, clusters "
            "that only share a name need different ones"
        )
    _, units = np.unique(clusters.both(), return_inverse=True)
    strata = np.zeros(int(units.max()) + 1, dtype=np.intp)
    if blocks is None:
        return Design("cluster", units, strata, units, len(clusters.x), apart=True)
    rows = blocks.both()
    strata[units] = rows
    torn = np.flatnonzero(strata[units] != rows)
    if len(torn):
        code = int(clusters.both()[torn[0]])
        raise SampleError(
            f"{blocks.name}: cluster {_quoted(clusters, code)} lies in several blocks, expected one"
        )
    if not blocks.in_both().any():
        raise SampleError(f"{blocks.name}: no block has clusters of both P and Q")
    return Design("cluster within blocks", units, strata, rows, len(clusters.x))


def _within(name: str, strata: Marks) -> Design:
    rows = np.unique(strata.both(), return_inverse=True)[1]
    return Design(name, np.arange(len(rows)), rows, rows, len(strata.x))


def _quoted(found: Marks, code: int) -> str:
    return f"'{found.words[code]}'"


def _examples(keys: Marks) -> str:
    first: Any = [_quoted(keys, int(codes[0])) for codes in (keys.x, keys.y)]
    return f"{len(keys.words)} different ones, such as {first[0]} in P and {first[1]} in Q"
