"""Divergences from kernel density estimates with cross-validated bandwidths."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.estimator import Estimate
from divmatch.estimators.cells import spread_over, weighty
from divmatch.estimators.divergences import FDIV, KIND, KL, ORDER, RENYI, Kind, Order, Tsallis
from divmatch.estimators.generators import Generator, generator
from divmatch.estimators.moments import moments
from divmatch.kernels.densities import log_kernel_sums
from divmatch.record import Note
from divmatch.samples import Samples

Array = NDArray[np.float64]

SOURCE = "Silverman 1986, Density Estimation; leave-one-out likelihood: Duin 1976, IEEE Trans. Comput. 25"
GRID = math.sqrt(2.0) ** np.arange(2, -7, -1)  # bandwidths in units of the rule of thumb, falling
FAR = -12.5  # ln of the kernel five bandwidths away: beyond it a density is extrapolated
FAR_SHARE = 0.01


@KL.estimator("kde", source=SOURCE, interval="subsampling")
def kl_kde(x: Samples, y: Samples) -> Estimate:
    """KL(P || Q) from kernel density estimates.

    D = Σ aᵢ ln(p̂(xᵢ) / q̂(xᵢ)) over the rows of P. Any sign.


    Each density is a sum of Gaussian kernels with the shape of the sample's covariance; the bandwidth
    maximises the likelihood of the rows left out one at a time, over a grid from 1/8 to 2 times
    Scott's rule m^(-1/(d + 4)). A row never counts in its own density.

    Use it for smooth densities in up to about five columns. Sharp edges, atoms and heavy tails are
    smeared; where rows lie beyond the other sample's kernels the ratio is extrapolated, and a warning
    says so.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.

    Returns
    -------
    Estimate
        KL in nats, any sign, with the influence of every row.

    Raises
    ------
    InconclusiveError
        When a covariance is singular: too few rows, or columns that determine each other; or when
        rows coincide so often that no bandwidth fits.

    Notes
    -----
    Cost: O((n + m)² d) time, O(n + m) memory.

    Source: Silverman 1986, Density Estimation for Statistics and Data Analysis, section 3.4.

    Examples
    --------
    >>> import divmatch
    >>> import numpy as np
    >>> grid = (np.arange(400) + 0.5) / 400
    >>> round(divmatch.kl(grid, 2 * grid, method="kde").value, 1)
    0.7
    """
    found = _log_ratios(x, y)
    value = float(found.x.masses() @ found.at_x)
    return _estimate(found, x, y, value, generator("kl"))


@RENYI.estimator("kde", source=SOURCE, interval="subsampling")
def renyi_kde(
    x: Samples, y: Samples, *, alpha: Order = ORDER, tsallis: Tsallis = False
) -> Estimate:
    """Rényi divergence from kernel density estimates.

    R = ln(I) / (a − 1); I = E_P r^(a − 1) for a > 1, with r = p̂/q̂, and for a < 1 from D_alpha as the
    mean of a bounded function of r over P and Q; KL at a = 1. Order inf has no consistent estimate of
    this kind: the largest ln r at the rows of P is given, with a warning.

    Each density is a sum of Gaussian kernels with the shape of the sample's covariance; the bandwidth
    maximises the likelihood of the rows left out one at a time, over a grid from 1/8 to 2 times
    Scott's rule m^(-1/(d + 4)). A row never counts in its own density.

    Use it for smooth densities in up to about five columns. Sharp edges, atoms and heavy tails are
    smeared; where rows lie beyond the other sample's kernels the ratio is extrapolated, and a warning
    says so.

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
        Rényi divergence in nats, or the Tsallis divergence.

    Raises
    ------
    InconclusiveError
        When a covariance is singular: too few rows, or columns that determine each other; or when
        rows coincide so often that no bandwidth fits.

    Notes
    -----
    Cost: O((n + m)² d) time, O(n + m) memory.

    Source: Silverman 1986, Density Estimation for Statistics and Data Analysis, section 3.4.

    Examples
    --------
    >>> import divmatch
    >>> import numpy as np
    >>> grid = (np.arange(400) + 0.5) / 400
    >>> round(divmatch.renyi(grid, 2 * grid, alpha=2, method="kde").value, 1)
    0.7
    """
    found = _log_ratios(x, y)
    if math.isinf(alpha):
        return _largest(found, x, y, tsallis)
    if alpha == 1:
        return _estimate(found, x, y, float(found.x.masses() @ found.at_x), generator("kl"))
    of = generator(f"alpha:{alpha!r}")
    made = _estimate(found, x, y, _mean(of, found), of)
    # I − 1 = a (a − 1) D_alpha
    excess = alpha * (alpha - 1.0) * made.value
    if tsallis:
        return _scaled(made, alpha * made.value, alpha)
    if not excess > -1.0:
        raise InconclusiveError(
            f"{x.name}: the estimate of the integral of p^a q^(1 - a) is not positive at --alpha {alpha:g}"
        )
    return _scaled(made, math.log1p(excess) / (alpha - 1.0), alpha / (1.0 + excess))


@FDIV.estimator("kde", source=SOURCE, interval="subsampling")
def fdiv_kde(x: Samples, y: Samples, *, kind: Kind = KIND) -> Estimate:
    """An f-divergence from kernel density estimates.

    D = E_P f(r) / r where a large ratio is what costs (kl, chi2, alpha:A with A >= 1), E_Q f(r) where a
    small one is (reverse-kl, neyman), the mean of 2 f(r) / (1 + r) over P and Q elsewhere, r = p̂/q̂.


    Each density is a sum of Gaussian kernels with the shape of the sample's covariance; the bandwidth
    maximises the likelihood of the rows left out one at a time, over a grid from 1/8 to 2 times
    Scott's rule m^(-1/(d + 4)). A row never counts in its own density.

    Use it for smooth densities in up to about five columns. Sharp edges, atoms and heavy tails are
    smeared; where rows lie beyond the other sample's kernels the ratio is extrapolated, and a warning
    says so.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    kind : str
        Name of the f-divergence, as in the table of `divmatch help divergences`.

    Returns
    -------
    Estimate
        The f-divergence, with the influence of every row.

    Raises
    ------
    InconclusiveError
        When a covariance is singular: too few rows, or columns that determine each other; or when
        rows coincide so often that no bandwidth fits.

    Notes
    -----
    Cost: O((n + m)² d) time, O(n + m) memory.

    Source: Silverman 1986, Density Estimation for Statistics and Data Analysis, section 3.4.

    Examples
    --------
    >>> import divmatch
    >>> import numpy as np
    >>> grid = (np.arange(400) + 0.5) / 400
    >>> round(divmatch.fdiv(grid, 2 * grid, kind="tv", method="kde").value, 1)
    0.5
    """
    found = _log_ratios(x, y)
    of = generator(kind)
    return _estimate(found, x, y, _mean(of, found), of)


# ----------------------------------------------------------------------------------- densities


@dataclass(frozen=True, eq=False)
class Ratios:
    """Ln p̂/q̂ at the rows of P and of Q, no row in its own density; bandwidths and warnings."""

    x: Samples
    y: Samples
    at_x: Array
    at_y: Array
    widths: tuple[float, float]
    notes: tuple[Note, ...]


def _log_ratios(x: Samples, y: Samples) -> Ratios:
    """The log ratios of a pair, made once."""
    kept: tuple[Samples, Ratios] = y.once(("kde", id(x)), lambda: (x, _made(x, y)))
    return kept[1]


def _made(x: Samples, y: Samples) -> Ratios:
    x, y = weighty(x, y)
    of_x, of_y = _Density(x), _Density(y)
    q_at_x, p_at_y = of_y.at(x.points), of_x.at(y.points)
    notes = [*of_x.notes, *of_y.notes]
    for rows, here, of, there in ((x, "P", of_y, q_at_x), (y, "Q", of_x, p_at_y)):
        far = float(rows.masses()[there - of.peak < FAR].sum())
        if far > FAR_SHARE:
            message = (
                f"{far:.1%} of the rows of {here} lie beyond the kernels of the other sample: "
                "the ratio there is extrapolated, and wrong by far in either direction"
            )
            notes.append(Note("W14", message))
    return Ratios(
        x, y, of_x.own - q_at_x, p_at_y - of_y.own, (of_x.width, of_y.width), tuple(notes)
    )


class _Density:
    """Kernel density of one sample: its log at the sample's own rows, left out, and anywhere."""

    def __init__(self, samples: Samples) -> None:
        _, _, factor = moments(samples)
        self.turn = np.linalg.inv(factor).T  # rows @ turn have the identity as covariance
        self.centre = samples.points.mean(axis=0)
        self.rows = (samples.points - self.centre) @ self.turn
        self.weights = samples.masses()
        size = samples.effective_size()
        widths = GRID * size ** (-1.0 / (samples.d + 4))
        sums = log_kernel_sums(self.rows, self.rows, self.weights, widths, exclude_self=True)
        with np.errstate(all="ignore"):
            sums -= np.log1p(-self.weights)[:, None]
            scores = self.weights @ sums - samples.d * np.log(widths)
        scores = np.where(np.isfinite(scores), scores, -np.inf)
        best = int(np.argmax(scores))
        if not np.isfinite(scores[best]):
            raise InconclusiveError(f"{samples.name}: too few rows for a density; give more rows")
        self.width = float(widths[best])
        # the density's constant: |turn| / (h √2π)^d
        volume = float(np.log(np.abs(np.diag(factor))).sum())
        self.constant = -volume - samples.d * math.log(self.width * math.sqrt(2.0 * math.pi))
        self.own = sums[:, best] + self.constant
        self.peak = self.constant - math.log(size)  # of one row's kernel
        self.notes: tuple[Note, ...] = ()
        if best in (0, len(widths) - 1):
            end = "largest" if best == 0 else "smallest"
            message = (
                f"{samples.name}: the {end} bandwidth of the grid fits best, {self.width:.3g} standard "
                "deviations; heavy tails or atoms suit no kernel density"
            )
            self.notes = (Note("W14", message),)

    def at(self, points: Array) -> Array:
        """Log density at other points."""
        moved = (points - self.centre) @ self.turn
        width = np.array([self.width])
        return log_kernel_sums(moved, self.rows, self.weights, width)[:, 0] + self.constant


