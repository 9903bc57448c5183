"""Gaps: missing and infinite values are found, named and refused here."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SampleError
from divmatch.matching import Rows
from divmatch.samples import Points
from divmatch.tables import Table


def holes_of(points: Points, table: Table, labels: Sequence[str]) -> NDArray[np.bool_] | None:
    """Where numbers are missing, None if nowhere; infinite values are refused."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(points.sum()):  # one pass and no temporary when all is well
            return None
    infinite = np.isinf(points)
    if infinite.any():
        column = int(np.flatnonzero(infinite.any(axis=0))[0])
        rows = np.flatnonzero(infinite[:, column])
        raise SampleError(
            f"{table.name}: column '{labels[column]}' has {_count(rows, 'infinite value')}, first "
            f"at row {table.row(int(rows[0]))}; correct or remove these rows"
        )
    holes = np.isnan(points)
    return holes if holes.any() else None


def refuse_gaps(
    table: Table, holes: NDArray[np.bool_] | None, codes: NDArray[np.int32], heading: Table
) -> None:
    """Name the first column with missing values."""
    names = [column.name for column in heading.categories]
    for missing, labels, way in (
        (holes, heading.labels, "mean"),
        (codes < 0, names, "category"),
    ):
        if missing is None or not missing.any():
            continue
        column = int(np.flatnonzero(missing.any(axis=0))[0])
        rows = np.flatnonzero(missing[:, column])
        raise SampleError(
            f"{table.name}: column '{labels[column]}' has {_count(rows, 'missing value')}, first "
            f"at row {table.row(int(rows[0]))}; choose --na drop or --na {way}"
        )


def _count(rows: NDArray[Any], noun: str) -> str:
    return f"{len(rows)} {noun}{'s' if len(rows) > 1 else ''}"


def means_of(rows: Rows) -> Points:
    """Means of the values that are there, NaN where there are none."""
    means: Points = rows.masses @ rows.numbers
    if rows.holes is not None:
        masses = np.where(rows.holes, 0.0, rows.masses[:, None])
        values = np.where(rows.holes, 0.0, rows.numbers)
        with np.errstate(invalid="ignore"):
            means = np.einsum("ij,ij->j", masses, values) / masses.sum(axis=0)
    return means
