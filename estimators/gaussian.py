"""Divergences between the Gaussians with the samples' moments."""

import math
from copy import deepcopy

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.estimator import Estimate
from divmatch.estimators.cells import Correction
from divmatch.estimators.divergences import FDIV, KIND, KL, ORDER, RENYI, Kind, Order, Tsallis
from divmatch.estimators.gaussian_forms import (
    Form,
    Frame,
    alpha_form,
    frame,
    integrated_form,
    quadratic,
    renyi_form,
)
from divmatch.estimators.generators import generator
from divmatch.estimators.moments import moments
from divmatch.estimators.normality import gaussian_rows
from divmatch.randomness import stream
from divmatch.record import Note
from divmatch.samples import Samples

Array = NDArray[np.float64]


@KL.estimator(
    "gaussian",
    source="closed form; Kullback 1959, Information Theory and Statistics",
    assumption=gaussian_rows,
)
def kl_gaussian(x: Samples, y: Samples, *, correction: Correction = "auto") -> Estimate:
    """KL(P || Q) between the Gaussians with the samples' means and covariances.

    ½ (tr(S₂⁻¹ S₁) + (m₂ − m₁)' S₂⁻¹ (m₂ − m₁) − d + ln(|S₂| / |S₁|)), less its bias in Gaussian
    samples, which is known exactly and is about d (d + 3) (1/n + 1/m) / 4 where P = Q. KL of the
    Gaussians is zero if and only if means and covariances agree; the corrected number can be negative.

    Use it when both samples are close to Gaussian: no other method is as accurate then, in any
    dimension. It sees nothing beyond the first two moments; a warning names a column that is plainly not
    Gaussian.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    correction : str
        first-order subtracts the bias, exactly; none leaves it in the value; auto is first-order where
        there are enough rows for it, more than d + 2 in Q.

    Returns
    -------
    Estimate
        KL in nats, with the influence of every row.

    Raises
    ------
    InconclusiveError
        When a covariance is singular: too few rows, or columns that determine each other; or when
        the correction is asked for and Q has no more than d + 2 rows.

    Notes
    -----
    Cost: O((n + m) d² + d³).

    Source: Kullback 1959, Information Theory and Statistics, chapter 9; expectations of the Wishart
    distribution: Muirhead 1982, Aspects of Multivariate Statistical Theory, theorems 3.2.12 and 3.2.15.

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.kl([-1.0, 0.0, 1.0], [0.0, 1.0, 2.0], method="gaussian").value, 6)
    0.5
    """
    mean_p, cov_p, chol_p = moments(x)
    mean_q, _, chol_q = moments(y)
    gap = mean_q - mean_p
    inverse_p, inverse_q = _inverse(chol_p), _inverse(chol_q)
    log_ratio = 2.0 * float(np.log(np.diag(chol_q) / np.diag(chol_p)).sum())
    trace = float(np.sum(inverse_q * cov_p))
    form = float(gap @ inverse_q @ gap)
    value = 0.5 * (trace + form - x.d + log_ratio)
    bias = value - _unbiased(x, y, trace, form, log_ratio)
    if math.isnan(bias) and correction == "first-order":
        raise InconclusiveError(
            f"{y.name}: the bias is infinite or unknown with {y.effective_size():.3g} rows and {y.d} "
            "columns; use --correction none"
        )
    corrected = correction != "none" and not math.isnan(bias)
    u, v = x.points - mean_p, y.points - mean_q
    along_gap = inverse_q @ gap
    seen = inverse_q @ (cov_p + np.outer(gap, gap)) @ inverse_q - inverse_q
    return Estimate(
        value - bias if corrected else value,
        terms_x=0.5 * quadratic(u, inverse_q - inverse_p) - u @ along_gap,
        terms_y=v @ along_gap - 0.5 * quadratic(v, seen),
        bias=0.0 if corrected or math.isnan(bias) else bias,
        params={"correction": "first-order" if corrected else "none"},
        notes=() if correction == "none" or corrected else (_unknown_bias(y),),
    )


