"""Rules: conjunctions of conditions that hold more or less of Q than of P.

They are found on one half of the rows, among all conditions and pairs of conditions and extensions of
the best pairs, and tested on the other half, which had no part in the choice.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.explanation_features import Column, columns_of, values_of
from divmatch.multiplicity import holm
from divmatch.randomness import stream
from divmatch.samples import Samples

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
SHARES = (0.01, 0.02, 0.05, *(k / 10 for k in range(1, 10)), 0.95, 0.98, 0.99)
FEWEST = 10.0  # rows of both halves that a rule needs, by their weights
LARGEST = 0.5  # mass of a rule: beyond it, its opposite says the same
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


@dataclass(frozen=True)
class Rule:
    """A rule with its mass in P and Q on rows that had no part in finding it.

    ``ratio`` is mass in Q by that in P; the interval is for this rule alone, ``adjusted`` is Holm's
    p-value for all rules of the run.
    """

    text: str
    columns: tuple[str, ...]
    masses: tuple[float, float]
    ratio: float
    low: float
    high: float
    p_value: float
    adjusted: float
    rows: tuple[int, int]  # of the half that it was tested on


@dataclass(frozen=True, eq=False)
class Grid:
    """Codes of the rows of both samples in every column, and the words for them."""

    columns: Sequence[Column]
    codes: tuple[Codes, Codes]  # (columns, n), (columns, m): a column's are side by side
    cuts: Sequence[Array]  # of numbers; empty for categories
    counts: Sequence[int]  # codes of every column
    masses: tuple[Array, Array]
    sizes: tuple[float, float]  # effective rows


def rules(
    x: Samples, y: Samples, *, top: int = 5, level: float = 0.95, seed: int = 0
) -> tuple[Rule, ...]:
    """Find rules of at most three conditions on one half of the rows, and test them on the other.

    Only rules are tested that hold more or less of Q than the best of as many would by chance.

    Parameters
    ----------
    x, y : Samples
        Reference and candidate, with the same columns in their own units.
    top : int
        The most rules that are tested. No two of them hold mostly the same rows.
    level : float
        Of the intervals, each of which is for its rule alone.
    seed : int
        Of the halves.

    Returns
    -------
    tuple of Rule
        In the order in which they were found: the clearest first.

    Notes
    -----
    The interval is the conditional one of Clopper & Pearson 1934 (Biometrika 26): given the rows in
    both samples that a rule holds, those of Q are taken as binomial. It is exact for rare rules and
    too wide by up to sqrt(2) for one that holds half of the mass. The p-value belongs to it.

    Cost: O((n + m) d²) time, O((n + m) d) memory.
    """
    halves = [
        np.array_split(stream(seed, "explain", "halves", role).permutation(one.n), 2)
        for one, role in ((x, "p"), (y, "q"))
    ]
    found, held = ((x.take(halves[0][k]), y.take(halves[1][k])) for k in (0, 1))
    grid = grid_of(*found)
    chosen = searched(grid, top)
    tested = [tested_on(grid, rule, *held, level) for rule in chosen]
    tested = [rule for rule in tested if not math.isnan(rule.ratio)]
    adjusted = holm([rule.p_value for rule in tested])
    return tuple(replace(rule, adjusted=p) for rule, p in zip(tested, adjusted, strict=True))


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
    trial = Trial(grid)
    for conditions in plain:
        if conditions:
            trial.add([(one,) for one in conditions], _masses(grid, conditions))
    return trial.best()


def _masses(grid: Grid, conditions: Sequence[Condition]) -> Array:
    """Of conditions on one column, in P and Q: shape (2, conditions)."""
    j = conditions[0].column
    marks = _marks(conditions, grid.counts[j])
    tables = [_counted(codes[j], a, grid.counts[j]) for codes, a in _sides(grid)]
    return np.array([marks @ table for table in tables])


def _pairs(grid: Grid, plain: Sequence[Sequence[Condition]]) -> list[Found]:
    """All pairs of conditions on two columns, and all ranges of one."""
    trial = Trial(grid)
    alone = [_masses(grid, own) if own else np.empty((2, 0)) for own in plain]
    for j, own in enumerate(plain):
        ranges = [] if grid.columns[j].words else _ranges(j, grid.counts[j])
        if ranges:
            last = grid.counts[j] - 1
            ends = (
                [Condition(j, 0, c.high) for c in ranges],
                [Condition(j, c.low, last) for c in ranges],
            )
            masses = _masses(grid, ranges)
            wider = [_masses(grid, end) for end in ends]
            trial.add([(one,) for one in ranges], masses, wider)
        for k in range(j + 1, len(plain)):
            if own and plain[k]:
                masses = _joint(grid, own, plain[k])
                shape = (2, len(own), len(plain[k]))
                wider = [
                    np.broadcast_to(alone[j][:, :, None], shape).reshape(2, -1),
                    np.broadcast_to(alone[k][:, None, :], shape).reshape(2, -1),
                ]
                trial.add([(one, other) for one in own for other in plain[k]], masses, wider)
    return trial.best()


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
    grid: Grid, plain: Sequence[Sequence[Condition]], parents: Iterable[Found]
) -> list[Found]:
    """The best pairs with one more condition."""
    trial = Trial(grid)
    for parent in parents:
        used = {one.column for one in parent.conditions}
        held = [holds(codes, parent.conditions) for codes in grid.codes]
        sides = zip(_sides(grid), held, strict=True)
        parts = [(codes[:, kept], a[kept]) for (codes, a), kept in sides]
        whole = np.array([[a.sum()] for _, a in parts])
        for j, conditions in enumerate(plain):
            if j in used or not conditions:
                continue
            marks = _marks(conditions, grid.counts[j])
            tables = [_counted(codes[j], a, grid.counts[j]) for codes, a in parts]
            trial.add(
                [tuple(sorted((*parent.conditions, one))) for one in conditions],
                np.array([marks @ table for table in tables]),
                [np.broadcast_to(whole, (2, len(conditions)))],
            )
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
    """Rules of one length that are tried, with their masses in P and Q."""

    grid: Grid
    rules: list[Conditions] = field(default_factory=list)
    masses: list[Array] = field(default_factory=list)  # (2, rules) each
    least: list[Array] = field(default_factory=list)  # the least that a condition adds, as a z²

    def add(self, rules: list[Conditions], masses: Array, wider: Sequence[Array] = ()) -> None:
        """Take in rules, with the masses of those that have one condition less."""
        self.rules += rules
        self.masses.append(masses)
        gains = [self._gain(masses, whole) for whole in wider]
        none = np.full(len(rules), np.inf)
        self.least.append(np.minimum.reduce(gains) if gains else none)

    def best(self) -> list[Found]:
        """The clearest: z²/2 of the difference of masses, less the logarithm of how many were tried.

        Every condition must matter: the rows that the others hold are in other proportions with it
        than without it, as clearly as the choice among so many conditions asks for.
        """
        if not self.rules:
            return []
        p, q = np.concatenate(self.masses, axis=1)
        n, m = self.grid.sizes
        pool = (n * p + m * q) / (n + m)
        tried = math.log(len(self.rules))
        fit = (pool * (n + m) >= FEWEST) & ((p + q) / 2 <= LARGEST)
        fit &= np.concatenate(self.least) / 2.0 > tried
        scores = np.where(fit, _squares(p, q, n, m) / 2.0 - tried, -np.inf)
        order = np.argsort(-scores, kind="stable")[:SEEN]
        return [Found(float(scores[k]), self.rules[k]) for k in order if scores[k] > 0]

    def _gain(self, masses: Array, whole: Array) -> Array:
        """z² of the difference of the shares that a condition holds of a wider rule's rows."""
        (p, q), (n, m) = masses, self.grid.sizes
        with np.errstate(divide="ignore", invalid="ignore"):
            return _squares(p / whole[0], q / whole[1], n * whole[0], m * whole[1])


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


