"""Maximum mean discrepancy."""

from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np

from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import Estimate, Pooled, Quantity
from divmatch.estimators import quadratic
from divmatch.kernels.pairwise import Profile
from divmatch.randomness import stream
from divmatch.record import Note
from divmatch.samples import Points, Samples
from divmatch.settings import Setting

Kernel = Annotated[
    Literal["gaussian", "laplace", "imq", "mix"],
    Setting(
        "gaussian exp(-r²/(2s²)), laplace exp(-r1/s), imq (s²+r²)^(-1/2), mix of five gaussians",
        aliases={"rbf": "gaussian"},
    ),
]
Bandwidth = Annotated[
    float | Literal["median", "reference"],
    Setting(
        "s: a number, the median distance of the pooled rows, or of the reference's rows alone",
        above=0,
        unit="data unit",
    ),
]
MEDIAN_ROWS = 2000  # rows whose distances give the median bandwidth
NARROWEST, WIDEST = 1e-15, 1e6  # bandwidth over the extent of the data, beyond which rounding rules
PAIR_ROWS = 100  # rows compared with all others at once: the block stays in cache

MMD = Quantity(
    "mmd",
    title="mmd^2",
    unit="1",
    direction="symmetric",
    default="u",
    degenerate=True,
    examples=(
        "divmatch mmd real.npy gen.npy",
        "divmatch mmd real.npy gen.npy --kernel laplace --bandwidth 2.5",
        "divmatch mmd real.npy gen.npy --permutations 999",
    ),
    when_scoring={"bandwidth": "reference"},
)


@MMD.estimator("u", source="Gretton et al. 2012, JMLR 13, eq. (3)")
def mmd_u(
    x: Samples, y: Samples, *, kernel: Kernel = "gaussian", bandwidth: Bandwidth = "median"
) -> Estimate:
    """Squared maximum mean discrepancy between two samples, unbiased (U-statistic).

    MMD² = E k(X, X') + E k(Y, Y') − 2 E k(X, Y). Zero if and only if the distributions agree (the
    kernels here are characteristic). The estimate leaves out each point's kernel with itself: it is
    unbiased, and negative about half of the time when the distributions agree.

    Use it when differences of a known length scale matter; the bandwidth is that scale. With the
    median bandwidth it sees broad differences and misses fine ones: mix covers five scales.
    In `divmatch score` the bandwidth is the reference's, so that all rows of the table share it.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    kernel : str
        gaussian exp(−r²/(2s²)); laplace exp(−r₁/s) with the city-block distance; imq
        (s² + r²)^(−1/2); mix, the mean of gaussians of s·{1/4, 1/2, 1, 2, 4}.
    bandwidth : float or str
        s in data units; median of the pooled pairwise distances over at most 2000 rows, or of the
        reference's.

    Returns
    -------
    Estimate
        MMD² (not its root), with the influence of every row.

    Raises
    ------
    InconclusiveError
        When one row carries all the weight, or all rows are equal and no bandwidth was given.

    Notes
    -----
    Cost: O((n + m)² d) time, O(n + m) memory.

    Source: Gretton et al. 2012, JMLR 13, eq. (3).

    Examples
    --------
    >>> import divmatch
    >>> divmatch.mmd([0.0, 0.0], [9e9, 9e9], bandwidth=1).value
    2.0
    """
    return _estimate(x, y, kernel, bandwidth, unbiased=True)


@MMD.estimator("v", source="Gretton et al. 2012, JMLR 13, eq. (5)")
def mmd_v(
    x: Samples, y: Samples, *, kernel: Kernel = "gaussian", bandwidth: Bandwidth = "median"
) -> Estimate:
    """Squared maximum mean discrepancy between two empirical distributions (V-statistic).

    The same formula with every pair counted: never negative, zero if and only if the files hold the
    same weighted points; biased upward by about (k(0) − E k(X, X'))(1/n + 1/m).

    Use it when the rows are the whole population, or when integer weights must equal repeated rows.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    kernel : str
        As for the method u.
    bandwidth : float or str
        As for the method u.

    Returns
    -------
    Estimate
        MMD², at least 0, with the influence of every row.

    Notes
    -----
    Cost: O((n + m)² d) time, O(n + m) memory.

    Source: Gretton et al. 2012, JMLR 13, eq. (5).

    Examples
    --------
    >>> import divmatch
    >>> divmatch.mmd([0.0, 0.0], [9e9, 9e9], method="v", bandwidth=1).value
    2.0
    """
    return _estimate(x, y, kernel, bandwidth, unbiased=False)


