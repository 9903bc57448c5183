"""Samples: checked once at the door, trusted afterwards."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divmatch.errors import SampleError, at_row, counted

Points = NDArray[np.float64]  # (n, d), finite, C order
Weights = NDArray[np.float64]  # (n,), non-negative, sums to 1
BLOCK = 8192  # numbers: fewer than BLAS shares among threads
SQUARES = "sum of squares"
EXACT = 2**53  # up to it float64 holds every whole number
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Samples:
    """Rows drawn from one distribution: (n, d) finite float64 points in C order, weights, names.

    ``weights`` is None where every row counts the same. ``origin`` says where the rows come from
    (kind of file, rows read, rows dropped) and travels into the result untouched. ``beside`` holds
    what else is known of each row, such as the score of a density there, and is no part of the points.
    """

    points: Points
    weights: Weights | None = None
    name: str = "x"
    columns: tuple[str, ...] = ()
    origin: dict[str, Any] = field(default_factory=dict)
    beside: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    _derived: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.points.shape[0])

    @property
    def d(self) -> int:
        """Number of columns."""
        return int(self.points.shape[1])

    def masses(self) -> Weights:
        """The weight of every row, 1/n each where none were given; shape (n,), sums to 1."""
        return np.full(self.n, 1.0 / self.n) if self.weights is None else self.weights

    def effective_size(self) -> float:
        """Kish's effective number of rows, 1 / Σ wᵢ²."""
        return float(self.n) if self.weights is None else float(1.0 / np.sum(self.weights**2))

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """What ``compute`` returned the first time: a tree or a within-sum of a shared reference."""
        if key not in self._derived:
            self._derived[key] = compute()
        found: T = self._derived[key]
        return found

    def knows(self, key: Hashable) -> bool:
        """Whether `once` has been there."""
        return key in self._derived

    def take(self, rows: NDArray[Any]) -> "Samples":
        """The samples at ``rows`` (numbers or a mask), weights renormalised."""
        weights = self.weights
        if weights is not None:
            weights = weights[rows]
            weights = weights / weights.sum()
        beside = {name: values[rows] for name, values in self.beside.items()}
        return Samples(self.points[rows], weights, self.name, self.columns, self.origin, beside)


def as_samples(values: ArrayLike | Samples, name: str, weights: ArrayLike | None = None) -> Samples:
    """Check an array: 1-D becomes one column; numbers, finite, at least one row and one column."""
    if isinstance(values, Samples):
        if weights is None:
            return values
        return replace(values, weights=as_weights(weights, values.n, name), _derived={})
    try:
        raw = np.asarray(values)
    except ValueError:
        raise SampleError(f"{name}: rows of different lengths, expected a table") from None
    if raw.dtype.kind not in "biuf":
        raise SampleError(f"{name}: holds {raw.dtype} values, not numbers; encode them first")
    points = np.ascontiguousarray(raw, dtype=np.float64)
    if raw.ndim == 1:
        points = points[:, None]
    if points.ndim != 2:
        raise SampleError(f"{name}: has shape {raw.shape}, expected rows and columns")
    if points.shape[0] == 0 or points.shape[1] == 0:
        raise SampleError(f"{name}: is empty (shape {raw.shape}); at least one row is needed")
    squares = check_finite(points, name)
    return Samples(
        points,
        None if weights is None else as_weights(weights, len(points), name),
        name,
        _derived={SQUARES: squares},
    )


def with_beside(samples: Samples, name: str, values: ArrayLike) -> Samples:
    """The samples with numbers beside them, one for each row and column."""
    found = as_samples(values, name).points
    if found.shape != samples.points.shape:
        raise SampleError(
            f"{name}: has {counted(found.shape[0], 'row')} and {counted(found.shape[1], 'column')}, "
            f"expected one number for each of the {counted(samples.n, 'row')} and "
            f"{counted(samples.d, 'column')} of {samples.name}"
        )
    return replace(samples, beside={**samples.beside, name: found}, _derived={})


