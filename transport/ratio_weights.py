"""Weights from a density ratio: a classifier that tells P from Q says how much each row of P stands for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.kernels.logistic import Problems, Rows, fit
from divmatch.matcher import Array, Figure, Fit
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport.balancing import Interactions, MaxWeight, Moments
from divmatch.transport.constraints import constraints_of
from divmatch.transport.reweighting import WEIGHTS

Folds = Annotated[int, Setting("parts of the rows that choose the penalty", least=2, most=50)]
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)  # of squared slopes, over the rows
INTERCEPT = 10.0  # so much less is the intercept penalised than a slope of penalty 1


@WEIGHTS.method(
    "ratio", source="Bickel, Brückner & Scheffer 2009, JMLR 10; Qin 1998, Biometrika 85"
)
def ratio(
    x: Samples,
    y: Samples,
    *,
    moments: Moments = 1,
    interactions: Interactions = False,
    max_weight: MaxWeight = float("inf"),
    folds: Folds = 5,
    rng: "np.random.Generator",
) -> Fit:
    """Weights of P's rows by how much more likely Q is there, as a classifier sees it.

    wᵢ ∝ qᵢ exp(−s(xᵢ)), s(x) the score of a logistic regression that tells rows of P (1) from rows of Q: its
    logarithm of p/q. Features are the columns, their powers up to --moments, products of two with
    --interactions; the penalty of the slopes is the one with the least loss on held-out parts.

    Use it where no weights reproduce the moments exactly, or many features make exact ones wild: the
    penalty keeps the weights tame, and the moments are met as far as held-out rows speak for it. With
    --moments 2 the ratio of two Gaussians is among the scores. Without a penalty it would have the form of
    the method entropy's weights.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    moments : int
        As for the method entropy.
    interactions : bool
        As for the method entropy.
    max_weight : float
        Ratios are cut so that no wᵢ/qᵢ is above it.
    folds : int
        Parts, each held out once.
    rng : numpy.random.Generator
        Deals the rows into parts.

    Returns
    -------
    Fit
        Weights, sum 1; the `penalty` that was chosen, `residual`: the largest moment that is off, in
        standard deviations.

    Raises
    ------
    InconclusiveError
        With fewer rows in a sample than parts.

    Notes
    -----
    Cost: about ten passes over (n + m) k numbers for k features, for all parts and penalties at once.

    Source: Bickel, Brückner & Scheffer 2009, Discriminative learning under covariate shift, JMLR 10,
    section 4; Qin 1998, Inferences for case-control data, Biometrika 85.

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(0.0, 1.0, 2000)
    >>> y = np.random.default_rng(1).normal(0.5, 1.0, 2000)
    >>> found = divmatch.match.weights(x, y, method="ratio", metric="none")
    >>> round(float(found.weights @ x), 1)
    0.5
    """
    if min(x.n, y.n) < folds:
        raise InconclusiveError(
            f"weights --method ratio: n = {x.n}, {y.n}: fewer rows than --folds {folds}"
        )
    wanted = constraints_of(x, y, moments, interactions, None, float("inf"))
    features = np.vstack([wanted.features, wanted.of(y)[0]])
    pool = np.column_stack([np.ones(len(features)), features])
    mass = np.concatenate([x.masses(), y.masses()]) / 2.0
    sign = np.concatenate([np.ones(x.n), -np.ones(y.n)])
    deal = np.concatenate([rng.permutation(s.n) % folds for s in (x, y)])
    v, penalty, converged = _fitted(pool, sign, mass, deal, folds)
    top = float((-wanted.features @ v[1:]).max())

    def weighed(samples: Samples, scores: Array) -> Samples:
        share = np.exp(np.minimum(-scores - top, 0.0))  # others: at most the fit's largest
        return replace(samples, weights=capped(share, samples.masses(), max_weight), _derived={})

    made = weighed(x, wanted.features @ v[1:]).masses()
    gaps = [np.abs(w @ wanted.features - wanted.targets).max() for w in (x.masses(), made)]
    return Fit(
        weights=made,
        extend=_extension(weighed, wanted.of, v[1:]),
        converged=converged,
        facts={"penalty": penalty, "residual": float(gaps[1])},
        arrays={"slopes": v[1:]},
        figure=Figure("imbalance", float(gaps[0]), float(gaps[1]), "standard deviations"),
    )


def _extension(
    weighed: Callable[[Samples, Array], Samples],
    features: Callable[[Samples], tuple[Array, NDArray[np.bool_]]],
    slopes: Array,
) -> Callable[[Samples], Samples]:
    """The same ratio at other rows of P."""

    def extend(samples: Samples) -> Samples:
        return weighed(samples, features(samples)[0] @ slopes)

    return extend


def _fitted(
    pool: Array, sign: Array, mass: Array, deal: NDArray[np.intp], folds: int
) -> tuple[Array, float, bool]:
    """Coefficients under the penalty of least held-out loss."""
    ridge = float(mass @ mass) * 2.0  # one over the effective number of rows
    rows = Rows(len(pool), pool.shape[1], lambda at: pool[at]).kept()
    scales = np.tile(1.0 / np.sqrt(PENALTIES)[:, None], (1, pool.shape[1]))
    scales[:, 0] = INTERCEPT
    seen = np.where(deal[:, None] == np.arange(folds), 0.0, mass[:, None])
    problems = Problems(rows, sign, seen, scales, ridge)
    v, _ = fit(problems)
    margins = sign[:, None] * problems.scores(v, deal)
    best = int(np.argmin(mass @ np.logaddexp(0.0, -margins)))
    last = Problems(rows, sign, mass[:, None], scales[best : best + 1], ridge)
    v, converged = fit(last)
    return last.weights(v)[:, 0], PENALTIES[best], converged


def capped(share: Array, base: Array, most: float) -> Array:
    """Weights in proportion to base · share, none above most · base; what is cut goes to the others."""
    weights = base * share / float(base @ share)
    if not np.isfinite(most):
        return weights
    full = np.zeros(len(base), dtype=bool)
    while True:
        over = (weights > most * base * (1.0 + 1e-12)) & ~full
        if not over.any():
            return weights
        full |= over
        left = 1.0 - most * float(base[full].sum())
        free = base * np.where(full, 0.0, share)
        weights = np.where(full, most * base, free * (left / max(float(free.sum()), 1e-300)))