def _unknown_bias(y: Samples) -> Note:
    """Say that the value is too large by nobody knows how much."""
    message = (
        f"{y.effective_size():.3g} rows of {y.name} in {y.d} columns: the bias is infinite or unknown and "
        "was left in the value; give more rows"
    )
    return Note("W38", message)


def _unbiased(x: Samples, y: Samples, trace: float, form: float, log_ratio: float) -> float:
    """KL without the bias that moments of Gaussian samples give it; NaN where that is infinite.

    E tr(S₂⁻¹ S₁) = c tr(Σ₂⁻¹ Σ₁) with c = ν / (ν − d − 1), ν = m − 1; weighted rows count as
    1 / Σ wᵢ².
    """
    from scipy.special import digamma

    n, m, d = x.effective_size(), y.effective_size(), x.d
    if not (m - 1.0 > d + 1.0 and n - 1.0 > d - 1.0):
        return math.nan
    inflation = (m - 1.0) / (m - d - 2.0)
    steps = np.arange(d)

    def shift(size: float) -> float:
        """E ln|S| − ln|Σ|."""
        freedom = size - 1.0
        return float(np.sum(digamma((freedom - steps) / 2.0))) + d * math.log(2.0 / freedom)

    ratio = trace / inflation
    distance = form / inflation - ratio / n - d / m
    return 0.5 * (ratio + distance - d + log_ratio - shift(m) + shift(n))


@RENYI.estimator(
    "gaussian",
    source="closed form; Gil, Alajaji & Linder 2013, Information Sciences 249",
    assumption=gaussian_rows,
)
def renyi_gaussian(
    x: Samples, y: Samples, *, alpha: Order = ORDER, tsallis: Tsallis = False
) -> Estimate:
    """Rényi divergence between the Gaussians with the samples' means and covariances.

    (a/2) Δ' S⁻¹ Δ − (ln|S| − (1 − a) ln|S₁| − a ln|S₂|) / (2 (a − 1)) with S = a S₂ + (1 − a) S₁; inf
    where S is not positive definite, as can happen for a > 1. KL at a = 1; at a = inf the largest
    ln(p/q). Biased upward in small samples; the bias is not removed.

    Use it when both samples are close to Gaussian: no other method is as accurate then, in any
    dimension. It sees nothing beyond the first two moments; a warning names a column that is plainly not
    Gaussian.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    alpha : float
        Order; 1 is KL, inf the logarithm of the largest ratio.
    tsallis : bool
        Report (I − 1) / (a − 1), the Tsallis divergence, instead of ln(I) / (a − 1).

    Returns
    -------
    Estimate
        Rényi divergence in nats, or the Tsallis divergence, at least 0; inf where P has the heavier
        tail in some direction and a is large.

    Raises
    ------
    InconclusiveError
        When a covariance is singular: too few rows, or columns that determine each other.

    Notes
    -----
    Cost: O((n + m) d² + d³).

    Source: Gil, Alajaji & Linder 2013, Information Sciences 249, table 2.

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.renyi([-1.0, 0.0, 1.0], [0.0, 1.0, 2.0], alpha=2, method="gaussian")
    >>> round(found.value, 6)
    1.0
    """
    of = _framed(x, y)
    if tsallis and not math.isinf(alpha):
        form = alpha_form(alpha, of)
        form = form.through(alpha * form.value, alpha)
    else:
        form = renyi_form(alpha, of)
        if tsallis:  # (I − 1) / (a − 1) has no limit but 0 and inf
            form = form.through(math.inf if form.value > 0 else 0.0, 0.0)
    return _estimate(form, f"a S_Q + (1 - a) S_P is not positive definite at --alpha {alpha:g}")


