"""Exact Wasserstein distance."""

import math
from copy import deepcopy
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.estimator import Array, Estimate, Labels, Pooled, Quantity
from divmatch.kernels.execution import in_order
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport import costs
from divmatch.transport.exact_costs import Moved, check_room, on_sphere
from divmatch.transport.exact_line import SortedPool, merged
from divmatch.transport.exact_solvers import Solver, solvers
from divmatch.transport.sparse_plan import SparsePlan

Order = Annotated[
    float | Literal["auto"],
    Setting("order p of the distance; auto is 2 for the cost euclidean, else 1", least=1),
]
Cost = Annotated[
    str,
    Setting(
        "ground cost of two rows",
        parse=costs.parse_cost,
        shown="euclidean|sqeuclidean|cityblock|chebyshev|cosine|lp:Q",
    ),
]
Debias = Annotated[
    bool, Setting("subtract what halves of one sample are apart, on halves of both samples")
]
Columnwise = Annotated[bool, Setting("the mean over columns of the distance of each column")]

CLOSE = 1e-6  # relative gap that still proves the plan

UNPLANNED = {
    "debias": "--debias takes six plans between halves; leave one of them out",
    "columnwise": "--columnwise takes a plan for each column; leave one of them out",
}


OT = Quantity(
    "ot",
    title="Wasserstein distance",
    unit=lambda settings: costs.unit(str(settings.get("cost", "euclidean"))),
    direction="symmetric",
    default="exact",
    degenerate=True,
    unplanned=lambda settings: next(
        (why for name, why in UNPLANNED.items() if settings.get(name)), ""
    ),
    examples=(
        "divmatch ot real.npy gen.npy",
        "divmatch ot real.npy gen.npy -p 1 -f json",
        "divmatch ot real.npy gen.npy --cost cityblock",
        "divmatch ot real.parquet gen.parquet --columnwise -p 1",
        "divmatch ot real.npy gen.npy --debias",
        "divmatch ot real.npy gen.npy --orlicz exp2",
        "divmatch ot real.npy gen.npy -o plan.npz",
        "divmatch ot real.npy gen.npy --orlicz exp -o plan.npz",
        "divmatch ot real.npy gen.npy --federated --support 50",
    ),
)


@OT.estimator(
    "exact", source="Kantorovich 1942; Peyré & Cuturi 2019, Computational Optimal Transport, ch. 3"
)
def exact(
    x: Samples,
    y: Samples,
    *,
    p: Order = "auto",
    cost: Cost = "euclidean",
    debias: Debias = False,
    columnwise: Columnwise = False,
    rng: "np.random.Generator",
) -> Estimate:
    """Exact Wasserstein distance between two samples, with a certificate.

    W_p = (min Σᵢⱼ πᵢⱼ c(xᵢ, yⱼ)^p)^(1/p) over all plans π >= 0 with Σⱼ πᵢⱼ = aᵢ and Σᵢ πᵢⱼ = bⱼ: the
    least mean cost of moving one sample onto the other. The cost is |x − y| unless --cost names
    another; sqeuclidean is |x − y|², not halved, cosine 1 − x·y/(|x||y|), lp:Q (Σ |x − y|^Q)^(1/Q).
    For a metric cost it is a metric: zero if and only if the two samples hold the same points with
    the same weights.

    No approximation: a transport simplex on a growing list of arcs, until the prices of all n·m arcs
    prove that none would help. The result states `lower` and `upper`, between which the exact value
    lies, and their relative `gap`, a matter of rounding. One column is sorted instead, which is
    exact for every p >= 1 (not for cosine), and with --columnwise every column by itself.

    The distance of two samples is above that of their distributions, for rows of one distribution by
    about n^(-1/d) of their spread: with many columns it falls slowly however many rows there are.
    The interval holds what samples of these sizes have on average (del Barrio & Loubes 2019); for
    one column and p = 2 the bias is stated and the interval moved by it, for more columns it is not
    (W53). --debias draws halves of both samples and takes the root of the mean W_p^p between halves
    of x and of y less the mean within x and within y: zero on average where P = Q with n = m. It is
    noisier, and may come out negative (W01). For a yes or no use --permutations.

    -o FILE.npz saves the plan: `row`, `col` and `mass` of its pairs, the potentials `f` and `g`, the
    weights; divmatch.transport.plan has it in Python, divmatch match plan as a table.

    Use it for up to some 20,000 rows in many columns, millions in one. Columns count by their scale:
    standardise them (--scale) unless they share a unit.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    p : float or str
        Order, at least 1; or auto: 2 for euclidean, 1 for other costs, which are then not rooted.
    cost : str
        euclidean, sqeuclidean, cityblock, chebyshev, cosine, or lp:Q with Q >= 1.
    debias : bool
        Subtract the distances within the samples. Six distances of half the size.
    columnwise : bool
        The mean over columns of the one-column distances |x − y|: --cost must be euclidean.
    rng : numpy.random.Generator
        Draws the halves of --debias; unused otherwise.

    Returns
    -------
    Estimate
        Value in the unit of the cost, with the influence of every row: its potential.

    Raises
    ------
    SettingError
        When the memory allowed does not suffice.
    InconclusiveError
        When a sample has too few rows to be halved.

    Notes
    -----
    Cost: about O((n + m)² d) time, O((n + m) d) memory; O((n + m) log(n + m)) time for d = 1.

    Source: Kantorovich 1942; Peyré & Cuturi 2019 (arXiv 1803.00567), chapter 3; network simplex:
    Cunningham 1976 (Math. Program. 11); interval: del Barrio & Loubes 2019 (Ann. Probab. 47).

    Examples
    --------
    >>> import divmatch
    >>> divmatch.ot([[0.0, 0.0], [1.0, 0.0]], [[1.0, 2.0], [0.0, 2.0]]).value
    2.0
    """
    order = order_of(p, cost)
    given = x, y
    if cost == "cosine":
        x, y = on_sphere(x), on_sphere(y)
    parts = solvers([x, y], cost, order, columnwise=columnwise, whole=not debias)
    params = {"p": order}
    if debias or len(parts) > 1:
        each = _halved if debias else _whole
        found = [each(x, y, part, deepcopy(rng)) for part in parts]
        one = found[0] if len(parts) == 1 else _mean(found)
        return replace(one, params=params)
    by = parts[0]
    least = by.solve(x, y)
    one = _told(least, x, y, by)
    return replace(
        one,
        params={**one.params, **params},
        notes=one.notes if x.d == 1 else (*one.notes, biased(x, y)),
        plan=lambda: SparsePlan.of(*given, least, by.power, cost, order),
    )


