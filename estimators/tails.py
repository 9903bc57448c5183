"""How heavy the tails of a sample are: slopes of log quantiles, and the Hill index."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from divmatch.errors import InconclusiveError
from divmatch.estimator import Array, Estimate, Quantity
from divmatch.kernels.execution import in_order
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting

LEVELS = np.array([0.2, 0.1, 0.05, 0.02, 0.01, 0.005])  # shares of the rows beyond a quantile
GAUSSIAN = np.array(  # and what a standard normal has there, on both sides
    [1.2815515655, 1.6448536270, 1.9599639845, 2.3263478740, 2.5758293035, 2.8070337683]
)
BEYOND = 2  # rows that must lie beyond a quantile that counts
ENOUGH = 20  # rows beyond the outermost quantile from which it is no matter of luck
WIDER = 1.6  # the density at a quantile comes from the shares 1.6 times smaller and larger
ROUNDING = 1e-14  # a distance from the mean below this share of the largest value is no distance
FEWEST = 5  # rows of a Hill index, where its share of the rows would be less
EXPONENTIAL, HEAVY = 1.25, 1.75  # slopes from which tails are called so

Kind = Annotated[
    Literal["radius", "direction", "hill"],
    Setting("slope of the radius, mean slope of random directions, or Hill index", many=True),
]
Projections = Annotated[int, Setting("random directions", least=2, most=1_000_000)]
Top = Annotated[
    float,
    Setting("share of the rows, those farthest out, for the Hill index", above=0, most=0.5, percent=True),
]  # fmt: skip


def _title(settings: Mapping[str, Any]) -> str:
    names = {"radius": "radius slope", "direction": "direction slope", "hill": "Hill index"}
    return names[settings["kind"]]


TAILS = Quantity(
    "tails",
    title=_title,
    unit="1",
    direction="P",
    default="quantiles",
    on_command={"kind": "radius,direction,hill"},
    scales=("none", "auto", "ref-sd", "ref-iqr"),
    examples=(
        "divmatch tails real.npy",
        "divmatch tails real.npy --kind radius --max 1.75",
        "divmatch tails real.parquet --columns amount,age --scale ref-sd -f json",
    ),
)


@TAILS.estimator("quantiles", source="arXiv:2501.07741 (the claim); Hill 1975, Ann. Stat. 3")
def tails(
    x: Samples,
    *,
    kind: Kind = "radius",
    projections: Projections = 200,
    top: Top = 0.02,
    rng: "np.random.Generator",
) -> Estimate:
    """How heavy the tails of a sample are: 1 like a Gaussian, more where rows lie far out.

    The slope of ln q(α) on ln z(α), the quantiles of |v − mean v| and of |N(0, 1)| with the share α
    of the rows beyond, for α = .2, .1, .05, .02, .01, .005. v is the radius |x − mean x|, or the
    projection on a random direction: then the number is the mean over the directions. A Gaussian has
    1, in one column an exponential tail 1.5, one like Student's t with 3 degrees 1.9; bounded tails
    less than 1. The Hill index 1/mean ln(r/r₀) of the rows with the largest radii is the number of
    finite moments where tails are powers: 3 for that t, large for a Gaussian.

    The record has a word for each slope, `tail`: heavy from 1.75 on, exponential-like from 1.25 on,
    else gaussian-like. Where the columns are many and independent, projections look Gaussian whatever
    the columns are: the radius is the reliable number. Medians for 20 columns and 4000 rows
    (direction, radius, Hill): Gaussian 1.00, 1.00, 21; independent t 1.41, 2.29, 3.2; independent
    Laplace 1.11, 1.21, 13; a Gaussian times |t| 2.32, 2.38, 2.9.

    The interval comes from the rows' influences on the quantiles and, for directions, from the Monte
    Carlo error. Quantiles with fewer than 2 rows beyond are left out, and a warning (W62) says when
    fewer than 20 rows lie beyond the outermost.

    Parameters
    ----------
    x : Samples
        Rows of shape (n, d), weighted or not. Columns count by their scale.
    kind : str
        radius, direction or hill; the command gives all three.
    projections : int
        Number of random directions.
    top : float
        Share of the rows for the Hill index; at least 5 rows are taken.
    rng : Generator
        Makes the directions.

    Returns
    -------
    Estimate
        The slope or the index, without unit, with the influence of every row.

    Raises
    ------
    InconclusiveError
        With fewer than 20 rows, or when more than four rows of five are the same.

    Notes
    -----
    Cost: O(n d) for the radius, O(n (d + log n) projections) for directions; memory O(n) a thread.

    Source: arXiv:2501.07741 (generated rows are combinations of concentrated ones and have no heavy
    tails); the slopes are a statistic of our own. Hill 1975, Ann. Stat. 3.

    Examples
    --------
    >>> import divmatch, numpy
    >>> rows = numpy.random.default_rng(0).normal(size=(4000, 20))
    >>> bool(abs(divmatch.tails(rows).value - 1) < 0.1)
    True
    """
    w = x.masses()
    size = x.effective_size()
    if kind == "hill":
        return _hill(_radius(x), w, size, top, x.name)
    shares = _shares(size, x.name)
    even = x.weights is None
    if kind == "radius":
        found = _slope(_radius(x), w, shares, even)
        return _estimate(found.value, found.influence, shares, size)
    values, influence = [], np.zeros(x.n)
    directions = _directions(x.d, projections, rng)
    for one in in_order(lambda u: _slope(x.points @ u, w, shares, even), directions):
        values.append(one.value)
        influence += one.influence / len(directions)
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if x.d > 1 else None
    return _estimate(float(np.mean(values)), influence, shares, size, error)


@dataclass(frozen=True, eq=False)
class Slope:
    """A number with the influence of every row on it."""

    value: float
    influence: Array


def word(slope: float) -> str:
    """What tails of this slope are called."""
    if slope >= HEAVY:
        return "heavy"
    return "exponential-like" if slope >= EXPONENTIAL else "gaussian-like"


def _estimate(
    value: float, influence: Array, shares: Array, size: float, error: float | None = None
) -> Estimate:
    params = {"tail": word(value), "outermost": float(shares[-1])}
    notes = _few(float(shares[-1]) * size, "beyond the outermost quantile")
    return Estimate(value, terms_x=influence, error=error, params=params, notes=notes)


def _few(rows: float, where: str) -> tuple[Note, ...]:
    if rows >= ENOUGH:
        return ()
    message = f"{rows:.3g} rows {where}: the number is rough, and its interval with it"
    return (Note("W62", message),)


def _shares(size: float, name: str) -> Array:
    """The shares whose quantiles have rows beyond them."""
    shares = LEVELS[size * LEVELS >= BEYOND * (1 - 1e-12)]
    if len(shares) < 2:
        raise InconclusiveError(
            f"{name}: {size:.3g} {'row' if size == 1 else 'rows'}, expected at least "
            f"{BEYOND / LEVELS[1]:g}, for two quantiles with {BEYOND} rows beyond"
        )
    return shares


def _radius(x: Samples) -> Array:
    """Distances from the weighted mean."""
    centred = x.points - x.masses() @ x.points
    radius: Array = np.sqrt(np.einsum("ij,ij->i", centred, centred))
    return radius


def _directions(d: int, count: int, rng: "np.random.Generator") -> Array:
    """Unit vectors, uniform on the sphere; of one column there is one."""
    if d == 1:
        return np.ones((1, 1))
    drawn = rng.standard_normal((count, d))
    made: Array = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return made


def _quantiles(values: Array, w: Array, even: bool) -> Callable[[Array], Array]:
    """Weighted quantiles with given shares beyond them, between the middles of the rows' masses."""
    if even:
        ordered, masses = np.sort(values), w  # many times faster than the order itself
    else:
        order = np.argsort(values, kind="stable")
        ordered, masses = values[order], w[order]
    middles = np.cumsum(masses) - masses / 2
    return lambda shares: np.interp(1.0 - shares, middles, ordered)


