"""Weights that reproduce moments: entropy balancing, raking, generalised empirical likelihood."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError, counted
from divmatch.margins import read_margins
from divmatch.matcher import Array, Figure, Fit, Watch
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport.calibration import Divergence, Solution, calibrated
from divmatch.transport.constraints import SHOWN, Constraints, constraints_of, remedy
from divmatch.transport.feasibility import shortfalls
from divmatch.transport.reweighting import WEIGHTS

Moments = Annotated[int, Setting("moments of every column up to this power", least=0, most=4)]
Interactions = Annotated[bool, Setting("means of products of two columns too")]
MarginsFile = Annotated[
    str | None,
    Setting("known totals, one table a column, in the place of Q's", shown="FILE.toml", parse=str),
]
Delta = Annotated[
    float,
    Setting("how far each moment may be off", least=0, unit="standard deviations of P"),
]
MaxWeight = Annotated[
    float,
    Setting("largest weight over the one before", above=1, infinite=True),
]
Kind = Annotated[
    Literal["el", "et", "chi2", "hellinger"] | float | None,
    Setting(
        "f-divergence from the weights before, or its Cressie-Read power; el for gel, et for tilt",
        least=-5,
        most=5,
    ),
]
POWERS = {"el": -1.0, "et": 0.0, "chi2": 1.0, "hellinger": -0.5}


@WEIGHTS.method(
    "entropy",
    source="Hainmueller 2012, Political Analysis 20; Deming & Stephan 1940 (raking)",
    candidate="optional",
)
def entropy(
    x: Samples,
    y: Samples | None,
    *,
    moments: Moments = 1,
    interactions: Interactions = False,
    margins: MarginsFile = None,
    delta: Delta = 0.0,
    max_weight: MaxWeight = float("inf"),
    watch: Watch,
) -> Fit:
    """Weights of P's rows that reproduce moments of Q, or given totals, as near to equal as can be.

    min KL(w || q) subject to Σ wᵢ φ(xᵢ) = m, with q the weights that P came with: wᵢ ∝ qᵢ exp(λ·φ(xᵢ)).
    φ are the columns, their powers up to --moments and, with --interactions, products of two; the
    shares of categories are moments too. m are Q's means, or what --margins gives: the weights of
    raking then, and Q may be left out. Never negative; equal weights where nothing has to change.

    Use it to make a sample look like a population in what is known of it. It promises these moments
    and nothing else: the figure after tells what is left. Where no weights exist, each constraint that
    cannot be met is named; --delta asks for less, --max-weight keeps single rows from ruling.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not; y is None with margins alone.
    moments : int
        Highest power of every column that is reproduced, 0 to 4; 0 leaves --margins alone.
    interactions : bool
        Reproduce the means of products of two columns too.
    margins : str
        TOML file with a table for each column: a share or total for each of its categories, or mean
        and sd of a number.
    delta : float
        Every moment may be off by so many standard deviations that it has in P; 0 for exactly.
    max_weight : float
        Largest wᵢ/qᵢ, above 1, or inf.
    watch : Watch
        Is told the largest residual of every step.

    Returns
    -------
    Fit
        Weights, sum 1; residuals are at most 1e-8 standard deviations.

    Raises
    ------
    InconclusiveError
        When no weights meet the constraints; each one that fails is named.

    Notes
    -----
    Cost: O(n k²) a Newton step for k moments, about 10 steps; O(n k) memory.

    Source: Hainmueller 2012, Entropy balancing for causal effects, Political Analysis 20, eq. (6); with
    the bounds of Deville & Särndal 1992, Calibration estimators in survey sampling, JASA 87.

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.weights([-1.0, 0.0, 1.0], [0.0, 1.0], metric="none")
    >>> found.weights.round(4).tolist()
    [0.1162, 0.2676, 0.6162]
    """
    wanted = wanted_of(x, y, moments, interactions, margins, delta)
    return balanced(x, wanted, Divergence(0.0, upper=max_weight), delta, watch)


@WEIGHTS.method(
    "gel",
    source="Newey & Smith 2004, Econometrica 72; Owen 2001, Empirical Likelihood",
    candidate="optional",
    variant="kind",
)
def gel(
    x: Samples,
    y: Samples | None,
    *,
    kind: Kind = None,
    moments: Moments = 1,
    interactions: Interactions = False,
    margins: MarginsFile = None,
    delta: Delta = 0.0,
    max_weight: MaxWeight = float("inf"),
    watch: Watch,
) -> Fit:
    """Weights that reproduce moments, nearest to the old ones in another f-divergence than entropy.

    min Σ qᵢ f(wᵢ/qᵢ) subject to Σ wᵢ φ(xᵢ) = m. el: f = −ln t, empirical likelihood, wᵢ = qᵢ/(a + λ·φ(xᵢ));
    et: f = t ln t, the method entropy; hellinger: f = 2(√t − 1)²; chi2: f = (t − 1)²/2, with weights of at
    least 0; a number γ: Cressie and Read's f = (t^(γ+1) − 1)/(γ(γ+1)).

    Use el for the likelihood of moments that hold, with −2 log ELR as a χ² of as many degrees of freedom
    as there are moments; chi2 for the smallest variance of the weights, which sets rows to 0.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not; y is None with margins alone.
    kind : str or float
        el, et, chi2, hellinger, or γ from −5 to 5; el unless given.
    moments : int
        As for the method entropy.
    interactions : bool
        As for the method entropy.
    margins : str
        As for the method entropy.
    delta : float
        As for the method entropy.
    max_weight : float
        As for the method entropy.
    watch : Watch
        Is told the largest residual of every step.

    Returns
    -------
    Fit
        Weights, sum 1; residuals are at most 1e-8 standard deviations. `divergence` is Σ qᵢ f(wᵢ/qᵢ).

    Raises
    ------
    InconclusiveError
        When no weights meet the constraints; each one that fails is named.

    Notes
    -----
    Cost: O(n k²) a Newton step for k moments; O(n k) memory.

    Source: Newey & Smith 2004, Higher order properties of GMM and generalized empirical likelihood,
    Econometrica 72, eq. (2.2); Cressie & Read 1984, JRSS B 46.

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.weights([-1.0, 0.0, 1.0], [0.0, 1.0], kind="chi2", metric="none")
    >>> found.weights.round(4).tolist()
    [0.0833, 0.3333, 0.5833]
    """
    wanted = wanted_of(x, y, moments, interactions, margins, delta)
    kind = "el" if kind is None else kind
    found = balanced(x, wanted, divergence_of(kind, max_weight), delta, watch)
    return replace(found, params={"kind": kind})


def divergence_of(kind: str | float, max_weight: float) -> Divergence:
    """The f-divergence that --kind names, with --max-weight as its bound."""
    gamma = POWERS[kind] if isinstance(kind, str) else float(kind)
    return Divergence(gamma, upper=max_weight)


def wanted_of(
    x: Samples,
    y: Samples | None,
    moments: int,
    interactions: bool,
    margins: str | None,
    delta: float,
) -> Constraints:
    """Moments of Q, and margins."""
    if y is None and margins is None:
        raise SettingError("weights: missing Q; give its rows, or known totals with --margins")
    known = None if margins is None else read_margins(margins)
    return constraints_of(x, y, moments, interactions, known, delta)


def balanced(
    x: Samples, wanted: Constraints, divergence: Divergence, delta: float, watch: Watch
) -> Fit:
    """The dual's weights, or each constraint that no weights can meet."""
    q = np.where(wanted.allowed, x.masses(), 0.0)
    base = q / q.sum()
    rows = np.flatnonzero(base > 0)
    found = calibrated(
        divergence,
        wanted.features[rows],
        wanted.targets,
        base[rows],
        delta=delta,
        told=lambda step, worst: watch.step(step, residual=worst),
    )
    if not found.converged:
        bounded = divergence.upper if np.isfinite(divergence.upper) else None
        refuse(wanted, base, rows, bounded, delta, x)
    weights = np.zeros(x.n)
    weights[rows] = base[rows] * found.t
    weights /= weights.sum()
    return Fit(
        weights=weights,
        extend=_extension(wanted, divergence, found),
        converged=found.converged,
        facts={
            "constraints": len(wanted.gaps(weights)),
            "residual": float(np.abs(wanted.gaps(weights)).max(initial=0.0)),
            "divergence": _divergence(divergence, weights, x.masses()),
            "steps": found.steps,
        },
        arrays={"multipliers": found.multipliers},
        notes=wanted.notes,
        figure=imbalance(wanted, weights, x),
    )