def order_of(p: float | str, cost: str) -> float:
    """The order, where it is left to the cost."""
    if isinstance(p, str):
        return 2.0 if cost == "euclidean" else 1.0
    return p


def _whole(x: Samples, y: Samples, by: Solver, _: object) -> Estimate:
    """The distance of the samples themselves."""
    return _told(by.solve(x, y), x, y, by)


def _told(found: Moved, x: Samples, y: Samples, by: Solver) -> Estimate:
    """A plan's distance with its bounds and the influence of every row."""
    p = by.p
    root, lower = found.cost ** (1 / p), found.lower ** (1 / p)
    value = by.unit * root
    gap = (root - lower) / root if root > 0 else 0.0
    bias = by.unit * (root - max(found.cost - found.noise, 0.0) ** (1 / p)) if p == 2 else 0.0
    proven = found.proven and gap <= CLOSE
    notes = () if proven else (Note("W18", f"not proven optimal: the gap is {gap:.2g}"),)
    return Estimate(
        value,
        terms_x=_influence(found.f, x, by, root),
        terms_y=_influence(found.g, y, by, root),
        bias=bias,
        params={"lower": by.unit * lower, "upper": value, "gap": gap},
        notes=(*notes, *_near_null(found.cost, found.noise, by.unit, by.p)),
    )


def _near_null(cost: float, noise: float, unit: float, p: float) -> tuple[Note, ...]:
    if cost == 0 or cost > 2 * noise:
        return ()
    noise, value = (unit * size ** (1 / p) for size in (noise, cost))
    return (
        Note(
            "W04",
            f"samples of these sizes from one distribution would be about {noise:.3g} apart: "
            f"at {value:.3g} the interval is not valid",
        ),
    )


def _halved(x: Samples, y: Samples, by: Solver, rng: "np.random.Generator") -> Estimate:
    """Between halves of x and halves of y, less the distances of the halves of one sample."""
    halves_x, halves_y = _halves(x, rng), _halves(y, rng)
    terms_x, terms_y = np.zeros(x.n), np.zeros(y.n)
    total = 0.0
    for rows in halves_x:
        for columns in halves_y:
            found = by.solve(x.take(rows), y.take(columns))
            total += 0.25 * found.cost
            terms_x[rows] += 0.5 * found.f
            terms_y[columns] += 0.5 * found.g
    for samples, (left, right), terms in ((x, halves_x, terms_x), (y, halves_y, terms_y)):
        found = by.solve(samples.take(left), samples.take(right))
        total -= 0.5 * found.cost
        terms[left] -= found.f
        terms[right] -= found.g
    root = math.copysign(abs(total) ** (1 / by.p), total)
    value = by.unit * root
    notes = (Note("W01", f"the debiased distance is negative ({value:.3g})"),) if value < 0 else ()
    return Estimate(
        value,
        _influence(terms_x, x, by, abs(root)),
        _influence(terms_y, y, by, abs(root)),
        notes=notes,
    )


