"""Entropic transport: the Sinkhorn divergence and its terms."""

import math
from dataclasses import replace
from typing import Annotated, Any

import numpy as np

from divmatch.errors import SettingError, counted
from divmatch.estimator import Array, Estimate, Pooled, Quantity, influence_se
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport import costs
from divmatch.transport.entropic import Effort
from divmatch.transport.entropic_plan import EntropicPlan
from divmatch.transport.halves import bias_of, combined
from divmatch.transport.problem import Regularised, Support, Term
from divmatch.transport.solution import ABSOLUTE, solved
from divmatch.transport.splits import Splits

DOUBT = (
    1 / 3
)  # of the divergence's bias, which is right for similar spreads and up to 55 % off for others
ROUNDED = 1e-11  # of the terms: what solving a split in another order may change


def parse_eps(text: str) -> float | str:
    """A share of the mean cost as a number, or abs:X with the number as it will be recorded."""
    number = text.strip().removeprefix(ABSOLUTE)
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise SettingError(
            f"--eps {text}: expected a number above 0, the share of the mean cost, or abs:X"
        )
    return f"{ABSOLUTE}{value!r}" if text.strip().startswith(ABSOLUTE) else value


Eps = Annotated[
    float | str,
    Setting(
        "regularisation as a share of the mean cost, or abs:X in the cost's unit",
        parse=parse_eps,
        shown="X|abs:X",
    ),
]
Debiased = Annotated[
    bool, Setting("subtract half of what each sample costs to itself: the Sinkhorn divergence")
]
Unbalanced = Annotated[
    float | None,
    Setting("price of a unit of mass created or destroyed, in the cost's unit", above=0),
]
Tol = Annotated[
    float, Setting("marginal error in L1 at which the iteration stops", above=0, below=1)
]
MaxIter = Annotated[int, Setting("most sweeps over all pairs of rows for each term", least=1)]

SINKHORN = Quantity(
    "sinkhorn",
    title=lambda settings: (
        "Sinkhorn divergence" if settings.get("debiased", True) else "entropic transport cost"
    ),
    unit=lambda settings: costs.unit(settings["cost"]),
    direction="symmetric",
    default="newton",
    degenerate=True,
    unplanned=lambda settings: "",
    told=True,
    examples=(
        "divmatch sinkhorn real.npy gen.npy",
        "divmatch sinkhorn real.npy gen.npy --eps 0.01 --cost euclidean",
        "divmatch sinkhorn real.npy gen.npy --eps abs:0.5 --no-debiased -f json",
        "divmatch sinkhorn real.npy gen.npy --unbalanced 2 --permutations 199",
        "divmatch sinkhorn real.npy gen.npy --eps 0.01 -o plan.npz",
    ),
)