def _slope(v: Array, w: Array, shares: Array, even: bool) -> Slope:
    """Least squares of ln q on ln z, and what every row contributes to it."""
    centred = v - float(w @ v)
    a = np.abs(centred)
    of = _quantiles(a, w, even)
    q = of(shares)
    if not q.min() > ROUNDING * float(np.abs(v).max()):
        raise InconclusiveError("tails: at least a fifth of the rows must differ from the mean")
    z = np.log(GAUSSIAN[: len(shares)])
    slopes = (z - z.mean()) / np.sum((z - z.mean()) ** 2)
    # −dα/d ln q by finite differences; where rows are tied it is infinite, and they have no influence
    near, far = of(np.minimum(shares * WIDER, 0.5)), of(shares / WIDER)
    width = np.log(far) - np.log(np.maximum(near, 1e-300))
    steps = slopes * width / (np.minimum(shares * WIDER, 0.5) - shares / WIDER)
    # Rows by the quantiles that they reach, q and far themselves not among them: all in one pass
    edges = np.concatenate([near, np.nextafter([q, far], np.inf).ravel()])
    ordered = np.sort(edges)
    cells = np.searchsorted(ordered, a, side="right")
    places = np.searchsorted(ordered, edges, side="right").reshape(
        3, -1
    )  # cells from here reach them
    masses, signed = (
        np.append(np.bincount(cells, weights, len(edges) + 1)[::-1].cumsum()[::-1], 0.0)
        for weights in (w, w * np.sign(centred))
    )
    band = np.maximum(masses[places[0]] - masses[places[2]], 1e-300)
    sides = (signed[places[0]] - signed[places[2]]) / band
    beyond = np.arange(len(edges) + 1)[:, None] >= places[1]
    influence = ((beyond - shares) @ steps)[cells] - float(slopes @ (sides / q)) * centred
    return Slope(float(slopes @ np.log(q)), influence)


def _hill(radius: Array, w: Array, size: float, top: float, name: str) -> Estimate:
    """1/H, H the mean of ln(r/r₀) over the rows beyond r₀."""
    _shares(size, name)  # refuses too few rows
    top = max(top, FEWEST / size)
    order = np.argsort(-radius, kind="stable")
    beyond = np.cumsum(w[order]) <= top * (1 + 1e-12)
    inner = order[~beyond]
    threshold = float(radius[inner[0]])
    chosen = order[beyond]
    share = float(w[chosen].sum())
    if not threshold > 0 or not radius[chosen[0]] > threshold:
        raise InconclusiveError("tails: the outermost rows have the same radius; no Hill index")
    logs = np.zeros(len(radius))
    logs[chosen] = np.log(radius[chosen] / threshold)
    mean = float(w @ logs) / share
    inside = np.zeros(len(radius))
    inside[chosen] = 1.0
    influence = (logs / share - mean) - (inside - share) * mean / share
    return Estimate(
        1.0 / mean,
        terms_x=-influence / mean**2,
        params={"rows": len(chosen), "radius": threshold},
        notes=_few(size * share, "have the radii of the Hill index"),
    )
