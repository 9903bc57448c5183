"""Sliced Wasserstein distance."""

import math
from copy import deepcopy
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np

from divmatch.errors import counted
from divmatch.estimator import Array, Estimate, Labels, Pooled, Quantity
from divmatch.kernels.directions import Directions, directions, monte_carlo_se, spread
from divmatch.kernels.slices import Influences, Pool, Slices
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport import sliced_riesz

Order = Annotated[
    Literal[1, 2, "riesz"], Setting("order p of the distance; riesz for the energy distance")
]
Projections = Annotated[
    int | Literal["auto"],
    Setting("number of random directions; auto is 100 or 4 d, the larger", least=4),
]
Error = Annotated[
    float | None,
    Setting(
        "double the directions until the Monte Carlo error is below this share of the value",
        above=0,
        below=1,
        percent=True,
    ),
]

DOUBLINGS = 6  # 64 times the first number of directions, then the error asked for is given up
# directions whose potentials make the rows' influences; fewer would widen the interval: with these
# by 1 % for p = 2 and 8 % for p = 1 at the most, against all, for shifts of up to 100 columns
FOR_INFLUENCE: dict[float, int] = {1: 128, 2: 64}
FOR_TEST = 100  # directions of the permutation test of a large pool
TEST_WORK = 8_000_000  # rows times directions up to which the test takes the estimate's own

SLICED = Quantity(
    "sliced",
    title=lambda settings: (
        "sliced energy distance" if settings.get("p") == "riesz" else "sliced Wasserstein distance"
    ),
    unit="data unit",
    direction="symmetric",
    default="w",
    degenerate=True,
    examples=(
        "divmatch sliced real.npy gen.npy",
        "divmatch sliced real.npy gen.npy -p 1 --projections 500",
        "divmatch sliced real.npy gen.npy --error 1% -f json",
        "divmatch sliced real.npy gen.npy -p riesz",
    ),
)


@SLICED.estimator(
    "w", source="Rabin, Peyré, Delon & Bernot 2012, SSVM; Bonneel et al. 2015, JMIV 51"
)
def sliced(
    x: Samples,
    y: Samples,
    *,
    p: Order = 2,
    projections: Projections = "auto",
    error: Error = None,
    rng: "np.random.Generator",
) -> Estimate:
    """Sliced Wasserstein distance between two samples.

    SW_p = (E W_p^p(θ·X, θ·Y))^(1/p), θ uniform on the unit sphere: the root of the mean over
    directions of the transport distance between the projections, each exact by sorting. A metric:
    zero if and only if the two distributions agree. Never negative and biased upward: samples of n
    and m rows of one distribution are about `noise` apart, of the order of (1/n + 1/m)^(1/2), which
    the result states. With many columns that is many standard errors, so a value near it is marked
    (W04) and only a permutation test can tell. For p = 2, SW² is too large by about noise² whatever
    the distributions: the result states the bias SW − (SW² − noise²)^(1/2), and the interval, which
    is for the distance of the distributions, is moved down by it.

    Use it for large samples and many columns, where it costs a sort per direction. It shrinks with
    the number of columns: a shift by Δ of all rows counts as |Δ| / d^(1/2) for p = 2. Columns count
    by their scale: standardise them (--scale) unless they share a unit.

    One column needs no random direction and is exact. Two columns take equal angles with a random
    start; more take blocks of orthonormal directions, whose mean is exact for all quadratic forms.
    The Monte Carlo error comes from the spread between blocks (two columns: between four
    interleaved grids, an upper estimate) and is part of the standard error. The influence of a row
    is its Kantorovich potential averaged over whole blocks of at least 64 directions (p = 1: 128),
    or all where there are fewer. A permutation test of more than 8,000,000 / L rows takes only
    about 100 directions.

    With -p riesz it is another quantity: the energy distance 2 E|X − Y| − E|X − X'| − E|Y − Y'|, the
    MMD² of the kernel −|x − y|, as c times the mean of the energy distances of the projections,
    c = π^(1/2) Γ((d + 1)/2) / Γ(d/2). Not its root, and not half of it, as in gradient flows. Every
    pair counts (V-statistic): biased upward, which the result states, and the interval is moved down.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    p : int
        Order, 1 or 2; or riesz, for the energy distance.
    projections : int or str
        L, at least 4, or auto: whole blocks of d directions, at least 100 and at least 4 d of them.
        Two columns round it up to a multiple of 4; one column needs one.
    error : float, optional
        Share of the value, in (0, 1): directions are doubled, six times at the most, until the
        Monte Carlo error is below it.
    rng : numpy.random.Generator
        Its state decides the directions and is left as it was: a test takes the same directions.

    Returns
    -------
    Estimate
        Value in data units, finite, at least 0, with the influence of every row.

    Notes
    -----
    Cost: O(L (n + m)(d + log(n + m))) time, O(n + m) memory.

    Source: Rabin, Peyré, Delon & Bernot 2012 (SSVM); Bonneel, Rabin, Peyré & Pfister 2015 (JMIV
    51); orthonormal directions: Rowland et al. 2019 (arXiv 1903.03784); riesz: Hertrich, Wald,
    Altekrüger & Hagemann 2024 (ICLR, arXiv 2305.11463).

    Examples
    --------
    >>> import divmatch
    >>> divmatch.sliced([0.0, 1.0], [2.0, 3.0]).value
    2.0
    """
    rng = deepcopy(rng)
    if p == "riesz":
        return _riesz(x, y, projections, error, rng)
    slices = Slices(x.points, y.points, p, _weights(x, y), x.once)
    drawn = directions(x.d, _first_count(x.d, projections), rng)
    costs, about = _evaluated(slices, drawn.vectors)
    if error is not None:
        costs, drawn = _refined(slices, costs, drawn, error, rng)
    value = float(costs.mean()) ** (1 / p)
    slope = p * value ** (p - 1)  # of the p-th power, at the value
    se = monte_carlo_se(costs, drawn.groups) / slope if value > 0 else 0.0
    noise = float(about.noise.mean())
    return Estimate(
        value,
        terms_x=_influence(about.rows_x, x, slope),
        terms_y=_influence(about.rows_y, y, slope),
        error=se if x.d > 1 else None,
        bias=value - math.sqrt(max(value**2 - noise, 0.0)) if p == 2 else 0.0,
        params={"projections": len(costs), "noise": noise ** (1 / p)},
        notes=(*_missed(value, se, error, len(costs)), *_near_null(value, noise ** (1 / p), p)),
        exact=x.d == 1,
    )