@SINKHORN.estimator(
    "newton",
    source="Cuturi 2013, arXiv 1306.0895; Feydy et al. 2019, arXiv 1810.08278; Tang et al. 2024, "
    "arXiv 2401.12253",
)
def sinkhorn(
    x: Samples,
    y: Samples,
    *,
    eps: Eps = 0.05,
    cost: costs.CostSetting = "sqeuclidean",
    debiased: Debiased = True,
    unbalanced: Unbalanced = None,
    tol: Tol = 1e-6,
    max_iter: MaxIter = 2000,
) -> Estimate:
    """Sinkhorn divergence between two samples, by iterations and sparse Newton steps.

    S = OT(P, Q) − OT(P, P) / 2 − OT(Q, Q) / 2 of the entropic transport cost
    OT = min Σ πᵢⱼ c(xᵢ, yⱼ) + eps KL(π | a ⊗ b) over the plans π with the marginals a and b. For the
    three costs it is zero if and only if the samples agree, else positive. With eps to 0 it tends to
    the transport cost (for sqeuclidean W₂², no root), with eps to inf to half an energy distance, for
    sqeuclidean to the squared distance of the means: the smaller eps, the finer what it sees, and
    the more it costs in time and luck. With --no-debiased it is OT alone, the value with the KL term,
    which is not zero for equal samples; `cost_of_plan` in the result is Σ π c.

    The transport cost without regularisation, min Σ π c, lies between `lower` and `upper` of the
    result, whether the iteration has converged or not: potentials made feasible by a c-transform
    prove the one, the plan rounded to the marginals the other. Their relative `gap` falls with eps.

    Use it to compare samples by the geometry of their columns where exact transport is too slow or too
    noisy. Columns count by their scale: standardise them (--scale) unless they share a unit. The value of
    samples is biased upward, the more so the smaller eps and the more columns. The result states the bias,
    measured on halves of the samples, and the interval, which is for the distributions, is moved
    down by it. Near equality it is not valid (W04): use a permutation test.

    The iteration is in the log domain and follows eps from the mean cost down to its value; large
    problems begin on every fourth row. Where the plan is sparse, which it is for small eps, its large
    entries are solved by themselves with Newton steps, and sweeps over all pairs measure what is left;
    elsewhere the iteration is accelerated (Anderson). Sweeps are made in float32 as long as the error
    falls in it, the last ones never, and none where eps is too small for it; the result counts them.
    Its `marginal_error` is the largest of the terms in L1; above tol the value is not converged, which
    is said (W47) and decides no limit.

    -o FILE.npz saves the plan of P and Q: the potentials `f` and `g`, which give all of it,
    π = a ⊗ b exp((f + g − c) / eps), and its pairs (`row`, `col`, `mass`) without the smallest ones: up to
    0.1 % of the mass (`left_out`), or more where so many do not fit the memory (W46).

    With --unbalanced the marginals may be missed at a price ρ KL each, so that outliers cost no
    more than ρ: mass that is far away is not transported. `mass` in the result is what is.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    eps : float or str
        Regularisation as a share of the mean cost Σ aᵢ bⱼ c(xᵢ, yⱼ), or abs:X in the cost's unit. The
        result records the absolute one.
    cost : str
        sqeuclidean |x − y|² (not halved), euclidean |x − y|, or cityblock Σ |x_c − y_c|.
    debiased : bool
        Whether the samples' own terms are subtracted.
    unbalanced : float, optional
        ρ, above 0, in the cost's unit; marginals are kept if not given.
    tol : float
        Marginal error in L1, in (0, 1), at which each term stops.
    max_iter : int
        Most sweeps over all pairs for each term, at least 1.

    Returns
    -------
    Estimate
        Value in the cost's unit, finite, with the influence of every row: its potential in
        OT(P, Q) less that in its own term.

    Notes
    -----
    Cost: O(n·m·d) time a sweep, 10 to 30 sweeps; O((n + m) d) memory and, where the plan is sparse, up to
    384 MiB (less with --max-memory) for its large entries.

    Source: Cuturi 2013 (NeurIPS, arXiv 1306.0895); Feydy, Séjourné, Vialard, Amari, Trouvé & Peyré 2019
    (AISTATS, arXiv 1810.08278), Theorem 1; unbalanced: Séjourné, Feydy, Vialard, Trouvé & Peyré 2019
    (arXiv 1910.12958); Newton: Tang et al. 2024 (ICLR, arXiv 2401.12253); interval: del Barrio,
    González-Sanz, Loubes & Niles-Weed 2023 (SIMODS 5, arXiv 2207.07427).

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.sinkhorn([0.0, 1.0], [2.0, 3.0]).value, 9)
    4.0
    """
    return estimate(x, y, eps, cost, debiased, unbalanced, Effort(tol, max_iter))


@SINKHORN.estimator(
    "log", source="Cuturi 2013, arXiv 1306.0895; Feydy et al. 2019, arXiv 1810.08278"
)
def sinkhorn_log(
    x: Samples,
    y: Samples,
    *,
    eps: Eps = 0.05,
    cost: costs.CostSetting = "sqeuclidean",
    debiased: Debiased = True,
    unbalanced: Unbalanced = None,
    tol: Tol = 1e-6,
    max_iter: MaxIter = 2000,
) -> Estimate:
    """Sinkhorn divergence between two samples, by iterations in the log domain alone.

    The same number as the method newton, without Newton steps: for comparisons, and where the plan
    of a small eps has too many large entries for them. For small eps it takes many more sweeps.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    eps : float or str
        Regularisation as a share of the mean cost, or abs:X in the cost's unit.
    cost : str
        sqeuclidean, euclidean or cityblock.
    debiased : bool
        Whether the samples' own terms are subtracted.
    unbalanced : float, optional
        ρ, above 0, in the cost's unit; marginals are kept if not given.
    tol : float
        Marginal error in L1, in (0, 1), at which each term stops.
    max_iter : int
        Most sweeps over all pairs for each term, at least 1.

    Returns
    -------
    Estimate
        Value in the cost's unit, finite, with the influence of every row.

    Notes
    -----
    Cost: O(n·m·d) time a sweep; O((n + m) d) memory.

    Source: Cuturi 2013 (NeurIPS, arXiv 1306.0895); Feydy et al. 2019 (AISTATS, arXiv 1810.08278);
    acceleration: Walker & Ni 2011 (SIAM J. Numer. Anal. 49).

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.sinkhorn([0.0, 1.0], [2.0, 3.0], method="log", debiased=False).value, 4)
    4.1533
    """
    effort = Effort(tol, max_iter, newton=False)
    return estimate(x, y, eps, cost, debiased, unbalanced, effort)


