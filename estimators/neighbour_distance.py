"""Divergences from the distances of nearest neighbours."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SampleError, counted
from divmatch.estimator import Estimate
from divmatch.estimators.divergences import KL, NeighbourNumber
from divmatch.estimators.invariance import Invariant, represented
from divmatch.estimators.scales import comparable
from divmatch.kernels.neighbours import Neighbours
from divmatch.randomness import stream
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]

Ties = Annotated[
    Literal["error", "jitter", "drop"],
    Setting("rows at distance zero: refuse, add noise of 1e-10 of the range, or leave out"),
]
MostNeighbours = Annotated[int, Setting("cap on the neighbours counted in a ball", least=1)]

KTH = 5  # the neighbour whose distance is taken, if not said otherwise
FAR = 10.0  # ratio of neighbour distances from which a row of P has no Q near it
FAR_SHARE = 0.2  # noise alone puts 8 % beyond FAR where p/q = 4 and k = 5


def bias_rate(d: int) -> float:
    """The bias of nearest-neighbour distances in d columns falls about like n^(-1/(d + 1)).

    The power depends on the smoothness and the tails (Zhao & Lai 2020, Minimax optimal estimation of
    KL divergence for continuous distributions). Measured for shifted, scaled and correlated normals,
    exponential, Laplace and beta: .6/d to 2/d, least where Q has the lighter tails.
    """
    return 1 / (d + 1)


@KL.estimator(
    "knn",
    source="Wang, Kulkarni & Verdú 2009, IEEE Trans. Inf. Theory 55; Pérez-Cruz 2008, ISIT",
    interval="subsampling",
    rate=bias_rate,
    assumption=comparable,
)
def kl_knn(
    x: Samples,
    y: Samples,
    *,
    k: NeighbourNumber = "auto",
    ties: Ties = "error",
    invariant: Invariant = None,
) -> Estimate:
    """Kullback-Leibler divergence KL(P || Q), from nearest-neighbour distances.

    D = (d/n) Σᵢ ln(νₖ(i) / ρₖ(i)) + ln(m / (n − 1)), where ρₖ(i) is the distance from xᵢ to its k-th
    neighbour among the other rows of P and νₖ(i) to its k-th neighbour in Q. With weights the two
    counts become the mass of the k neighbours. KL is zero if and only if the distributions agree
    and has no upper bound; the estimate can be negative and is biased, more so in high dimension,
    with correlated columns and for large divergences: down where Q is sparse, up where it is wide.

    The value keeps its bias, the interval does not. On a fraction q of the rows the bias is about
    q^(-1/(d + 1)) times as large, so the mean of 100 subsamples, q = min(n, m)^(-1/3), tells it. The
    interval is moved by it, and is wider by half of it and by its noise: it overcovers in many
    columns, and a warning (W13) says where it is mostly extrapolation and may not cover.

    Use it for continuous data of up to about ten columns. It stays finite where the truth is
    infinite: a warning says when rows of P have no row of Q near them. Tied rows have distance
    zero: they are refused unless --ties says otherwise.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    k : int or "auto"
        Number of the neighbour; 1 has the lowest bias, larger numbers the lower variance; auto is 5.
    ties : str
        error refuses rows at distance zero; jitter adds uniform noise of 1e-10 of each column's
        range; drop leaves such rows out of the mean.
    invariant : str
        Group under which both distributions are unchanged; every row is replaced by one row of its
        orbit: perm:COLS sorts the columns, flip:COLS takes absolute values, cyclic:COLS takes the
        largest shift, rot90:I,J turns the row into one quadrant. |G| times as many neighbours count.
        A warning says when the rows contradict it.

    Returns
    -------
    Estimate
        KL in nats, any sign.

    Raises
    ------
    SampleError
        With fewer than k + 1 rows in P or k in Q, or with tied rows.

    Notes
    -----
    Cost: two neighbour searches, O((n + m) log(n + m)) for few columns, O(n (n + m) d) for many.

    Source: Wang, Kulkarni & Verdú 2009, IEEE Trans. Inf. Theory 55; Pérez-Cruz 2008, ISIT.

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.kl([0.0, 1.0, 3.0], [0.4, 2.0], k=1).value, 6)
    -0.706755
    """
    x, y = represented(x, invariant), represented(y, invariant)
    number = kth(k)
    found = densities(x, y, number, ties)
    return Estimate(
        float(found.weights @ found.log_ratios), params={"k": number}, notes=found.notes
    )


@KL.estimator(
    "knn-reduced",
    source="Wang, Kulkarni & Verdú 2009, IEEE Trans. Inf. Theory 55",
    interval="subsampling",
    rate=bias_rate,
    assumption=comparable,
)
def kl_knn_reduced(
    x: Samples,
    y: Samples,
    *,
    ties: Ties = "error",
    max_k: MostNeighbours = 100,
    invariant: Invariant = None,
) -> Estimate:
    """KL(P || Q) from neighbour distances, bias-reduced: one ball for both samples.

    εᵢ = max(ρ₁(i), ν₁(i)); lᵢ rows of P (without xᵢ) and kᵢ rows of Q lie within εᵢ of xᵢ;
    D = (d/n) Σ ln(ν_kᵢ(i) / ρ_lᵢ(i)) + (1/n) Σ (ψ(lᵢ) − ψ(kᵢ)) + ln(m / (n − 1)).

    Use it for large divergences, where the fixed number of neighbours is biased most: both
    densities are taken at the same length scale. More variance than knn with k = 5. The interval is
    made as that of knn.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    ties : str
        As for the method knn.
    max_k : int
        No more than this many neighbours are counted in a ball; a warning says when it was hit.
    invariant : str
        As for the method knn.

    Returns
    -------
    Estimate
        KL in nats, any sign.

    Raises
    ------
    SampleError
        With fewer than two rows in P or one in Q, or with tied rows.

    Notes
    -----
    Cost: as knn, times about three.

    Source: Wang, Kulkarni & Verdú 2009, IEEE Trans. Inf. Theory 55, section III.

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.kl([0.0, 1.0, 3.0], [0.4, 2.0], method="knn-reduced").value, 6)
    -0.869813
    """
    x, y = represented(x, invariant), represented(y, invariant)
    x, y, jittered = _untied(x, y, ties)
    enough(x, 2)
    of_x, of_y = index(x), index(y)
    first_x = of_x.nearest(x.points, 1, exclude_self=True)[0][:, 0]
    first_y = of_y.nearest(x.points, 1)[0][:, 0]
    radius = np.maximum(first_x, first_y)
    count_x = np.minimum(of_x.count_within(x.points, radius, exclude_self=True), max_k)
    count_y = np.minimum(of_y.count_within(x.points, radius), max_k)
    rho, log_p = _at_counts(x, x, count_x)
    nu, log_q = _at_counts(y, x, count_y)
    of_count = digamma(max_k)
    terms = of_count[count_x - 1] - of_count[count_y - 1] + log_p - log_q
    capped = int(np.count_nonzero((count_x == max_k) | (count_y == max_k)))
    notes = jittered
    if capped and max_k < max(x.n - 1, y.n):
        notes = (
            *notes,
            Note(
                "W05", f"{capped} of {x.n} rows have more than --max-k {max_k} neighbours in range"
            ),
        )
    tied = (first_x == 0) | (first_y == 0)
    ratios = _ratios(nu, rho)
    usable, notes = _usable(x, ratios, tied, ties, notes)
    weights = x.masses()[usable]
    values = terms[usable] + x.d * np.log(ratios[usable])
    return Estimate(float(weights @ values / weights.sum()), notes=notes)


# ---------------------------------------------------------------------------------- densities


@dataclass(frozen=True, eq=False)
class Densities:
    """Logarithms of p and q at the rows of P, up to one constant for both, from their distances.

    ln(mass of the k neighbours / k) − d ln(distance of the k-th); rows that are left out are not here.
    """

    weights: Array
    log_p: Array
    log_q: Array
    notes: tuple[Note, ...]

    @property
    def log_ratios(self) -> Array:
        """Ln(p/q) at the rows of P."""
        return self.log_p - self.log_q


def kth(k: int | str) -> int:
    """Number of the neighbour."""
    return KTH if k == "auto" else int(k)


def densities(x: Samples, y: Samples, k: int, ties: str) -> Densities:
    """The densities at the rows of P, found once for all settings of one call."""
    key = ("densities", id(x), k, ties)
    found: tuple[Samples, Densities] = y.once(key, lambda: (x, _densities(x, y, k, ties)))
    return found[1]


def _densities(x: Samples, y: Samples, k: int, ties: str) -> Densities:
    x, y, jittered = _untied(x, y, ties)
    enough(x, k + 1, f" (k + 1 with k = {k})")
    enough(y, k, f" (k = {k})")
    near_x = x.once(("nearest", k), lambda: index(x).nearest(x.points, k, exclude_self=True))
    near_y = index(y).nearest(x.points, k)
    rho, nu = near_x[0][:, -1], near_y[0][:, -1]
    tied = (near_x[0][:, 0] == 0) | (near_y[0][:, 0] == 0)
    tied |= (nu == near_y[0][:, 0]) & (k > 1)  # k rows of Q in one place
    usable, notes = _usable(x, _ratios(nu, rho), tied, ties, jittered)
    weights = x.masses()[usable]
    log_p = log_mass(x, near_x[1], np.arange(x.n))[usable] - x.d * np.log(rho[usable])
    log_q = log_mass(y, near_y[1])[usable] - x.d * np.log(nu[usable])
    return Densities(weights / weights.sum(), log_p, log_q, notes)


# ---------------------------------------------------------------------- neighbours and masses


def index(samples: Samples) -> Neighbours:
    """The neighbour index of a sample, built once."""
    return samples.once("neighbours", lambda: Neighbours(samples.points))


def enough(samples: Samples, rows: int, why: str = "") -> None:
    """Refuse a sample with fewer rows than the neighbours asked for."""
    if samples.n < rows:
        raise InconclusiveError(
            f"{samples.name}: {counted(samples.n, 'row')}, at least {rows}{why} are needed"
        )


def log_mass(
    samples: Samples, near: NDArray[np.int64], own: NDArray[np.intp] | None = None
) -> Array:
    """Ln of the mean mass of the neighbours ``near``, shape (q, k); without row ``own`` if it is one.

    −ln(n − 1) or −ln n for equal weights.
    """
    if samples.weights is None:
        return np.full(len(near), -math.log(samples.n - (own is not None)))
    mass = np.log(samples.weights[near].mean(axis=1))
    if own is not None:
        mass -= np.log1p(-samples.weights[own])
    if not np.isfinite(mass).all():
        raise InconclusiveError(f"{samples.name}: one row carries all the weight")
    return mass


def _at_counts(among: Samples, x: Samples, counts: NDArray[np.int64]) -> tuple[Array, Array]:
    """Distance from row i of x to its counts[i]-th neighbour among ``among``, and their log mass.

    Rows are served in groups of similar counts: most need one neighbour, few need many.
    """
    distance, mass = np.empty(x.n), np.empty(x.n)
    most = 1
    waiting = np.arange(x.n)
    while len(waiting):
        rows = waiting[counts[waiting] <= most]
        waiting = waiting[counts[waiting] > most]
        if len(rows):
            far, near = _neighbours_of(among, x, rows, int(counts[rows].max()))
            for count in np.unique(counts[rows]):
                here = counts[rows] == count
                distance[rows[here]] = far[here, count - 1]
                own = rows[here] if among is x else None
                mass[rows[here]] = log_mass(among, near[here, :count], own)
        most *= 4
    return distance, mass


def _neighbours_of(
    among: Samples, x: Samples, rows: NDArray[np.intp], k: int
) -> tuple[Array, NDArray[np.int64]]:
    """The k neighbours of some rows of x; a row that is in ``among`` itself is left out by number."""
    if among is not x:
        return index(among).nearest(x.points[rows], k)
    distance, near = index(among).nearest(x.points[rows], k + 1)
    own = near == rows[:, None]
    own[~own.any(axis=1), -1] = True  # more than k copies: the last one stands in for the row
    keep = ~own
    return distance[keep].reshape(-1, k), near[keep].reshape(-1, k)


# ------------------------------------------------------------------------------ ties and means


def _untied(x: Samples, y: Samples, ties: str) -> tuple[Samples, Samples, tuple[Note, ...]]:
    """Rows that carry weight; with --ties jitter moved by uniform noise, and a note that says so."""
    x, y = (s if s.weights is None or s.weights.all() else s.take(s.weights > 0) for s in (x, y))
    if ties != "jitter":
        return x, y, ()
    lowest = np.minimum(x.points.min(axis=0), y.points.min(axis=0))
    highest = np.maximum(x.points.max(axis=0), y.points.max(axis=0))
    if (lowest == highest).all():
        raise InconclusiveError(
            f"{x.name} and {y.name}: all rows are one point; noise would be all there is to measure"
        )
    size = np.maximum(1e-10 * (highest - lowest), 4 * np.spacing(np.maximum(-lowest, highest)))
    moved = []
    for name, samples in (("x", x), ("y", y)):
        noise = stream(0, "jitter", name).uniform(-0.5, 0.5, samples.points.shape)
        moved.append(Samples(samples.points + noise * size, samples.weights, samples.name))
    note = Note(
        "W11", "rows were jittered by 1e-10 of each column's range; small distances are noise"
    )
    return moved[0], moved[1], (note,)


def _ratios(nu: Array, rho: Array) -> Array:
    """ν / ρ; zero, infinite or undefined at tied rows, which the caller deals with."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return nu / rho