# -------------------------------------------------------------------------------------- test


def tested_on(grid: Grid, conditions: Conditions, x: Samples, y: Samples, level: float) -> Rule:
    """A rule on rows that had no part in the search."""
    masses, counts, sizes = [], [], []
    for one in (x, y):
        kept = np.ones(one.n, dtype=np.bool_)
        for c in conditions:
            column = grid.columns[c.column]
            codes = coded(column, grid.cuts[c.column], values_of(column, one))
            kept &= (codes >= c.low) & (codes <= c.high)
        mass, size = _mass(one, kept)
        masses.append(mass)
        counts.append(mass * size)
        sizes.append(size)
    ratio = masses[1] / masses[0] if masses[0] > 0 else math.inf if masses[1] > 0 else math.nan
    low, high, p = ratio_interval((counts[0], counts[1]), (sizes[0], sizes[1]), level)
    return Rule(
        text_of(grid, conditions),
        tuple(dict.fromkeys(grid.columns[c.column].name for c in conditions)),
        (masses[0], masses[1]), ratio, low, high, p, p, (x.n, y.n),
    )  # fmt: skip


def _mass(samples: Samples, kept: NDArray[np.bool_]) -> tuple[float, float]:
    """The mass of some rows, and how many equal rows would know it as well."""
    if samples.weights is None:
        return float(np.count_nonzero(kept)) / samples.n, float(samples.n)
    mass = float(samples.weights[kept].sum())
    variance = float(np.sum(samples.weights**2 * (kept - mass) ** 2))
    if variance == 0.0 or not 0.0 < mass < 1.0:
        return mass, samples.effective_size()
    return mass, mass * (1.0 - mass) / variance


