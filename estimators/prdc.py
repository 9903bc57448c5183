"""Precision, recall, density, coverage and authenticity of a candidate for a reference."""

import hashlib
import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.estimator import Estimate, Labels, Pooled, Quantity, influence_se
from divmatch.estimators.manifold_splits import Lists, figures_of, listed
from divmatch.estimators.manifolds import authentic, carrying, crossing, manifold
from divmatch.intervals import Subsampled, added
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]
Kind = Annotated[
    Literal["precision", "recall", "density", "coverage", "authenticity"],
    Setting("which of the figures; several separated by commas share the searches", many=True),
]
NeighbourCount = Annotated[
    int, Setting("the ball of a row ends at its k-th nearest other row", least=1)
]

FEW = 4  # splits whose searches are kept for the other kinds

PRDC = Quantity(
    "prdc",
    title="{kind}",
    unit="1",
    direction="P||Q",
    default="balls",
    on_command={"kind": "precision,recall,density,coverage"},
    better="higher",
    examples=(
        "divmatch prdc real.npy gen.npy",
        "divmatch prdc real.npy gen.npy -k 3 --kind precision,authenticity -f json",
        "divmatch prdc real.npy gen.npy --kind recall --min 0.5",
    ),
)


def _standard_error(
    estimate: Estimate, found: Subsampled | None, x: Samples, y: Samples
) -> float | None:
    """Subsampling, brought to the share of all rows, and no less than what one sample's draw gives.

    The variance of a share p is a multiple of p (1 − p)/n that hardly depends on n, but p itself
    does: it is the multiple that subsamples tell. Two rows are taken to be in and two out, so that a
    share of 1 has no error of 0. The influences of density tell the rest of its error in many
    columns, where few rows are neighbours of many.
    """
    least = influence_se(estimate, x, y)
    if estimate.params["kind"] == "density":
        ses = [se for se in (least, found.se if found else None) if se is not None]
        return max(ses) if len(ses) == 2 else None
    size = (x if estimate.terms_y is None else y).effective_size()
    spread = _binomial(estimate.value, size)
    ses = [math.sqrt(spread / size)]
    if found is None:
        return None
    ses.append(found.se * math.sqrt(spread / _binomial(found.mean, size)))
    return max(ses)


def _binomial(share: float, size: float) -> float:
    """The variance of one row."""
    p = added(share, size)
    return p * (1 - p)


@PRDC.estimator(
    "balls",
    source="Kynkäänniemi et al. 2019, arXiv:1904.06991; Naeem et al. 2020, arXiv:2002.09797; "
    "Alaa et al. 2022, arXiv:2102.08921",
    interval="subsampling",
    standard_error=_standard_error,
    subsamples=50,
)
def prdc(x: Samples, y: Samples, *, kind: Kind = "precision", k: NeighbourCount = 5) -> Estimate:
    """Precision, recall, density, coverage of P's rows by Q's, and Q's authenticity.

    P is the reference (real rows), Q the candidate (generated rows). Bₖ(xᵢ) is the closed ball
    around row xᵢ of P up to its k-th nearest other row of P, Bₖ(yⱼ) that of a row of Q among Q:

    precision     share of Q's rows in at least one Bₖ(xᵢ): is what Q makes like P?
    recall        share of P's rows in at least one Bₖ(yⱼ): does Q make all that P has?
    density       (1/m) Σⱼ Σᵢ 1[yⱼ in Bₖ(xᵢ)] / kᵢ, with kᵢ = k other rows of P in Bₖ(xᵢ)
    coverage      share of P's rows whose Bₖ(xᵢ) holds at least one row of Q
    authenticity  share of Q's rows farther from their nearest row of P than that row is from its
                  nearest other row of P: 0 for copies of P with a little noise

    All are shares in [0, 1] but density, which is 1 on average for equal distributions and has no
    upper bound. Larger is better. Swapping the files swaps precision and recall. Equal distributions
    do not give 1: coverage is then 1 − 2^(-k) on average for n = m, precision and recall rise with k
    and fall with the columns. Compare values of the same n, m and k alone.

    The interval is for the value that these n, m and k give on average: 50 subsamples of
    min(n, m)^(2/3) rows tell how many times p (1 − p)/n the variance of a share p is; that of density
    is as large as its influences say. The interval of a share is Wilson's: it stays in [0, 1]. The
    p-value is one-sided: the share of random splits of the pool with a value as small.

    Ties need no noise: a ball holds every row at its radius, copies of a row are its neighbours, and
    density divides by the number kᵢ of rows that a ball holds. A warning (W34) counts the balls of
    radius zero. Of several nearest rows, authenticity takes the loneliest.

    Weights count rows in the shares and in the content of balls (density divides by the mass of the
    rows of P in a ball, times n); the radii are those of the rows with positive weight. Equal weights
    give the digits of none up to rounding.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    kind : str
        precision, recall, density, coverage or authenticity; the command gives the first four.
    k : int
        Number of neighbours, at least 1; 3 in the first paper, 5 in the second. authenticity is the
        same for every k.

    Returns
    -------
    Estimate
        The figure, without unit.

    Raises
    ------
    InconclusiveError
        When the sample with the balls has no more than k rows.

    Notes
    -----
    Cost: two neighbour searches and one pass over the pairs of rows, which all figures share, and one
    more search for authenticity: O((n + m)² d); memory O((n + m) (d + k)).

    Source: Kynkäänniemi et al. 2019, arXiv:1904.06991; Naeem et al. 2020, arXiv:2002.09797;
    authenticity: Alaa et al. 2022, arXiv:2102.08921, section 4.

    Examples
    --------
    >>> import divmatch
    >>> divmatch.prdc([0.0, 1.0, 3.0], [0.5, 2.0, 9.0, 9.5], k=1, kind="precision").value
    0.5
    """
    rows_x, rows_y = carrying(x), carrying(y)
    value, terms_x, terms_y = FIGURES[kind](rows_x, rows_y, k)
    return Estimate(
        value,
        None if terms_x is None else _in_place(x, terms_x),
        None if terms_y is None else _in_place(y, terms_y),
        params={"kind": kind, "k": k},
        notes=_copies(kind, rows_x, rows_y, k),
        share=kind != "density",
    )