def estimate(
    x: Samples,
    y: Samples,
    eps: float | str,
    cost: str,
    debiased: bool,
    unbalanced: float | None,
    effort: Effort,
) -> Estimate:
    """The divergence or the cost, with the influence of every row and what it took."""
    found = solved(x, y, eps, cost, debiased, unbalanced, effort)
    recorded: dict[str, Any] = {"eps": f"{ABSOLUTE}{found.of.eps!r}", "mean_cost": found.mean}
    if found.mean == 0.0:
        return _no_cost(x, y, {**recorded, "eps": eps}, found.plan)
    p, q, of, terms, plan = found.p, found.q, found.of, found.terms, found.plan
    bias = bias_of(p, q, of, terms, found.mean)
    influence_x, influence_y = of.influence(terms[0].f), of.influence(terms[0].g)
    if debiased:
        influence_x = influence_x - of.influence(terms[1].f)
        influence_y = influence_y - of.influence(terms[2].f)
    doubt = abs(bias) * (DOUBT if debiased else 0.5)
    made = Estimate(
        combined(terms),
        terms_x=p.spread(_centred(influence_x, p.weights), x.n),
        terms_y=q.spread(_centred(influence_y, q.weights), y.n),
        bias=bias,
        doubt=doubt,
        params=recorded | _found(plan, terms, of),
        plan=lambda: plan,
    )
    notes = _notes(terms, of)
    if debiased:
        notes += _near_null(made, influence_se(made, x, y) or 0.0)
    return replace(made, notes=notes)


def _centred(values: Array, weights: Array) -> Array:
    return values - weights @ values


def _no_cost(x: Samples, y: Samples, params: dict[str, Any], plan: EntropicPlan) -> Estimate:
    """All rows are the same: nothing is moved at any eps."""
    zeros = np.zeros(x.n), np.zeros(y.n)
    found = {
        "cost_of_plan": 0.0,
        "lower": 0.0,
        "upper": 0.0,
        "gap": 0.0,
        "sweeps": 0,
        "sweeps_in_float32": 0,
        "newton_steps": 0,
        "marginal_error": 0.0,
    }
    return Estimate(0.0, *zeros, params=params | found, plan=lambda: plan)


def _found(plan: EntropicPlan, terms: list[Term], of: Regularised) -> dict[str, Any]:
    lower, upper, spent = plan.lower, plan.upper, plan.total_cost
    plan.release()
    found: dict[str, Any] = {
        "cost_of_plan": spent,
        "lower": lower,
        "upper": upper,
        "gap": (upper - lower) / upper if upper > 0 else 0.0,
        "sweeps": sum(term.sweeps for term in terms),
        "sweeps_in_float32": sum(term.single_sweeps for term in terms),
        "newton_steps": sum(term.newton_steps for term in terms),
        "marginal_error": max(term.error for term in terms),
    }
    return found if math.isinf(of.rho) else found | {"mass": terms[0].mass}


def _notes(terms: list[Term], of: Regularised) -> tuple[Note, ...]:
    notes = []
    error, most = max(term.error for term in terms), max(term.sweeps for term in terms)
    if not error <= of.effort.tol:
        notes.append(
            Note(
                "W47",
                f"not converged: marginal error {error:.2g} after {counted(most, 'sweep')}, --tol "
                f"{of.effort.tol:g} was asked for; raise --max-iter, --eps or --tol",
            )
        )
    if not math.isinf(of.rho) and terms[0].mass < 0.5:
        notes.append(
            Note(
                "W48",
                f"only {terms[0].mass:.2%} of the mass is transported, the rest is cheaper to destroy; "
                "raise --unbalanced",
            )
        )
    return tuple(notes)


def _near_null(found: Estimate, se: float) -> tuple[Note, ...]:
    """At P = Q the value is the bias, which is many standard errors where there are many columns."""
    if found.value == 0 or found.value - found.bias > 2 * se + found.doubt:
        return ()
    return (
        Note(
            "W04",
            f"samples of these sizes from one distribution would be about {found.bias:.3g} apart: "
            f"at {found.value:.3g} the interval is not valid",
        ),
    )


def splits_plan(
    pool: Samples,
    *,
    eps: float | str,
    cost: str,
    debiased: bool,
    unbalanced: float | None,
    tol: float,
    max_iter: int,
) -> Pooled:
    """All splits at the eps of the observed one; only a cost of zero everywhere has none."""
    if not isinstance(eps, str):
        return Pooled(lambda labels: np.zeros(labels.shape[1]))
    effort = Effort(tol, max_iter)
    rho = math.inf if unbalanced is None else unbalanced
    of = Regularised(cost, float(eps.removeprefix(ABSOLUTE)), rho, effort)

    splits = Splits(Support.of(pool), of, debiased=debiased)
    return Pooled(splits.values, lambda: ROUNDED * splits.size)


sinkhorn.pooled(splits_plan)
sinkhorn_log.pooled(splits_plan)