def imbalance(wanted: Constraints, weights: Array, x: Samples) -> Figure:
    """The largest difference between a mean and its target, before and after."""
    before, after = (float(np.abs(wanted.gaps(w)).max(initial=0.0)) for w in (x.masses(), weights))
    return Figure("imbalance", before, after, "standard deviations")


def _divergence(divergence: Divergence, weights: Array, q: Array) -> float:
    """Σ qᵢ f(wᵢ/qᵢ) over the rows that came with weight."""
    carrying = q > 0
    t = weights[carrying] / q[carrying]
    with np.errstate(all="ignore"):
        return float(q[carrying] @ divergence.of(t))


def _extension(
    wanted: Constraints, divergence: Divergence, found: Solution
) -> Callable[[Samples], Samples]:
    """The same weights for other rows of P; none grows more than the most that grew in the fit.

    Without that, one row beyond those of the fit could take all the weight.
    """
    most = float(found.t.max())

    def extend(samples: Samples) -> Samples:
        features, inside = wanted.of(samples)
        s = found.multipliers[0] + features @ found.multipliers[1:]
        with np.errstate(all="ignore"):
            t = np.where(inside, np.minimum(divergence.slopes(s)[1], most), 0.0)
        weights = samples.masses() * t
        total = weights.sum()
        if not (np.isfinite(total) and total > 0):
            raise InconclusiveError("held-out rows of P are beyond what the fitted weights cover")
        return replace(samples, weights=weights / total, _derived={})

    return extend


def refuse(
    wanted: Constraints,
    base: Array,
    rows: NDArray[np.intp],
    most: float | None,
    delta: float,
    x: Samples,
) -> None:
    """Name what no weights, each at most ``most`` times its base, can meet; silent where some can."""
    upper = None if most is None else base[rows] * most
    gaps = shortfalls(wanted.features[rows], wanted.targets, upper)
    if gaps is None or not (np.abs(gaps) > delta).any():
        return
    which = np.flatnonzero(np.abs(gaps) > delta)
    parts = [
        f"{wanted.names[k]} = {wanted.shown(k, wanted.targets[k])} "
        f"(at best {wanted.shown(k, wanted.targets[k] - gaps[k])} beside the others)"
        for k in which[:SHOWN]
    ]
    more = f" and {len(which) - SHOWN} more" if len(which) > SHOWN else ""
    bound = "" if most is None else f", each at most {most:g} times as large as before,"
    raise InconclusiveError(
        f"no weights of {counted(len(rows), 'row')} of {x.name}{bound} give {', '.join(parts)}{more}; "
        f"{remedy(wanted, rows, upper)}"
    )