Figure = tuple[float, Array | None, Array | None]


def _share(samples: Samples, inside: Array) -> float:
    """The mass of the rows inside: 1 exactly where all are."""
    if samples.weights is None:
        return int(np.count_nonzero(inside)) / samples.n
    return float(np.sum(samples.weights * inside) / np.sum(samples.weights))


def _precision(x: Samples, y: Samples, k: int) -> Figure:
    manifold(x, k)  # refuses too few rows
    inside = (crossing(x, y, k).counts > 0).astype(np.float64)
    return _share(y, inside), None, inside


def _recall(x: Samples, y: Samples, k: int) -> Figure:
    manifold(y, k)  # refuses too few rows
    inside = (crossing(x, y, k).held > 0).astype(np.float64)
    return _share(x, inside), inside, None


def _density(x: Samples, y: Samples, k: int) -> Figure:
    """Influences: of yⱼ the balls that hold it, of xᵢ its ball less what its neighbours' would gain.

    Without xᵢ the balls that it belongs to would reach one row farther: 1/k more of their content.
    """
    balls, found = manifold(x, k), crossing(x, y, k)
    sums, content = found.sums, found.holding / y.n * balls.value
    shares = np.repeat(content / k, k)
    gained = np.bincount(balls.near.ravel(), shares, x.n)
    return float(y.masses() @ sums), (content - gained) / x.masses(), sums


def _coverage(x: Samples, y: Samples, k: int) -> Figure:
    manifold(x, k)  # refuses too few rows
    inside = (crossing(x, y, k).holding > 0).astype(np.float64)
    return _share(x, inside), inside, None


def _authenticity(x: Samples, y: Samples, k: int) -> Figure:
    new = authentic(x, y, k).astype(np.float64)
    return _share(y, new), None, new


FIGURES: dict[str, Callable[[Samples, Samples, int], Figure]] = {
    "precision": _precision,
    "recall": _recall,
    "density": _density,
    "coverage": _coverage,
    "authenticity": _authenticity,
}


def _in_place(samples: Samples, terms: Array) -> Array:
    """Terms of the rows that carry weight, 0 for the others."""
    if len(terms) == samples.n:
        return terms
    whole = np.zeros(samples.n)
    whole[samples.masses() > 0] = terms
    return whole


def _copies(kind: str, x: Samples, y: Samples, k: int) -> tuple[Note, ...]:
    """Say how many balls are points."""
    if kind == "authenticity":
        return ()
    of = y if kind == "recall" else x
    count = int(np.count_nonzero(manifold(of, k).radius == 0))
    if not count:
        return ()
    message = (
        f"{of.name}: {count} of {of.n} rows have k = {k} copies or more, and balls of radius zero "
        "that hold nothing else"
    )
    return (Note("W34", message),)


# ------------------------------------------------------------------------------------ splits


@prdc.pooled
def _plan(pool: Samples, kind: str, k: int) -> Pooled:
    """The neighbour lists of the pool once; each split only looks up labels."""

    def statistic(labels: Labels) -> Array:
        found = _from_lists(pool, labels, k)[kind].copy()
        missing = np.flatnonzero(np.isnan(found))
        for b in missing:
            found[b] = _directly(pool, labels[:, b], kind, k, kept=len(missing) <= FEW)
        return found

    return Pooled(statistic, lambda: 64 * float(np.finfo(float).eps))


def _from_lists(pool: Samples, labels: Labels, k: int) -> dict[str, Array]:
    """All figures of all splits, once for all kinds; NaN where the lists do not tell."""
    kept = np.ones(pool.n, dtype=bool) if pool.weights is None else pool.weights > 0
    labels = labels[kept]

    def compute() -> dict[str, Array]:
        lists = _lists(pool, kept, k, labels[:, 0])
        if lists is None:
            return {name: np.full(labels.shape[1], np.nan) for name in FIGURES}
        return figures_of(lists, labels, k)

    return pool.once(("splits", k, _digest(labels)), compute)


def _lists(pool: Samples, kept: NDArray[np.bool_], k: int, real: NDArray[np.bool_]) -> Lists | None:
    share = float(min(real.mean(), 1 - real.mean()))
    points = pool.points if kept.all() else np.ascontiguousarray(pool.points[kept])
    weights = pool.masses()[kept]
    return pool.once(("lists", k), lambda: listed(points, weights, k, share))


def _directly(pool: Samples, real: NDArray[np.bool_], kind: str, k: int, *, kept: bool) -> float:
    """One split from its own samples, whose searches all kinds share if they are kept."""

    def compute() -> tuple[Samples, Samples]:
        return pool.take(real), pool.take(~real)

    x, y = pool.once(("split", _digest(real)), compute) if kept else compute()
    try:
        return prdc(x, y, kind=kind, k=k).value
    except InconclusiveError:  # no number for this split: it counts against us
        return math.nan


def _digest(labels: NDArray[Any]) -> bytes:
    return hashlib.blake2b(np.packbits(labels).tobytes()).digest()
