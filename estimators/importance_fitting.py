"""KL, Rényi and f-divergences from density ratios fitted by least squares."""

from dataclasses import replace

import numpy as np

from divmatch.estimator import Estimate
from divmatch.estimators.divergences import FDIV, KIND, KL, ORDER, RENYI, Kind, Order, Tsallis
from divmatch.estimators.folds import Folds
from divmatch.estimators.generators import generator
from divmatch.estimators.invariance import Invariant
from divmatch.estimators.least_squares import Ratios, held_out_ratios, raised
from divmatch.estimators.variational import heavy, powers, ratios
from divmatch.estimators.variational_bounds import finite_order, of_renyi, variational_bound
from divmatch.samples import Samples

SOURCE = "Kanamori, Hido & Sugiyama 2009, JMLR 10, with cross-fitting"


@KL.estimator("ulsif", source=SOURCE)
def kl_ulsif(
    x: Samples,
    y: Samples,
    *,
    folds: Folds = 5,
    invariant: Invariant = None,
    rng: "np.random.Generator",
) -> Estimate:
    """KL(P || Q) as the mean logarithm of density ratios fitted by least squares (uLSIF).

    Σᵢ aᵢ ln max(r(xᵢ), .05), where r is linear in 100 Gaussian kernels around rows of P and was
    fitted to other rows; the width of the kernels and the ridge of each fold are chosen by the squared
    loss of the others. No bound. A linear ratio can be zero or negative: ratios below .05 are raised
    to it, and a warning gives their share of P, which makes the value too large or too small.

    Use it for a second opinion in few columns, where p/q has no simple form: with several modes or
    edges it is nearer than classifier. It falls short in more than a few columns, and where few rows
    of Q carry the ratio; a warning says when Q weighted by the ratio has not the moments of P.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    folds : int
        K; the ratios of every fold were fitted to the other K − 1.
    invariant : str
        Group under which both distributions are unchanged, as for the method knn: one row of each orbit
        counts.
    rng : numpy.random.Generator
        Its state decides the folds and the centres; it is left as it was.

    Returns
    -------
    Estimate
        KL in nats, any sign, with the influence of every row.

    Raises
    ------
    InconclusiveError
        With fewer than K rows in a sample.

    Notes
    -----
    Cost: two passes over 400 (n + m) numbers, and 16 linear systems of 100 unknowns a fold.

    Source: Kanamori, Hido & Sugiyama 2009, A least-squares approach to direct importance estimation,
    JMLR 10, section 2.4, without setting negative weights to zero.

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(0.0, 1.0, 1000)
    >>> y = np.random.default_rng(1).normal(1.0, 2.0, 1000)
    >>> round(divmatch.kl(x, y, method="ulsif").value, 1)
    0.4
    """
    found = held_out_ratios(x, y, folds, rng, invariant)
    scores = found.judged
    of_y, _ = ratios(y, scores.y)
    notes = (*found.notes(), *raised(x, found.x))
    value = float(x.masses() @ scores.x)
    return Estimate(value, scores.x, -of_y, params=found.params(), notes=notes)


