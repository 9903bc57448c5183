"""A problem of entropic transport solved: its terms, and the plan behind them."""

import math
from functools import partial
from typing import NamedTuple

import numpy as np

from divmatch.errors import InconclusiveError
from divmatch.samples import Samples
from divmatch.transport import costs
from divmatch.transport.entropic import Effort
from divmatch.transport.entropic_plan import EntropicPlan
from divmatch.transport.halves import combined
from divmatch.transport.problem import Regularised, Support, Term, between, within

ABSOLUTE = "abs:"
LEAST = 1e-20  # of the mean cost: eps from which C / eps has digits, if not all of them


class Solution(NamedTuple):
    """The terms of a problem, that of both samples first, and its plan; no terms where C = 0."""

    p: Support
    q: Support
    of: Regularised
    mean: float
    terms: list[Term]
    plan: EntropicPlan


def solved(
    x: Samples,
    y: Samples,
    eps: float | str,
    cost: str,
    debiased: bool,
    unbalanced: float | None,
    effort: Effort,
) -> Solution:
    """Solve OT(P, Q) and, where they are subtracted, the samples' own terms."""
    p, q = Support.of(x), Support.of(y)
    mean = costs.mean(cost, p.points, q.points, p.weights, q.weights)
    absolute = float(eps.removeprefix(ABSOLUTE)) if isinstance(eps, str) else eps * mean
    of = Regularised(cost, absolute, math.inf if unbalanced is None else unbalanced, effort)
    plan = partial(EntropicPlan, x=x, y=y, cost=cost, rho=of.rho)
    if mean == 0.0:
        nothing = np.zeros(x.n), np.zeros(y.n)
        still = plan(f=nothing[0], g=nothing[1], eps=absolute or 1.0, own=nothing)
        return Solution(p, q, of, mean, [], still)
    if not absolute > LEAST * mean:
        raise InconclusiveError(
            f"sinkhorn --eps {eps}: {absolute:g} in the cost's unit is far below the rounding errors of "
            f"costs of {mean:.3g}; raise --eps, or take divmatch ot"
        )
    terms = [between(p, q, of, mean)]
    if debiased:  # the term of a shared reference is solved once
        terms += [x.once(("sinkhorn", of), lambda: within(p, of)), within(q, of)]
    if not math.isfinite(combined(terms)):
        raise InconclusiveError("sinkhorn: the potentials are no finite numbers; raise --eps")
    own = (p.spread(terms[1].f, x.n), q.spread(terms[2].f, y.n)) if debiased else None
    f, g = p.spread(terms[0].f, x.n), q.spread(terms[0].g, y.n)
    return Solution(
        p, q, of, mean, terms, plan(f=f, g=g, eps=absolute, own=own, solved=terms[0].sweep)
    )