def with_densities(x: Samples, log_q: ArrayLike, name: str = "log_q") -> Samples:
    """The samples with ln q beside every row, by which Q is known in the place of its rows."""
    values = np.asarray(log_q)
    if values.dtype.kind not in "biuf" or values.size != x.n or x.n not in values.shape:
        raise SampleError(
            f"{name}: has shape {values.shape} and type {values.dtype}, expected "
            f"{counted(x.n, 'log-density')}, one for each row of {x.name}"
        )
    values = values.reshape(x.n).astype(np.float64)
    bad = np.flatnonzero(np.isnan(values) | (values == np.inf))
    if len(bad):
        raise SampleError(
            f"{name}: {values[bad[0]]} {at_row(int(bad[0]))}, expected a log-density: a number, or "
            "-inf where q is 0"
        )
    return replace(x, beside={**x.beside, "log_q": values}, _derived={})


def check_finite(points: Points, name: str, advice: str = "choose --na drop or --na mean") -> float:
    """Refuse NaN and infinity, naming the first row and column; else the sum of the squares."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = _squares(points)
    if np.isfinite(squares):  # one pass and no temporary when all is well
        return squares
    bad = ~np.isfinite(points)
    rows = np.flatnonzero(bad.any(axis=1))
    if len(rows):
        column = int(np.flatnonzero(bad[rows[0]])[0])
        raise SampleError(
            f"{name}: {counted(len(rows), 'row')} with NaN or infinite values "
            f"(first: row {rows[0]}, column {column}, both from 0); {advice}"
        )
    return squares


def rounds(whole: NDArray[Any]) -> bool:
    """Whether float64 loses digits of these numbers: only integers beyond 2^53 can."""
    if whole.dtype.kind not in "iu" or whole.dtype.itemsize < 8 or not whole.size:
        return False
    if int(whole.min()) >= -EXACT and int(whole.max()) <= EXACT:
        return False
    floats = whole.astype(np.float64)
    beyond = floats >= float(np.iinfo(whole.dtype).max)  # rounded up to what the type cannot hold
    with np.errstate(invalid="ignore"):
        back = floats.astype(whole.dtype)
    return bool((beyond | (back != whole)).any())


def as_weights(values: ArrayLike, rows: int, name: str) -> Weights:
    """Non-negative finite weights, one a row, scaled to sum to 1."""
    weights = np.asarray(values)
    if weights.dtype.kind not in "biuf" or weights.size != rows or rows not in weights.shape:
        raise SampleError(
            f"{name}: weights have shape {weights.shape} and type {weights.dtype}, "
            f"expected {counted(rows, 'number')}, one a row"
        )
    weights = weights.reshape(rows).astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise SampleError(
            f"{name}: weight {weights[bad[0]]} {at_row(int(bad[0]))}; weights must be >= 0"
        )
    if not weights.max() > 0:
        raise SampleError(f"{name}: all weights are zero")
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.isfinite(total):
        weights = weights / weights.max()
        total = weights.sum()
    return weights / total


LARGEST, SMALLEST = 1e75, 1e-75  # beyond them squares of squares overflow or vanish


def check_partners(x: Samples, y: Samples | None) -> None:
    """Both samples must have the same columns, and numbers whose squares are numbers."""
    if y is not None and x.d != y.d:
        raise SampleError(
            f"{x.name} has {counted(x.d, 'column')}, {y.name} has {y.d}; both need the same"
        )
    check_squares(*(samples for samples in (x, y) if samples is not None))


def check_squares(*samples: Samples) -> None:
    """The largest number must have a square that is a number."""
    with np.errstate(over="ignore"):
        sums = [
            (one.once(SQUARES, partial(_squares, one.points)), one.points.size) for one in samples
        ]
    if all(size * SMALLEST**2 < total < LARGEST**2 for total, size in sums):
        return  # the largest square is at most their sum, at least their mean
    found = {one.name: _largest(one.points) for one in samples}
    where = max(found, key=lambda name: found[name])
    largest = found[where]
    if largest > LARGEST or 0 < largest < SMALLEST:
        raise SampleError(
            f"{where}: the largest value is {largest:.3g}, expected at most {LARGEST:g} and at least "
            f"{SMALLEST:g}, because distances are squared; divide all rows by a constant first"
        )


def _squares(points: Points) -> float:
    """The sum of the squares, the fastest pass over all numbers; blocks too small for BLAS's threads."""
    flat = points.reshape(-1)
    blocks = (flat[start : start + BLOCK] for start in range(0, len(flat), BLOCK))
    return float(sum(block @ block for block in blocks))


def _largest(points: Points) -> float:
    return max(float(points.max()), -float(points.min()))