def ratio_interval(
    counts: tuple[float, float], sizes: tuple[float, float], level: float
) -> tuple[float, float, float]:
    """Interval and two-sided p-value (of ratio 1) of two masses' ratio, second by first.

    Given a + b, b is binomial with probability m ratio / (n + m ratio), and a, b may be fractions.
    """
    from scipy.special import betainc, betaincinv

    (a, b), (n, m) = counts, sizes
    a, b = (_whole(value) for value in (a, b))
    if a + b == 0:
        return 0.0, math.inf, 1.0
    tail = (1.0 - level) / 2.0
    low = float(betaincinv(b, a + 1.0, tail)) if b > 0 else 0.0
    high = float(betaincinv(b + 1.0, a, 1.0 - tail)) if a > 0 else 1.0
    equal = m / (n + m)
    upper = float(betainc(b, a + 1.0, equal)) if b > 0 else 1.0
    lower = float(betainc(a, b + 1.0, 1.0 - equal)) if a > 0 else 1.0
    odds = [value / (1.0 - value) * n / m if value < 1.0 else math.inf for value in (low, high)]
    p = min(1.0, 2.0 * min(upper, lower))
    return odds[0], odds[1], max(p, float(np.finfo(float).tiny))


def _whole(value: float) -> float:
    """A count without the rounding of its mass."""
    near = round(value)
    return float(near) if math.isclose(value, near, rel_tol=1e-9) else value


def text_of(grid: Grid, conditions: Conditions) -> str:
    """`amount > 900 and device = ios`."""
    return " and ".join(_told(grid, one) for one in conditions)


def _told(grid: Grid, one: Condition) -> str:
    column, cuts = grid.columns[one.column], grid.cuts[one.column]
    if column.words:
        return f"{column.name} = {column.words[one.low]}"
    last = grid.counts[one.column] - 1
    if one.low == 0:
        return f"{column.name} <= {_short(cuts[one.high])}"
    if one.high == last:
        return f"{column.name} > {_short(cuts[one.low - 1])}"
    return f"{_short(cuts[one.low - 1])} < {column.name} <= {_short(cuts[one.high])}"


def _short(value: float) -> str:
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
