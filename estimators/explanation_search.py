"""The search for rules: all conditions, pairs of them, and the best pairs with a third one."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.explanation_features import Column, columns_of, values_of
from divmatch.samples import Samples

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
SHARES = (0.01, 0.02, 0.05, *(k / 10 for k in range(1, 10)), 0.95, 0.98, 0.99)
FEWEST = 10.0  # rows of both halves that a rule needs, by their weights
LARGEST = 0.5 + 1e-9  # mass of a rule: beyond it, its opposite says the same
PARENTS = 20  # pairs of conditions that get a third one
SEEN = 200  # of the best rules of each length, those that are looked at
ALIKE = 0.5  # of the mass of two rules in both: they say the same
ROUGH = 0.05  # of the gap to the next cut: what a cut may be rounded by


@dataclass(frozen=True, order=True)
class Condition:
    """The codes from ``low`` to ``high`` of a column."""

    column: int
    low: int
    high: int


Conditions = tuple[Condition, ...]


@dataclass(frozen=True, eq=False)
class Grid:
    """Codes of the rows of both samples in every column, and the words for them."""

    columns: Sequence[Column]
    codes: tuple[Codes, Codes]  # (columns, n), (columns, m): a column's are side by side
    cuts: Sequence[Array]  # of numbers; empty for categories
    counts: Sequence[int]  # codes of every column
    masses: tuple[Array, Array]
    sizes: tuple[float, float]  # effective rows


# ------------------------------------------------------------------------------------ codes


def grid_of(x: Samples, y: Samples) -> Grid:
    """Codes of numbers between cuts at quantiles of (P + Q) / 2, and of categories."""
    columns = columns_of(x)
    masses = (x.masses(), y.masses())
    cuts: list[Array] = []
    codes: tuple[list[Codes], list[Codes]] = ([], [])
    for column in columns:
        pair = values_of(column, x), values_of(column, y)
        own = np.empty(0) if column.words else cuts_of(pair, masses)
        cuts.append(own)
        for made, values in zip(codes, pair, strict=True):
            made.append(coded(column, own, values))
    counts = [len(c.words) or len(own) + 1 for c, own in zip(columns, cuts, strict=True)]
    both = tuple(np.array(made) for made in codes)
    sizes = (x.effective_size(), y.effective_size())
    return Grid(columns, (both[0], both[1]), cuts, counts, masses, sizes)


def cuts_of(pair: tuple[Array, Array], masses: tuple[Array, Array]) -> Array:
    """Quantiles of the mixture, rounded as far as it makes no difference; none above all values."""
    values = np.concatenate(pair)
    order = np.argsort(values)
    upto = np.cumsum(np.concatenate(masses)[order] / 2.0)
    line = values[order]
    places = np.minimum(np.searchsorted(upto, np.array(SHARES) * upto[-1]), len(line) - 1)
    raw = np.unique(line[places])
    raw = raw[raw < line[-1]]
    if not len(raw):
        return raw
    gaps = np.diff(np.append(raw, line[-1]))
    gaps[1:] = np.minimum(gaps[1:], gaps[:-1].copy())
    made = [rounded(float(v), ROUGH * float(gap)) for v, gap in zip(raw, gaps, strict=True)]
    return np.unique(made)


def rounded(value: float, within: float) -> float:
    """The number with the fewest digits that is as near as that."""
    for digits in range(1, 17):
        short = float(f"{value:.{digits}g}")
        if abs(short - value) <= within:
            return short
    return value


def coded(column: Column, cuts: Array, values: Array) -> Codes:
    """How many cuts are below each number, or which word a row has."""
    if column.words:
        return np.asarray(np.argmax(values, axis=1), dtype=np.int64)
    return np.searchsorted(cuts, values, side="left").astype(np.int64)


# ------------------------------------------------------------------------------------ search


@dataclass(frozen=True)
class Found:
    """A rule with how clearly it tells the samples apart."""

    score: float
    conditions: Conditions


def searched(grid: Grid, top: int) -> list[Conditions]:
    """The clearest rules, no two alike."""
    plain = [_plain(grid, j) for j in range(len(grid.columns))]
    found = _singles(grid, plain)
    pairs = _pairs(grid, plain)
    found += pairs + _triples(grid, plain, pairs[:PARENTS])
    found.sort(key=lambda one: (-one.score, len(one.conditions), one.conditions))
    return _different(grid, found, top)


def _plain(grid: Grid, j: int) -> list[Condition]:
    """At most a cut and above a cut for a number, one word for a category."""
    count = grid.counts[j]
    if count < 2:
        return []
    if grid.columns[j].words:
        return [Condition(j, code, code) for code in range(count)]
    low = [Condition(j, 0, k) for k in range(count - 1)]
    return low + [Condition(j, k + 1, count - 1) for k in range(count - 1)]


def _singles(grid: Grid, plain: Sequence[Sequence[Condition]]) -> list[Found]:
    trial = Trial(grid, sum(map(len, plain)))
    for conditions in plain:
        if conditions:
            trial.add([(one,) for one in conditions].__getitem__, _masses(grid, conditions))
    return trial.best()


def _masses(grid: Grid, conditions: Sequence[Condition]) -> Array:
    """Of conditions on one column, in P and Q: shape (2, conditions)."""
    j = conditions[0].column
    marks = _marks(conditions, grid.counts[j])
    tables = [_counted(codes[j], a, grid.counts[j]) for codes, a in _sides(grid)]
    return np.array([marks @ table for table in tables])


def _pairs(grid: Grid, plain: Sequence[Sequence[Condition]]) -> list[Found]:
    """All pairs of conditions on two columns, and all ranges of one."""
    ranges = [
        [] if column.words else _ranges(j, grid.counts[j]) for j, column in enumerate(grid.columns)
    ]
    sizes = np.array([len(own) for own in plain])
    both = (int(sizes.sum()) ** 2 - int(np.sum(sizes**2))) // 2
    trial = Trial(grid, both + sum(map(len, ranges)))
    alone = [_masses(grid, own) if own else np.empty((2, 0)) for own in plain]
    for j, own in enumerate(plain):
        if ranges[j]:
            last = grid.counts[j] - 1
            wider = [
                _masses(grid, [Condition(j, 0, c.high) for c in ranges[j]]),
                _masses(grid, [Condition(j, c.low, last) for c in ranges[j]]),
            ]
            between = [(one,) for one in ranges[j]]
            trial.add(between.__getitem__, _masses(grid, ranges[j]), wider)
        for k in range(j + 1, len(plain)):
            if own and plain[k]:
                shape = (2, len(own), len(plain[k]))
                wider = [
                    np.broadcast_to(alone[j][:, :, None], shape).reshape(2, -1),
                    np.broadcast_to(alone[k][:, None, :], shape).reshape(2, -1),
                ]
                trial.add(partial(_both, own, plain[k]), _joint(grid, own, plain[k]), wider)
    return trial.best()


def _both(own: Sequence[Condition], others: Sequence[Condition], place: int) -> Conditions:
    """The pair at a place of their table."""
    return (own[place // len(others)], others[place % len(others)])


def _joint(grid: Grid, own: Sequence[Condition], others: Sequence[Condition]) -> Array:
    """Masses of all pairs of conditions on two columns, shape (2, pairs)."""
    j, k = own[0].column, others[0].column
    size = grid.counts[k]
    left, right = _marks(own, grid.counts[j]), _marks(others, size)
    made = []
    for codes, a in _sides(grid):
        table = _counted(codes[j] * size + codes[k], a, grid.counts[j] * size)
        made.append((left @ table.reshape(-1, size) @ right.T).ravel())
    return np.array(made)


def _ranges(j: int, count: int) -> list[Condition]:
    """Between two cuts."""
    return [Condition(j, a, b) for a in range(1, count - 1) for b in range(a, count - 1)]


def _triples(
    grid: Grid, plain: Sequence[Sequence[Condition]], parents: Sequence[Found]
) -> list[Found]:
    """The best pairs with one more condition."""
    free = [
        [j for j in range(len(plain)) if j not in {one.column for one in parent.conditions}]
        for parent in parents
    ]
    trial = Trial(grid, sum(len(plain[j]) for places in free for j in places))
    for parent, places in zip(parents, free, strict=True):
        held = [holds(codes, parent.conditions) for codes in grid.codes]
        sides = zip(_sides(grid), held, strict=True)
        parts = [(codes[:, kept], a[kept]) for (codes, a), kept in sides]
        whole = np.array([[a.sum()] for _, a in parts])
        for j in places:
            if plain[j]:
                marks = _marks(plain[j], grid.counts[j])
                tables = [_counted(codes[j], a, grid.counts[j]) for codes, a in parts]
                longer = [tuple(sorted((*parent.conditions, one))) for one in plain[j]]
                wider = [np.broadcast_to(whole, (2, len(longer)))]
                trial.add(longer.__getitem__, np.array([marks @ table for table in tables]), wider)
    return trial.best()


def _sides(grid: Grid) -> list[tuple[Codes, Array]]:
    return list(zip(grid.codes, grid.masses, strict=True))


def _counted(codes: Codes, masses: Array, count: int) -> Array:
    made: Array = np.bincount(codes, weights=masses, minlength=count).astype(np.float64)
    return made


def _marks(conditions: Sequence[Condition], count: int) -> Array:
    """1 where a condition (row) holds a code (column)."""
    codes = np.arange(count)
    return np.array([(codes >= c.low) & (codes <= c.high) for c in conditions], dtype=np.float64)


@dataclass(eq=False)
class Trial:
    """Rules of one length that are tried, ``count`` of them: the clearest are kept."""

    grid: Grid
    count: int
    found: list[Found] = field(default_factory=list)

    def add(
        self, rule: Callable[[int], Conditions], masses: Array, wider: Sequence[Array] = ()
    ) -> None:
        """Take in rules with their masses in P and Q, shape (2, rules), and those of one condition less.

        A score is z²/2 of the difference of masses, less the logarithm of how many are tried. Every
        condition must matter: the rows that the others hold are in other proportions with it than
        without it, as clearly as the choice among so many asks for.
        """
        (p, q), (n, m), tried = masses, self.grid.sizes, math.log(self.count)
        pool = (n * p + m * q) / (n + m)
        fit = (pool * (n + m) >= FEWEST) & ((p + q) / 2 <= LARGEST)
        scores = np.where(fit, _squares(p, q, n, m) / 2.0 - tried, -np.inf)
        places = np.flatnonzero(scores > 0)
        for whole in wider:
            of_p, of_q = whole[:, places]
            with np.errstate(divide="ignore", invalid="ignore"):
                gain = _squares(p[places] / of_p, q[places] / of_q, n * of_p, m * of_q)
            places = places[gain / 2.0 > tried]
        order = places[np.argsort(-scores[places], kind="stable")[:SEEN]]
        self.found += [Found(float(scores[k]), rule(int(k))) for k in order]
        if len(self.found) > 4 * SEEN:
            self.found = self.best()

    def best(self) -> list[Found]:
        """The clearest, in their order."""
        return sorted(self.found, key=lambda one: (-one.score, one.conditions))[:SEEN]


def _squares(p: Array, q: Array, n: Array | float, m: Array | float) -> Array:
    """z² of the difference of two shares; 0 where there is none to speak of."""
    with np.errstate(divide="ignore", invalid="ignore"):
        pool = (n * p + m * q) / (n + m)
        made = (q - p) ** 2 / (pool * (1.0 - pool) * (1.0 / n + 1.0 / m))
    return np.nan_to_num(np.asarray(made), nan=0.0, posinf=0.0)


def _different(grid: Grid, found: Sequence[Found], top: int) -> list[Conditions]:
    """The first ``top`` rules, of which no two hold mostly the same mass."""
    chosen: list[Conditions] = []
    kept: list[tuple[Array, Array]] = []
    for one in found:
        if len(chosen) == top:
            break
        held = [holds(codes, one.conditions) * a for codes, a in _sides(grid)]
        mine = (held[0], held[1])
        if all(_overlap(mine, other) <= ALIKE for other in kept):
            chosen.append(one.conditions)
            kept.append(mine)
    return chosen


def _overlap(one: tuple[Array, Array], other: tuple[Array, Array]) -> float:
    """The mass in both, by the smaller of the two."""
    shared = sum(float(np.minimum(a, b).sum()) for a, b in zip(one, other, strict=True))
    least = min(sum(float(a.sum()) for a in pair) for pair in (one, other))
    return shared / least if least > 0 else 1.0


def holds(codes: Codes, conditions: Conditions) -> NDArray[np.bool_]:
    """Which rows a rule holds."""
    kept = np.ones(codes.shape[1], dtype=np.bool_)
    for one in conditions:
        line = codes[one.column]
        kept &= (line >= one.low) & (line <= one.high)
    return kept


# --------------------------------------------------------------------------------------- words


def text_of(grid: Grid, conditions: Conditions) -> str:
    """`amount > 900 and device = ios`."""
    return " and ".join(_told(grid, one) for one in conditions)


def _told(grid: Grid, one: Condition) -> str:
    column, cuts = grid.columns[one.column], grid.cuts[one.column]
    if column.words:
        return f"{column.name} = {column.words[one.low]}"
    if column.gap:
        return column.name if one.low else f"not {column.name}"
    last = grid.counts[one.column] - 1
    if one.low == 0:
        return f"{column.name} <= {_short(cuts[one.high])}"
    if one.high == last:
        return f"{column.name} > {_short(cuts[one.low - 1])}"
    return f"{_short(cuts[one.low - 1])} < {column.name} <= {_short(cuts[one.high])}"


def _short(value: float) -> str:
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
