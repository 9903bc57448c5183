"""`divmatch match plan`: which rows of P go with which rows of Q."""

import math
from dataclasses import replace
from typing import Annotated, Any

import numpy as np

from divmatch.errors import SettingError
from divmatch.kernels import transport
from divmatch.matcher import Couples, Figure, Fit, Task
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport import costs
from divmatch.transport.entropic import Effort
from divmatch.transport.exact import Cost, Order, order_of
from divmatch.transport.exact_costs import Moved, check_room, on_sphere, scale_of
from divmatch.transport.exact_solvers import solvers
from divmatch.transport.plans import Pairs, Plan
from divmatch.transport.sinkhorn import Eps, MaxIter, Tol, Unbalanced
from divmatch.transport.solution import solved
from divmatch.transport.sparse_plan import SparsePlan

TopK = Annotated[
    int | None, Setting("the K heaviest pairs of every row of P alone", least=1, shown="K")
]
OneToOne = Annotated[
    bool, Setting("no row more than once; of unequal sizes the cheapest rows to leave out")
]

PLAN = Task(
    "plan",
    product="pairs",
    default="exact",
    metric="none",
    examples=(
        "divmatch match plan real.npy gen.npy -o plan.parquet",
        "divmatch match plan real.npy gen.npy --one-to-one -o pairs.csv",
        "divmatch match plan real.npy gen.npy --method sinkhorn --eps 0.01 --top-k 3 -o plan.npz",
    ),
)


@PLAN.method("exact", source="Kantorovich 1942; Peyré & Cuturi 2019, arXiv 1803.00567, ch. 3")
def exact(
    x: Samples,
    y: Samples,
    *,
    cost: Cost = "sqeuclidean",
    p: Order = "auto",
    top_k: TopK = None,
    one_to_one: OneToOne = False,
) -> Fit:
    """Pairs of rows of P and Q by the cheapest transport plan, or one to one.

    The plan π >= 0 with Σⱼ πᵢⱼ = aᵢ and Σᵢ πᵢⱼ = bⱼ that minimises Σ πᵢⱼ c(xᵢ, yⱼ)^p, as a table: row of
    P, row of Q (both from 0, as in the files), mass, cost of a unit of mass. It has at most n + m − 1
    pairs; for n = m without weights each row has one partner. `cost` before is that of pairs
    drawn at random, after that of the plan, and potentials prove it the smallest.

    With --one-to-one no row is taken twice: each row of the smaller file has a partner, and the
    rows of the larger one that cost the most to reach have none; how many is said. Each pair then
    has the mass 1 / min(n, m). Weights cannot be kept.

    Use it to pair units of two samples, such as treated with controls; the mean of partners is
    the barycentric map. Columns count by their scale. Of many equally cheap plans it is one.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    cost : str
        euclidean, sqeuclidean (not halved), cityblock, chebyshev, cosine, or lp:Q with Q >= 1.
    p : float or str
        Power of the cost, at least 1; or auto: 2 for euclidean, 1 for other costs.
    top_k : int, optional
        Pairs of every row of P, the heaviest first; all if not given.
    one_to_one : bool
        An assignment: no row of either file more than once.

    Returns
    -------
    Fit
        The pairs, and their cost before and after.

    Raises
    ------
    SettingError
        For weights with one_to_one, and when the memory allowed does not suffice.

    Notes
    -----
    Cost: about O((n + m)² d) time, O((n + m) d) memory; O((n + m) log(n + m)) time for d = 1.

    Source: Kantorovich 1942; Peyré & Cuturi 2019 (arXiv 1803.00567), chapter 3; network simplex:
    Cunningham 1976 (Math. Program. 11).

    Examples
    --------
    >>> import divmatch
    >>> divmatch.match.plan([0.0, 2.0], [2.5, 0.5, 9.0], one_to_one=True).couples.columns.tolist()
    [1, 0]
    """
    order = order_of(p, cost)
    if one_to_one and (x.weights is not None or y.weights is not None):
        raise SettingError(
            "--one-to-one: pairs rows one by one, which cannot keep weights; leave one of them out"
        )
    given = x, y
    if cost == "cosine":
        x, y = on_sphere(x), on_sphere(y)
    if one_to_one and x.n != y.n:
        moved, unit = _assigned(x, y, cost, order)
    else:
        (by,) = solvers([x, y], cost, order, columnwise=False)
        moved, unit = by.solve(x, y), by.power
    plan = SparsePlan.of(*given, moved, unit, cost, order)
    if one_to_one:
        plan = replace(plan, f=unit * moved.f, g=unit * moved.g)
    pairs = plan.pairs() if top_k is None else plan.top(top_k)
    facts = (
        {"unmatched_p": max(x.n - y.n, 0), "unmatched_q": max(y.n - x.n, 0)} if one_to_one else {}
    )
    notes = () if moved.proven else (Note("W18", "the plan is not proven to be the cheapest"),)
    return _fit(plan, pairs, facts, notes, {"p": order})