# --------------------------------------------------------------------------------------- means


def _mean(of: Generator, found: Ratios) -> float:
    """D_f as a mean over the rows where its integrand is tame."""
    over_p = math.isinf(of.at_infinity) and not math.isinf(of.at_zero)
    over_q = math.isinf(of.at_zero) and not math.isinf(of.at_infinity)
    r_x, r_y = _ratio(found.at_x), _ratio(found.at_y)
    a, b = found.x.masses(), found.y.masses()
    # adding c (r − 1) to f changes no divergence; the c taken here leaves the least noise
    slope = float(of.slope(np.ones(1))[0])
    with np.errstate(all="ignore"):
        if over_p:
            return float(a @ ((of.f(r_x) + of.at_zero * (r_x - 1.0)) / r_x))
        if over_q:
            return float(b @ (of.f(r_y) - of.at_infinity * (r_y - 1.0)))

        def tame(r: Array) -> Array:
            return 2.0 * (of.f(r) - slope * (r - 1.0)) / (1.0 + r)

        return 0.5 * float(a @ tame(r_x)) + 0.5 * float(b @ tame(r_y))


def _ratio(logs: Array) -> Array:
    return np.exp(np.clip(logs, -690.0, 690.0))


def _estimate(found: Ratios, x: Samples, y: Samples, value: float, of: Generator) -> Estimate:
    """With the influences f'(r) of P's rows and f(r) − r f'(r) of Q's."""
    r_x, r_y = _ratio(found.at_x), _ratio(found.at_y)
    with np.errstate(all="ignore"):
        terms_x, terms_y = of.slope(r_x), of.f(r_y) - r_y * of.slope(r_y)
    params = {"bandwidth_p": found.widths[0], "bandwidth_q": found.widths[1]}
    notes = found.notes
    if math.isinf(value):
        notes = (*notes, Note("W02", "the ratio of the densities is too large for this divergence"))
    return spread_over(Estimate(value, terms_x, terms_y, params=params, notes=notes), x, y)


def _scaled(found: Estimate, value: float, slope: float) -> Estimate:
    """A function of the estimate, with that slope."""
    if found.terms_x is None or found.terms_y is None:
        return replace(found, value=value)
    return replace(found, value=value, terms_x=slope * found.terms_x, terms_y=slope * found.terms_y)


def _largest(found: Ratios, x: Samples, y: Samples, tsallis: bool) -> Estimate:
    """The largest ln r at a row of P."""
    message = (
        "order inf is the largest ratio of two estimated densities, at one row; compare --alpha 16"
    )
    value = float(found.at_x.max())
    made = _estimate(found, x, y, value, generator("kl"))
    if tsallis:
        value = math.inf if value > 0 else 0.0
        made = replace(
            made, notes=(*made.notes, Note("W02", "order inf has no finite Tsallis form"))
        )
    return replace(
        made, value=value, terms_x=None, terms_y=None, notes=(*made.notes, Note("W15", message))
    )