def _riesz(
    x: Samples,
    y: Samples,
    projections: int | str,
    error: float | None,
    rng: "np.random.Generator",
) -> Estimate:
    """The energy distance; twice the directions until their error is what was asked for."""
    count = _first_count(x.d, projections)
    for _ in range(DOUBLINGS + 1):
        found = sliced_riesz.estimate(x, y, directions(x.d, count, deepcopy(rng)))
        if error is None or x.d == 1 or (found.error or 0.0) <= error * found.value:
            break
        count *= 2
    notes = _missed(found.value, found.error or 0.0, error, found.params["projections"])
    return replace(found, notes=notes)


def _weights(x: Samples, y: Samples) -> tuple[Array, Array] | None:
    return None if x.weights is None and y.weights is None else (x.masses(), y.masses())


def _first_count(d: int, projections: int | str) -> int:
    return d * math.ceil(max(100, 4 * d) / d) if isinstance(projections, str) else projections


def _evaluated(slices: Slices, vectors: Array) -> tuple[Array, Influences]:
    """Costs along all directions; influences and noise from enough of them."""
    chosen = spread(vectors.shape[1], len(vectors), FOR_INFLUENCE[slices.p])
    rest = np.delete(np.arange(len(vectors)), chosen)
    costs = np.empty(len(vectors))
    about = slices.influences(vectors[chosen])
    costs[chosen] = about.costs
    if len(rest):
        costs[rest] = slices.costs(vectors[rest])
    return costs, about


def _refined(
    slices: Slices, costs: Array, drawn: Directions, error: float, rng: "np.random.Generator"
) -> tuple[Array, Directions]:
    """Twice the directions, again and again, until their error is below its share of the value."""
    d = drawn.vectors.shape[1]
    for _ in range(DOUBLINGS if d > 1 else 0):
        # the error of the root is that of the mean divided by p times the (p − 1)-th power
        if monte_carlo_se(costs, drawn.groups) <= error * slices.p * float(costs.mean()):
            break
        if d == 2:
            drawn = directions(d, 2 * len(costs), rng)  # a finer grid, not a second one
            costs = slices.costs(drawn.vectors)
            continue
        more = directions(d, len(costs), rng)
        costs = np.concatenate([costs, slices.costs(more.vectors)])
        groups = np.concatenate([drawn.groups, more.groups + drawn.groups[-1] + 1])
        drawn = Directions(np.concatenate([drawn.vectors, more.vectors]), groups)
    return costs, drawn


def _influence(terms: Array, samples: Samples, slope: float) -> Array:
    """Potentials of the p-th power as influences on the value; both vanish with it."""
    centred = terms - samples.masses() @ terms
    return centred / slope if slope > 0 else centred


def _missed(value: float, se: float, error: float | None, count: int) -> tuple[Note, ...]:
    if error is None or se <= error * value:
        return ()
    return (
        Note(
            "W06",
            f"the Monte Carlo error is {se / value:.2%} of the value after {counted(count, 'projection')}, "
            f"{error:.2%} was asked for; raise --projections",
        ),
    )


def _near_null(value: float, noise: float, p: int) -> tuple[Note, ...]:
    """With many columns the value at P = Q is many standard errors from zero: only this tells."""
    if value == 0 or value**p > 2 * noise**p:
        return ()
    return (
        Note(
            "W04",
            f"samples of these sizes from one distribution would be about {noise:.3g} apart: "
            f"at {value:.3g} the interval is not valid",
        ),
    )


@sliced.pooled
def sliced_plan(
    pool: Samples,
    *,
    p: int | str,
    projections: int | str,
    rng: "np.random.Generator",
    **_: Any,
) -> Pooled:
    """Every direction sorted once; a split is then a walk along the sorted pool."""
    drawn = directions(pool.d, _first_count(pool.d, projections), deepcopy(rng))
    enough = max(FOR_TEST, TEST_WORK // pool.n)
    vectors = drawn.vectors[spread(pool.d, len(drawn.vectors), enough)]
    if isinstance(p, str):
        return sliced_riesz.plan(pool, vectors)
    splits = Pool(pool.points, pool.weights, vectors, p)

    def statistic(labels: Labels) -> Array:
        return np.asarray(splits.costs(labels) ** (1 / p))

    return Pooled(statistic, lambda: 64 * 2.0**-52 * pool.n**0.5 * splits.reach)
