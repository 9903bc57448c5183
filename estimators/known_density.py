"""Divergence of a sample from a distribution whose density is known."""

import math

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SampleError, counted
from divmatch.estimator import Estimate
from divmatch.estimators.divergences import KL, NeighbourNumber
from divmatch.estimators.neighbour_distance import bias_rate, enough, index, kth, log_mass
from divmatch.estimators.neighbour_functionals import log_ball
from divmatch.record import Note
from divmatch.samples import Samples

Array = NDArray[np.float64]

FAR = 4.0  # standard errors below 0 that chance does not explain


@KL.estimator(
    "knn",
    known_density=True,
    source="Wang, Kulkarni & Verdú 2009, IEEE Trans. Inf. Theory 55",
    interval="subsampling",
    rate=bias_rate,
)
def kl_to_density(x: Samples, *, k: NeighbourNumber = "auto") -> Estimate:
    """Kullback-Leibler divergence KL(P || Q) of a sample from a density that is known.

    D = (1/n) Σᵢ (ψ(k) − ln(n − 1) − ln c − d ln ρₖ(i) − ln q(xᵢ)), where ρₖ(i) is the distance from xᵢ to
    its k-th neighbour among the other rows of P and c the volume of the unit ball in d columns. Zero
    if and only if P has the density q, inf where q is 0 at a row of P; the estimate can be negative.

    Use it where Q is a model that tells its log-density, such as a normalising flow: no rows of Q
    are needed, and only P's density is estimated. Rows and density must be in the same unit, so the
    columns are not scaled, and all columns that q is a density of must be there. The density must be
    normalised: a constant missing from ln q is missing from the value. The interval is made as
    that of the method knn.

    Parameters
    ----------
    x : Samples
        Rows of P, shape (n, d), weighted or not. Beside them stand the log-densities (--log-q, in
        Python log_q): ln q at every row in nats, -inf where q is 0.
    k : int or "auto"
        Number of the neighbour; auto is 5.

    Returns
    -------
    Estimate
        KL in nats, any sign; inf where q is 0 at a row that carries weight.

    Raises
    ------
    SampleError
        With k copies of a row, or a column that does not vary: P has no density then.
    InconclusiveError
        With fewer than k + 1 rows.

    Notes
    -----
    Cost: one neighbour search, O(n log n) for few columns, O(n² d) for many.

    Source: Wang, Kulkarni & Verdú 2009, IEEE Trans. Inf. Theory 55; the entropy is Kozachenko &
    Leonenko's (1987).

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(0.0, 1.0, 4000)
    >>> log_q = -0.5 * (x - 1) ** 2 - 0.5 * np.log(2 * np.pi)  # N(1, 1): the truth is 1/2
    >>> round(divmatch.kl(x, log_q=log_q).value, 1)
    0.5
    """
    number = kth(k)
    if x.weights is not None and not x.weights.all():
        x = x.take(x.weights > 0)
    enough(x, number + 1, f" (k + 1 with k = {number})")
    _check_varies(x)
    near = index(x).nearest(x.points, number, exclude_self=True)
    logs = x.beside["log_q"]
    tied = int(np.count_nonzero(near[0][:, -1] == 0))
    if tied:
        raise SampleError(
            f"{x.name}: {tied} of {x.n} rows have {number} copies (tied rows), which no density has; "
            "give a larger -k"
        )
    log_p = log_mass(x, near[1], np.arange(x.n)) - x.d * np.log(near[0][:, -1]) - log_ball(x.d)
    psi = -np.euler_gamma + math.fsum(1.0 / j for j in range(1, number))
    terms = log_p + psi - logs
    value = float(x.masses() @ terms)
    notes = (*_zeros(x, logs), *_copies(x, near[0]), *_below_zero(x, terms, value))
    return Estimate(value, params={"k": number}, notes=notes)


def _below_zero(x: Samples, terms: Array, value: float) -> tuple[Note, ...]:
    """No divergence from a density that integrates to 1 is below 0."""
    error = math.sqrt(float(np.sum((x.masses() * (terms - value)) ** 2)))
    if not (error > 0 and value < -FAR * error):
        return ()
    return (
        Note(
            "W01",
            f"the value is {-value / error:.0f} standard errors below 0: the log-densities are not those "
            "of a normalised density, not in nats, or not of these rows",
        ),
    )


def _check_varies(x: Samples) -> None:
    fixed = np.flatnonzero(x.points.min(axis=0) == x.points.max(axis=0))
    if len(fixed) and x.n > 1:
        label = x.columns[fixed[0]] if x.columns else str(fixed[0])
        raise SampleError(
            f"{x.name}: column '{label}' has one value: the rows have no density; leave it out of the "
            "rows and of the density"
        )


def _zeros(x: Samples, logs: Array) -> tuple[Note, ...]:
    zeros = int(np.count_nonzero(np.isneginf(logs)))
    if not zeros:
        return ()
    what = f"{counted(zeros, 'row')} of {x.name}"
    return (Note("W02", f"q is 0 at {what}: the divergence is inf"),)


def _copies(x: Samples, far: Array) -> tuple[Note, ...]:
    count = int(np.count_nonzero(far[:, 0] == 0))
    if not count:
        return ()
    message = f"{count} of {x.n} rows of {x.name} have copies: the value is biased upward"
    return (Note("W03", message),)