@FDIV.estimator(
    "gaussian",
    source="closed forms and integrals; Nielsen & Nock 2014, IEEE SPL 21",
    assumption=gaussian_rows,
)
def fdiv_gaussian(
    x: Samples, y: Samples, *, kind: Kind = KIND, rng: "np.random.Generator | None" = None
) -> Estimate:
    """An f-divergence between the Gaussians with the samples' means and covariances.

    In closed form for kl, reverse-kl, jeffreys, hellinger, hellinger-gan, chi2, neyman and alpha:A; by
    quadrature in one column else; in several columns as the mean over 65536 draws of each Gaussian,
    whose Monte Carlo error is reported. Biased upward in small samples; the bias is not removed.

    Use it when both samples are close to Gaussian: no other method is as accurate then, in any
    dimension. It sees nothing beyond the first two moments; a warning names a column that is plainly not
    Gaussian.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    kind : str
        Name of the f-divergence, as in the table of `divmatch help divergences`.
    rng : numpy.random.Generator
        Source of the draws; its state is left as it was.

    Returns
    -------
    Estimate
        The f-divergence, at least 0, with the influence of every row; inf where the tails make it so.

    Raises
    ------
    InconclusiveError
        When a covariance is singular: too few rows, or columns that determine each other.

    Notes
    -----
    Cost: O((n + m) d² + d³), and for draws 131072 d² more.

    Source: Nielsen & Nock 2014, IEEE Signal Processing Letters 21; Gil, Alajaji & Linder 2013.

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.fdiv([-1.0, 0.0, 1.0], [0.0, 1.0, 2.0], kind="hellinger", method="gaussian")
    >>> round(found.value, 6)
    0.117503
    """
    form = _closed(kind, x, y)
    if form is None:
        rng = stream(0, "fdiv", "gaussian") if rng is None else deepcopy(rng)
        form = integrated_form(generator(kind), _framed(x, y), rng)
    return _estimate(form, f"the tails of the two Gaussians make {kind} infinite")


def _closed(kind: str, x: Samples, y: Samples) -> Form | None:
    """The kinds that are functions of a Rényi divergence; None for the others."""
    name, _, text = kind.partition(":")
    if kind == "jeffreys":
        forth, back = _closed("kl", x, y), _closed("reverse-kl", x, y)
        if forth is None or back is None:
            return None
        return Form(
            forth.value + back.value, forth.terms_x + back.terms_x, forth.terms_y + back.terms_y
        )
    orders = {
        "kl": (1.0, 1.0),
        "reverse-kl": (0.0, 1.0),
        "chi2": (2.0, 2.0),
        "neyman": (-1.0, 2.0),
        "hellinger": (0.5, 0.25),
        "hellinger-gan": (0.5, 0.5),
    }
    if name != "alpha" and kind not in orders:
        return None
    order, factor = (float(text), 1.0) if name == "alpha" else orders[kind]
    # D_a(P || Q) = D_(1 − a)(Q || P)
    form = (
        alpha_form(order, _framed(x, y))
        if order > 0
        else (alpha_form(1.0 - order, _framed(y, x)).swapped())
    )
    return form.through(factor * form.value, factor)


def _estimate(form: Form, reason: str) -> Estimate:
    if math.isinf(form.value):
        return Estimate(math.inf, form.terms_x, form.terms_y, notes=(Note("W02", reason),))
    return Estimate(form.value, form.terms_x, form.terms_y, error=form.error)


def _framed(x: Samples, y: Samples) -> Frame:
    """Both samples in the coordinates of their Gaussians, made once for a pair."""

    def made() -> tuple[Samples, Frame]:
        mean_p, cov_p, _ = moments(x)
        mean_q, _, chol_q = moments(y)
        return x, frame(x.points, y.points, mean_p, cov_p, mean_q, chol_q)

    return y.once(("gaussian frame", id(x)), made)[1]


def _inverse(factor: Array) -> Array:
    """(L L')⁻¹ from the Cholesky factor L."""
    inverse = np.linalg.inv(factor)
    return inverse.T @ inverse
