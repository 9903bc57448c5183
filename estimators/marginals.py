"""What changed in one column: distances and tests between two columns of numbers or categories.

Missing values have a statistic of their own; the others are of the values that are there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.merging import gaps, ordered

Array = NDArray[np.float64]
BINS = 10  # quantile bins of the reference
PSEUDO_COUNT = 0.5  # added to every bin or category: no share is zero
EXACT_UP_TO = 10_000  # rows up to which the Kolmogorov-Smirnov p-value is exact, as in SciPy
SERIES_FROM = 20_000  # rows from which a series stands for SciPy's sum of as many terms
TAIL = (2.2, 18.0)  # n·d² where SciPy takes that sum, and from where its p-value is 0
HUGE = 1e200  # numbers above which sums of them could overflow
SMALLEST = float(np.finfo(float).tiny)  # a p-value is above zero, whatever underflows
FEW = 5.0  # expected counts below which the chi-square p-value is rough


@dataclass(frozen=True)
class Found:
    """A statistic of one column: its value, its p-value if it is a test, how it was made."""

    value: float
    p: float | None = None
    method: str = ""
    note: tuple[str, str] | None = None  # code and message of a warning
    reason: str = ""  # why there is no value


@dataclass(frozen=True, eq=False)
class Pair:
    """One column of P and of Q: the values that are there, and how many are missing.

    Numbers are sorted, ``lines`` are the same with infinity behind them; categories are counts over
    the union of the words.
    """

    x: Array
    y: Array
    missing: tuple[int, int]
    categories: bool = False
    lines: tuple[Array, Array] | None = None

    @property
    def present(self) -> tuple[int, int]:
        """How many values are there."""
        if self.categories:
            return int(self.x.sum()), int(self.y.sum())
        return len(self.x), len(self.y)

    @cached_property
    def gaps(self) -> tuple[float, float]:
        """∫ |F − G| in units of ``largest``, and the largest |F − G|."""
        lines = self.lines or (ordered(self.x), ordered(self.y))
        if self.largest > 1.0:  # sums must not overflow
            lines = (lines[0] / self.largest, lines[1] / self.largest)
        return gaps(*lines)

    @cached_property
    def largest(self) -> float:
        """The largest number where a sum of many could overflow, else 1."""
        largest = float(np.abs([*self.x[[0, -1]], *self.y[[0, -1]]]).max())
        return largest if largest > HUGE else 1.0


def numbers(x: NDArray[Any], y: NDArray[Any]) -> Pair:
    """A pair of columns of numbers, NaN where missing."""
    lines = []
    for values in (x, y):
        line = ordered(np.asarray(values, dtype=np.float64))
        there = int(np.searchsorted(line[:-1], np.nan))  # NaN is sorted behind all numbers
        line[there] = np.inf
        lines.append(line[: there + 1])
    first, second = lines[0][:-1], lines[1][:-1]
    missing = (len(x) - len(first), len(y) - len(second))
    return Pair(first, second, missing, lines=(lines[0], lines[1]))


def categories(
    x: NDArray[Any], words_x: tuple[str, ...], y: NDArray[Any], words_y: tuple[str, ...]
) -> Pair:
    """A pair of columns of codes into their words, -1 where missing."""
    every = sorted({*words_x, *words_y})
    place = {word: k for k, word in enumerate(every)}
    counts = []
    for codes, words in ((x, words_x), (y, words_y)):
        own = np.bincount(codes[codes >= 0], minlength=len(words))
        spread = np.zeros(len(every))
        spread[[place[word] for word in words]] = own
        counts.append(spread)
    missing = tuple(int(np.count_nonzero(codes < 0)) for codes in (x, y))
    return Pair(counts[0], counts[1], (missing[0], missing[1]), categories=True)


# --------------------------------------------------------------------------------- distances


def wasserstein(pair: Pair) -> Found:
    """∫ |F − G| dx in units of the reference: its interquartile range, or its standard deviation."""
    unit, note = reference_unit(pair.x)
    return Found(pair.gaps[0] * (pair.largest / unit), method="exact", note=note)


def reference_unit(x: Array) -> tuple[float, tuple[str, str] | None]:
    """What W₁ is divided by, and what to say if it is not the interquartile range."""
    low, high = quartile(x, 0.25), quartile(x, 0.75)
    if high > low:
        return high - low, None
    if x[0] < x[-1]:
        largest = float(np.abs(x[[0, -1]]).max())
        return largest * float(np.std(x / largest)), (
            "W20",
            "has zero IQR in the reference; W1 is in its standard deviations",
        )
    return 1.0, ("W21", "is constant in the reference; W1 is in the column's own unit")


def quartile(x: Array, share: float) -> float:
    """The quantile of sorted numbers, with the digits of `numpy.quantile`."""
    place = share * (len(x) - 1)
    below = math.floor(place)
    low, high, part = float(x[below]), float(x[min(below + 1, len(x) - 1)]), place - below
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)


def jensen_shannon(pair: Pair, bins: int) -> Found:
    """Jensen-Shannon divergence in nats between the smoothed shares of bins or categories."""
    p, q, method = shares(pair, bins)
    middle = (p + q) / 2
    value = float(np.sum(p * np.log(p / middle)) + np.sum(q * np.log(q / middle))) / 2
    return Found(max(value, 0.0), method=method)


def stability(pair: Pair, bins: int) -> Found:
    """Population stability index Σ (q − p) ln(q/p) of the smoothed shares."""
    p, q, method = shares(pair, bins)
    return Found(float(np.sum((q - p) * np.log(q / p))), method=method)


def shares(pair: Pair, bins: int) -> tuple[Array, Array, str]:
    """(c + 1/2) / (n + K/2) for the counts c of K bins or categories: never zero."""
    if pair.categories:
        counts, method = (pair.x, pair.y), "categories"
    else:
        edges = bin_edges(pair.x, bins)
        counts = (_counted(pair.x, edges), _counted(pair.y, edges))
        method = f"quantile-bins:{len(edges) + 1}"
    p, q = ((c + PSEUDO_COUNT) / (c.sum() + PSEUDO_COUNT * len(c)) for c in counts)
    return p, q, method


def bin_edges(x: Array, bins: int) -> Array:
    """Upper edges of all bins but the last, at quantiles of the sorted reference.

    A value that several quantiles fall on has a bin of its own. So a spike at zero, or a constant
    reference, stays apart from what is below and above it.
    """
    ranks = -(-len(x) * np.arange(bins + 1) // bins)  # in whole numbers: no rounding of n·k/bins
    quantiles = x[np.maximum(ranks - 1, 0)]
    spikes = quantiles[1:][quantiles[1:] == quantiles[:-1]]
    return np.unique(np.concatenate([quantiles[1:-1], spikes, np.nextafter(spikes, -np.inf)]))


def _counted(values: Array, edges: Array) -> Array:
    """Sorted values in (edge, next edge], the outer bins without end."""
    ends = np.searchsorted(values, edges, side="right")
    return np.diff(ends, prepend=0, append=len(values)).astype(np.float64)


# ------------------------------------------------------------------------------------- tests


def kolmogorov_smirnov(pair: Pair) -> Found:
    """Largest |F − G|; p exact up to 10,000 rows, then asymptotic, as SciPy's ks_2samp."""
    import warnings

    from scipy import stats

    value = pair.gaps[1]
    n, m = pair.present
    if max(n, m) <= EXACT_UP_TO:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # exact failed: SciPy goes on without
            p = float(stats.ks_2samp(pair.x, pair.y).pvalue)
        return Found(value, _above_zero(p), "exact")
    size = round(n * m / (n + m))
    tail = size * value * value
    if size >= SERIES_FROM and TAIL[0] <= tail < TAIL[1]:
        p = 2.0 * _smirnov_tail(size, value)
    else:
        p = float(stats.kstwo.sf(value, size))
    return Found(value, _above_zero(p), "asymptotic")