@RENYI.estimator("ulsif", source=SOURCE)
def renyi_ulsif(
    x: Samples,
    y: Samples,
    *,
    alpha: Order = ORDER,
    tsallis: Tsallis = False,
    folds: Folds = 5,
    invariant: Invariant = None,
    rng: "np.random.Generator",
) -> Estimate:
    """Rényi divergence of order α from powers of density ratios fitted by least squares (uLSIF).

    ln(E_P r^(α−1)) / (α − 1), r held out as by the method ulsif of kl, which it is at α = 1, with
    ratios below .05 raised to it. No bound; a warning gives the share of P that was raised.

    Use it as that method. The larger α, the more the value rests on the few rows where p/q is largest,
    which a ridge makes smaller; a warning says when a few rows make up the mean.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    alpha : float
        Order, above 0 and finite.
    tsallis : bool
        Report (I − 1)/(α − 1) instead.
    folds : int
        K; the ratios of every fold were fitted to the other K − 1.
    invariant : str
        As for the method ulsif of kl.
    rng : numpy.random.Generator
        Its state decides the folds and the centres; it is left as it was.

    Returns
    -------
    Estimate
        Divergence in nats (Tsallis: no unit), any sign, with the influence of every row.

    Raises
    ------
    SettingError
        For the order inf.
    InconclusiveError
        With fewer than K rows in a sample.

    Notes
    -----
    Cost: as the method ulsif of kl; all orders share the ratios.

    Source: Kanamori, Hido & Sugiyama 2009, JMLR 10, section 2.4, with the powers of the ratio.

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(0.0, 1.0, 1000)
    >>> y = np.random.default_rng(1).normal(1.0, 2.0, 1000)
    >>> round(divmatch.renyi(x, y, alpha=0.5, method="ulsif").value, 1)
    0.3
    """
    finite_order(alpha)
    if alpha == 1.0:
        return kl_ulsif(x, y, folds=folds, invariant=invariant, rng=rng)
    found = held_out_ratios(x, y, folds, rng, invariant)
    scores = found.judged
    of_x, log_x = powers(x.masses(), (alpha - 1.0) * scores.x)
    of_y, _ = powers(y.masses(), alpha * scores.y)
    notes = (*found.notes(), *raised(x, found.x), *heavy(x, of_x))
    value, factor = log_x / (alpha - 1.0), alpha / (alpha - 1.0)
    return replace(
        of_renyi(value, factor * of_x, -of_y, alpha, tsallis, notes), params=found.params()
    )


@FDIV.estimator("ulsif", source=SOURCE)
def fdiv_ulsif(
    x: Samples,
    y: Samples,
    *,
    kind: Kind = KIND,
    folds: Folds = 5,
    invariant: Invariant = None,
    rng: "np.random.Generator",
) -> Estimate:
    """f-divergence D_f(P || Q) by the variational bound of ratios fitted by least squares (uLSIF).

    chi2: 2 E_P r − E_Q r² − 1, the very loss that r was fitted for, and a bound for r of any sign. All
    other kinds: E_P f'(r) − E_Q [r f'(r) − f(r)] with ratios below .05 raised to it, a bound for any
    positive r; a warning gives the share that was raised. r is held out as by the method ulsif of kl;
    the values are never above D_f on average.

    Use it for chi2, and where a lower bound is wanted for a ratio without a simple form in a few
    columns. chi2 needs the fourth moment of p/q under Q; a warning says when a few rows of Q make up
    the mean.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    kind : str
        Which f; `divmatch help divergences` has the table.
    folds : int
        K; the ratios of every fold were fitted to the other K − 1.
    invariant : str
        As for the method ulsif of kl.
    rng : numpy.random.Generator
        Its state decides the folds and the centres; it is left as it was.

    Returns
    -------
    Estimate
        D_f in the unit of its kind, any sign, with the influence of every row.

    Raises
    ------
    InconclusiveError
        With fewer than K rows in a sample.

    Notes
    -----
    Cost: as the method ulsif of kl; all kinds share the ratios.

    Source: Kanamori, Hido & Sugiyama 2009, JMLR 10, section 2.4; Nguyen, Wainwright & Jordan 2010,
    IEEE Trans. Inf. Theory 56.

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(0.0, 1.0, 1000)
    >>> y = np.random.default_rng(1).normal(1.0, 2.0, 1000)
    >>> round(divmatch.fdiv(x, y, kind="chi2", method="ulsif").value, 1)
    0.7
    """
    f = generator(kind)
    found = held_out_ratios(x, y, folds, rng, invariant)
    if f.name == "chi2":
        return _least_squares(x, y, found)
    made = variational_bound(x, y, found.judged, f, 0.0, kind)
    notes = (*made.notes, *found.flat, *raised(x, found.x), *raised(y, found.y))
    return replace(made, params=found.params(), notes=notes)


def _least_squares(x: Samples, y: Samples, found: Ratios) -> Estimate:
    """The bound of chi2, in which ratios of any sign are allowed."""
    squares = found.y**2
    value = 2.0 * float(x.masses() @ found.x) - float(y.masses() @ squares) - 1.0
    notes = (*found.notes(), *heavy(y, squares))
    return Estimate(value, 2.0 * found.x, -squares, params=found.params(), notes=notes)
