"""Weights from a density ratio: how much each row of P stands for, by a classifier or by kernels."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError
from divmatch.kernels.logistic import Problems, Rows, fit
from divmatch.matcher import Array, Fit
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport.balancing import Interactions, MaxWeight, Moments, imbalance
from divmatch.transport.constraints import Constraints, constraints_of
from divmatch.transport.ratio_kernels import Ratio, kliep, set_up, ulsif
from divmatch.transport.reweighting import WEIGHTS

Model = Annotated[Literal["classifier", "ulsif", "kliep"], Setting("what the ratio is fitted by")]
Folds = Annotated[
    int, Setting("parts of the rows that choose penalty, width or ridge", least=2, most=50)
]
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)  # of squared slopes, over the rows
INTERCEPT = 10.0  # so much less is the intercept penalised than a slope of penalty 1


@WEIGHTS.method(
    "ratio",
    source="Bickel, Brückner & Scheffer 2009, JMLR 10; Kanamori et al. 2009, JMLR 10; Sugiyama et al. 2008",
    variant="model",
)
def ratio(
    x: Samples,
    y: Samples,
    *,
    model: Model = "classifier",
    moments: Moments = 1,
    interactions: Interactions = False,
    max_weight: MaxWeight = float("inf"),
    folds: Folds = 5,
    rng: "np.random.Generator",
) -> Fit:
    """Weights of P's rows by how much more likely Q is there: a fitted density ratio q/p.

    wᵢ ∝ qᵢ r(xᵢ). classifier: r = exp(−s), s(x) the score of a logistic regression that tells rows of P (1)
    from rows of Q. Features are the columns, their powers up to --moments, products of two with
    --interactions; the penalty of the slopes is the one with the least loss on held-out parts.
    ulsif and kliep: r = Σ αₗ exp(−|x − cₗ|²/(2h²)) around up to 100 rows of Q, columns standardised. ulsif
    minimises E_P r²/2 − E_Q r + λ|α|²/2, where rows of negative r get no weight, which W78 tells; kliep
    maximises E_Q ln r over α ≥ 0 with E_P r = 1. Held-out parts choose h and λ.

    Use it where no weights reproduce the moments exactly, or many features make exact ones wild: the
    penalty keeps the weights tame, and the moments are met as far as held-out rows speak for it. With
    --moments 2 the ratio of two Gaussians is among the classifier's scores. Take the kernels in a few
    columns where the ratio has no simple form, such as several modes; far from Q they are 0.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    model : str
        classifier, ulsif or kliep; `--method ratio:ulsif` is another spelling.
    moments : int
        As for the method entropy; of the classifier alone.
    interactions : bool
        As for the method entropy; of the classifier alone.
    max_weight : float
        Ratios are cut so that no wᵢ/qᵢ is above it.
    folds : int
        Parts, each held out once.
    rng : numpy.random.Generator
        Deals the rows into parts.

    Returns
    -------
    Fit
        Weights, sum 1; `residual`: the largest moment that is off, in standard deviations. Of the
        classifier the `penalty` that was chosen; of the kernels the `width`, in standard deviations, the
        held-out `loss`, and the `ridge` or the `gap` to the largest likelihood.

    Raises
    ------
    SettingError
        For features of the classifier with another model.
    InconclusiveError
        With fewer rows in a sample than parts; where no row of P has a positive ratio.

    Notes
    -----
    Cost: about ten passes over (n + m) k numbers for k features, for all parts and penalties at once;
    ulsif two passes over 400 (n + m) numbers; kliep O(m 100²) a step, about 10 steps for each part and
    width.

    Source: Bickel, Brückner & Scheffer 2009, Discriminative learning under covariate shift, JMLR 10,
    section 4; Qin 1998, Biometrika 85. ulsif: Kanamori, Hido & Sugiyama 2009, JMLR 10, section 2.4, with
    negative ratios in the place of negative coefficients set to 0. kliep: Sugiyama, Suzuki, Nakajima,
    Kashima, von Bünau & Kawanabe 2008, Ann. Inst. Stat. Math. 60, eq. (7).

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
    if model == "classifier":
        return _by_classifier(x, y, wanted, max_weight, folds, rng)
    if moments != 1 or interactions:
        raise SettingError(
            f"--model {model}: has kernels for features; leave --moments and --interactions out"
        )
    found = (ulsif if model == "ulsif" else kliep)(set_up(x, y, folds, rng))
    return _by_kernels(x, found, wanted, max_weight)


def _by_classifier(
    x: Samples,
    y: Samples,
    wanted: Constraints,
    max_weight: float,
    folds: int,
    rng: "np.random.Generator",
) -> Fit:
    """The penalty of least held-out loss, then all rows."""
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
    facts = {"penalty": penalty}
    return Fit(
        weights=made,
        extend=_extension(weighed, wanted.of, v[1:]),
        converged=converged,
        arrays={"slopes": v[1:]},
        **_left(x, wanted, made, facts),
    )


def _by_kernels(x: Samples, found: Ratio, wanted: Constraints, max_weight: float) -> Fit:
    """Weights by a ratio at P's rows, negative ones raised to 0."""
    ratio = found.at(x)
    top = float(ratio[x.masses() > 0].max())

    def weighed(samples: Samples, values: Array) -> Samples:
        share = np.clip(values, 0.0, top)  # others: at most the fit's largest
        if not float(samples.masses() @ share) > 0:
            raise InconclusiveError(
                f"{samples.name}: the fitted ratio q/p is not above 0 at any row; no weights"
            )
        return replace(samples, weights=capped(share, samples.masses(), max_weight), _derived={})

    made = weighed(x, ratio).masses()
    below = float(x.masses() @ (ratio < 0))
    notes = () if below == 0 else (Note("W78", f"{x.name}: {below:.2%} of the weight has a negative fitted "
                                        "ratio q/p, and got none"),)  # fmt: skip
    return Fit(
        weights=made,
        extend=lambda samples: weighed(samples, found.at(samples)),
        converged=found.converged,
        notes=notes,
        **_left(x, wanted, made, {"width": found.width, **found.facts}),
    )


def _left(x: Samples, wanted: Constraints, made: Array, facts: dict[str, float]) -> dict[str, Any]:
    """How far means are off with the weights, and were without."""
    figure = imbalance(wanted, made, x)
    return {"facts": {**facts, "residual": figure.after}, "figure": figure}


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