@mmd_u.pooled
def mmd_u_plan(pool: Samples, *, kernel: Any, bandwidth: float, **_: Any) -> Pooled:
    """One streamed product for all splits."""
    return quadratic.plan(Profile(kernel, bandwidth), pool, sign=-1.0, unbiased=True)


@mmd_v.pooled
def mmd_v_plan(pool: Samples, *, kernel: Any, bandwidth: float, **_: Any) -> Pooled:
    """One streamed product for all splits."""
    return quadratic.plan(Profile(kernel, bandwidth), pool, sign=-1.0, unbiased=False)


def _estimate(
    x: Samples, y: Samples, kernel: Any, bandwidth: float | str, *, unbiased: bool
) -> Estimate:
    scale, notes = _resolved(bandwidth, x, y)
    found = quadratic.estimate(Profile(kernel, scale), x, y, sign=-1.0, unbiased=unbiased)
    return replace(found, params={"bandwidth": scale}, notes=(*notes, *found.notes))


def _resolved(bandwidth: float | str, x: Samples, y: Samples) -> tuple[float, tuple[Note, ...]]:
    if bandwidth == "median":
        share = MEDIAN_ROWS / max(x.n + y.n, MEDIAN_ROWS)
        both = np.concatenate([_thinned(x, share), _thinned(y, share)])
        return median_distance(both, f"{x.name} and {y.name}")
    if bandwidth == "reference":
        share = min(1.0, MEDIAN_ROWS / x.n)
        return x.once("median distance", lambda: median_distance(_thinned(x, share), x.name))
    return _in_proportion(float(bandwidth), x, y), ()


def _in_proportion(bandwidth: float, x: Samples, y: Samples) -> float:
    """Refuse a bandwidth at which all pairs of rows look equally near, or equally far."""
    lows, highs = (np.array([f(s.points, 0) for s in (x, y)]) for f in (np.min, np.max))
    extent = float((highs.max(0) - lows.min(0)).max())
    least, most = NARROWEST * (extent or 1.0), WIDEST * (extent or 1.0)
    if least <= bandwidth <= most:
        return bandwidth
    raise SettingError(
        f"--bandwidth {bandwidth:g}: out of proportion to the rows, which lie within {extent:.3g}; "
        f"expected {least:.0e} to {most:.0e}, or median"
    )


def _thinned(samples: Samples, share: float) -> Points:
    """A share of the rows that carry weight; depends on this sample alone, so swapping is harmless."""
    points = samples.points
    if samples.weights is not None:
        points = points[samples.weights > 0]
    if share >= 1:
        return points
    rows = stream(0, "median distance").choice(len(points), max(2, int(share * len(points))), False)
    return points[rows]


def median_distance(points: Points, name: str) -> tuple[float, tuple[Note, ...]]:
    """Median of the pairwise Euclidean distances; where it is zero, the mean of the others."""
    squares = _pair_squares(points)
    if not len(squares) or not squares.any():
        raise InconclusiveError(
            f"{name}: all rows are equal, so there is no median bandwidth; give --bandwidth X"
        )
    middle = [(len(squares) - 1) // 2, len(squares) // 2]
    median = float(np.sqrt(np.partition(squares, middle)[middle]).mean())
    if median > 0:
        return median, ()
    return float(np.sqrt(squares[squares > 0]).mean()), (
        Note(
            "W09", "half of the pairs of rows coincide; the bandwidth is the others' mean distance"
        ),
    )


def _pair_squares(points: Points) -> Points:
    """Squared distances of all pairs i < j of at most 2000 rows, 16 MB."""
    parts = [np.empty(0)]
    for start in range(0, len(points), PAIR_ROWS):
        rows, others = points[start : start + PAIR_ROWS], points[start:]
        squares = np.zeros((len(rows), len(others)))
        for c in range(points.shape[1]):
            gap = rows[:, c, None] - others[None, :, c]
            squares += gap * gap
        parts += [squares[i, i + 1 :] for i in range(len(rows))]
    return np.concatenate(parts)
