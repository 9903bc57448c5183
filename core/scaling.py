"""Scaling: the units of the reference, by which every table is divided."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from divmatch.errors import InconclusiveError, counted
from divmatch.matching import Rows
from divmatch.samples import Points, Samples, Weights
from divmatch.tables import Reading, Table

HALF = np.sqrt(0.5)  # a one-hot block times this puts two different categories at distance 1


@dataclass(frozen=True, eq=False)
class Scaling:
    """(x - centre) / unit, then turned; every part may be absent."""

    name: str = "none"
    unit: Points | None = None
    centre: Points | None = None
    turn: Points | None = None

    @property
    def active(self) -> bool:
        """Whether anything is divided at all."""
        return self.unit is not None

    def applied(self, numbers: Points) -> Points:
        """The numbers in the units of the reference."""
        if self.unit is None:
            return numbers
        moved = numbers if self.centre is None else numbers - self.centre
        scaled: Points = moved / self.unit
        return scaled if self.turn is None else np.ascontiguousarray(scaled @ self.turn)

    def undone(self, numbers: Points) -> Points:
        """The numbers in their own units again."""
        if self.unit is None:
            return numbers
        straight = numbers if self.turn is None else numbers @ np.linalg.inv(self.turn)
        made: Points = straight * self.unit
        return made if self.centre is None else made + self.centre


def resolved_scale(reference: Table, reading: Reading) -> str:
    """Decide what ``auto`` means for this reference."""
    if reading.scale != "auto":
        return reading.scale
    single = len(reference.columns) == 1 and reference.columns[0].kind == "list"
    return "none" if reference.plain or single else "ref-iqr"


def scaling_of(rows: Rows, name: str, labels: Sequence[str]) -> Scaling:
    """Measure the reference; what it could not offer becomes a note."""
    if name == "none" or not labels:
        return Scaling(name)
    if name == "ref-whiten":
        return _whitening(rows, labels)
    units = np.ones(len(labels))
    for j, label in enumerate(labels):
        observed = slice(None) if rows.holes is None else ~rows.holes[:, j]
        column = rows.numbers[observed, j]
        weights = None if rows.weights is None else rows.weights[observed]
        unit = _iqr(column, weights) if name == "ref-iqr" else 0.0
        if unit == 0.0:
            unit = _deviation(column, weights)
            if unit > 0.0 and name == "ref-iqr":
                rows.notes.append(
                    (
                        "W20",
                        f"column '{label}' has zero IQR in the reference; scaled by its standard "
                        "deviation",
                    )
                )
        if unit == 0.0:
            rows.notes.append(("W21", f"column '{label}' is constant in the reference; not scaled"))
        units[j] = unit or 1.0
    return Scaling(name, units)


def _deviation(values: Points, weights: Weights | None) -> float:
    """Measure the standard deviation over the mass (no n - 1); squares cannot overflow."""
    if not len(values) or values.min() == values.max():
        return 0.0
    moved = values - np.average(values, weights=weights)
    largest = np.abs(moved).max()
    return float(largest * np.sqrt(np.average((moved / largest) ** 2, weights=weights)))


def _iqr(values: Points, weights: Weights | None) -> float:
    """Interquartile range; linear interpolation (type 7), extended to weights.

    Akinshin 2023, arXiv 2304.07265: each quantile is the mean of the quantile function over a
    window of width 1 / n*, with Kish's n*; equal weights give the usual quartiles back.
    """
    if not len(values):
        return 0.0
    if weights is None:
        low, high = np.quantile(values, [0.25, 0.75])
        return float(high - low)
    order = np.argsort(values, kind="stable")
    weights = weights[order] / weights.sum()
    size = 1 / np.sum(weights**2)
    edges = np.concatenate([[0.0], np.cumsum(weights)])
    edges /= edges[-1]
    quartiles = []
    for share in (0.25, 0.75):
        window = np.clip(edges * size - share * (size - 1), 0, 1)
        quartiles.append(np.diff(window) @ values[order])
    return float(max(quartiles[1] - quartiles[0], 0.0))


def _whitening(rows: Rows, labels: Sequence[str]) -> Scaling:
    """Centre and turn so that the covariance of the reference becomes the identity."""
    centre = rows.masses @ rows.numbers
    unit = np.array([_deviation(column, rows.weights) for column in rows.numbers.T])
    flat = np.flatnonzero(unit == 0.0)
    if len(flat):
        _refuse_whitening(rows, f"column '{labels[flat[0]]}' is constant")
    standard = (rows.numbers - centre) / unit
    correlation = (standard * rows.masses[:, None]).T @ standard
    d = len(labels)
    # What a column adds to those before it is the squared pivot; below rounding it adds nothing.
    least = 64 * d * np.finfo(float).eps
    for size in range(1, d + 1) if not _sound(correlation, least) else ():
        if not _sound(correlation[:size, :size], least):
            label = labels[size - 1]
            _refuse_whitening(rows, f"column '{label}' follows from those before it")
    turn = np.linalg.inv(np.linalg.cholesky(correlation)).T
    return Scaling("ref-whiten", unit, centre, np.ascontiguousarray(turn))


def _sound(correlation: Points, least: float) -> bool:
    """Whether every pivot of the Cholesky factor is well above rounding."""
    try:
        return bool((np.diag(np.linalg.cholesky(correlation)) ** 2 > least).all())
    except np.linalg.LinAlgError:
        return False


def _refuse_whitening(rows: Rows, why: str) -> None:
    raise InconclusiveError(
        f"{rows.table.name}: the covariance of {counted(len(rows.numbers), 'row')} is singular ({why}), so "
        f"--scale ref-whiten has no answer; choose --scale ref-iqr, or leave it out with --columns"
    )


def own_units(samples: Samples) -> Points:
    """The points as the file had them: scaling undone, 0 and 1 for categories; arrays as they are."""
    layout = samples.origin.get("layout")
    if layout is None:
        return samples.points
    scaling, numbers, shares = layout
    if not scaling.active and shares == samples.d:
        return samples.points
    made = samples.points.copy()
    made[:, :numbers] = scaling.undone(made[:, :numbers])
    made[:, shares:] /= HALF
    return made