def _smirnov_tail(n: int, d: float) -> float:
    """P(D⁺ > d) of n rows by Lauwerier's series (1963) up to n^(-3/2), where the exact sum has n terms.

    From 20,000 rows its relative error is below 2e-5 down to p = 1e-16, and below 1e-7 at p = 1e-5.
    """
    z, s = d * math.sqrt(n), 1.0 / math.sqrt(n)
    first = -2 * z / 3
    second = 2 * z**2 / 3 * (1 - 2 * z**2 / 3)
    third = 4 * z / 9 * (1 / 5 - 19 * z**2 / 15 + 2 * z**4 / 3)
    return math.exp(-2 * z * z) * (1 + s * (first + s * (second + s * third)))


def cramer_von_mises(pair: Pair) -> Found:
    """T of Anderson 1962 with midranks; p exact up to 20 rows, then of the limit, as in SciPy."""
    n, m = (float(size) for size in pair.present)
    ranks_x, ranks_y = _midranks(pair)
    u = n * np.sum((ranks_x - np.arange(1, n + 1)) ** 2)
    u += m * np.sum((ranks_y - np.arange(1, m + 1)) ** 2)
    total = n + m
    t = float(u / (n * m * total)) - (4 * n * m - 1) / (6 * total)
    if max(n, m) <= 20 and min(n, m) > 1:
        from scipy import stats

        return Found(
            t, _above_zero(float(stats.cramervonmises_2samp(pair.x, pair.y).pvalue)), "exact"
        )
    mean = (1 + 1 / total) / 6
    variance = (total + 1) * (4 * n * m * total - 3 * (n * n + m * m) - 2 * n * m)
    variance /= 45 * total**2 * 4 * n * m
    limit = 1 / 6 + (t - mean) / math.sqrt(45 * variance)
    return Found(t, _above_zero(_beyond_limit(limit)), "asymptotic")


