"""Bandwidths of kernels: a number that suits the data, or the median distance of their rows."""

from typing import Annotated, Literal

import numpy as np

from divmatch.errors import InconclusiveError, SettingError
from divmatch.kernels.backend import to_host
from divmatch.kernels.execution import in_order
from divmatch.kernels.pairwise import Grid, Profile
from divmatch.randomness import stream
from divmatch.record import Note
from divmatch.samples import Points, Samples
from divmatch.settings import Setting

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


def resolved(
    bandwidth: float | str, x: Samples, y: Samples, flag: str = "--bandwidth"
) -> tuple[float, tuple[Note, ...]]:
    """The bandwidth as a number, and what the user should know of it."""
    if bandwidth == "median":
        share = MEDIAN_ROWS / max(x.n + y.n, MEDIAN_ROWS)
        both = np.concatenate([thinned(x, share), thinned(y, share)])
        return median_distance(both, f"{x.name} and {y.name}")
    if bandwidth == "reference":
        share = min(1.0, MEDIAN_ROWS / x.n)
        return x.once("median distance", lambda: median_distance(thinned(x, share), x.name))
    return _in_proportion(float(bandwidth), x, y, flag), ()


def resolved_alone(
    bandwidth: float | str, x: Samples, flag: str = "--bandwidth"
) -> tuple[float, tuple[Note, ...]]:
    """The same for one sample."""
    return resolved("reference" if bandwidth == "median" else bandwidth, x, x, flag)


def _in_proportion(bandwidth: float, x: Samples, y: Samples, flag: str) -> float:
    """Refuse a bandwidth at which all pairs of rows look equally near, or equally far."""
    lows, highs = (np.array([f(s.points, 0) for s in (x, y)]) for f in (np.min, np.max))
    extent = float((highs.max(0) - lows.min(0)).max())
    least, most = NARROWEST * (extent or 1.0), WIDEST * (extent or 1.0)
    if least <= bandwidth <= most:
        return bandwidth
    raise SettingError(
        f"{flag} {bandwidth:g}: out of proportion to the rows, which lie within {extent:.3g}; "
        f"expected {least:.0e} to {most:.0e}, or median"
    )


def thinned(samples: Samples, share: float) -> Points:
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
    grid = Grid(Profile("distance", 2.0), points, points)

    def later(rows: slice) -> Points:
        squares = to_host(grid.squares(rows, slice(rows.start, len(points))))
        return squares[np.arange(squares.shape[1]) > np.arange(squares.shape[0])[:, None]]

    return np.concatenate([np.empty(0), *in_order(later, grid.rows(), work=grid.work)])