def _assigned(x: Samples, y: Samples, cost: str, p: float) -> tuple[Moved, float]:
    """Each row of the smaller sample to a row of the larger one, whose other rows nobody reaches."""
    check_room(x, y)
    turned = x.n > y.n
    few, many = (y, x) if turned else (x, y)
    scale = 1.0 if cost == "cosine" else scale_of(x.points, y.points)
    ground = costs.ground_of(cost, p)
    plan = transport.solver(
        ground, few.points / scale, many.points / scale, np.ones(few.n), np.ones(many.n),
        spare=float(many.n - few.n),
    ).plan()  # fmt: skip
    share = many.n / few.n  # masses are shares of the larger sample
    masses = share * plan.masses
    arcs = (plan.columns, plan.rows, masses) if turned else (plan.rows, plan.columns, masses)
    f, g = (plan.g, plan.f) if turned else (plan.f, plan.g)
    found = Moved(share * plan.upper, share * plan.lower, f, g, lambda: arcs, plan.proven)
    return found, scale**ground.degree


@PLAN.method("sinkhorn", source="Cuturi 2013, arXiv 1306.0895; Feydy et al. 2019, arXiv 1810.08278")
def sinkhorn(
    x: Samples,
    y: Samples,
    *,
    cost: Cost = "sqeuclidean",
    eps: Eps = 0.05,
    unbalanced: Unbalanced = None,
    tol: Tol = 1e-6,
    max_iter: MaxIter = 2000,
    top_k: TopK = None,
) -> Fit:
    """Pairs of rows of P and Q by the plan of entropic transport, the heaviest ones.

    The plan that minimises Σ π c + eps KL(π | a ⊗ b), which pairs every row with many, near ones the
    most. Without --top-k the table holds the pairs that carry 99.9 % of the mass, fewer where they do
    not fit the memory (W46); with it the K heaviest of every row, streamed. What is left out is said.
    `cost` before is that of pairs drawn at random, after that of the plan; the smallest cost
    without regularisation lies between `lower` and `upper`.

    Use it for soft pairs, for many rows, and with --unbalanced for samples that only overlap.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    cost : str
        sqeuclidean (not halved), euclidean or cityblock.
    eps : float or str
        Regularisation as a share of the mean cost, or abs:X in the cost's unit.
    unbalanced : float, optional
        ρ, above 0, the price of a unit of mass created or destroyed; marginals are kept if not given.
    tol : float
        Marginal error in L1, in (0, 1), at which the iteration stops.
    max_iter : int
        Most sweeps over all pairs, at least 1.
    top_k : int, optional
        Pairs of every row of P, the heaviest first.

    Returns
    -------
    Fit
        The pairs, and their cost before and after.

    Raises
    ------
    SettingError
        For a cost without a streamed form.

    Notes
    -----
    Cost: O(n·m·d) time a sweep, 20 to 100 sweeps; O((n + m) d) memory and that of the pairs.

    Source: Cuturi 2013 (NeurIPS, arXiv 1306.0895); Feydy, Séjourné, Vialard, Amari, Trouvé & Peyré 2019
    (AISTATS, arXiv 1810.08278).

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.plan([0.0, 2.0], [2.5, 0.5], method="sinkhorn", eps=0.01, top_k=1)
    >>> found.couples.columns.tolist()
    [1, 0]
    """
    if cost not in costs.PROFILES:
        raise SettingError(
            f"--method sinkhorn: --cost {cost} has no streamed form, expected one of "
            f"{', '.join(costs.PROFILES)}"
        )
    found = solved(x, y, eps, cost, False, unbalanced, Effort(tol, max_iter))
    plan = found.plan
    pairs = plan.pairs() if top_k is None else plan.top(top_k)
    error = found.terms[0].error if found.terms else 0.0
    facts: dict[str, Any] = {"marginal_error": error}
    if found.terms:
        facts["steps"] = found.terms[0].sweeps
    notes = pairs.lacking() if top_k is None else ()
    return replace(
        _fit(plan, pairs, facts, notes, {"eps": f"abs:{plan.eps!r}"}), converged=error <= tol
    )


def _fit(
    plan: Plan, pairs: Pairs, facts: dict[str, Any], notes: tuple[Note, ...], params: dict[str, Any]
) -> Fit:
    """What the table holds, what it costs, and what proves it."""
    x, y = plan.measured
    before = costs.mean_power(plan.cost, plan.p, x, y, plan.x.masses(), plan.y.masses())
    base, _, raised = costs.unit(plan.cost).partition("^")
    power = plan.p * float(raised or 1)
    unit = base if power == 1 or base == "1" else f"{base}^{power:g}"
    return Fit(
        couples=Couples(pairs.rows, pairs.columns, pairs.masses, plan.costs_of(pairs)),
        arrays={"f": plan.f, "g": plan.g},
        facts={
            "pairs": len(pairs.rows),
            "left_out": pairs.left_out,
            "mass": math.fsum(pairs.masses) + pairs.left_out,
            "lower": plan.lower,
            "upper": plan.upper,
            **facts,
        },
        params=params,
        notes=notes,
        figure=Figure("cost", before, plan.total_cost, unit),
    )
