"""Orlicz-Wasserstein distance: the smallest scale k at which a plan costs no more than 1."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.estimator import Array, Estimate, Labels, Pooled
from divmatch.kernels import transport
from divmatch.kernels.execution import in_order
from divmatch.kernels.transport import comonotone
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport import costs
from divmatch.transport.exact import OT, Cost, biased, rounding
from divmatch.transport.exact_costs import (
    Arcs,
    Moved,
    Posed,
    check_room,
    on_sphere,
    scale_of,
)
from divmatch.transport.exact_line import keeping_order
from divmatch.transport.growth import Growth, growth_of, parse_growth
from divmatch.transport.orlicz_plan import OrliczPlan, keeping_potentials

Phi = Annotated[
    str,
    Setting(
        "Φ of an Orlicz distance: t^P, exp(t) − 1, exp(t²) − 1",
        parse=parse_growth,
        shown="power:P|exp|exp2",
    ),
]

CLOSE = 1e-10  # relative distance of the bounds at which the search ends
EVALUATIONS = 60  # at the most; five are usual
USUAL = 5
FEW = 20  # pairs that a value should not rest on


@OT.estimator("orlicz", source="Guha, Ho & Nguyen 2023, arXiv 2301.11496, section 2")
def orlicz(x: Samples, y: Samples, *, orlicz: Phi = "exp2", cost: Cost = "euclidean") -> Estimate:
    """Orlicz-Wasserstein distance between two samples, with a certificate.

    W_Φ = inf { k > 0 : min Σᵢⱼ πᵢⱼ Φ(c(xᵢ, yⱼ) / k) <= 1 } over all plans π, for a convex Φ with
    Φ(0) = 0. With Φ = t^P (power:P) it is W_P; exp(t) − 1 (exp or subexponential) and exp(t²) − 1
    (exp2 or subgaussian) are above all of them up to a factor and weigh the farthest moves the most:
    between distributions they are finite only where tails are as light as Φ asks for, between samples
    always. Zero if and only if the samples are equal, symmetric, and proportional to the scale of
    the data.

    For one column the sorted plan is the cheapest at every k. For more the exact plan at k gives
    the next k, the norm of its moves, until the potentials prove that none is smaller: the value lies
    between `lower` and `upper`.

    Use it where a few far moves should count, to compare with bounds in this distance; for the rest W₂.
    The interval is the delta method's: Φ of the moves must have a variance, which it lacks for exp2
    where moves grow with Gaussian tails, as from N(0, 1) to N(0, s²). It is not reliable where few pairs
    make up the value (W49). With many columns the value of samples is too large (W53).

    -o FILE.npz saves the plan at the value k (`norm`): `row`, `col` and `mass` of its pairs, whose cost
    Σ π Φ(c / k) is 1, and the potentials `f` and `g` of this cost that prove it the smallest.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    orlicz : str
        power:P with P >= 1, exp or exp2.
    cost : str
        euclidean, sqeuclidean, cityblock, chebyshev, cosine, or lp:Q with Q >= 1.

    Returns
    -------
    Estimate
        Value in the unit of the cost, with the influence of every row.

    Raises
    ------
    SettingError
        When the memory allowed does not suffice.

    Notes
    -----
    Cost: about five transport problems, each from the last one's plan; O((n + m) d) memory. One
    column: O((n + m) log(n + m)).

    Source: Guha, Ho & Nguyen 2023 (ICML, arXiv 2301.11496), section 2; the search is Dinkelbach's:
    1967 (Manage. Sci. 13).

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.ot([0.0], [1.0], orlicz="exp2").value, 9)
    1.201122409
    """
    growth = growth_of(orlicz)
    found = _solved(x, y, cost, growth)
    params = {"lower": found.lower, "upper": found.value}
    params["gap"] = (found.value - found.lower) / found.value if found.value > 0 else 0.0
    notes = [] if found.proven else [Note("W18", f"not proven: the gap is {params['gap']:.2g}")]
    if x.d > 1:
        notes.append(biased(x, y, "--permutations can tell"))
    return Estimate(
        found.value,
        found.f - x.masses() @ found.f,
        found.g - y.masses() @ found.g,
        params={**params, "evaluations": found.evaluations},
        notes=(*notes, *_few(found)),
        plan=lambda: OrliczPlan.at(x, y, found.moved(), cost, orlicz, found.value),
    )


@dataclass(frozen=True, eq=False)
class _Found:
    """The distance, a proven bound below it, influences, and the shares of 1 that pairs make up.

    ``moved`` is the plan at the distance, whose cost there is 1.
    """

    value: float
    lower: float
    f: Array
    g: Array
    shares: Array
    evaluations: int
    moved: Callable[[], Moved]
    proven: bool = True

    @classmethod
    def nothing(cls, x: Samples, y: Samples, arcs: Callable[[], Arcs]) -> Self:
        """Equal samples: who is equal to whom is all there is to say."""
        f, g = np.zeros(x.n), np.zeros(y.n)
        return cls(0.0, 0.0, f, g, np.empty(0), 0, lambda: Moved(0.0, 0.0, f, g, arcs))


def _few(found: _Found) -> tuple[Note, ...]:
    """Whether a few pairs make up the value."""
    effective = 1.0 / float(found.shares @ found.shares) if len(found.shares) else np.inf
    if found.value == 0.0 or effective >= min(FEW, 0.5 * len(found.shares)):
        return ()
    return (
        Note(
            "W49",
            f"the value rests on about {effective:.2g} pairs of far rows: the interval is not reliable",
        ),
    )


def _solved(x: Samples, y: Samples, cost: str, growth: Growth, often: int = 1) -> _Found:
    if cost == "cosine":
        return _by_plans(on_sphere(x), on_sphere(y), cost, growth, often, 1.0)
    scale = scale_of(x.points, y.points)
    if x.d == 1:
        return _on_line(x, y, cost, growth, scale)
    return _by_plans(x, y, cost, growth, often, scale)


def _on_line(x: Samples, y: Samples, cost: str, growth: Growth, scale: float) -> _Found:
    """The plan that keeps the order, whatever k."""
    power = 2.0 if cost == "sqeuclidean" else 1.0
    rows, columns, masses = keeping_order(x, y, 0)
    left, right = x.points[:, 0] / scale, y.points[:, 0] / scale
    gaps = np.abs(left[rows] - right[columns]) ** power
    k = growth.norm(gaps, masses)
    if k == 0.0:
        return _Found.nothing(x, y, lambda: (rows, columns, masses))
    steep = k / float(masses @ growth.steepness(gaps / k))

    def cost_of(moves: Array) -> Array:
        return growth.of(np.minimum(np.abs(moves) ** power / k, _most(growth)))

    arcs, room = (rows, columns, masses), 2.0 * max(x.n, y.n)
    f, g = keeping_potentials(left, right, arcs, cost_of, room)
    shares = masses * growth.of(gaps / k)
    unit, total = scale**power, float(shares.sum())
    found = Moved(total, total, f, g, lambda: arcs)
    f, g = unit * steep * f, unit * steep * g
    return _Found(unit * k, unit * k, f, g, shares, 1, lambda: found)


def _most(growth: Growth) -> float:
    """The largest t whose Φ is a number with room to spare."""
    return float(growth.inverse(np.asarray(1e280)))


def _by_plans(
    x: Samples, y: Samples, cost: str, growth: Growth, often: int, scale: float
) -> _Found:
    """Dinkelbach's search: the norm of the best plan at k is the next k; from above, and never back.

    Φ is convex and 0 at 0, so that F(k D) >= 1 where F(k) >= D: potentials at k prove k D.
    """
    posed, ground = Posed(x, y, scale), costs.ground_of(cost, 1.0)
    one, other = posed.x.points, posed.y.points
    rows, columns, masses = comonotone(one, other, posed.a, posed.b)
    k = growth.norm(ground.pairs(one[rows], other[columns]), masses)
    if k == 0.0:
        kept, nil = masses > 0, (0.0 * posed.a, 0.0 * posed.b)
        same = transport.Plan(rows[kept], columns[kept], masses[kept], *nil, 0.0, 0.0, True)
        return _Found.nothing(x, y, posed.moved(same).arcs)
    room = posed.room
    solver: Any = None
    lower = 0.0
    evaluations = 0
    while evaluations < EVALUATIONS:
        evaluations += 1
        here, factor = growth.ground(ground, k), growth.factor(k)
        widest = np.maximum(one.max(0), other.max(0)) - np.minimum(one.min(0), other.min(0))
        height = min(float(here.of(widest)), room / factor) if factor > 0.0 else 0.0
        if not (0.0 < height < np.inf and factor < np.inf):
            raise InconclusiveError(
                f"ot --orlicz: of {x.name} and {y.name} these powers of the distances are no numbers "
                "any more; choose a smaller one"
            )
        solver, plan = posed.below(solver, here, height, USUAL * often)
        gaps = ground.pairs(one[plan.rows], other[plan.columns])
        lower = max(lower, k * min(1.0, factor * plan.lower))
        before, k = k, min(k, growth.norm(gaps, plan.masses))
        if k - lower <= CLOSE * k or k >= before * (1.0 - 1e-14):
            break
    if k == 0.0:
        return _Found.nothing(x, y, posed.moved(plan).arcs)
    unit = scale**ground.degree
    shares = plan.masses * growth.of(gaps / k)
    steep = unit * k * factor / float(plan.masses @ growth.steepness(gaps / k))
    f, g = steep * posed.x.of_rows(plan.f), steep * posed.y.of_rows(plan.g)
    proven = plan.proven and k - lower <= 1e-6 * k

    def moved() -> Moved:
        """Potentials of a larger k prove as much at this one, where all moves cost more."""
        found, factor = posed.moved(plan), growth.factor(k)
        total = float(shares.sum())
        return replace(
            found, cost=total, lower=min(factor * found.lower, total),
            f=factor * found.f, g=factor * found.g,
        )  # fmt: skip

    return _Found(unit * k, unit * min(lower, k), f, g, shares, evaluations, moved, proven)


@orlicz.pooled
def orlicz_plan(pool: Samples, *, orlicz: str, cost: str) -> Pooled:
    """One search a split."""
    growth, size = growth_of(orlicz), float(np.ptp(pool.points, axis=0).sum())
    if pool.d > 1:
        check_room(pool, pool)

    def statistic(labels: Labels) -> Array:
        def value(split: NDArray[np.bool_]) -> float:
            halves = pool.take(split), pool.take(~split)
            if any(half.weights is not None and not half.weights.max() > 0 for half in halves):
                return np.nan  # undefined without weight, which counts against us
            try:
                return _solved(*halves, cost, growth, labels.shape[1]).value
            except InconclusiveError:
                return np.nan

        work = float(pool.n) ** 2 * labels.shape[1]
        return np.array(list(in_order(value, labels.T, work=work)))

    return Pooled(
        statistic, lambda: 100.0 * rounding(pool.n, size**2 if cost == "sqeuclidean" else size)
    )