def _beyond_limit(x: float) -> float:
    """1 − the limiting distribution of T (Csörgő & Faraway 1996, equation 1.2); 1 below 0.003."""
    from scipy.special import gammaln, kv

    if x < 0.003:
        return 1.0
    if x > 2.5:
        return _far_tail(x)  # 1e-6 and less: 1 − the series would cancel
    total = 0.0
    for k in range(30):
        y = 4 * k + 1
        q = y * y / (16 * x)
        scale = math.exp(float(gammaln(k + 0.5) - gammaln(k + 1))) / (math.pi**1.5 * math.sqrt(x))
        term = scale * math.sqrt(y) * math.exp(-q) * float(kv(0.25, q))
        total += term
        if term < 1e-17:
            break
    return 1.0 - total


def _far_tail(x: float) -> float:
    """First integral of Smirnov's series, where 1 − the distribution would cancel.

    (1/π) ∫ √(u / |sin u|) exp(−x u²/2) 2/u du over [π, 2π], with u = π + π s²: no singularity.
    """
    nodes, weights = np.polynomial.legendre.leggauss(60)
    end = min(0.99, math.sqrt(40 / (math.pi**2 * x)))  # beyond it nothing is left
    s = end * (nodes + 1) / 2
    u = math.pi * (1 + s * s)
    inside = np.sqrt(u / np.abs(np.sin(u))) * np.exp(-x * u * u / 2) / u * s
    return float(2 * end * np.sum(weights * inside))


def chi_square(pair: Pair) -> Found:
    """Pearson's χ² of the table of categories; p of the χ² distribution, no continuity correction."""
    from scipy.special import chdtrc

    n, m = pair.present
    both = pair.x + pair.y
    expected = both * min(n, m) / (n + m)
    value = float(np.sum((pair.x * m - pair.y * n) ** 2 / (both * n)) / m)
    if len(both) < 2:
        return Found(0.0, 1.0, "asymptotic")
    rough = int(np.count_nonzero(expected < FEW))
    note = None
    if rough:
        note = (
            "W36",
            f"has {rough} of {len(both)} categories with fewer than 5 expected rows: the p-value of "
            "chi2 is rough",
        )
    return Found(value, _above_zero(float(chdtrc(len(both) - 1, value))), "asymptotic", note)