def _usable(
    x: Samples,
    ratios: Array,
    tied: NDArray[np.bool_],
    ties: str,
    notes: tuple[Note, ...],
) -> tuple[NDArray[np.bool_], tuple[Note, ...]]:
    """The rows whose distances are not zero, once the ties are dealt with; and what to say about it."""
    usable = np.isfinite(ratios) & (ratios > 0)
    lost = x.n - int(np.count_nonzero(usable))
    if lost and (ties != "drop" or lost == x.n):
        ways = ["--method nnr", "a larger -k"]
        if ties == "error":
            ways[1:1] = ["--ties drop", "--ties jitter"]
        raise SampleError(
            f"{x.name}: {lost} of {x.n} rows are at distance zero from their neighbours (tied rows); "
            f"use {', '.join(ways[:-1])} or {ways[-1]}"
        )
    if lost:
        message = f"{lost} of {x.n} rows are tied and were left out of the mean"
        notes = (*notes, Note("W12", message))
    elif tied.any():
        count = int(np.count_nonzero(tied))
        message = (
            f"{count} of {x.n} rows of {x.name} have copies, or neighbours that are copies: the value is "
            "biased; use --method nnr"
        )
        notes = (*notes, Note("W03", message))
    far = float(np.mean(ratios[usable] > FAR))
    if far > FAR_SHARE:
        message = (
            f"{far:.0%} of the rows of {x.name} have no row of the other sample near them; "
            "the divergence may be far larger, or inf"
        )
        notes = (*notes, Note("W07", message))
    return usable, notes


def digamma(most: int) -> Array:
    """ψ(1) ... ψ(most), from ψ(1) = −γ and ψ(k + 1) = ψ(k) + 1/k."""
    steps = np.concatenate([[-np.euler_gamma], 1.0 / np.arange(1, most)])
    return np.cumsum(steps)
