"""Which columns make two samples differ: parts of one whole, of single columns and of pairs.

The whole is T = Σ M_j over columns + Σ D_jl over pairs of columns. M_j is the mean of (F − G)² over
levels of the column's ranks in the mixture (P + Q)/2; D_jl the mean of (C_P − C_Q)² over pairs of levels,
with C(u, v) = Pr(U ≤ u, V ≤ v) − u v for each sample's own ranks U, V: how the columns hang together,
whatever they are like alone. A column's share is (M_j + half of its D_jl) / T: its Shapley value in the
game in which a set of columns is worth the parts within it (Shapley 1953).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.estimators.explanation_features import (
    TOGETHER,
    Column,
    Layout,
    Rows,
    columns_of,
    every_rank,
    frequent,
    layout_of,
    levels_of,
    masses_of,
    panels,
    products,
    ranks,
    share_of,
    spread,
    stacked,
    starts_of,
    sums,
    values_of,
)
from divmatch.kernels.execution import in_order, one_blas_thread, steps_of
from divmatch.randomness import stream
from divmatch.samples import Samples
from divmatch.scaling import HALF

Array = NDArray[np.float64]
BINS = 10
LEAST = 8.0  # rows, by their weights, from which there is a variance worth the name


@dataclass(frozen=True, eq=False)
class Part:
    """|D|² of the difference D of two samples' means, with what every block of rows adds to it.

    Parts can be added and multiplied: ``gram`` holds the products of the blocks' errors t, ``linear``
    is 2 D.t. D² is too large by the trace of the errors' covariance, which ``value`` leaves out.
    """

    square: float
    gram: Array
    linear: Array

    @classmethod
    def of(cls, difference: Array, errors: Array) -> "Part":
        """From D of shape (k,) and the errors (blocks, k)."""
        return cls(float(difference @ difference), errors @ errors.T, 2.0 * errors @ difference)

    def __add__(self, other: "Part") -> "Part":
        return Part(self.square + other.square, self.gram + other.gram, self.linear + other.linear)

    def times(self, factor: float) -> "Part":
        """The part multiplied by a number."""
        return Part(self.square * factor, self.gram * factor, self.linear * factor)

    @property
    def value(self) -> float:
        """Without bias."""
        return self.square - float(np.trace(self.gram))

    @property
    def se(self) -> float:
        """sqrt(4 D'S D + 2 tr S²) of the errors' covariance S: as valid where D is 0.

        The estimate 4 D'S D of the first is too large by 4 tr S²; different blocks give tr S².
        """
        own = np.diag(self.gram)
        trace = float(np.sum(self.gram**2) - own @ own)
        first = float(self.linear @ self.linear) - 4.0 * trace
        return float(np.sqrt(max(first, 0.0) + 2.0 * trace))


@dataclass(frozen=True)
class Number:
    """A value with its standard error."""

    value: float
    se: float


@dataclass(frozen=True, eq=False)
class Effect:
    """What a column has of the whole: by itself, by its dependence, and both."""

    column: Column
    marginal: Number
    dependence: Number
    shares: tuple[Number, Number, Number] | None  # of the whole: both, marginal, dependence


@dataclass(frozen=True, eq=False)
class Explanation:
    """The whole, its two parts, the columns' effects, and the dependence of pairs of columns."""

    whole: Number
    square: float  # the whole as it is in the two samples, without a correction of its bias
    shares: tuple[Number, Number] | None  # of all marginals, of all dependence
    effects: tuple[Effect, ...]
    pairs: tuple[tuple[int, int, Number], ...]
    merged: tuple[str, ...]  # categories of which the rarest are one in the dependence


def explained(x: Samples, y: Samples, *, bins: int = BINS, seed: int = 0) -> Explanation:
    """Split the difference of two samples among their columns.

    Parameters
    ----------
    x, y : Samples
        Reference and candidate, with the same columns in their own units.
    bins : int
        Numbers are seen at bins - 1 levels of their ranks; dependence knows as many categories.
    seed : int
        Of the order in which rows are put into blocks.

    Returns
    -------
    Explanation
        Values without bias, standard errors by the delta method from at most 128 blocks of rows a
        sample. No shares where the whole is not above 0.

    Notes
    -----
    Cost: O((n + m) (d log(n + m) + (d bins)²)) time, O((n + m) d) memory.
    """
    for one in (x, y):
        if one.effective_size() < LEAST:
            raise InconclusiveError(
                f"{one.name}: {one.effective_size():.3g} rows by their weights, expected at least "
                f"{LEAST:g} to explain a difference"
            )
    with one_blas_thread():
        left, right = (
            one.take(stream(seed, "explain", role).permutation(one.n))
            for one, role in ((x, "p"), (y, "q"))
        )
        columns = columns_of(x)
        alone = partial(marginal_part, x=left, y=right, bins=bins)
        marginal = list(in_order(alone, columns, work=200.0 * len(columns) * (x.n + y.n)))
        dependence, pairs, merged = dependence_parts(columns, left, right, bins)
    return _told(columns, marginal, dependence, pairs, merged)


def _told(
    columns: Sequence[Column],
    marginal: Sequence[Part],
    dependence: Sequence[Part],
    pairs: list[tuple[int, int, Number]],
    merged: tuple[str, ...],
) -> Explanation:
    """Parts as numbers, and as shares of the whole."""
    alone, together = added(marginal), added(dependence)
    whole = alone + together
    positive = whole.value > 0
    effects = tuple(
        Effect(
            column, _number(m), _number(d),
            (share(m + d, whole), share(m, whole), share(d, whole)) if positive else None,
        )
        for column, m, d in zip(columns, marginal, dependence, strict=True)
    )  # fmt: skip
    halves = (share(alone, whole), share(together, whole)) if positive else None
    return Explanation(_number(whole), whole.square, halves, effects, tuple(pairs), merged)


def added(parts: Sequence[Part]) -> Part:
    """The sum of parts."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def share(part: Part, whole: Part) -> Number:
    """Part / whole; the error is that of (part - share·whole) / whole."""
    value = part.value / whole.value
    return Number(value, (part + whole.times(-value)).times(1.0 / whole.value).se)


def _number(part: Part) -> Number:
    return Number(part.value, part.se)


# ----------------------------------------------------------------------------- single columns


def marginal_part(column: Column, x: Samples, y: Samples, bins: int) -> Part:
    """M: the mean of (F - G)² over levels of ranks in (P + Q) / 2, or the sum over categories / 6."""
    a, b = x.masses(), y.masses()
    left, right = values_of(column, x), values_of(column, y)
    if column.words:
        scale = layout_of([column], [len(column.words)], bins).scales[0] / HALF
        some = steps_of(len(column.words), TOGETHER)
        return added([_between(left[:, k].T * scale, right[:, k].T * scale, a, b) for k in some])
    levels = levels_of(bins)
    below, own = ranks(np.concatenate([left, right]), np.concatenate([a, b]) / 2.0)
    left, right = (spread(below[p], own[p], levels) for p in (slice(x.n), slice(x.n, None)))
    # The levels are ranks in the pool and move with it: by the slope of F - G along them.
    gap = np.concatenate([[0.0], left @ a - right @ b, [0.0]])
    half = (gap[2:] - gap[:-2]) * bins / 4.0
    scale = (bins - 1) ** -0.5
    return _between(left * scale, right * scale, a, b, 1.0 - half, 1.0 + half)


def _between(
    left: Array,
    right: Array,
    a: Array,
    b: Array,
    of_x: Array | float = 1.0,
    of_y: Array | float = 1.0,
) -> Part:
    """The part of two means (k, n) and (k, m), whose rows' errors are multiplied by these factors."""
    f, g = left @ a, right @ b
    one = of_x * _in_blocks(left - f[:, None], a)
    other = of_y * _in_blocks(right - g[:, None], b)
    return Part.of(f - g, np.concatenate([one, -other]))


def _in_blocks(values: Array, masses: Array) -> Array:
    """Sums of mass times value in every block, with n / (n - 1) for their variance."""
    starts = starts_of(len(masses))
    return np.add.reduceat(values * masses, starts, axis=1).T * _inflation(len(starts))


def _inflation(blocks: int) -> float:
    return float((blocks / (blocks - 1.0)) ** 0.5)


# ------------------------------------------------------------------------------------- pairs


def dependence_parts(
    columns: Sequence[Column], x: Samples, y: Samples, bins: int
) -> tuple[list[Part], list[tuple[int, int, Number]], tuple[str, ...]]:
    """Half of the sum of D over the pairs of every column, and D of every pair."""
    sides, layout, merged = own_rows(columns, x, y, bins)
    totals = [sums(side, layout) for side in sides]
    count = sum(len(side.starts) for side in sides)
    nothing = Part(0.0, np.zeros((count, count)), np.zeros(count))
    made = [nothing] * len(columns)
    pairs = []
    for start, stop in panels(layout, count):
        first = layout.features[start].start
        panel = slice(first, layout.features[stop - 1].stop)
        both = [products(side, layout, panel) for side in sides]
        for j in range(start, stop):
            for other in range(j + 1, len(columns)):
                part = _pair(columns, layout, both, totals, first, (j, other))
                pairs.append((j, other, _number(part)))
                half = part.times(0.5)
                made[j], made[other] = made[j] + half, made[other] + half
    return made, pairs, merged


def own_rows(
    columns: Sequence[Column], x: Samples, y: Samples, bins: int
) -> tuple[tuple[Rows, Rows], Layout, tuple[str, ...]]:
    """Both samples by their own ranks, the features that they have, and categories that were merged."""
    shares: list[list[Array]] = [[], []]
    words, merged = [], []
    for column in columns:
        if not column.words:
            words.append(0)
            continue
        groups = frequent(masses_of(column, x) + masses_of(column, y), bins)
        words.append(len(groups))
        if len(groups) < len(column.words):
            merged.append(column.name)
        for own, one in zip(shares, (x, y), strict=True):
            own += [share_of(column, one, group) for group in groups]
    numbers = [column.places[0] for column in columns if not column.words]
    sides = []
    for own, one in zip(shares, (x, y), strict=True):
        below, tied = every_rank([one.points[:, j] for j in numbers], one.masses())
        sides.append(Rows(one.masses(), starts_of(one.n), below, tied, stacked(own, one.n)))
    return (sides[0], sides[1]), layout_of(columns, words, bins), tuple(merged)


def _pair(
    columns: Sequence[Column],
    layout: Layout,
    both: Sequence[Array],
    totals: Sequence[Array],
    first: int,
    places: tuple[int, int],
) -> Part:
    """D of one pair of columns."""
    j, k = places
    one, other = layout.features[j], layout.features[k]
    rows = slice(one.start - first, one.stop - first)
    along = slice(other.start - first, other.stop - first)
    scale = layout.scales[j] * layout.scales[k]
    means, errors = [], []
    for tables, total in zip(both, totals, strict=True):
        of_one, of_other = total[:, one], total[:, other]
        joint = tables[:, rows, along]
        mean, error = covariance(
            joint, of_one, of_other, total[:, -1], bool(columns[j].words), bool(columns[k].words)
        )
        means.append(mean.ravel() * scale)
        errors.append(error.reshape(len(error), -1) * (scale * _inflation(len(error))))
    return Part.of(means[0] - means[1], np.concatenate([errors[0], -errors[1]]))


def covariance(
    joint: Array, one: Array, other: Array, masses: Array, of_words: bool, other_words: bool
) -> tuple[Array, Array]:
    """C = E z z' - E z E z', and the errors of every block's rows in it.

    ``joint`` (blocks, r, s), ``one`` (blocks, r) and ``other`` (blocks, s) hold sums over the blocks.
    Ranks have known means, but move what lies below a level: by the slope of E z z' along it (Segers
    2012, Bernoulli 18). Categories have means that are estimated.
    """
    both, f, g = joint.sum(axis=0), one.sum(axis=0), other.sum(axis=0)
    by_one = np.broadcast_to(g, both.shape) if of_words else _slope(both, g)
    by_other = np.broadcast_to(f, both.T.shape) if other_words else _slope(both.T, f)
    rest = both - by_one * f[:, None] - by_other.T * g
    errors = joint - by_one * one[:, :, None] - by_other.T * other[:, None, :]
    errors -= rest * masses[:, None, None]
    return both - np.outer(f, g), errors


def _slope(both: Array, end: Array) -> Array:
    """Slope of E z z' along the levels of its rows: from 0 to ``end``."""
    line = np.vstack([np.zeros_like(end), both, end])
    return (line[2:] - line[:-2]) * (len(line) - 1) / 2.0