def _halves(samples: Samples, rng: "np.random.Generator") -> tuple[Any, Any]:
    """Rows of two random halves, each with a weight."""
    rows = rng.permutation(np.flatnonzero(samples.masses() > 0))
    if len(rows) < 2:
        raise InconclusiveError(
            f"ot --debias: {samples.name} has one row with a weight, at least 2 are needed"
        )
    middle = len(rows) // 2
    return np.sort(rows[:middle]), np.sort(rows[middle:])


def _mean(found: list[Estimate]) -> Estimate:
    """The mean over columns."""
    share = 1.0 / len(found)

    def mean(terms: list[Array | None]) -> Array:
        return np.asarray(share * sum(part for part in terms if part is not None))

    notes = {note.code: note for one in found for note in one.notes}
    return Estimate(
        share * sum(one.value for one in found),
        mean([one.terms_x for one in found]),
        mean([one.terms_y for one in found]),
        bias=share * sum(one.bias for one in found),
        notes=tuple(notes.values()),
    )


def _influence(terms: Array, samples: Samples, by: Solver, root: float) -> Array:
    """Potentials of the p-th power as influences on the value; both vanish with it."""
    centred = terms - samples.masses() @ terms
    slope = by.p * root ** (by.p - 1)
    return by.unit * (centred / slope if slope > 0 else centred)


def biased(x: Samples, y: Samples, advice: str = "see --debias") -> Note:
    """The curse of dimension, aloud."""
    size = min(x.effective_size(), y.effective_size()) ** (-1.0 / x.d)
    return Note(
        "W53",
        f"in {x.d} columns samples of one distribution are about n^(-1/{x.d}) = {size:.2g} of their "
        f"spread apart: value and interval are too large by up to that; {advice}",
    )


@exact.summarised
def exact_summary(
    x: Samples, y: Samples, *, p: float | str, cost: str, **other: Any
) -> Estimate | None:
    """Sorted samples for the order 1 of one column, whose rows weigh the same."""
    on_line = x.d == 1 and order_of(p, cost) == 1 and cost in ("euclidean", "cityblock")
    weighted = x.weights is not None or y.weights is not None
    if not on_line or weighted or other["debias"]:
        return None
    found = merged(x, y, 0)
    return Estimate(
        found.cost,
        se=found.se,
        params={"lower": found.cost, "upper": found.cost, "gap": 0.0, "p": 1.0},
        notes=_near_null(found.cost, found.noise, 1.0, 1.0),
    )


@exact.pooled
def exact_plan(
    pool: Samples,
    *,
    p: float | str,
    cost: str,
    debias: bool,
    columnwise: bool,
    rng: "np.random.Generator",
) -> Pooled:
    """Sorted once where columns count by themselves; else one transport problem a split."""
    order = order_of(p, cost)
    size = float(np.ptp(pool.points, axis=0).sum())
    on_line = columnwise or (pool.d == 1 and cost in ("euclidean", "cityblock"))
    if on_line and not debias:
        solvers([pool], cost, order, columnwise=columnwise)  # refuses another cost for the columns
        return Pooled(SortedPool(pool, order).statistic, lambda: rounding(pool.n, size))
    if cost == "cosine":
        pool, size = on_sphere(pool), 1.0
    check_room(pool, pool)
    each = _halved if debias else _whole

    def statistic(labels: Labels) -> Array:
        parts = solvers([pool], cost, order, columnwise=columnwise, often=labels.shape[1])

        def value(split: NDArray[np.bool_]) -> float:
            halves = pool.take(split), pool.take(~split)
            if any(half.weights is not None and not half.weights.max() > 0 for half in halves):
                return math.nan  # undefined without weight, which counts against us
            try:
                found = [each(*halves, part, deepcopy(rng)).value for part in parts]
            except InconclusiveError:
                return math.nan
            return sum(found) / len(found)

        return np.array(list(in_order(value, labels.T, work=float(pool.n) ** 2 * labels.shape[1])))

    return Pooled(statistic, lambda: rounding(pool.n, size**2 if cost == "sqeuclidean" else size))


def rounding(n: int, size: float) -> float:
    """What two values of one split may differ by."""
    return 64 * 2.0**-52 * n**0.5 * size