def missing_shift(pair: Pair) -> Found:
    """Share of missing values in Q less that in P; p by χ², or Fisher's where counts are small."""
    sizes = np.add(pair.missing, pair.present)
    gone = np.array(pair.missing, dtype=np.float64)
    value = float(gone[1] / sizes[1] - gone[0] / sizes[0])
    if not gone.any() or (gone == sizes).all():
        return Found(value, None, "exact")  # nothing could differ: no test
    rest = sizes - gone
    least = min(gone.sum(), rest.sum()) * sizes.min() / sizes.sum()
    if least < FEW:
        from scipy import stats

        table = [[int(gone[0]), int(rest[0])], [int(gone[1]), int(rest[1])]]
        return Found(value, _above_zero(float(stats.fisher_exact(table)[1])), "exact")
    from scipy.special import chdtrc

    pooled = gone.sum() / sizes.sum()
    score = value * value / (pooled * (1 - pooled) * np.sum(1 / sizes))
    return Found(value, _above_zero(float(chdtrc(1, score))), "asymptotic")


# ------------------------------------------------------------------------------ the statistics

STATISTICS: dict[str, Callable[[Pair, int], Found]] = {
    "w1": lambda pair, bins: wasserstein(pair),
    "ks": lambda pair, bins: kolmogorov_smirnov(pair),
    "cvm": lambda pair, bins: cramer_von_mises(pair),
    "chi2": lambda pair, bins: chi_square(pair),
    "js": jensen_shannon,
    "psi": stability,
    "missing": lambda pair, bins: missing_shift(pair),
}
OF_NUMBERS = ("w1", "ks", "cvm", "js", "psi", "missing")
OF_CATEGORIES = ("chi2", "js", "psi", "missing")
UNITS = {"w1": "reference IQR", "js": "nats"}
SYMMETRIC = ("ks", "cvm", "chi2")  # the others take unit, bins or sign from the reference


def measure(pair: Pair, wanted: tuple[str, ...], bins: int) -> dict[str, Found]:
    """The statistics that this kind of column has."""
    known = OF_CATEGORIES if pair.categories else OF_NUMBERS
    found = {}
    for name in wanted:
        if name not in known:
            continue
        if name != "missing" and 0 in pair.present:
            which = "P" if pair.present[0] == 0 else "Q"
            found[name] = Found(math.nan, reason=f"{which} has no value at all")
        else:
            found[name] = STATISTICS[name](pair, bins)
    return found


def adjusted(p: Array, how: str) -> Array:
    """P-values for several tests at once: holm (family-wise), bh (false discovery rate), none."""
    if how == "none" or len(p) == 0:
        return p
    order = np.argsort(p, kind="stable")
    sizes = np.arange(len(p), 0, -1)
    if how == "holm":
        steps = np.maximum.accumulate(p[order] * sizes)
    else:
        grown = p[order] * len(p) / (len(p) + 1 - sizes)
        steps = np.minimum.accumulate(grown[::-1])[::-1]
    made = np.empty(len(p))
    made[order] = np.minimum(steps, 1.0)
    return made


def _above_zero(p: float) -> float:
    return min(max(p, SMALLEST), 1.0)


def _midranks(pair: Pair) -> tuple[Array, Array]:
    """Ranks in the pool, the mean rank for ties."""
    made = []
    for own in (pair.x, pair.y):
        below = [np.searchsorted(values, own, side="left") for values in (pair.x, pair.y)]
        until = [np.searchsorted(values, own, side="right") for values in (pair.x, pair.y)]
        made.append((below[0] + below[1] + until[0] + until[1] + 1) / 2)
    return made[0], made[1]
