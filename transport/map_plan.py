"""Maps from plans: where the rows of P are sent on average, and from there any other row."""

import math
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.matcher import Fit
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport.costs import CostSetting
from divmatch.transport.entropic import Effort
from divmatch.transport.exact_solvers import solvers
from divmatch.transport.mapping import MAP, Debiased, mapped
from divmatch.transport.maps import Entropic, Nearest
from divmatch.transport.plans import Plan
from divmatch.transport.problem import Support
from divmatch.transport.sinkhorn import Eps, MaxIter, Tol
from divmatch.transport.solution import Solution, solved
from divmatch.transport.sparse_plan import SparsePlan

Array = NDArray[np.float64]

PlanKind = Annotated[
    Literal["exact", "entropic"], Setting("the cheapest plan, or that of entropic transport")
]


@MAP.method(
    "ot", source="Ferradans et al. 2014, arXiv 1307.5551; Perrot et al. 2016, NeurIPS 29; eq. 7"
)
def ot(
    x: Samples,
    y: Samples,
    *,
    plan: PlanKind = "exact",
    cost: CostSetting = "sqeuclidean",
    eps: Eps = 0.05,
    tol: Tol = 1e-6,
    max_iter: MaxIter = 2000,
) -> Fit:
    """Rows of P moved to the mean of their partners in a transport plan, barycentric projection.

    T(xᵢ) = Σⱼ πᵢⱼ yⱼ / Σⱼ πᵢⱼ with the plan π of exact transport or, with --plan entropic, of entropic
    transport. For n = m without weights the exact plan is one to one, and P becomes Q itself; equal
    rows of P go to one place. A row z that the fit has not seen, or without weight, goes as far and in
    the same direction as the nearest row of P: T(z) = z + T(xᵢ) − xᵢ.

    Nothing of a shape is assumed, so that it needs many rows in many columns. The entropic plan is
    smoother, and draws rows to their centre by about its blur.

    Parameters
    ----------
    x, y : Samples
        As for the method gaussian.
    plan : str
        exact or entropic.
    cost : str
        sqeuclidean (not halved), euclidean or cityblock. Means are what sqeuclidean asks for.
    eps : float or str
        Regularisation of the entropic plan, as a share of the mean cost, or abs:X in the cost's unit.
    tol : float
        Marginal error in L1, in (0, 1), at which the iteration for the entropic plan stops.
    max_iter : int
        Its most sweeps over all pairs, at least 1.

    Returns
    -------
    Fit
        The rows moved, in P's order and units.

    Raises
    ------
    SettingError
        When the memory allowed does not suffice for the exact plan.

    Notes
    -----
    Cost: about O((n + m)² d) time for the plan, O((n + m) d) memory; a new row O(n d), in few columns
    O(log n).

    Source: Ferradans, Papadakis, Peyré & Aujol 2014 (SIAM J. Imaging Sciences 7, arXiv 1307.5551); Perrot,
    Courty, Flamary & Habrard 2016 (NeurIPS 29).

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.map([0.0, 2.0], [2.5, 0.5], method="ot", metric="none")
    >>> found.points[:, 0].tolist(), found.map([2.5]).tolist()
    ([0.5, 2.5], [[3.0]])
    """
    if plan == "entropic":
        found = solved(x, y, eps, cost, False, None, Effort(tol, max_iter))
        return mapped(x, _nearest(x, found.plan), cost=cost, **_solution(found, tol))
    (by,) = solvers([x, y], cost, 1.0, columnwise=False)
    moved = by.solve(x, y)
    notes = () if moved.proven else (Note("W18", "the plan is not proven to be the cheapest"),)
    made = _nearest(x, SparsePlan.of(x, y, moved, by.unit, cost, 1.0))
    return mapped(x, made, cost=cost, notes=notes)


def _nearest(x: Samples, plan: Plan) -> Nearest:
    """Distinct rows with a weight, and the mean of where their copies go."""
    points, weights, kept = Support.of(x)
    targets = plan.barycentric()[kept]
    rows, places, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    if len(rows) == len(points):
        return Nearest(points, targets)
    places = places.reshape(-1)
    means = np.empty_like(rows)
    for c in range(x.d):
        means[:, c] = np.bincount(places, weights * targets[:, c], len(rows))
    means /= np.bincount(places, weights, len(rows))[:, None]
    single = counts[places] == 1
    means[places[single]] = targets[single]
    return Nearest(rows, means)


@MAP.method(
    "sinkhorn",
    source="Pooladian & Niles-Weed 2021, arXiv 2109.12004; Seguy et al. 2018, 1711.02283",
)
def sinkhorn(
    x: Samples,
    y: Samples,
    *,
    cost: CostSetting = "sqeuclidean",
    eps: Eps = 0.05,
    debiased: Debiased = True,
    tol: Tol = 1e-6,
    max_iter: MaxIter = 2000,
) -> Fit:
    """Rows of P moved by the entropic map, which the potentials define at any row.

    T(x) = Σⱼ yⱼ wⱼ(x) with wⱼ(x) ∝ bⱼ exp((gⱼ − c(x, yⱼ)) / eps): the mean of where entropic transport
    sends a row, smooth in x, in the convex hull of Q. It shrinks what it moves, by about its blur; so
    where the entropic map of P to itself sends a row is taken off, T(x) + x − T_PP(x), unless
    --no-debiased is given. Far from P the debiased map is a translation, the other one leads to the
    nearest rows of Q.

    Between Gaussians it is affine, and the debiased one near to the cheapest map: from N(0, 1) to
    N(0, 2.25) at eps = 1 the slopes are 1.49 and 1.27 of 1.5. The smaller eps, the nearer to exact
    transport and the rougher.

    Parameters
    ----------
    x, y : Samples
        As for the method gaussian.
    cost : str
        sqeuclidean (not halved), euclidean or cityblock. Means are what sqeuclidean asks for.
    eps : float or str
        Regularisation as a share of the mean cost, or abs:X in the cost's unit.
    debiased : bool
        Take off the map of P to itself.
    tol : float
        Marginal error in L1, in (0, 1), at which the iteration stops.
    max_iter : int
        Most sweeps over all pairs, at least 1.

    Returns
    -------
    Fit
        The rows moved, in P's order and units.

    Notes
    -----
    Cost: O(n·m·d) time a sweep, 20 to 100 sweeps, O((n + m) d) memory; a new row O((n + m) d).

    Source: Pooladian & Niles-Weed 2021 (arXiv 2109.12004), equation 7; Seguy et al. 2018 (ICLR, arXiv
    1711.02283).

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.map([0.0, 2.0], [2.5, 0.5], method="sinkhorn", eps=0.01, metric="none")
    >>> found.points[:, 0].round(6).tolist()
    [0.5, 2.5]
    """
    found = solved(x, y, eps, cost, debiased, None, Effort(tol, max_iter))
    p, q, plan = found.p, found.q, found.plan
    if plan.own is None:
        own = np.empty((0, x.d)), np.empty(0), np.empty(0)
    else:
        own = p.points, p.weights, plan.own[0][p.rows]
    made = Entropic(q.points, q.weights, plan.g[q.rows], *own, plan.eps, cost)
    return mapped(x, made, cost=cost, **_solution(found, tol))


def _solution(found: Solution, tol: float) -> dict[str, Any]:
    """How well an entropic problem was solved, for the record."""
    error = max((term.error for term in found.terms), default=0.0)
    return {
        "converged": error <= tol and not math.isnan(error),
        "facts": {"marginal_error": error, "steps": sum(term.sweeps for term in found.terms)},
        "params": {"eps": f"abs:{found.plan.eps!r}"},
    }
