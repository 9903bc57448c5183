"""Max-sliced Wasserstein distance."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from divmatch.estimator import Array, Estimate, Labels, Pooled
from divmatch.kernels.ascent import Summit, climbed, unit
from divmatch.kernels.execution import in_order
from divmatch.randomness import stream
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport.sliced import SLICED
from divmatch.transport.slicing import Order, Sliced, check_told, near_null, refuse_riesz

Starts = Annotated[int, Setting("directions from which the ascent begins", least=1, most=1000)]

SCANNED, SCANNED_WORK = 512, 2e5  # most directions of a scan, and most numbers that it sorts
FARTHEST, APART = 32, 0.9995
FILLED, TELL = (
    3,
    1e-3,
)  # columns up to which a scan leaves no gap; by how much others must be higher
MISSED = (
    "the directions that moments name lead to {:.4g}, others to {:.4g}: there may be a higher maximum; "
    "raise --starts"
)
SPLITS = 4  # of both samples into halves, which tell the bias
WORK = 1e4  # elementary operations a row for one maximum


@SLICED.estimator("max", source="Deshpande et al. 2019, arXiv 1904.05877")
def sliced_max(
    x: Samples,
    y: Samples,
    *,
    p: Order = 2,
    starts: Starts = 10,
    rng: "np.random.Generator",
) -> Estimate:
    """Largest Wasserstein distance between projections of two samples onto a line.

    max W_p(θ·X, θ·Y) over unit vectors θ. A metric: zero if and only if the two distributions agree;
    at least the sliced distance, at most W_p. Biased upward, because θ is the best one for these
    rows: for p = 2 the square by the order of d (1/n + 1/m). The result states the bias, found from
    random halves of both samples, whose best directions are looked for again, and the interval, which
    is for the distance of the distributions, is moved by it. It also states `noise`, what samples of
    these sizes from one distribution are about apart; a value near it is marked (W04), and only a
    permutation test can tell: it looks for the best direction of every permutation.

    Use it to see a difference that few directions show, and which: the JSON result holds the
    `direction`, a component for each column. Columns count by their scale: standardise them (--scale)
    unless they share a unit.

    The maximum is looked for by gradient ascent on the sphere with steps that never lower the value,
    from several directions at once: the difference of the means, alone and by the inverse of the
    pooled covariance, the eigenvectors at both ends of the difference of the covariances, of fourth
    moments, and of the pooled covariance, then sums and differences of these. Below some 10,000 rows
    it is looked for again from the best of up to 512 other directions. There is no guarantee that none is
    higher: the value is a lower bound of the largest one. With more than three columns it is told when
    the other directions led higher (W18).

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    p : float or str
        Order, at least 1.
    starts : int
        Number of directions from which the ascent begins.
    rng : numpy.random.Generator
        Draws the halves that tell bias and noise. Its state is left as it was.

    Returns
    -------
    Estimate
        Value in data units, finite, at least 0, with the influence of every row.

    Raises
    ------
    SettingError
        For the order riesz.

    Notes
    -----
    Cost: O(S T (n + m)(d + log(n + m))) time for S starts of T steps, at most 200 and often 30; a
    permutation costs as much. O((n + m) d) memory.

    Source: Deshpande, Hu, Sun, Pyrros, Siddiqui, Koyejo, Zhao, Forsyth & Schwing 2019 (CVPR, arXiv
    1904.05877); influences at the maximum: the envelope theorem.

    Examples
    --------
    >>> import divmatch
    >>> divmatch.sliced([[0.0, 0.0], [1.0, 0.0]], [[0.0, 3.0], [1.0, 3.0]], method="max").value
    3.0
    """
    rng = deepcopy(rng)
    of = Sliced.of(x, y, refuse_riesz(p, "max"))
    found = summits(of, starts)
    best = max(found, key=lambda one: one.value)
    about = of.slices().influences(best.point[None])
    cost = float(about.costs[0])
    check_told(of, cost, best.point[None])
    value = of.root(cost)
    chance = of.chance(lambda halves: highest(halves, starts).value, rng) or 0.0
    noted = [] if best.settled else [Note("W18", "the ascent was stopped after 200 steps")]
    if x.d > FILLED and best.value > (1.0 + TELL) * found[0].value:
        noted.append(Note("W18", MISSED.format(of.root(found[0].value), value)))
    return Estimate(
        value,
        terms_x=of.influence(about.rows_x, x, cost),
        terms_y=of.influence(about.rows_y, y, cost),
        bias=bias_of(of, value, lambda half: climbed_from(half, best.point), rng),
        params={"noise": of.root(chance), "direction": _named(_signed(best.point), x)},
        notes=(*noted, *near_null(of, cost, chance)),
        exact=x.d == 1,
    )


def highest(of: Sliced, starts: int) -> Summit:
    """The best direction that is found."""
    return max(summits(of, starts), key=lambda one: one.value)


def summits(of: Sliced, starts: int) -> list[Summit]:
    """The best direction above those that moments name, and above the best of many others."""
    of = of.ordered()
    slopes = of.slices().slopes
    if of.d == 1:
        return [climbed(slopes, np.ones((1, 1)), of.p)]
    found = [climbed(slopes, beginnings(of, starts), of.p)]
    others = scanned(of, starts)
    return [*found, climbed(slopes, others, of.p)] if len(others) else found


def climbed_from(of: Sliced, point: Array) -> float:
    """The value of the maximum above one direction."""
    return of.root(climbed(of.slices().slopes, point[None], of.p).value)


def bias_of(of: Sliced, value: float, again: Any, rng: "np.random.Generator") -> float:
    """The bias of order 1/n: halves have twice as much; what is linear in the rows cancels in both."""
    found = []
    for _ in range(SPLITS if value > 0 and min(of.x.n, of.y.n) >= 4 else 0):
        orders = of.orders(rng)
        halves = [of.half(first, orders) for first in (0, 1)]
        found += [again(half) for half in halves if half is not None]
    if len(found) < 2 * SPLITS:
        return 0.0
    return float(np.clip(np.mean(found) - value, 0.0, value))


def _signed(direction: Array) -> Array:
    """The one of both opposite directions whose largest component is positive."""
    made: Array = direction * np.sign(direction[np.argmax(np.abs(direction))])
    return made


def _named(direction: Array, samples: Samples) -> dict[str, float]:
    """The component of every column."""
    names = samples.columns or tuple(map(str, range(samples.d)))
    return dict(zip(names, direction.tolist(), strict=True))


# ------------------------------------------------------------------------------------- starts


@dataclass(frozen=True, eq=False)
class _Moments:
    """Mean, covariance, and of the centred rows Σ |x|² x xᵀ and Σ |x|² x."""

    mean: Array
    covariance: Array
    fourth: Array
    third: Array

    @classmethod
    def of(cls, samples: Samples, origin: Array, scale: float) -> "_Moments":
        points, weights = (samples.points - origin) / scale, samples.masses()
        mean = weights @ points
        points -= mean
        heavy = points * weights[:, None]
        squares = np.einsum("ij,ij->i", points, points)
        far = heavy * squares[:, None]
        return cls(mean, heavy.T @ points, far.T @ points, far.sum(axis=0))


def beginnings(of: Sliced, count: int) -> Array:
    """Directions that moments name, the most promising first; turned as the rows are turned."""
    origin, scale = of.x.points[0], _extent(of)
    p, q = (_Moments.of(one, origin, scale) for one in (of.x, of.y))
    pooled = p.covariance + q.covariance
    apart = p.mean - q.mean
    vectors = [apart, np.linalg.lstsq(pooled, apart)[0], p.third - q.third]
    matrices = [p.covariance - q.covariance, p.fourth - q.fourth, pooled]
    ends = [np.linalg.eigh(matrix)[1].T for matrix in matrices]
    for k in range((of.d + 1) // 2):
        for vectors_of in ends:
            vectors += [vectors_of[-1 - k], vectors_of[k]] if 2 * k + 1 < of.d else [vectors_of[k]]
    known = [v / np.sqrt(v @ v) for v in vectors if v @ v > 0]
    mixed: list[Array] = []
    for gap in range(1, len(known)):
        if len(known) + len(mixed) >= count:
            break
        for a, b in zip(known, known[gap:], strict=False):
            mixed += [a + b, a - b]
    usable = [v for v in (*known, *mixed) if v @ v > 1e-12]
    return np.array(usable[:count])


def scanned(of: Sliced, count: int) -> Array:
    """The best that are apart of many directions of a small sample, whose edges and ties make many maxima.

    Spread over the sphere from the axes of the rows on, so that they are turned as these are, and
    towards the farthest rows.
    """
    number = min(SCANNED, int(SCANNED_WORK // (of.x.n + of.y.n)))
    if number < count:
        return np.zeros((0, of.d))
    if of.d == 2:
        angles = np.arange(number) * (np.pi / number)
        spread = np.column_stack([np.cos(angles), np.sin(angles)])
    else:
        spread = unit(stream(0, "sliced", "scanned").standard_normal((number, of.d)))
    origin, scale = of.x.points[0], _extent(of)
    parts = [_Moments.of(one, origin, scale) for one in (of.x, of.y)]
    axes = np.linalg.eigh(parts[0].covariance + parts[1].covariance)[1].T
    skew = axes @ (parts[0].third + parts[1].third)  # which end of an axis is its first
    vectors = [spread @ (axes * np.where(skew < 0, -1.0, 1.0)[:, None])]
    for one, about in zip((of.x, of.y), parts, strict=True):
        centred = (one.points - origin) / scale - about.mean
        squares = np.einsum("ij,ij->i", centred, centred)
        places = np.argsort(-squares, kind="stable")[:FARTHEST]
        vectors.append(unit(centred[places[squares[places] > 0]]))
    made = np.concatenate(vectors)
    kept: list[Array] = []
    for k in np.argsort(-of.slices().costs(made), kind="stable"):
        if all(abs(float(made[k] @ other)) < APART for other in kept):
            kept.append(made[k])
        if len(kept) == count:
            break
    return np.array(kept)


def _extent(of: Sliced) -> float:
    """The widest range of a column, so that no moment overflows or vanishes."""
    both = (of.x.points, of.y.points)
    low, high = np.min([z.min(0) for z in both], 0), np.max([z.max(0) for z in both], 0)
    return float((high - low).max()) or 1.0


# -------------------------------------------------------------------------------- permutations


@sliced_max.pooled
def sliced_max_plan(pool: Samples, *, p: float | str, starts: int, **_: Any) -> Pooled:
    """Another ascent for every split: its best direction is not that of the samples."""
    order = refuse_riesz(p, "max")

    def value(split: NDArray[np.bool_]) -> float:
        parts = pool.take(split), pool.take(~split)
        if any(one.weights is not None and not one.weights.max() > 0 for one in parts):
            return np.nan
        of = Sliced.of(*parts, order)
        return of.root(highest(of, starts).value)

    def statistic(labels: Labels) -> Array:
        work = WORK * labels.size * starts
        return np.array(list(in_order(value, labels.T, work=work)))

    reach = float(np.ptp(pool.points, axis=0).sum())
    return Pooled(statistic, lambda: 64 * 2.0**-52 * pool.n**0.5 * reach)
